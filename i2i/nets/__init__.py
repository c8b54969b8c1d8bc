"""Networks: pictures or latents to pictures (generators), pictures to logits (discriminators), pictures to a normal
distribution of latents (encoders). No losses, no devices.

A generator is built as `Net(in_channels, out_channels, **args)`, a discriminator as `Net(in_channels, **args)`, an
encoder as `Net(in_channels, latent, size, **args)`. Two attributes of the class say more:

    takes: "pictures", or "latents": z of shape (B, in_channels), of which a generator makes pictures.
    sized: whether `size`, the side of the square pictures, is one more positional argument, the last; such a net
        takes or makes pictures of that size alone.

Each says which pictures it takes: those of `in_channels` channels whose sides are multiples of `multiple` and at least
`minimum`, or just `size`. Others are refused with a ValueError; nothing is resized.
"""

from i2i.registry import Registry

GENERATORS = Registry("generator", "i2i.nets")
DISCRIMINATORS = Registry("discriminator", "i2i.nets")
ENCODERS = Registry("encoder", "i2i.nets")
