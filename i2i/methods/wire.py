"""How the networks of a method are wired to a recipe."""

from typing import NamedTuple


class Wire(NamedTuple):
    """What one network is built of. A method may give a plain tuple of the first three."""

    section: str  # of the recipe: generator, discriminator or encoder
    ins: int  # channels, or numbers of a latent
    outs: int  # channels; of an encoder numbers of a latent; of a discriminator numbers in a row of its logits
    classes: int | None = None  # of how many it is told one with every row

    @property
    def classed(self) -> bool:
        """Whether the network must be able to deal with classes: is told one, or names one beside its judgement."""
        return self.classes is not None or (self.section == "discriminator" and self.outs > 1)
