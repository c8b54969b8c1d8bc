"""How much fine detail pictures hold, without a truth to compare them with."""

from collections.abc import Iterable

import numpy as np

from i2i.errors import UserError
from i2i.metrics.pictures import checked_range, scaled
from i2i.metrics.summary import summary

LUMINANCE = np.array([0.299, 0.587, 0.114])  # of R, G, B (ITU-R BT.601)


def laplacian_variance(
    pictures: Iterable[np.ndarray], *, value_range: tuple[float, float] | None = None
) -> dict[str, float | int | None]:
    """Variance over a picture's pixels of the Laplacian of its luminance (Pech-Pacheco et al., 2000).

    Luminance in [0, 1], the Laplacian by the five-point stencil [[0, 1, 0], [1, -4, 1], [0, 1, 0]] with the border
    mirrored, all in float64. Unit: (parts of the value range)^2 / pixel^4. Noise raises it as detail does, so it
    compares pictures of one kind and one size.

    Args:
        pictures: (H, W, C) arrays, C 1 or 3 (RGB), uint8, uint16 or float; read once, one at a time.
        value_range: lowest and highest value of the domain; None takes the whole range of the arrays' type, and floats
            need one.

    Returns:
        {"mean" of the pictures' values, "standard_error": None for a single picture, "count": n}.

    Raises:
        UserError: no picture, another shape, type or number of channels, NaN, or an empty value range.
    """
    import cv2

    values = []
    for number, picture in enumerate(pictures, start=1):
        picture = scaled(picture, *checked_range(number, picture, value_range))
        if picture.shape[2] not in (1, 3):
            raise UserError(f"picture {number} has {picture.shape[2]} channels: luminance needs 1 (grey) or 3 (RGB)")
        luminance = picture[..., 0] if picture.shape[2] == 1 else picture @ LUMINANCE
        values.append(float(cv2.Laplacian(np.ascontiguousarray(luminance), cv2.CV_64F).var()))
    if not values:
        raise UserError("no pictures to measure: give at least one")
    return summary(values)
