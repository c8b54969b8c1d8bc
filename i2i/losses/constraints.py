"""Constraints on D's slope: a penalty added to its loss, or a projection after its update.

clip and gp keep D (nearly) 1-Lipschitz; r1 and r2 pull its slope towards 0 where pictures are, and set no bound.

Every constraint has `penalty(D, real, fake)`, a scalar to add to D's loss, and `project(D)`, to be called after D's
update. `lipschitz` says whether it bounds D's slope, as the Wasserstein objective needs; `per_sample` whether it takes
D's value on one picture to depend on that picture alone, which BatchNorm in D contradicts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from i2i.losses import CONSTRAINTS


@CONSTRAINTS.register("none")
@dataclass(frozen=True, kw_only=True)
class Unconstrained:
    """D is left as it is: a penalty of 0, no projection."""

    lipschitz: ClassVar[bool] = False
    per_sample: ClassVar[bool] = False

    def penalty(self, D: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        """Zero, shape (), on the device of `real`."""
        return real.new_zeros(())

    def project(self, D: nn.Module) -> None:
        """Leaves D as it is."""


@CONSTRAINTS.register("clip")
@dataclass(frozen=True, kw_only=True)
class Clip(Unconstrained):
    """Weight clipping (Arjovsky et al., 2017, Algorithm 1): every parameter of D stays in [-value, value].

    Raises:
        ValueError: a `value` that is not above 0.
    """

    value: float = 0.01

    lipschitz: ClassVar[bool] = True

    def __post_init__(self):
        if not self.value > 0:
            raise ValueError(f"value of clip is {self.value}: it must be above 0; the paper takes 0.01")

    @torch.no_grad()
    def project(self, D: nn.Module) -> None:
        """Clamps every parameter of D in place, scales and shifts of its normalisations included, as the authors do."""
        for parameter in D.parameters():
            parameter.clamp_(-self.value, self.value)


@CONSTRAINTS.register("gp")
@dataclass(frozen=True, kw_only=True)
class GradientPenalty(Unconstrained):
    """WGAN-GP's two-sided penalty (Gulrajani et al., 2017, equation 3 and Algorithm 1):

        weight * E[(||d D(x_hat) / d x_hat||_2 - 1)^2],   x_hat = u * real + (1 - u) * fake,   u ~ U[0, 1)

    with one u per sample. The critic's value D(x_hat) of a picture is the mean of its patch logits, and of the scales
    where there are several; the norm is taken over all entries of that one picture.

    Raises:
        ValueError: a `weight` below 0.
    """

    weight: float = 10.0

    lipschitz: ClassVar[bool] = True
    per_sample: ClassVar[bool] = True

    def __post_init__(self):
        _check_weight("gp", self.weight)

    def penalty(self, D: Callable[[Tensor], Tensor | Sequence[Tensor]], real: Tensor, fake: Tensor) -> Tensor:
        """The weighted penalty: two batches (B, C, H, W) -> scalar whose graph reaches D's parameters.

        No gradient flows into `real` or `fake`. A constant that D adds to its value, as the bias of its last layer,
        cannot change the penalty and gets no gradient from it.

        Raises:
            ValueError: batches of two shapes.
        """
        if real.shape != fake.shape:
            raise ValueError(
                f"real is {tuple(real.shape)}, fake {tuple(fake.shape)}: gp mixes them, make both of one shape"
            )
        real, fake = _raised(real.detach()), _raised(fake.detach())
        u = torch.rand(len(real), *[1] * (real.dim() - 1), device=real.device)
        slope = _slope(D, u * real + (1 - u) * fake)
        return self.weight * (torch.linalg.vector_norm(slope, dim=1) - 1).square().mean()


@CONSTRAINTS.register("r1")
@dataclass(frozen=True, kw_only=True)
class R1(Unconstrained):
    """The zero-centred penalty on real pictures (Mescheder et al., 2018, "Which Training Methods for GANs do actually
    Converge?", section 4.1):

        weight / 2 * E[||d D(x) / d x||_2^2],   x real

    D's value and the norm are taken as gp takes them: the mean of patch logits and of scales, all entries of a picture.

    Raises:
        ValueError: a `weight` below 0.
    """

    weight: float = 10.0

    per_sample: ClassVar[bool] = True

    def __post_init__(self):
        _check_weight("r1", self.weight)

    def penalty(self, D: Callable[[Tensor], Tensor | Sequence[Tensor]], real: Tensor, fake: Tensor) -> Tensor:
        """The weighted penalty on `real`, (B, C, H, W) -> scalar whose graph reaches D's parameters, not the pictures;
        `fake` is not looked at."""
        return self.weight / 2 * _slope(D, real).square().sum(1).mean()


@CONSTRAINTS.register("r2")
@dataclass(frozen=True, kw_only=True)
class R2(R1):
    """As r1, but on generated pictures (Mescheder et al., 2018, section 4.1)."""

    def __post_init__(self):
        _check_weight("r2", self.weight)

    def penalty(self, D: Callable[[Tensor], Tensor | Sequence[Tensor]], real: Tensor, fake: Tensor) -> Tensor:
        """The weighted penalty on `fake`, (B, C, H, W) -> scalar whose graph reaches D's parameters, not the pictures;
        `real` is not looked at."""
        return super().penalty(D, fake, real)


def _check_weight(name: str, weight: float) -> None:
    if not weight >= 0:
        raise ValueError(f"weight of {name} is {weight}: it must be at least 0; the paper takes 10")


def _slope(D: Callable[[Tensor], Tensor | Sequence[Tensor]], x: Tensor) -> Tensor:
    """d D(x) / d x, each picture's own: (B, C, H, W) -> (B, C H W), with a graph that reaches D but not x."""
    x = _raised(x.detach()).requires_grad_()
    (slope,) = torch.autograd.grad(_value(D(x)).sum(), x, create_graph=True)  # the sum keeps samples apart
    return slope.flatten(1)


def _value(logits: Tensor | Sequence[Tensor]) -> Tensor:
    """The critic's value of each picture: logits (B, ...) or a list of them -> (B,)."""
    scales = [logits] if isinstance(logits, Tensor) else logits
    return torch.stack([_raised(scale).reshape(len(scale), -1).mean(1) for scale in scales]).mean(0)


def _raised(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))  # bfloat16 is too coarse for slopes and means
