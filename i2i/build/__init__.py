"""Recipe -> networks, optimizers, data, method: the only place where names meet objects, and where they are checked."""

from i2i.build.check import check, impossible, names, resolved
from i2i.build.make import card_hint, dataset, domain_channels, exports, method, networks, weights_meta

__all__ = [
    "card_hint",
    "check",
    "dataset",
    "domain_channels",
    "exports",
    "impossible",
    "method",
    "names",
    "networks",
    "resolved",
    "weights_meta",
]
