"""Convolutions on a card with the channels of a pixel side by side in memory, as its matrix units want to read them.

The layout of the weights decides: what a convolution with such weights gives comes out in the same layout, and the
layers after it keep it. Results differ by rounding, since other kernels sum in another order. A kernel that is wrong
in one layout, as InstanceNorm's gradient is on a CPU (torch 2.15), would be wrong in silence; so a network is laid out
anew only after its gradients in both layouts have been held against float64.
"""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from i2i.errors import UserError
from i2i.nets.shapes import parts
from i2i.speed.graph import PLAIN_STEPS, CUDARecorder
from i2i.speed.measure import Measure, Work, nothing
from i2i.speed.probe import GAIN, milliseconds
from i2i.speed.trial import forward_backward

ENOUGH = 1000  # steps; a trial takes about as long as 100 of them
PASSES = 20  # that are timed as one
WORSE = 4.0  # times the error of the usual layout that the other one's gradients may have
FLOOR = 1e-6  # relative error that is rounding in any layout


class ChannelsLast(Measure):
    """Network by network, where it is faster and its gradients are right."""

    name = "layout"
    devices = ("cuda",)
    timed_on = ()  # by other means: a clock on the host would see launches

    def pick(self, work: Work, probe) -> list[str]:
        if work.steps < ENOUGH or work.compiled:
            return []
        chosen, notes = [], []
        for name, net in work.method.nets.items():
            if not convolutional(net):
                continue
            usual, other = (replayed(work, laid_out(copy.deepcopy(net), format)) for format in FORMATS)
            if other <= GAIN * usual and (error := worse(work, net)) is None:
                chosen.append(name)
                notes.append(f"{name} {milliseconds(usual, other)}")
            elif other <= GAIN * usual:
                notes.append(f"not {name}: {error}")
        work.notes[self.name] = ", ".join(notes)
        return chosen

    def apply(self, work: Work, picked: list[str]) -> Callable[[], None]:
        for name in picked:
            if name not in work.method.nets or not convolutional(work.method.nets[name]):
                raise UserError(f"this run's choice of speed lays out the weights of '{name}', which cannot be here.")
            lay_out(work, name)
        return nothing

    def words(self, picked: list[str]) -> str:
        return f"{', '.join(picked)} with channels last"


FORMATS = (torch.contiguous_format, torch.channels_last)


def force(work: Work) -> None:
    """train.channels_last: every convolutional network, tested but not timed.

    Raises:
        UserError: not on a CUDA card; a network whose gradients come out wrong.
    """
    if work.device.type != "cuda":
        raise UserError(
            f"train.channels_last is true, and this run is on {work.device.type}: on a CPU InstanceNorm's gradients "
            "come out wrong in that layout. Set it to false, or train on a CUDA card."
        )
    for name in [name for name, net in work.method.nets.items() if convolutional(net)]:
        if error := worse(work, work.method.nets[name]):
            raise UserError(
                f"train.channels_last is true, but on this card it spoils {name}: {error}. Set it to false."
            )
        lay_out(work, name)


def lay_out(work: Work, name: str) -> None:
    """The network, and its average, with channels last; optimizers follow (see `optimizers.step`)."""
    laid_out(work.method.nets[name], torch.channels_last)
    if (ema := work.method.runtime.ema) is not None and name in ema.nets:
        laid_out(ema.nets[name], torch.channels_last)


def laid_out(net: nn.Module, format: torch.memory_format) -> nn.Module:
    return net.to(memory_format=format)


def convolutional(net: nn.Module) -> bool:
    """Whether anything in it cares."""
    return any(isinstance(module, nn.Conv2d | nn.ConvTranspose2d) for module in net.modules())


def worse(work: Work, net: nn.Module) -> str | None:
    """What is wrong with the gradients of `net` in the other layout; None where they are as right as in the usual one.

    All are of one forward and backward from the same weights and pictures, without dropout, held against float64.
    """
    pictures, *labels = work.made_up(net)
    exact = gradients(copy.deepcopy(net).double(), pictures.double(), *labels)
    usual, other = (
        _error(gradients(laid_out(copy.deepcopy(net), format), pictures, *labels), exact) for format in FORMATS
    )
    if other <= WORSE * max(usual, FLOOR):
        return None
    return f"its gradients are {other:.1e} off in that layout, and {usual:.1e} in the usual one"


def gradients(net: nn.Module, *inputs: Tensor) -> list[Tensor]:
    """Of the weights, and of the pictures that come first in `inputs`."""
    for module in net.modules():
        if isinstance(module, _DropoutNd):
            module.eval()
    pictures, labels = inputs[0].clone().requires_grad_(), inputs[1:]
    weight = torch.linspace(-1, 1, pictures.shape[-1], device=pictures.device, dtype=pictures.dtype)
    outputs = parts(net.requires_grad_(True)(pictures, *labels))
    # the mean of an output that InstanceNorm made says nothing of what is before it: columns count differently
    loss = sum((part * weight[: part.shape[-1]].to(part)).sum() if part.dim() > 2 else part.sum() for part in outputs)
    loss.backward()
    return [pictures.grad, *(p.grad for p in net.parameters() if p.grad is not None)]


def _error(found: list[Tensor], exact: list[Tensor]) -> float:
    """The largest difference, relative to the largest entry of its own tensor."""
    largest = [max(float(right.abs().max()), 1e-30) for right in exact]
    scale = max(largest)
    # a bias behind a norm has a gradient of pure rounding: it is held against the largest of all
    pairs = zip(found, exact, largest, strict=True)
    return max(float((mine.double() - right).abs().max()) / max(size, 1e-3 * scale) for mine, right, size in pairs)


def replayed(work: Work, net: nn.Module) -> float:
    """Seconds of a forward and backward, of several played back as one CUDA graph: launches do not count."""
    inputs, recorder = work.made_up(net), CUDARecorder(work.device)

    def passes(count: int) -> dict[str, Tensor]:
        for _ in range(count):
            net.zero_grad(set_to_none=True)
            forward_backward(net, *inputs)
        return {}

    recorder.plainly(lambda: passes(PLAIN_STEPS))
    replay, _ = recorder.recorded(lambda: passes(PASSES))
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    replay()
    start.record()
    replay()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1e3 / PASSES
