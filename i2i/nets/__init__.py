"""Networks: pictures or latents to pictures (generators), pictures to logits (discriminators), pictures to a normal
distribution of latents (encoders). No losses, no devices.

A generator is built as `Net(in_channels, out_channels, **args)`, a discriminator as `Net(in_channels, **args)`, an
encoder as `Net(in_channels, latent, size, **args)`. Three attributes of the class say more:

    takes: "pictures", or "latents": z of shape (B, in_channels), of which a generator makes pictures.
    sized: whether `size`, the side of the square pictures, is one more positional argument; such a net takes or
        makes pictures of that size alone.
    classed: whether it can deal with classes. Then `classes`, how many there are or None, is one more positional
        argument, behind these; `forward` takes the class of each row, y (B,) int64, just where it is a number. A
        discriminator has one more still, `outputs`, the numbers in a row of its logits: one that names a class too
        has 1 + K of them.

Each says which pictures it takes: those of `in_channels` channels whose sides are multiples of `multiple` and at least
`minimum`, or just `size`. Others are refused with a ValueError; nothing is resized.
"""

from i2i.registry import Registry

GENERATORS = Registry("generator", "i2i.nets")
DISCRIMINATORS = Registry("discriminator", "i2i.nets")
ENCODERS = Registry("encoder", "i2i.nets")
