"""A checkpoint is one file of named tensors and strict JSON: everything that a continued run needs, and a digest.

Names: nets.<network>.<tensor>, ema.<network>.<tensor>, optimizers.<group>.<network>.<parameter>.<field>, and what the
method keeps itself (pool.a.pictures; of several processes rank1.pool.a.pictures and so on, too). Nothing is pickled; a
torn or altered file is recognised and passed over.
"""

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor

from i2i.errors import UserError
from i2i.infer.runs import CHECKPOINTS, checkpoint_of, checkpoints
from i2i.infer.weights import check_tensors, read_meta, read_tensors, write_tensors

WHOLE = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}  # bytes -> integers of that width


def save(
    run: Path, method, ema, meta: dict, keep: int, others: Mapping[str, Tensor] = MappingProxyType({}),
    spared: int | None = None,
) -> Path:  # fmt: skip
    """Writes the checkpoint of `meta["step"]` whole or not at all, then removes all but the last `keep` up to it.

    `others` is what the method keeps in the other processes of several, named "rank<r>.<name>"; the checkpoint of the
    step `spared` is kept too.

    A later one can only be a damaged one that was passed over: it must not count, or it would push out whole ones.
    """
    (run / CHECKPOINTS).mkdir(exist_ok=True)
    path = checkpoint_of(run, meta["step"])
    write_tensors(path, gather(method, ema) | dict(others), {"kind": "checkpoint", **meta})
    up_to_this = [old for old in checkpoints(run) if int(old.stem) <= meta["step"]]
    for old in up_to_this[keep:]:
        if int(old.stem) != spared:
            old.unlink(missing_ok=True)
    return path


def newest(run: Path, say: Callable[[str], None]) -> tuple[dict[str, Tensor], dict] | None:
    """(tensors, meta) of the newest whole checkpoint; None when there is none at all.

    Raises:
        UserError: there are checkpoints, and none of them can be read.
    """
    found = checkpoints(run)
    for path in found:
        try:
            tensors, meta = read_tensors(path)
            if meta.get("kind") != "checkpoint":
                raise UserError(f"{path} is not a checkpoint but {meta.get('kind')!r}.")
            return tensors, meta
        except UserError as error:
            say(f"{error} Falling back to the checkpoint before it.")
    if found:
        raise UserError(
            f"none of the {len(found)} checkpoints in {run / CHECKPOINTS} can be read. "
            "Start anew with --fresh; nothing was removed."
        )
    return None


def newest_meta(run: Path) -> dict | None:
    """The metadata of the newest checkpoint whose header can be read, in a moment; None when there is none."""
    for path in checkpoints(run):
        with contextlib.suppress(UserError):
            return read_meta(path)
    return None


def gather(method, ema) -> dict[str, Tensor]:
    """Every tensor of this process's training state by name, on the CPU."""
    tensors = shared(method, ema) | method.state()
    return {name: value.detach().to("cpu").contiguous() for name, value in tensors.items()}


def shared(method, ema) -> dict[str, Tensor]:
    """The part of the training state that is the same in every process: networks, averages, optimizers."""
    tensors = {
        f"nets.{name}.{key}": value for name, net in method.nets.items() for key, value in net.state_dict().items()
    }
    if ema is not None:
        tensors |= {
            f"ema.{name}.{key}": value for name, net in ema.nets.items() for key, value in net.state_dict().items()
        }
    for group, optimizer in method.optimizers.items():
        for name, parameter in _parameters(method, group).items():
            for field, value in optimizer.state.get(parameter, {}).items():
                if value is not None:
                    tensors[f"optimizers.{group}.{name}.{field}"] = torch.as_tensor(value)
    return tensors


def sums(method, ema) -> dict[str, int]:
    """{name: the sum of its bits, as whole numbers} of what must be the same in every process."""
    found = {}
    for name, value in shared(method, ema).items():
        bits = value.detach().contiguous().view(torch.uint8 if value.dtype == torch.bool else WHOLE[value.itemsize])
        found[name] = int(bits.sum(dtype=torch.int64))
    return found


def restore(tensors: Mapping[str, Tensor], method, ema, device: torch.device, rank: int = 0) -> None:
    """The reverse of `gather`, for process `rank`, into a method of the same recipe.

    Raises:
        UserError: the names or shapes are not its own.
    """
    nets = {f"nets.{name}": net for name, net in method.nets.items()}
    if ema is not None:
        nets |= {f"ema.{name}": net for name, net in ema.nets.items()}
    expected = {
        f"{prefix}.{key}": (value.shape, value.dtype)
        for prefix, net in nets.items()
        for key, value in net.state_dict().items()
    }
    check_tensors(expected, {name: value for name, value in tensors.items() if name.startswith(("nets.", "ema."))})
    for prefix, net in nets.items():
        net.load_state_dict({key: tensors[f"{prefix}.{key}"] for key in net.state_dict()})
    for group, optimizer in method.optimizers.items():
        _restore_optimizer(tensors, f"optimizers.{group}.", _parameters(method, group), optimizer)
    mine = f"rank{rank}."
    own = {
        name.removeprefix(mine): value.to(device)
        for name, value in tensors.items()
        if (name.startswith(mine) if rank else not name.startswith(("nets.", "ema.", "optimizers.", "rank")))
    }
    method.load_state(own)


def _restore_optimizer(tensors: Mapping[str, Tensor], prefix: str, parameters: dict[str, Tensor], optimizer) -> None:
    fields: dict[str, dict[str, Tensor]] = {name: {} for name in parameters}
    for key, value in tensors.items():
        if key.startswith(prefix):
            name, _, field = key.removeprefix(prefix).rpartition(".")
            if name not in fields or value.shape not in ((), parameters[name].shape):
                raise UserError(f"the checkpoint's optimizer state '{key}' does not belong to this recipe's networks.")
            fields[name][field] = value
    if len({tuple(sorted(found)) for found in fields.values()}) > 1:
        raise UserError(f"the checkpoint's optimizer state '{prefix}*' is incomplete.")
    order = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    names = {id(parameter): name for name, parameter in parameters.items()}
    state = {index: fields[names[id(parameter)]] for index, parameter in enumerate(order)}
    plain = optimizer.state_dict()
    optimizer.load_state_dict({"state": {k: v for k, v in state.items() if v}, "param_groups": plain["param_groups"]})


def _parameters(method, group: str) -> dict[str, Tensor]:
    return {f"{net}.{key}": value for net in method.groups[group] for key, value in method.nets[net].named_parameters()}
