"""Files -> batches. Pictures are RGB, CHW, float32 in [-1, 1] once they leave this room."""

import os

from i2i.registry import Registry

DATASETS = Registry("data kind", "i2i.data")
TRANSFORMS = Registry("transform", "i2i.data")

MAX_PIXELS = 178_956_970  # 13,377 x 13,377, the limit at which Pillow refuses too
ENV_MAX_PIXELS = "I2I_MAX_PIXELS"

# OpenCV has a cap of its own, which it reads once, while it is imported: it must not be the lower one. Every module of
# this room that imports cv2 comes after this line.
_asked = os.environ.get(ENV_MAX_PIXELS, "")
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(max(1 << 30, int(_asked) if _asked.isdecimal() else 0)))
