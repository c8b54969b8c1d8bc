"""Device, precision, processes, and the one door to the weights. The only file that imports accelerate."""

import types
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.tracking import LOGGER_TYPE_TO_CLASS
from torch import Tensor, nn

from i2i.engine.averaging import average, settle
from i2i.engine.liveness import Everywhere
from i2i.engine.processes import Processes
from i2i.engine.recompute import recompute
from i2i.errors import UserError
from i2i.optimizers import guarded_step
from i2i.optimizers import step as update
from i2i.speed.together import foreseen


class NotFinite(Everywhere):
    """A loss or a gradient became infinite or NaN; no weight was touched by it."""


@dataclass
class Failure:
    """The first update that the finite gate stopped."""

    step: int
    group: str
    scalar: str  # "loss" or "gradient norm"
    value: float

    def __str__(self) -> str:
        return (
            f"step {self.step}: the {self.scalar} of {self.group} is {self.value}. Training stops: that update and "
            "every later one was left out, and nothing was saved since. What was saved before is intact. Start anew "
            "(--fresh) with a lower optimizer.*.lr, with train.clip_grad, or with train.precision=fp32."
        )


class Runtime:
    """Carries out what a method asks for.

    Args:
        device: auto (cuda, then mps, then cpu) | cuda | mps | cpu.
        precision: fp32, or bf16: autocast inside each network's forward, fp32 weights, fp32 outputs.
        clip_grad: largest gradient norm of a group, or None.
        branch: whether `descend` may look at values on the host (free on a CPU, a wait elsewhere); None: by device.
        recomputed: activation checkpointing, for every network (see `recompute`).
        processes: those that train together (see `joined`); None: this one alone.
    """

    def __init__(
        self, device: str = "auto", precision: str = "fp32", clip_grad: float | None = None, branch: bool | None = None,
        *, recomputed: bool = False, processes: Processes | None = None,
    ):  # fmt: skip
        self.processes = processes or Processes()
        self.accelerator = _accelerator(device, self.processes)
        self.device = self.accelerator.device
        self.precision, self.clip_grad, self.recomputed = precision, clip_grad, recomputed
        self.branch = self.device.type == "cpu" if branch is None else branch
        self.ema = None
        self.at_once: set[nn.Module] = set()  # networks whose foreseen calls are one batch, see `i2i.speed.together`
        self.captured = False  # whether a step is recorded once and replayed, see `i2i.speed.graph`
        self._failure: Failure | None = None
        # what changes from step to step lies on the device, and is changed in place: a replayed step knows it by its
        # address alone
        self._bad = torch.zeros((), device=self.device)
        wide = torch.float64 if self.device.type != "mps" else torch.float32
        self._record, self._now = torch.zeros(4, device=self.device, dtype=wide), self._bad.to(wide)
        self.step = 0

    @property
    def step(self) -> int:
        """Set by the loop; named in a failure."""
        return self._step

    @step.setter
    def step(self, number: int) -> None:
        self._step = number
        if not self.branch:
            self._now.fill_(number)

    def rates_on_device(self, method) -> None:
        """Learning rates become tensors on the device, so that a replayed step has the rate of its own step."""
        for optimizer in method.optimizers.values():
            for place in optimizer.param_groups:
                place["lr"] = torch.tensor(float(place["lr"]), dtype=torch.float32, device=self.device)

    @property
    def fused(self) -> bool:
        """Whether optimizers must take the gate's flag on the device (see `optimizers.guarded_step`)."""
        return not self.branch

    def prepare(self, net: nn.Module) -> nn.Module:
        """The network on the device; under bf16 its forward, wherever it is called from, runs in autocast.

        Of several processes on CUDA, BatchNorm normalises with the pictures of all; gloo has no such way.
        """
        if self.processes.several and self.device.type == "cuda":
            net = nn.SyncBatchNorm.convert_sync_batchnorm(net)
        net = net.to(self.device)
        if self.recomputed:
            recompute(net)
        if self.precision == "bf16":
            # bound to the network, so that a deepcopy's forward runs the copy and not the original
            net.forward = types.MethodType(_forward_in_bf16, net)
        return net

    def tracker(self, name: str, project: str, folder: Path, **options):
        """Accelerate's tracker of that name, started; what its library raises is raised."""
        kind = LOGGER_TYPE_TO_CLASS[name]
        tracker = kind(project, *([str(folder)] if kind.requires_logging_directory else []), **options)
        tracker.start()
        return tracker

    def to_device(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """A batch on the device; the copy does not wait."""
        return {key: value.to(self.device, non_blocking=True) for key, value in batch.items()}

    def reseed(self, seed: int) -> None:
        """torch.manual_seed for the host and this device alone: that one also prepares to seed devices that are not
        there, which takes longer than a small network's backward."""
        torch.default_generator.manual_seed(seed)
        if self.device.type != "cpu":
            torch.get_device_module(self.device).manual_seed(seed)

    def foreseen(self, *calls: tuple):
        """A context in which a method will call (network, picture, picture, ...): each once, in any order.

        As it says, nothing changes by it. Where it was found to pay and to change no output, those of one network are
        computed in one batch, when the first of them is asked for.
        """
        return foreseen(calls, self.at_once)

    def descend(self, method, group: str, loss: Tensor) -> None:
        """Backward, clipping, finite gate, update and EMA of one group of `method`.

        When the loss or the gradient norm is not finite, this update and every later one is left out: weights,
        optimizer state and EMA keep their bits, and the failure names step, group and scalar. Without `branch` nothing
        waits for the device.

        Of several processes each has the gradient of its share of the batch. Their average is taken here, with that of
        the loss, once for each update and before anything looks at either: so clipping and gate decide alike in all,
        and all stay equal, bit for bit. DistributedDataParallel is not used: it wraps one network and averages while
        that network goes backward, but here several networks are updated as one group while others are frozen, and a
        network's gradient may come from several forwards or from a gradient of a gradient.
        """
        optimizer = method.optimizers[group]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        loss = loss.detach()
        parameters = [p for g in optimizer.param_groups for p in g["params"]]
        if self.processes.several:
            loss = average(self.processes, parameters, loss)
        grads = [p.grad for p in parameters if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(grads)
        bad = self._gate(method, group, loss, norm)
        if bad is not None and self.branch:
            return
        if self.clip_grad is not None:
            scale = torch.clamp(self.clip_grad / (norm + 1e-6), max=1.0)
            torch._foreach_mul_(grads, scale)
        if self.branch:
            update(optimizer)
        else:
            guarded_step(optimizer, bad)
        if self.ema is not None:
            for name in method.groups[group]:
                if name in self.ema.nets:
                    self.ema.update(name, method.nets[name], bad)

    def _gate(self, method, group: str, loss: Tensor, norm: Tensor) -> Tensor | None:
        """With `branch`: None when the update may be made. Else the flag on the device, 1 from the first bad one on."""
        if self.branch:
            if self._failure is None and not (torch.isfinite(loss) and torch.isfinite(norm)):
                self._failure = _failure(self.step, group, float(loss), float(norm))
            return None if self._failure is None else self._bad
        now = 1.0 - (torch.isfinite(loss) & torch.isfinite(norm)).to(self._bad.dtype)
        number = torch.full_like(self._now, list(method.groups).index(group))
        seen = torch.stack([self._now, number, loss.to(self._now), norm.to(self._now)])
        self._record.copy_(torch.where((self._bad == 0) & (now > 0), seen, self._record))
        self._bad.copy_(torch.maximum(self._bad, now))
        return self._bad

    def settle(self, method) -> None:
        """After a step: what each of several processes has moved by itself becomes the same in all."""
        if self.processes.several:
            averages = self.ema.nets.values() if self.ema is not None else ()
            settle(self.processes, [*method.nets.values(), *averages])

    def check_finite(self, method) -> None:
        """Reads the flag (a wait on a device); NotFinite when it is set."""
        if self._failure is None and not self.branch and float(self._bad):
            step, index, loss, norm = self._record.tolist()
            self._failure = _failure(int(step), list(method.groups)[int(index)], loss, norm)
        if self._failure is not None:
            raise NotFinite(str(self._failure))


def _failure(step: int, group: str, loss: float, norm: float) -> Failure:
    wrong = not torch.isfinite(torch.tensor(loss))
    return Failure(step, group, "loss" if wrong else "gradient norm", loss if wrong else norm)


def _accelerator(device: str, processes: Processes) -> Accelerator:
    """Accelerate keeps its choice of device for the life of a process; here each runtime may choose anew."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device != "auto" and not available.get(device, False):
        usable = ", ".join(name for name, there in available.items() if there)
        known = device in available
        raise UserError(
            f"--device {device}: {'this machine has none' if known else 'no such device'}. Usable here: auto, {usable}."
        )
    AcceleratorState._reset_state(reset_partial_state=True)
    device = processes.device or device  # what all processes agreed on
    accelerator = Accelerator(cpu=device == "cpu", mixed_precision="no")
    if accelerator.num_processes != processes.count:
        raise UserError(
            f"{accelerator.num_processes} processes were launched, and this runtime is of {processes.count}. "
            "Train with i2i.train, which joins them, or start without a launcher."
        )
    return accelerator


def _forward_in_bf16(net: nn.Module, pictures: Tensor, *classes: Tensor, **kwargs):
    with torch.autocast(pictures.device.type, dtype=torch.bfloat16):
        return _to_fp32(type(net).forward(net, pictures, *classes, **kwargs))


def _to_fp32(output):
    if isinstance(output, Tensor):
        return output.float()
    return type(output)(_to_fp32(part) for part in output)
