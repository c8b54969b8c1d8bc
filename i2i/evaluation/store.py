"""Where fitted networks are kept, so that a protocol trains its classifier once and not at every evaluation.

One file each in `places.cache_folder()`, named after everything that decides its contents: the kind of fit, its
settings, the bytes of the data and the seed. The version of PyTorch and the number of threads are written down beside
the tensors but are not part of the name: the last bits depend on them, and a fit that is there is used.
"""

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from i2i import atomic
from i2i.errors import UserError
from i2i.infer.weights import check_tensors, read_tensors, write_tensors
from i2i.places import cache_folder

Say = Callable[[str], None]
Make = Callable[[], tuple[dict[str, Tensor], dict[str, Any]]]

DEAD = 3600  # seconds: no fit takes as long to write

_told: set[Path] = set()  # folders of which this process has said that nothing can be kept there


class Fitted(NamedTuple):
    """What a fit came to. The hash is that of the tensors alone: the same whether they were stored, read or neither."""

    tensors: dict[str, Tensor]
    meta: dict[str, Any]
    hash: str


def key_of(kind: str, settings: Mapping[str, Any], arrays: Mapping[str, Tensor | np.ndarray | None], seed: int) -> str:
    """64 hexadecimal digits that name a fit.

    Args:
        kind: "classifier", "segmentation".
        settings: strict JSON; everything that changes the result and is neither data nor seed.
        arrays: the data by what they are for; every byte, the shape and the type count. None: not given.

    Raises:
        ValueError: settings that are not strict JSON.
    """
    digests = {name: None if data is None else digest_of(data) for name, data in arrays.items()}
    named = {"kind": kind, "settings": dict(settings), "arrays": digests, "seed": seed}
    try:
        text = json.dumps(named, sort_keys=True, allow_nan=False)
    except TypeError as error:
        raise ValueError(f"settings of a fit must be strict JSON: {error}.") from None
    return hashlib.sha256(text.encode()).hexdigest()


def digest_of(data: Tensor | np.ndarray) -> str:
    """SHA-256 of type, shape and bytes; a tensor and the array of the same numbers have the same one."""
    array = data.detach().cpu().numpy() if isinstance(data, Tensor) else data
    array = np.ascontiguousarray(array)
    digest = hashlib.sha256(f"{array.dtype.str} {array.shape} ".encode())
    digest.update(memoryview(array.reshape(-1)).cast("B") if array.size else b"")
    return digest.hexdigest()


def hash_of(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over the names, types, shapes and values of tensors, in the order of their names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{len(name)} {name} {digest_of(tensor)} ".encode())
    return digest.hexdigest()


def fitted(key: str, meta: Mapping[str, Any], make: Make, *, say: Say = print) -> Fitted:
    """The fit of this key, from the store if it is there and whole; else made, and stored.

    Several processes may do this at once: each reads or writes a whole file, and the last one stays.

    Args:
        key: of `key_of`.
        meta: what is known before the fit, as strict JSON; its "kind" begins the file's name.
        make: trains, and returns the tensors and what else is to be written down (accuracy, seconds).
        say: takes a sentence where a stored fit is damaged, and, once for each folder, where none can be stored.

    Raises:
        ValueError: a fit with values that are not finite; it is not stored.
    """
    path = cache_folder() / f"{meta['kind']}-{key[:40]}.safetensors"
    if found := _stored(path, key, say):
        return found
    tensors, results = make()
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    check_tensors({name: (each.shape, each.dtype) for name, each in tensors.items()}, tensors, f"this {meta['kind']}")
    whole = {**meta, **results, "key": key, "torch": torch.__version__, "threads": torch.get_num_threads()}
    _store(path, tensors, whole, say)
    return Fitted(tensors, whole, hash_of(tensors))


def _stored(path: Path, key: str, say: Say) -> Fitted | None:
    """What a file holds; None where there is none, or none to be used."""
    if not os.path.lexists(path):
        return None
    try:
        tensors, meta = read_tensors(path)
        if meta.get("key") != key:
            raise UserError(f"{path} holds another fit than its name says.")
    except UserError as error:
        say(f"A fit that was kept cannot be used, and is made anew: {error}")
        return None
    return Fitted(tensors, meta, hash_of(tensors))


def _store(path: Path, tensors: dict[str, Tensor], meta: dict[str, Any], say: Say) -> None:
    """An evaluation does not fail because its fit cannot be kept."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path.parent)
        write_tensors(path, tensors, meta)
    except OSError as error:
        if path.parent not in _told:
            _told.add(path.parent)
            say(
                f"Fits cannot be kept in {path.parent} ({error.strerror or error}), and are made anew each time; "
                "set I2I_CACHE to a folder that can be written to."
            )


def _sweep(cache: Path) -> None:
    """Removes what killed writers left.

    Only what is old, unlike `atomic.sweep`: that may take a file that another process has opened and not locked yet,
    which does not happen in a run folder, with its one writer, and does here.
    """
    for part in cache.glob(f".*{atomic.SUFFIX}"):
        with contextlib.suppress(OSError):
            if time.time() - part.stat().st_mtime > DEAD:
                part.unlink()
