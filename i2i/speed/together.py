"""A network that a step calls on several pictures gets them as one batch, where that changes no output.

It changes none where the network treats each row of a batch by itself and a call leaves nothing behind: no BatchNorm,
no dropout, no vectors of a spectral norm. The weights are then read once for all, and their gradients are summed in one
product. A step says beforehand what it will ask (`foreseen`), and then asks as the paper writes it.
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from i2i.errors import UserError
from i2i.nets.layers import Noise
from i2i.speed.measure import Measure, Work, nothing
from i2i.speed.probe import milliseconds
from i2i.speed.trial import forward_backward, untouched

# layers of which a row of a batch comes out as it would alone; of others, nothing is taken for granted
BY_ROW = (
    nn.Conv2d, nn.ConvTranspose2d, nn.Linear, nn.InstanceNorm2d, nn.Identity, nn.Upsample, nn.PixelShuffle,
    nn.ReLU, nn.LeakyReLU, nn.Tanh, nn.Softplus, nn.Flatten,
)  # fmt: skip


class Together(Measure):
    """Networks that the method `foresees` to call more than once; of those that are alike, one is timed for all."""

    name = "together"
    devices = ("cpu", "cuda")
    timed_on = ("cpu",)  # a card is not busy enough with one picture for it to cost anything

    def pick(self, work: Work, probe) -> list[str]:
        names = [name for name in work.method.foresees if row_by_row(work.method.nets[name])]
        if work.compiled:
            return []
        if work.device.type not in self.timed_on:
            return names
        alike: dict[tuple, list[str]] = {}
        for name in names if work.fp32 else ():
            net = work.method.nets[name]
            alike.setdefault((type(net), *(p.shape for p in net.parameters())), []).append(name)
        picked, notes = [], []
        for group in alike.values():
            if (note := self._pays(work, work.method.nets[group[0]], probe)) is not None:
                picked += group
                notes.append(f"{group[0]}: {note}")
        work.notes[self.name] = ", ".join(notes)
        return picked

    def _pays(self, work: Work, net: nn.Module, probe) -> str | None:
        """What the probe found of two pictures in one batch, where it pays."""
        side = _half(net, work.crop)

        def apart() -> None:
            with untouched(net):
                outputs = [net(*work.made_up(net, side=side)) for _ in range(2)]
                sum(y.mean() for y in outputs).backward()

        def at_once() -> None:
            with untouched(net):
                forward_backward(net, *work.made_up(net, batches=2, side=side))

        if not probe.affords(8 * (side / work.crop) ** 2):  # two passes each way, to warm up and once more
            return None
        way, seconds = probe.fastest({"apart": apart, "at once": at_once})
        if way == "apart":
            return None
        return f"two pictures of {side} px {milliseconds(seconds['apart'], seconds['at once'])}"

    def apply(self, work: Work, picked: list[str]) -> Callable[[], None]:
        for name in picked:
            if name not in work.method.foresees or not row_by_row(work.method.nets[name]):
                raise UserError(f"this run's choice of speed batches the calls of '{name}', which cannot be here.")
        work.method.runtime.at_once = {work.method.nets[name] for name in picked}
        return nothing

    def words(self, picked: list[str]) -> str:
        return f"calls of {', '.join(picked)} that are known beforehand in one batch"


def _half(net: nn.Module, crop: int) -> int:
    """About half the side, which is a quarter of the work and tells as much; the whole, where no smaller one fits."""
    side = crop // 2 // net.multiple * net.multiple
    return crop if net.sized or side < max(net.minimum, 1) else side


def row_by_row(net: nn.Module) -> bool:
    """Whether each picture of a batch comes out as it would alone, and a call leaves nothing behind in `net`."""
    if any(True for _ in net.buffers()):
        return False
    for module in net.modules():
        leaf = next(module.children(), None) is None
        known = isinstance(module, BY_ROW) or not type(module).__module__.startswith("timm")
        if isinstance(module, Noise) or not known or (leaf and not isinstance(module, BY_ROW)):
            return False
    return True


@contextmanager
def foreseen(calls: Collection[tuple], at_once: Collection[nn.Module]) -> Iterator[None]:
    """Inside, each (network, picture, picture, ...) of `calls` whose network is in `at_once` is computed as one batch,
    when the network is first called with one of these very tensors, and handed out as they are asked for.

    Anything else that a network is called with, and a second call with the same tensor, is computed as ever.
    """
    with ExitStack() as stack:
        for net, *pictures in calls:
            if net in at_once:
                stack.enter_context(_batched(net, pictures))
        yield


@contextmanager
def _batched(net: nn.Module, pictures: list[Tensor]) -> Iterator[None]:
    own, forward = net.__dict__.get("forward"), net.forward
    waiting: dict[int, Tensor] = {}
    asked: set[int] = set()

    def looked_up(x: Tensor, *more: Tensor, **options):
        place = next((number for number, picture in enumerate(pictures) if picture is x), None)
        if place is None or place in asked or more or options:
            return forward(x, *more, **options)
        if not asked:
            outputs = forward(torch.cat(pictures)).split([len(picture) for picture in pictures])
            waiting.update(enumerate(outputs))
        asked.add(place)
        return waiting.pop(place)

    net.forward = looked_up
    try:
        yield
    finally:
        if own is None:
            del net.forward
        else:
            net.forward = own
