"""What people hand over and get back: Pillow images and NumPy arrays, with alpha set aside and put back."""

import numpy as np
from PIL import Image, ImageOps

from i2i.data.domain import Domain
from i2i.data.pictures import Picture
from i2i.errors import UserError

# Pillow mode -> the mode that its pixels are taken in, and whether the last channel of that is alpha
MODES = {
    "1": ("L", False),
    "L": ("L", False),
    "LA": ("LA", True),
    "La": ("LA", True),
    "P": ("RGB", False),
    "PA": ("RGBA", True),
    "RGB": ("RGB", False),
    "RGBX": ("RGB", False),
    "RGBA": ("RGBA", True),
    "RGBa": ("RGBA", True),
    "CMYK": ("RGB", False),
    "YCbCr": ("RGB", False),
}
DEEP = ("I;16", "I;16L", "I;16B", "I;16N", "I")


def from_image(image: Image.Image) -> Picture:
    """A Pillow image, upright: 8 bits of 1 or 3 channels with or without alpha, 16-bit grey, or grey floats (mode F).

    Palettes and CMYK become RGB, as they do for files.

    Raises:
        UserError: a mode that is no such picture (Lab, HSV), or a file behind it that is damaged.
    """
    try:
        image = ImageOps.exif_transpose(image)
        image.load()
    except (OSError, SyntaxError) as error:
        raise UserError(f"this Pillow image cannot be read: {error}.") from None
    if image.mode in DEEP:
        return Picture(_deep(image))
    if image.mode == "F":
        return Picture(np.array(image)[:, :, None])
    if image.mode not in MODES:
        raise UserError(
            f"a Pillow image of mode {image.mode} is no picture of 8 bits, 16 bits or floats; convert it to L or RGB."
        )
    mode, alpha = MODES[image.mode]
    if not alpha and image.has_transparency_data:  # a colour, or entries of a palette, that are transparent
        mode, alpha = {"L": "LA", "RGB": "RGBA"}[mode], True
    pixels = np.array(image if image.mode == mode else image.convert(mode))
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    return split_alpha(pixels) if alpha else Picture(pixels)


def to_image(pixels: np.ndarray, alpha: np.ndarray | None = None) -> Image.Image | np.ndarray:
    """Pixels (H, W, C) as a Pillow image where Pillow can hold them: 8 bits of 1 or 3 channels with or without alpha,
    or 16-bit grey. Else (floats, 2 or more than 3 channels, 16-bit colour) the array (H, W, C), alpha its last
    channel."""
    whole, channels = join_alpha(pixels, alpha), pixels.shape[2]
    if whole.dtype == np.uint8 and channels in (1, 3):  # 2 or 4 without alpha would pass for LA or RGBA
        return Image.fromarray(whole[:, :, 0] if whole.shape[2] == 1 else whole)
    if whole.dtype == np.uint16 and whole.shape[2] == 1:
        return Image.fromarray(whole[:, :, 0])
    return whole


def suffix_of(domain: Domain) -> str:
    """What a file of this domain's pictures is called: .png where one holds them, which is 8 or 16 bits of 1 or 3
    channels, else .npy."""
    return ".png" if domain.depth in (8, 16) and domain.channels in (1, 3) else ".npy"


def split_alpha(pixels: np.ndarray) -> Picture:
    """(H, W, C + 1) -> (H, W, C) and alpha (H, W)."""
    return Picture(np.ascontiguousarray(pixels[:, :, :-1]), np.ascontiguousarray(pixels[:, :, -1]))


def join_alpha(pixels: np.ndarray, alpha: np.ndarray | None) -> np.ndarray:
    """(H, W, C) and alpha (H, W), or None -> (H, W, C + 1), or C as it was."""
    return pixels if alpha is None else np.dstack([pixels, alpha])


def alpha_like(alpha: np.ndarray | None, pixels: np.ndarray) -> np.ndarray | None:
    """Alpha (H, W) in the type of `pixels`: none stays none and full stays full, as levels 0 and the highest, as floats
    0 and 1. From a narrower type to a wider one and back it is what it was."""
    if alpha is None or alpha.dtype == pixels.dtype:
        return alpha
    share = alpha.astype(np.float64) / _full(alpha.dtype)
    if pixels.dtype == np.float32:
        return share.astype(np.float32)
    return np.floor(share.clip(0, 1) * _full(pixels.dtype) + 0.5).astype(pixels.dtype)


def _full(dtype: np.dtype) -> int:
    """What opaque is in this type."""
    return 1 if dtype.kind == "f" else np.iinfo(dtype).max


def _deep(image: Image.Image) -> np.ndarray:
    """(H, W, 1) uint16. Mode I holds 32 bits, of which a 16-bit file fills half."""
    levels = np.array(image)[:, :, None]
    if image.mode == "I" and levels.size and not 0 <= levels.min() <= levels.max() <= 65535:
        raise UserError(
            f"a Pillow image of mode I has levels from {levels.min()} to {levels.max()}, and 16 bits hold 0 to 65535; "
            "bring them into that range."
        )
    return levels.astype(np.uint16)
