"""Multilayer perceptrons: pictures are rows of numbers, and every pixel has weights of its own.

G and D of the first GAN are such networks (Goodfellow et al., 2014), though its D has maxout units (`maxout`); so are
the encoder and the decoder of the first VAE (Kingma and Welling, 2014, appendix C). With size 1 a "picture" of D
channels is a point of D coordinates, for experiments in the plane.

    generator       z      [linear, norm, activation] num_layers times, linear to C * size * size, output
    discriminator   x      [noise, linear, activation, dropout] num_layers times, noise, linear to a logit
    encoder         x      [linear, activation] num_layers times, two linear heads: mu and log sigma^2

Built for classes, generator and discriminator get the class y one-hot, joined to z and to the row of x: the conditional
GAN's (Mirza and Osindero, 2014, figure 1). With noise, layers of several widths and weight norm the discriminator is
the one of the semi-supervised GAN on MNIST (Salimans et al., 2016, section 5, and their code).
"""

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from i2i.nets import DISCRIMINATORS, ENCODERS, GENERATORS
from i2i.nets.init import init_weights, spectral_normalise, weight_normalise
from i2i.nets.layers import (
    Activation,
    Noise,
    above_zero,
    activation_layer,
    at_least,
    block,
    check_latents,
    check_sized,
    has_bias,
    not_negative,
    one_of,
    share,
    with_classes,
)

RowNorm = Literal["batch", "none"]
Output = Literal["sigmoid", "tanh", "linear"]


def widths_of(num_layers: int, width: int | list[int]) -> list[int]:
    """The units of each hidden layer. ValueError: one that is no count, or a list of another length."""
    if isinstance(width, list) and len(width) != num_layers:
        raise ValueError(
            f"width is {width}, of {len(width)} numbers, and num_layers is {num_layers}. Give one for each layer, or "
            f"num_layers {len(width)}."
        )
    widths = width if isinstance(width, list) else [width] * num_layers
    for each in widths:
        at_least(1, "width", each, "512")
    return widths


def within(output: Output, x: Tensor) -> Tensor:
    """What a last layer gives -> pictures, shape kept. The sigmoid's [0, 1] is stretched to [-1, 1]."""
    if output == "linear":
        return x
    return torch.tanh(x) if output == "tanh" else 2 * torch.sigmoid(x) - 1


@GENERATORS.register("mlp")
class MLPGenerator(nn.Module):
    """Latents (B, in_channels) -> pictures (B, out_channels, size, size) in [-1, 1].

    Args:
        in_channels: numbers in a latent z.
        out_channels, size: of the pictures, which are square.
        classes: how many there are, where `forward` is to be told the class of each picture; else None.
        num_layers: hidden layers.
        width: units of each of them.
        activation: relu, leaky_relu (slope 0.2), tanh or softplus.
        norm: batch or none, after every hidden layer.
        output: sigmoid, stretched from [0, 1] to [-1, 1]; tanh; or linear, whose range has no bounds.
        init: first weights, see `init_weights`.

    Raises:
        ValueError: an argument outside its range; in `forward`, latents of another shape, one latent alone in
            training mode with norm batch, or classes that are missing, not wanted, or of another shape or type.
    """

    takes: ClassVar[str] = "latents"
    sized: ClassVar[bool] = True
    classed: ClassVar[bool] = True
    multiple = minimum = 1

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        size: int,
        classes: int | None = None,
        *,
        num_layers: int = 2,
        width: int = 1200,
        activation: Activation = "relu",
        norm: RowNorm = "none",
        output: Output = "sigmoid",
        init: str = "uniform_0.05",
    ):
        super().__init__()
        at_least(1, "in_channels", in_channels, "100, the length of a latent")
        at_least(1, "out_channels", out_channels, "3, for colour")
        at_least(1, "size", size, "28, MNIST's")
        at_least(1, "num_layers", num_layers, "2")
        at_least(1, "width", width, "1200")
        at_least(1, "classes", 1 if classes is None else classes, "10, MNIST's")
        one_of("norm", norm, RowNorm)
        one_of("output", output, Output)
        self.in_channels, self.out_channels, self.size, self.classes = in_channels, out_channels, size, classes
        self.norm, self.output = norm, output

        self.blocks = nn.ModuleList(
            block(
                linear=nn.Linear(width if i else in_channels + (classes or 0), width, bias=has_bias(norm)),
                norm=nn.BatchNorm1d(width) if norm == "batch" else None,
                act=activation_layer(activation),
            )
            for i in range(num_layers)
        )
        self.head = nn.Linear(width, out_channels * size**2)
        init_weights(self, init)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """(B, in_channels), any range, and classes (B,) -> (B, out_channels, size, size) in [-1, 1], or unbounded if
        linear."""
        check_latents(self, z)
        if self.training and self.norm == "batch" and len(z) == 1:
            raise ValueError("MLPGenerator got one latent; norm batch compares latents in training. Give two or more.")
        z = with_classes(self, z, y)  # (B, in_channels + classes)
        for layer in self.blocks:
            z = layer(z)  # (B, width)
        x = self.head(z).unflatten(1, (self.out_channels, self.size, self.size))  # (B, out_channels, size, size)
        return within(self.output, x)


@DISCRIMINATORS.register("mlp")
class MLPDiscriminator(nn.Module):
    """Pictures (B, in_channels, size, size) in [-1, 1] -> logits (B, outputs).

    Args:
        in_channels: of the picture, or of a pair laid one upon the other.
        size: side of the pictures, which are square.
        classes: how many there are, where `forward` is to be told the class of each picture; else None.
        outputs: numbers in a row of logits.
        num_layers: hidden layers.
        width: units of each of them; or a list, one number for each layer.
        activation: relu, leaky_relu (slope 0.2), tanh or softplus.
        dropout: share of the units of every hidden layer that is dropped in training.
        noise_input: deviation of the normal noise that is added to the picture's numbers in training; to no class.
        noise: the same, of the output of every hidden layer on its way to the next; features are without it.
        weight_norm: length of the rows of every linear layer; those of the last layer are trained from there on, the
            others stay (see `weight_normalise`). None leaves weights as they are.
        spectral_norm: on every linear layer; not with weight norm.
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
        width: int | list[int] = 512,
        activation: Activation = "leaky_relu",
        dropout: float = 0.0,
        noise_input: float = 0.0,
        noise: float = 0.0,
        weight_norm: float | None = None,
        spectral_norm: bool = False,
        init: str = "default",
    ):
        super().__init__()
        at_least(1, "in_channels", in_channels, "3, or 6 for a pair")
        at_least(1, "size", size, "28, MNIST's")
        at_least(1, "classes", 1 if classes is None else classes, "10, MNIST's")
        at_least(1, "outputs", outputs, "1, or 11 to name one of ten classes too")
        at_least(1, "num_layers", num_layers, "2")
        widths = widths_of(num_layers, width)
        share("dropout", dropout, "0, or 0.5 to hold D back")
        not_negative("noise_input", noise_input, "0, or 0.6, which is 0.3 of pictures in [0, 1]")
        not_negative("noise", noise, "0, or 0.5")
        if weight_norm is not None:
            above_zero("weight_norm", weight_norm, "null, which is off, or 1.3")
            if spectral_norm:
                words = "both say how long a row is. Set weight_norm to null, or spectral_norm to false."
                raise ValueError(f"weight_norm is {weight_norm!r} and spectral_norm true; {words}")
        self.in_channels, self.size, self.classes, self.outputs = in_channels, size, classes, outputs

        self.noise_input = Noise(noise_input) if noise_input else nn.Identity()
        self.blocks = nn.ModuleList(
            block(
                noise=Noise(noise) if noise and i else None,
                linear=nn.Linear(widths[i - 1] if i else in_channels * size**2 + (classes or 0), widths[i]),
                act=activation_layer(activation),
                dropout=nn.Dropout(dropout) if dropout else None,
            )
            for i in range(num_layers)
        )
        self.noise = Noise(noise) if noise else nn.Identity()
        self.head = nn.Linear(widths[-1], outputs)
        init_weights(self, init)
        if weight_norm is not None:
            for layer in self.blocks:
                weight_normalise(layer.linear, weight_norm, trained=False)
            weight_normalise(self.head, weight_norm, trained=True)
        if spectral_norm:
            spectral_normalise(self)

    def forward(
        self, x: Tensor, y: Tensor | None = None, features: bool = False
    ) -> Tensor | tuple[Tensor, list[Tensor]]:
        """(B, in_channels, size, size) in [-1, 1], and classes (B,) -> logits (B, outputs).

        With features=True: (logits, [the output of each hidden layer, (B, width)]), from this one forward.
        """
        check_sized(self, x)
        x, seen = with_classes(self, self.noise_input(x.flatten(1)), y), []  # (B, in_channels size^2 + classes)
        for layer in self.blocks:
            x = layer(x)  # (B, width)
            seen.append(x)
        logits = self.head(self.noise(x))  # (B, outputs)
        return (logits, seen) if features else logits


@ENCODERS.register("mlp")
class MLPEncoder(nn.Module):
    """Pictures (B, in_channels, size, size) in [-1, 1] -> mean and log variance of a normal distribution of latents.

    Args:
        in_channels: of the picture.
        latent: numbers in a latent z.
        size: side of the pictures, which are square.
        num_layers: hidden layers.
        width: units of each of them.
        activation: relu, leaky_relu (slope 0.2), softplus or tanh, which is Kingma and Welling's.
        init: first weights, see `init_weights`.

    Raises:
        ValueError: an argument outside its range; in `forward`, pictures of other channels or sides.
    """

    takes: ClassVar[str] = "pictures"
    sized: ClassVar[bool] = True
    classed: ClassVar[bool] = False
    multiple = minimum = 1

    def __init__(
        self,
        in_channels: int,
        latent: int,
        size: int,
        *,
        num_layers: int = 1,
        width: int = 500,
        activation: Activation = "relu",
        init: str = "default",
    ):
        super().__init__()
        at_least(1, "in_channels", in_channels, "3, for colour")
        at_least(1, "latent", latent, "20")
        at_least(1, "size", size, "28, MNIST's")
        at_least(1, "num_layers", num_layers, "1")
        at_least(1, "width", width, "500")
        self.in_channels, self.latent, self.size = in_channels, latent, size

        self.blocks = nn.ModuleList(
            block(
                linear=nn.Linear(width if i else in_channels * size**2, width),
                act=activation_layer(activation),
            )
            for i in range(num_layers)
        )
        self.mu, self.log_var = nn.Linear(width, latent), nn.Linear(width, latent)
        init_weights(self, init)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, in_channels, size, size) in [-1, 1] -> (mu, log sigma^2), each (B, latent), any range."""
        check_sized(self, x)
        x = x.flatten(1)  # (B, in_channels size^2)
        for layer in self.blocks:
            x = layer(x)  # (B, width)
        return self.mu(x), self.log_var(x)
