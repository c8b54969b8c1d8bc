"""Metrics: sets of pictures -> numbers. Well-kept libraries compute them; they are imported when a metric is called.

How a trained model is scored by them (on which pictures, with which settings) is a protocol. Protocols are written in
`i2i.evaluation.protocols`; their names are known here, since a recipe may name one.
"""

from i2i.registry import Registry

PROTOCOLS = Registry("protocol", "i2i.evaluation.protocols")
