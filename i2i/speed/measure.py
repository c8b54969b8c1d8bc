"""What a measure is, and what it is told about the run that it may speed up."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from i2i.nets.shapes import classes, inputs
from i2i.speed.trial import forward_backward, untouched


@dataclass
class Work:
    """A training that is about to begin.

    Args:
        method: with its networks, optimizers and runtime.
        crop: side of the training pictures, px.
        batch_size: pictures of a batch in this process.
        steps: how many are still to be made.
        compiled: whether torch.compile has the networks: what runs inside them is then its business.
        wanted: train.speed; measures that are `asked` for are tried where it names them.
        taken: layers that an earlier measure has, by name.
    """

    method: Any
    crop: int
    batch_size: int
    steps: int
    compiled: bool = False
    wanted: str = "auto"
    taken: set[str] = field(default_factory=set)
    notes: dict[str, str] = field(default_factory=dict)  # measure -> what its probe found, in words
    declined: list[str] = field(default_factory=list)  # what cannot be here, and why, in words

    @property
    def device(self) -> torch.device:
        return self.method.runtime.device

    @property
    def fp32(self) -> bool:
        """Whether the networks compute in the precision of their weights, and not in another one."""
        return self.method.runtime.precision == "fp32"

    @property
    def largest(self) -> nn.Module:
        """The network with the most weights: where most of a step's time goes."""
        return max(self.method.nets.values(), key=lambda net: sum(p.numel() for p in net.parameters()))

    @property
    def generators(self) -> tuple[str, ...]:
        """The names of the networks that users get."""
        return tuple(self.method.exports.values())

    def made_up(self, net: nn.Module, batches: int = 1, side: int | None = None) -> tuple[Tensor, ...]:
        """Random arguments of `net`: as many batches in a row, in [-1, 1], with classes where it is told some; pictures
        of the crop's side if no other is given."""
        rows = batches * self.batch_size
        weight = next(net.parameters())
        shape = inputs(net, rows, side or self.crop)
        pictures = torch.rand(shape, device=weight.device, dtype=weight.dtype) * 2 - 1
        return (pictures, *classes(net, rows, self.device))

    def passing(self, net: nn.Module) -> Callable[[], None]:
        """One forward and backward of `net` on made-up pictures, as a function to be timed; it leaves no trace."""

        def act() -> None:
            with untouched(net):
                forward_backward(net, *self.made_up(net))

        return act


class Measure:
    """One way to be faster.

    What it picked is JSON that says all; false (False, [], None) where it does not pay. `apply` of the same JSON to the
    same recipe gives a training of the same bits, on every machine of one kind.

    Attributes:
        name: the key of what it picked, in a run's choice.
        devices: where it is of use.
        rounds: whether results differ by rounding; else they keep every bit.
        everywhere: whether it changes the whole process, so that what is tried after it feels it.
        timed_on: devices where it must be timed to know whether it pays; elsewhere it is picked however short the run.
        asked: whether it is tried only where train.speed is its name.
    """

    name: str
    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    rounds: ClassVar[bool] = True
    everywhere: ClassVar[bool] = False
    timed_on: ClassVar[tuple[str, ...]] = ("cpu", "cuda", "mps")
    asked: bool = False

    def pick(self, work: Work, probe) -> Any:
        """Tries itself out on `work`, which is afterwards as it was."""
        raise NotImplementedError

    def apply(self, work: Work, picked: Any) -> Callable[[], None]:
        """Takes effect on `work`; returns what takes back an effect beyond it, on the whole process.

        Raises:
            UserError: `picked` names what this training has not.
        """
        raise NotImplementedError

    def words(self, picked: Any) -> str:
        """What was picked, as a clause."""
        raise NotImplementedError


def nothing() -> None:
    """Of a measure that ends with the objects that it changed."""
