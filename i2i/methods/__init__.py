"""Training algorithms, one per file; `step` reads like the algorithm in the paper."""

from i2i.registry import Registry

METHODS = Registry("method", "i2i.methods")
