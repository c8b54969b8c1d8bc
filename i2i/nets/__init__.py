"""Networks: pictures to pictures (generators) and pictures to logits (discriminators). No losses, no devices.

A generator is built as `Net(in_channels, out_channels, **args)`, a discriminator as `Net(in_channels, **args)`.
Each says which pictures it takes: those of `in_channels` channels whose sides are multiples of `multiple` and at least
`minimum`. Others are refused with a ValueError; nothing is resized.
"""

from i2i.registry import Registry

GENERATORS = Registry("generator", "i2i.nets")
DISCRIMINATORS = Registry("discriminator", "i2i.nets")
