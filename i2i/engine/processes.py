"""The processes of one training, as torchrun or `accelerate launch` starts them, and what they tell each other.

Small things (a signal, a logged loss, a broken file) go over the host with gloo, whatever the device; gradients go by
the device's own way, nccl on CUDA. What is exchanged is tensors and JSON, never a pickle.
"""

import contextlib
import functools
import importlib
import json
import os
import platform
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from i2i import __version__
from i2i.engine.liveness import Everywhere, Place, Watch
from i2i.errors import UserError

JOINING = timedelta(minutes=10)  # for all processes to be there
PATIENCE = timedelta(hours=2)  # for a process that is alive and busy: a death is noticed otherwise, see Watch
_uses = 0  # how often this program has trained: each has its own names in the launcher's store


def launched() -> Place | None:
    """Where this process stands among those of a launcher; None when it was started alone.

    Raises:
        UserError: a launcher that says too little.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        # `accelerate launch --cpu --num_processes N` sets the address and starts one process, N is nowhere to be found
        if "ACCELERATE_MIXED_PRECISION" in os.environ and "MASTER_PORT" in os.environ and "RANK" not in os.environ:
            raise UserError(
                "`accelerate launch --cpu --num_processes N` starts one process, not N, unless it has MPI. "
                "Use  torchrun --nproc_per_node N -m -- i2i train ... --device cpu  or  "
                "accelerate launch --multi_gpu --num_processes N -m i2i train ... --device cpu"
            )
        return None
    missing = [
        name for name in ("RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
        if name not in os.environ
    ]  # fmt: skip
    if missing:
        raise UserError(
            f"WORLD_SIZE is {os.environ['WORLD_SIZE']} and {', '.join(missing)} is not set: the launcher says too "
            "little. Start with torchrun --nproc_per_node N -m -- i2i train ..., or without WORLD_SIZE for one process."
        )
    return Place(*(int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")))


class Processes:
    """All processes of a training, seen from one of them. Alone, every method answers at once and changes nothing.

    Attributes:
        rank, count: this process, counted from 0, of how many.
        leads: whether this is process 0, which alone speaks, logs and writes.
        device: what they agreed on, "cpu" or "cuda"; None when alone.
    """

    def __init__(self, place: Place = Place(), device: str | None = None, watch: Watch | None = None):  # noqa: B008
        self.place, self.device, self.watch = place, device, watch
        self.rank, self.count = place.rank, place.count

    @property
    def several(self) -> bool:
        return self.count > 1

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def share_of(self, batch_size: int) -> int:
        """This process's pictures of a global batch; UserError when it cannot be divided."""
        if batch_size % self.count:
            sizes = [n for n in (batch_size // self.count * self.count, -(-batch_size // self.count) * self.count) if n]
            counts = [n for n in range(1, batch_size + 1) if batch_size % n == 0]
            raise UserError(
                f"train.batch_size is {batch_size}, the batch of all processes together, and {self.count} processes "
                "were launched: it must be a multiple of their number. "
                f"Set train.batch_size={_either(sizes)}, or launch {_either(counts)} processes."
            )
        return batch_size // self.count

    # -- together or not at all

    def alike(self, act: Callable[[], Any]) -> Any:
        """What `act` returns here. Where it fails in one process, all end, with the words of the first that failed."""
        if not self.several:
            return act()
        found, error = None, None
        try:
            found = act()
        except (UserError, OSError) as problem:
            error = problem
        words = str(error) if isinstance(error, UserError) else error and f"{error.filename}: {error.strerror}"
        failed = [(rank, fault) for rank, fault in enumerate(self.gather(words)) if fault is not None]
        if not failed:
            return found
        rank, fault = failed[0]
        if rank == 0 and error is not None and self.leads:
            raise error
        raise Everywhere(f"{self.watch.named(rank)}: {fault}")

    def same(self, facts: Mapping[str, Any]) -> None:
        """UserError unless every process has the same facts: {in words: JSON}."""
        every = self.gather(dict(facts))
        for rank, theirs in enumerate(every):
            for name, value in theirs.items():
                if value != every[0][name]:
                    shown = f": {value} and {every[0][name]}" if isinstance(value, int) else ""
                    raise Everywhere(
                        f"{self.watch.named(rank)} has another {name} than process 0{shown}. Every process must see "
                        "the same recipe and the same files: put them where every machine reads them, or copy them."
                    )

    # -- small things, over the host

    def highest(self, *values: int) -> list[int]:
        """The highest of each value over all processes."""
        if not self.several:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.int64)
        self._together(dist.all_reduce, tensor, op=dist.ReduceOp.MAX)
        return tensor.tolist()

    def wait(self) -> None:
        """Until every process is here."""
        self.highest(0)

    def mean(self, values: Mapping[str, float]) -> dict[str, float]:
        """Each value averaged over all processes, which give the same names."""
        if not self.several:
            return dict(values)
        tensor = torch.tensor([values[name] for name in sorted(values)], dtype=torch.float64)
        self._together(dist.all_reduce, tensor)
        found = dict(zip(sorted(values), (tensor / self.count).tolist(), strict=True))
        return {name: found[name] for name in values}

    def gather(self, data: Any) -> list[Any]:
        """What every process gave, by rank: strict JSON."""
        if not self.several:
            return [data]
        mine = torch.tensor(list(json.dumps(data, allow_nan=False).encode()), dtype=torch.uint8)
        sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(self.count)]
        self._together(dist.all_gather, sizes, torch.tensor([len(mine)]))
        longest = int(max(sizes))
        texts = [torch.zeros(longest, dtype=torch.uint8) for _ in range(self.count)]
        self._together(dist.all_gather, texts, torch.cat([mine, mine.new_zeros(longest - len(mine))]))
        return [json.loads(bytes(text[: int(size)].tolist())) for text, size in zip(texts, sizes, strict=True)]

    def from_first(self, data: Any) -> Any:
        """What process 0 gave; JSON."""
        return self.gather(data if self.leads else None)[0]

    # -- tensors

    def average_(self, tensor: Tensor) -> None:
        """The mean over all processes, in place and on its device: the same bits in each."""
        if self.several:
            self._together(dist.all_reduce, tensor)
            tensor.div_(self.count)

    def copy_first_(self, tensors: list[Tensor]) -> None:
        """Every tensor becomes that of process 0, in place."""
        if self.several:
            for tensor in tensors:
                self._together(dist.broadcast, tensor.detach(), 0)

    def spread(self, found: tuple[dict[str, Tensor], dict] | None) -> tuple[dict[str, Tensor], dict] | None:
        """A checkpoint that process 0 read, in every process: the others need not see its folder."""
        if not self.several:
            return found
        tensors, meta = found or ({}, None)
        layout, meta = self.from_first([_layout(tensors), meta])
        if meta is None:
            return None
        for name, shape, dtype in layout:
            if not self.leads:
                tensors[name] = torch.empty(shape, dtype=getattr(torch, dtype))
            self._together(dist.broadcast, _bytes(tensors[name]), 0)
        return tensors, meta

    def collect(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """On process 0, the tensors of the others on the host, each named "rank<r>.<name>"; elsewhere nothing."""
        if not self.several:
            return {}
        mine = {name: value.detach().to("cpu").contiguous() for name, value in tensors.items()}
        found = {}
        for rank, layout in enumerate(self.gather(_layout(mine))):
            for name, shape, dtype in layout if rank else ():
                if self.leads:
                    value = found[f"rank{rank}.{name}"] = torch.empty(shape, dtype=getattr(torch, dtype))
                    self._together(dist.recv, _bytes(value), rank)
                elif self.rank == rank:
                    self._together(dist.send, _bytes(mine[name]), 0)
        return found

    # -- the end

    def saved(self, words: str) -> None:
        """What a message about a lost process says of what is left."""
        if self.watch is not None:
            self.watch.saved = words

    def _together(self, operation, *args, **kwargs) -> None:
        try:
            operation(*args, **kwargs)
        except RuntimeError as error:  # a connection that broke, or PATIENCE over
            raise self.watch.lost(error) from None


@contextlib.contextmanager
def joined(device: str) -> Iterator[Processes]:
    """The processes that this one belongs to, together until the end; itself alone where there was no launcher.

    However it ends, one message is shown: the process that fails first shows it, the others exit without a word.

    Args:
        device: auto | cuda | mps | cpu, as the user wants it.

    Raises:
        UserError: processes that cannot work together. In all but one process it is SystemExit.
    """
    global _uses
    place = launched()
    if place is None:
        yield Processes()
        return
    _uses += 1
    name = f"i2i/{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}/{_uses}"
    store = dist.PrefixStore(name, _store())
    watch = Watch(place, dist.PrefixStore(name, store.underlying_store.clone()), [platform.node()] * place.count)
    kind = None
    try:
        kind = _agreed(place, store, device, watch)
        # train.compile imports it, and torch's own optimizers do. Imported while there is a group, it would keep the
        # group for ever in defaults of its functions, and the group's threads, at times, abort a program that ends with
        # them alive.
        importlib.import_module("torch._dynamo")
        # one group, two ways: tensors of the host go by gloo, those of a card by nccl
        backend = "cpu:gloo,cuda:nccl" if kind == "cuda" else "gloo"
        dist.init_process_group(backend, store=store, rank=place.rank, world_size=place.count, timeout=PATIENCE)
        processes = Processes(place, kind, watch)
        processes.wait()
        watch.start()
        yield processes
        watch.stop()
        processes.wait()  # nobody leaves, and takes the store along, before all are done
        watch.stop(gone=True)
        dist.destroy_process_group()
    except BaseException as error:
        end = watch.leave(error)
        if dist.is_initialized() and kind == "cpu":  # nccl's would wait for what the others no longer send
            dist.destroy_process_group()
        if end is error:
            raise
        raise end from None


@functools.cache
def _store() -> dist.Store:
    """The launcher's store, for the life of this program; process 0 keeps it where the launcher has none."""
    try:
        return next(iter(rendezvous("env://", timeout=JOINING)))[0]
    except RuntimeError as error:
        raise UserError(
            f"no connection to {os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}, where the processes of this "
            f"launch meet: {str(error).splitlines()[0]}"
        ) from None


def _agreed(place: Place, store: dist.Store, device: str, watch: Watch) -> str:
    """The device of all processes: each says what it is and has, before they join."""
    kind, fault = _kind(place, device)
    mine = {
        "device": kind, "fault": fault, "i2i": __version__, "torch": torch.__version__, "machine": platform.node(),
    }  # fmt: skip
    store.set(f"facts/{place.rank}", json.dumps(mine))
    try:
        facts = [json.loads(store.get(f"facts/{rank}")) for rank in range(place.count)]
    except RuntimeError:
        minutes = JOINING.total_seconds() / 60
        raise UserError(f"not all of the {place.count} processes were there within {minutes:g} minutes.") from None
    watch.hosts = [fact["machine"] for fact in facts]
    for fact in facts:
        if fact["fault"]:
            raise Everywhere(fact["fault"])
    for name in ("i2i", "torch", "device"):
        for rank, fact in enumerate(facts):
            if fact[name] != facts[0][name]:
                raise Everywhere(
                    f"process {rank} on {fact['machine']} has {name} {fact[name]}, process 0 on {facts[0]['machine']} "
                    f"{facts[0][name]}: they must be the same. "
                    + ("Choose with --device." if name == "device" else "Install the same version on every machine.")
                )
    return kind


def _kind(place: Place, device: str) -> tuple[str, str | None]:
    """(device, None), or what is wrong with it on this machine."""
    if device == "auto":
        wants_cpu = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("true", "1", "yes")
        device = "cuda" if torch.cuda.is_available() and not wants_cpu else "cpu"
    if device == "cpu":
        return device, None
    machine = platform.node()
    if device != "cuda":
        return device, f"--device {device}: several processes train on cuda or on cpu. Choose one of them."
    cards = torch.cuda.device_count()
    if cards < place.local_count:
        have = f"{cards} card{'' if cards == 1 else 's'} can be seen there" if cards else "no card is usable there"
        return device, (
            f"{place.local_count} processes were launched on {machine}, and {have}; each needs its own, and sees all. "
            f"{f'Launch {cards} (--nproc_per_node {cards}), or take' if cards else 'Take'} --device cpu."
        )
    return device, None


def _layout(tensors: Mapping[str, Tensor]) -> list:
    return [
        [name, list(value.shape), str(value.dtype).removeprefix("torch.")] for name, value in sorted(tensors.items())
    ]


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.detach().reshape(-1).view(torch.uint8)


def _either(numbers: list[int]) -> str:
    return " or ".join(map(str, dict.fromkeys(numbers)))
