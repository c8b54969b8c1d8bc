"""Pixels -> TIFF: deflate with a predictor, which Pillow, OpenCV and GDAL read too, and the tags that are carried."""

import io

import numpy as np

from i2i.data.formats import nodata, tags
from i2i.data.formats.carried import Carried

_DIFFERENCES, _OF_FLOATS = 2, 3  # predictors
_UNSPECIFIED, _ALPHA = 0, 2  # kinds of extra sample


def encode(pixels: np.ndarray, alpha: np.ndarray | None, carried: Carried | None) -> bytes:
    """(H, W, C) uint8, uint16 or float32, with alpha (H, W): grey, RGB (C = 3), or grey with C - 1 more samples."""
    import tifffile

    extratags, shown = [], {}
    if carried is not None:
        pixels, level = nodata.put_back(pixels, carried)
        kept = tags.written(carried, pixels.shape[2]) + ([tags.nodata_tag(level)] if level is not None else [])
        extratags = [(*tag, True) for tag in kept]
        if (found := tags.resolution(carried)) is not None:
            shown = {"resolution": found[0], "resolutionunit": found[1]}
    channels = pixels.shape[2]
    colour = "rgb" if channels == 3 else "minisblack"
    extra = [_UNSPECIFIED] * (0 if channels == 3 else channels - 1) + [_ALPHA] * (alpha is not None)
    whole = pixels if alpha is None else np.dstack([pixels, alpha])
    out = io.BytesIO()
    with tifffile.TiffWriter(out, bigtiff=whole.nbytes > 2**31, byteorder="<") as writer:
        writer.write(
            whole[:, :, 0] if whole.shape[2] == 1 else whole,
            photometric=colour,
            planarconfig="contig" if whole.shape[2] > 1 else None,
            extrasamples=extra or None,
            compression="adobe_deflate",
            predictor=_OF_FLOATS if whole.dtype == np.float32 else _DIFFERENCES,
            metadata=None,
            software=False,
            extratags=extratags,
            maxworkers=1,
            **shown,
        )
    return out.getvalue()
