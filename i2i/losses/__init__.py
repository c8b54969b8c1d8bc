"""Losses: pure functions of logits and pictures. They hold no weights, know no device and print nothing."""

from i2i.registry import Registry

OBJECTIVES = Registry("objective", "i2i.losses")
CONSTRAINTS = Registry("constraint", "i2i.losses")
