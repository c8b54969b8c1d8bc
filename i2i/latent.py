"""Latents: the prior p_z(z) that samples are drawn from, and ways from one z to another.

A latent is a row of Z numbers, a batch of them (B, Z).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from i2i.errors import UserError

PriorName = Literal["normal", "uniform"]
_DRAWS: dict[str, Callable[..., Tensor]] = {
    "normal": torch.randn,
    "uniform": lambda *shape, **where: torch.rand(*shape, **where) * 2 - 1,
}


@dataclass(frozen=True)
class Prior:
    """The prior on input noise p_z(z) (Goodfellow et al., 2014, section 3).

    Args:
        name: "normal", N(0, I); or "uniform", every number in [-1, 1), as in the first GAN and in DCGAN.
        size: Z, numbers of a latent.

    Raises:
        UserError: another name, a size below 1.
    """

    name: str
    size: int

    def __post_init__(self):
        if self.name not in _DRAWS:
            raise UserError(f"prior '{self.name}' is not one of {', '.join(_DRAWS)}. Give one of these.")
        if not isinstance(self.size, int) or self.size < 1:
            raise UserError(f"latent size {self.size!r}: a latent has at least one number. Give 100, as in the papers.")

    def draw(self, count: int, device: torch.device | str = "cpu", generator: torch.Generator | None = None) -> Tensor:
        """(count, Z) float32, from `generator` or, by default, the device's global one."""
        return _DRAWS[self.name](count, self.size, device=device, generator=generator)


def linear(a: Tensor, b: Tensor, share: Tensor) -> Tensor:
    """The straight way: (Z,), (Z,) and (N,) shares in [0, 1] -> (N, Z); 0 is `a`, 1 is `b`."""
    return torch.lerp(a[None], b[None], share[:, None].to(a))


def spherical(a: Tensor, b: Tensor, share: Tensor) -> Tensor:
    """The way along the great circle (White, 2016, "Sampling Generative Networks", section 2.1): arguments as `linear`.

        sin((1 - t) w) / sin(w) a + sin(t w) / sin(w) b,    w the angle between a and b

    In many dimensions nearly all of a normal prior lies near one sphere; the straight way leaves it, this one stays.
    Where the two point the same way or opposite ways no great circle is told by them, and the way is the straight one.
    """
    t = share[:, None].double()
    one, other = a.double(), b.double()
    cosine = torch.dot(one, other) / (one.norm() * other.norm()).clamp_min(1e-300)
    angle = torch.arccos(cosine.clamp(-1, 1))
    if not torch.sin(angle) > 1e-6:
        return linear(a, b, share)
    way = (torch.sin((1 - t) * angle) * one + torch.sin(t * angle) * other) / torch.sin(angle)
    return way.to(a.dtype)
