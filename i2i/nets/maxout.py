"""The maxout discriminator: a perceptron whose units each take the largest of several linear functions of their input
(Goodfellow et al., 2013, "Maxout Networks", section 2).

A unit learns its own convex, piecewise linear activation. D of the first GAN on MNIST is such a network, with dropout
(Goodfellow et al., 2014): by the authors' code 2 layers of 240 units with 5 pieces each, weights drawn from
U(-0.005, 0.005), and inputs kept with probability 0.8, units with 0.5, which are the defaults here.

Built for classes, it gets the class y one-hot, joined to the row of x (Mirza and Osindero, 2014, figure 1).
"""

from typing import ClassVar

from torch import Tensor, nn

from i2i.nets import DISCRIMINATORS
from i2i.nets.init import init_weights, spectral_normalise
from i2i.nets.layers import at_least, block, check_sized, share, with_classes


class Maxout(nn.Module):
    """(B, F) -> (B, units), each the largest of `pieces` linear functions (unit j: of rows j * pieces and on)."""

    def __init__(self, in_features: int, units: int, pieces: int):
        super().__init__()
        self.units, self.pieces = units, pieces
        self.linear = nn.Linear(in_features, units * pieces)

    def forward(self, x: Tensor) -> Tensor:
        """(B, F), any range -> (B, units)."""
        x = self.linear(x).unflatten(1, (self.units, self.pieces))  # (B, units, pieces)
        return x.max(dim=2).values  # (B, units); of equal pieces one alone gets the gradient


@DISCRIMINATORS.register("maxout")
class MaxoutDiscriminator(nn.Module):
    """Pictures (B, in_channels, size, size) in [-1, 1] -> logits (B, outputs).

    Args:
        in_channels: of the picture, or of a pair laid one upon the other.
        size: side of the pictures, which are square.
        classes: how many there are, where `forward` is to be told the class of each picture; else None.
        outputs: numbers in a row of logits.
        num_layers: maxout layers.
        width: units of each of them.
        pieces: linear functions that a unit takes the largest of.
        dropout_input: share of the picture's numbers that is dropped in training; never of its class.
        dropout: share of the units of every maxout layer that is dropped in training.
        spectral_norm: on every linear layer, all pieces of a layer being one matrix.
        init: first weights, see `init_weights`.

    Raises:
        ValueError: an argument outside its range; in `forward`, pictures of other channels or sides, or classes that
            are missing, not wanted, or of another shape or type.
    """

    takes: ClassVar[str] = "pictures"
    sized: ClassVar[bool] = True
    classed: ClassVar[bool] = True
    multiple = minimum = 1

    def __init__(
        self,
        in_channels: int,
        size: int,
        classes: int | None = None,
        outputs: int = 1,
        *,
        num_layers: int = 2,
        width: int = 240,
        pieces: int = 5,
        dropout_input: float = 0.2,
        dropout: float = 0.5,
        spectral_norm: bool = False,
        init: str = "uniform_0.005",
    ):
        super().__init__()
        at_least(1, "in_channels", in_channels, "3, or 6 for a pair")
        at_least(1, "size", size, "28, MNIST's")
        at_least(1, "classes", 1 if classes is None else classes, "10, MNIST's")
        at_least(1, "outputs", outputs, "1, or 11 to name one of ten classes too")
        at_least(1, "num_layers", num_layers, "2")
        at_least(1, "width", width, "240")
        at_least(1, "pieces", pieces, "5")
        share("dropout_input", dropout_input, "0.2")
        share("dropout", dropout, "0.5")
        self.in_channels, self.size, self.classes, self.outputs = in_channels, size, classes, outputs

        self.dropout_input = nn.Dropout(dropout_input)
        self.blocks = nn.ModuleList(
            block(
                maxout=Maxout(width if i else in_channels * size**2 + (classes or 0), width, pieces),
                dropout=nn.Dropout(dropout) if dropout else None,
            )
            for i in range(num_layers)
        )
        self.head = nn.Linear(width, outputs)
        init_weights(self, init)
        if spectral_norm:
            spectral_normalise(self)

    def forward(
        self, x: Tensor, y: Tensor | None = None, features: bool = False
    ) -> Tensor | tuple[Tensor, list[Tensor]]:
        """(B, in_channels, size, size) in [-1, 1], and classes (B,) -> logits (B, outputs).

        With features=True: (logits, [the output of each maxout layer, (B, width)]), from this one forward.
        """
        check_sized(self, x)
        x = self.dropout_input(x.flatten(1))  # (B, in_channels size^2)
        x, seen = with_classes(self, x, y), []  # (B, in_channels size^2 + classes)
        for layer in self.blocks:
            x = layer(x)  # (B, width)
            seen.append(x)
        logits = self.head(x)  # (B, outputs)
        return (logits, seen) if features else logits
