"""The first weights of a network, by name, and what comes after them: weight and spectral normalisation."""

import math
import re

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm as _spectral_norm

from i2i.registry import nearest

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
NUMBERED = ("normal", "uniform", "xavier", "xavier_uniform", "orthogonal")
GRAMMAR = "normal_<std>, uniform_<range>, xavier_<gain>, xavier_uniform_<gain>, orthogonal_<gain>, kaiming, default"
_NUMBER = re.compile(r"(\d+\.?\d*|\.\d+)(e[+-]?\d+)?")


def init_weights(net: nn.Module, init: str) -> None:
    """Draws the weights of every convolution and linear layer of `net`, from torch's global generator.

    Args:
        init: one of
            normal_<std>: weights N(0, std), BatchNorm scales N(1, std); normal_0.02 is DCGAN's (Radford et al., 2016),
                pix2pix's and CycleGAN's.
            uniform_<range>: weights U(-range, range), as the code of Goodfellow et al. (2014) draws them: 0.05 for G's,
                0.005 for D's.
            xavier_<gain>: normal weights of deviation gain * sqrt(2 / (fan-in + fan-out)) (Glorot and Bengio, 2010).
            xavier_uniform_<gain>: uniform weights of that deviation, as Glorot and Bengio draw them (equation 16).
            orthogonal_<gain>: gain times an orthogonal matrix (Saxe et al., 2014).
            kaiming: normal weights of variance 2 / fan-in (He et al., 2015).
            default: as PyTorch left them.
            All but the last set biases and BatchNorm shifts to zero; all but normal leave BatchNorm scales at one. The
            scales and shifts of a `ConditionalNorm` stay one and zero, so that no class begins apart from the others.

    Raises:
        ValueError: an unknown scheme, or a number that is missing, superfluous or not positive; a net that is
            spectrally normalised already, whose true weights would not be reached.
    """
    scheme, number = _parse(init)
    if scheme == "default":
        return
    if any(parameter.is_meta for parameter in net.parameters()):
        return  # on paper there is nothing to fill, and torch would import its whole compiler to do as if
    for module in net.modules():
        if isinstance(module, (*CONVOLUTIONS, nn.Linear)):
            if parametrize.is_parametrized(module):
                raise ValueError(
                    "init_weights got a net whose weights are normalised: it must come before spectral_normalise."
                )
            _draw(module.weight, scheme, number)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.affine and scheme == "normal":
            nn.init.normal_(module.weight, 1.0, number)
            nn.init.zeros_(module.bias)


def _draw(weight: nn.Parameter, scheme: str, number: float) -> None:
    if scheme == "normal":
        nn.init.normal_(weight, 0.0, number)
    elif scheme == "uniform":
        nn.init.uniform_(weight, -number, number)
    elif scheme == "xavier":
        nn.init.xavier_normal_(weight, gain=number)
    elif scheme == "xavier_uniform":
        nn.init.xavier_uniform_(weight, gain=number)
    elif scheme == "orthogonal":
        nn.init.orthogonal_(weight, gain=number)
    else:
        nn.init.kaiming_normal_(weight)


def _parse(init: str) -> tuple[str, float]:
    scheme, underscore, written = str(init).partition("_")
    if scheme == "xavier" and written.startswith("uniform"):
        second, underscore, written = written.partition("_")
        scheme = f"xavier_{second}"
    if scheme in ("kaiming", "default"):
        if underscore:
            raise ValueError(f"init is {init!r}; {scheme} takes no number. Write init: {scheme}.")
        return scheme, math.nan
    if scheme not in NUMBERED:
        hint = nearest(scheme, [*NUMBERED, "kaiming", "default"])
        raise ValueError(f"init is {init!r}; it must be one of {GRAMMAR}.{hint}")
    number = float(written) if _NUMBER.fullmatch(written) else math.nan
    if not 0 < number < math.inf:
        raise ValueError(f"init is {init!r}; {scheme}_ must be followed by a positive number, as in {scheme}_0.02.")
    return scheme, number


def spectral_normalise(net: nn.Module) -> None:
    """Divides the weight of every convolution and linear layer by its largest singular value.

    The weight is taken as a matrix of one row per output channel. A linear layer is then 1-Lipschitz; a convolution
    need not be, since its kernels overlap.

    Spectral normalization (Miyato et al., 2018), Algorithm 1: one power iteration per forward in training mode, none in
    eval mode. Comes after `init_weights`, whose values are those of the true weights.
    """
    for module in list(net.modules()):
        if isinstance(module, (*CONVOLUTIONS, nn.Linear)):
            _spectral_norm(module)


class RowScale(nn.Module):
    """v -> s v / |v|, row by row: a matrix (units, F) whose rows have the lengths s, (units, 1).

    Args:
        units: rows.
        length: of every row at first.
        trained: whether s is a parameter; else it is a buffer, and only the rows' directions are learnt.
    """

    def __init__(self, units: int, length: float, trained: bool):
        super().__init__()
        scale = torch.full((units, 1), length)
        if trained:
            self.scale = nn.Parameter(scale)
        else:
            self.register_buffer("scale", scale)

    def forward(self, v: Tensor) -> Tensor:
        """(units, F), no row of zeros -> (units, F)."""
        return v * (self.scale / v.norm(dim=1, keepdim=True))

    def right_inverse(self, weight: Tensor) -> Tensor:
        """v: the weight itself, whose own lengths then say only how fast its directions turn."""
        return weight


def weight_normalise(layer: nn.Linear, length: float, trained: bool) -> None:
    """Splits the rows of a linear layer into direction and length (Salimans and Kingma, 2016, equation 2).

    Comes after `init_weights`, whose draw is v.

    Args:
        length: of every row at first, above 0.
        trained: whether the lengths are, too. The code of Salimans et al. (2016) trains those of D's last layer alone:
            the other layers cannot outgrow the noise that is added to what they give.
    """
    parametrize.register_parametrization(layer, "weight", RowScale(len(layer.weight), length, trained))
