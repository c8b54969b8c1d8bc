"""Bytes -> RGB pixels through OpenCV, for the formats that it decodes as they are stored."""

import cv2
import numpy as np

from i2i.data.formats.shapes import Header, Picture


def decode(data: bytes, header: Header, page: int | None = None) -> Picture | None:
    """Pixels, and alpha where the header has one and OpenCV gives it; None where OpenCV refuses."""
    raw = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if raw is None:
        return None
    if raw.ndim == 2:
        return Picture(raw[:, :, None])
    alpha = np.ascontiguousarray(raw[:, :, 3]) if raw.shape[2] == 4 and header.alpha else None
    if header.channels == 1:  # grey with alpha comes as BGRA
        return Picture(np.ascontiguousarray(raw[:, :, :1]), alpha)
    return Picture(cv2.cvtColor(raw[:, :, :3], cv2.COLOR_BGR2RGB), alpha)
