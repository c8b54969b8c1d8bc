"""i2i: image-to-image translation with pix2pix, CycleGAN and DiffAugment, on PyTorch.

    import i2i
    run = i2i.train("recipes/pix2pix_facades.yaml", overrides=["train.steps=2000"])
    model = i2i.load(run)
    model("labels.png").save("photo.png")

Names are imported when first used, so that `import i2i` and `i2i --help` are quick.
"""

import importlib

__version__ = "0.1.0"
__all__ = ["__version__", "evaluate", "generate", "load", "names", "train", "translate"]

_HOMES = {
    "train": "i2i.engine.train",
    "load": "i2i.infer.models",
    "translate": "i2i.infer.folder",
    "generate": "i2i.infer.generate",
    "evaluate": "i2i.evaluation.evaluate",
    "names": "i2i.build",
}


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module 'i2i' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__():
    return __all__
