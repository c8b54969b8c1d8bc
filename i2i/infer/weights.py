"""Named tensors and strict JSON in one file, as safetensors lays them out, with a digest over every byte.

Weights for users and checkpoints are such files. Nothing is ever unpickled, and nothing in a file is believed before it
is checked: an altered, torn or foreign file is refused in one sentence.

    8 bytes        N, little-endian
    N bytes        JSON: {"__metadata__": {"i2i": "..."}, name: {"dtype", "shape", "data_offsets"}, ...}, then spaces
    the rest       the tensors, little-endian, without gaps, those of the widest type first

The "i2i" entry is itself JSON: {"sha256": ..., "meta": ...}. The digest is that of the whole file with 64 zeros in its
own place. The layout is written out here, and not left to the library, so that a checkpoint of a gigabyte goes from the
networks' memory to the disk and back without copies in between; the library reads these files too (tested).
"""

import hashlib
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import torch
from torch import Tensor

from i2i import atomic
from i2i.errors import UserError

HEADER_CAP = 100_000_000  # bytes, safetensors' own limit
COUNT_CAP = 100_000  # tensors
DIMS_CAP = 16
ZEROS = "0" * 64

TYPES = {
    "F64": torch.float64,
    "I64": torch.int64,
    "U64": torch.uint64,
    "F32": torch.float32,
    "I32": torch.int32,
    "U32": torch.uint32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I16": torch.int16,
    "U16": torch.uint16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
CODES = {dtype: code for code, dtype in TYPES.items()}

# what people hand over instead, by its first bytes; the remedy is the same for all
KINDS = (
    (b"PK\x03\x04", "a zip archive, as torch.save writes it: a pickle, which can run code when it is opened"),
    ((b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"), "a pickle, which can run code when it is opened"),
    (b"<", "a web page"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file that it points to"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"\x89HDF", "an HDF5 file"),
)


class Entry(NamedTuple):
    """One tensor as the header describes it."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int
    end: int


class Header(NamedTuple):
    """What stands before the tensors: the raw bytes, with zeros in the digest's place, and what they say."""

    blanked: bytes
    digest: str
    meta: dict[str, Any]
    entries: list[Entry]  # in the order of their bytes


def write_tensors(path: str | os.PathLike, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Writes `tensors` and `meta` to `path`, whole or not at all.

    Args:
        tensors: any of `TYPES`, any device; stored contiguous.
        meta: strict JSON (no NaN, no infinity, text as keys).

    Raises:
        ValueError: a type that cannot be stored, too many tensors, or metadata that are not strict JSON.
        OSError: nothing was replaced.
    """
    if len(tensors) > COUNT_CAP:
        raise ValueError(f"{len(tensors):,} tensors are more than a file may hold, {COUNT_CAP:,}. Join some of them.")
    unknown = [f"'{name}' is {tensor.dtype}" for name, tensor in tensors.items() if tensor.dtype not in CODES]
    if unknown or "__metadata__" in tensors:
        raise ValueError(f"{unknown[0] if unknown else '__metadata__ is reserved'}: tensors are any of {list(TYPES)}.")
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].dtype.itemsize, item[0]))  # every start is aligned
    blanked = _header(ordered, meta)
    pieces = [_bytes(tensor) for _, tensor in ordered]
    digest = hashlib.sha256(blanked)
    for piece in pieces:
        digest.update(piece)
    atomic.write_bytes(path, _swapped(blanked, ZEROS, digest.hexdigest()), *pieces)


def read_tensors(path: str | os.PathLike) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """(tensors on the CPU, each with memory of its own; meta) of a file that `write_tensors` wrote.

    Raises:
        UserError: no such file, not such a file, torn or altered.
    """
    return read_digested(path)[:2]


def read_digested(path: str | os.PathLike) -> tuple[dict[str, Tensor], dict[str, Any], str]:
    """`read_tensors`, and the SHA-256 over every byte of the file that was read, its own place apart."""
    path = Path(path)
    with _opened(path) as file:
        header = _read_header(path, file)
        digest = hashlib.sha256(header.blanked)
        tensors = {}
        for entry in header.entries:
            tensor = torch.empty(entry.shape, dtype=entry.dtype)
            view = _bytes(tensor)
            if file.readinto(view) != len(view):
                raise UserError(_torn(path, f"'{entry.name}' is cut short"))
            digest.update(view)
            tensors[entry.name] = tensor
        if file.read(1) or digest.hexdigest() != header.digest:
            raise UserError(f"{path} was altered: its bytes do not match its digest; take the copy that it came from.")
    return tensors, header.meta, header.digest


def read_meta(path: str | os.PathLike) -> dict[str, Any]:
    """The metadata alone, in a moment whatever the size; the digest, which takes every byte, is not checked.

    Raises:
        UserError: as `read_tensors`, where the header shows it.
    """
    path = Path(path)
    with _opened(path) as file:
        return _read_header(path, file).meta


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over the names and values of tensors, in the order of their names: which weights these are."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(_bytes(tensors[name]))
    return digest.hexdigest()


def check_tensors(
    expected: Mapping[str, tuple[Iterable[int], torch.dtype]], tensors: Mapping[str, Tensor], name: str = "the file"
) -> None:
    """Refuses tensors that are not exactly the `expected` {name: (shape, dtype)}, or hold a value that is not finite.

    Args:
        name: how the message calls where `tensors` came from.
    """
    missing = [key for key in expected if key not in tensors]
    extra = [key for key in tensors if key not in expected]
    for what, keys in (("lacks", missing), ("has, and should not have,", extra)):
        if keys:
            more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            raise UserError(f"{name} {what} the tensor '{keys[0]}'{more}: it was written for another network.")
    for key, (shape, dtype) in expected.items():
        found = tensors[key]
        if found.shape != torch.Size(shape) or found.dtype != dtype:
            raise UserError(
                f"{name} has '{key}' as {_shown(found.shape, found.dtype)} where {_shown(shape, dtype)} belongs: "
                "it was written for another network."
            )
        if found.is_floating_point() and not _finite(found):
            raise UserError(f"{name} has values in '{key}' that are not finite: take an earlier one of the same run.")


def _finite(tensor: Tensor) -> bool:
    """Whether all values are; a sum of which one is not is not finite either, and costs a tenth of looking at each."""
    return bool(torch.isfinite(tensor.sum())) or bool(torch.isfinite(tensor).all())


# -- writing


def _header(ordered: list[tuple[str, Tensor]], meta: Mapping[str, Any]) -> bytes:
    """The first 8 + N bytes, with zeros for a digest."""
    try:
        inner = json.dumps({"sha256": ZEROS, "meta": meta}, allow_nan=False)
    except TypeError as error:
        raise ValueError(f"metadata must be strict JSON: {error}.") from None
    fields: dict[str, Any] = {"__metadata__": {"i2i": inner}}
    place = 0
    for name, tensor in ordered:
        start, place = place, place + tensor.numel() * tensor.dtype.itemsize
        fields[name] = {"dtype": CODES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, place]}
    text = json.dumps(fields, allow_nan=False).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > HEADER_CAP:
        raise ValueError(f"names and metadata take {len(text):,} bytes, more than {HEADER_CAP:,}.")
    return len(text).to_bytes(8, "little") + text


def _swapped(header: bytes, old: str, new: str) -> bytes:
    """The digest is the first such word: the first value of the metadata, which come first themselves."""
    return header.replace(old.encode(), new.encode(), 1)


def _bytes(tensor: Tensor) -> memoryview:
    """The bytes of a tensor; its own memory where it is contiguous on the CPU."""
    flat = tensor.detach().to("cpu").contiguous().reshape(-1)
    return memoryview(flat.view(torch.uint8).numpy())


# -- reading


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    if path.is_dir():
        raise UserError(f"{path} is a folder, not a weights file; give a .safetensors file in it.")
    if path.exists() and not path.is_file():
        raise UserError(f"{path} is a device or a pipe, not a weights file; give a .safetensors file.")
    try:
        with open(path, "rb") as file:
            yield file
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from None


def _torn(path: Path, what: str) -> str:
    return f"{path} is torn or altered: {what}; copy or download it again."


def _read_header(path: Path, file: BinaryIO) -> Header:
    size = os.fstat(file.fileno()).st_size
    start = file.read(64)
    if size == 0:
        raise UserError(f"{path} is empty; copy or download it again.")
    if start[8:9] != b"{":
        raise UserError(_not_safetensors(path, start))
    length = int.from_bytes(start[:8], "little")
    if length > HEADER_CAP:
        raise UserError(_torn(path, f"it claims a header of {length:,} bytes, and {HEADER_CAP:,} are the most"))
    if 8 + length > size:
        raise UserError(_torn(path, f"it claims a header of {length:,} bytes, and the whole file has {size:,}"))
    file.seek(8)
    text = file.read(length)
    try:
        fields = _strict(text)
    except (ValueError, RecursionError) as error:
        raise UserError(_torn(path, f"its header is not strict JSON ({_line(error)})")) from None
    digest, meta = _own_metadata(path, fields.pop("__metadata__", None))
    if len(fields) > COUNT_CAP:
        raise UserError(f"{path} claims {len(fields):,} tensors, and {COUNT_CAP:,} are the most; it is not used.")
    try:
        entries = sorted((_entry(*item) for item in fields.items()), key=lambda entry: (entry.start, entry.end))
        _check_places(entries, size - 8 - length)
    except ValueError as error:
        raise UserError(_torn(path, str(error))) from None
    return Header(_swapped(start[:8] + text, digest, ZEROS), digest, meta, entries)


def _own_metadata(path: Path, metadata: Any) -> tuple[str, dict]:
    if not isinstance(metadata, dict) or "i2i" not in metadata:
        raise UserError(f"{path} was written by another program: it lacks the metadata that i2i writes and needs.")
    try:
        own = _strict(metadata["i2i"])
        digest, meta = own["sha256"], own["meta"]
        if not (isinstance(digest, str) and len(digest) == 64 and isinstance(meta, dict)):
            raise ValueError("a digest and an object are expected")
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise UserError(_torn(path, f"its metadata are not strict JSON as i2i writes it ({_line(error)})")) from None
    return digest, meta


def _entry(name: str, field: Any) -> Entry:
    if not isinstance(field, dict) or set(field) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"tensor {name!r} is not described as safetensors does")
    code, shape, place = field["dtype"], field["shape"], field["data_offsets"]
    if not isinstance(code, str) or code not in TYPES:
        raise ValueError(f"tensor {name!r} has the unknown type {code!r}")
    if not _counts(shape) or not _counts(place) or len(place) != 2:
        raise ValueError(f"tensor {name!r} has no proper shape or place")
    if len(shape) > DIMS_CAP or math.prod(max(side, 1) for side in shape) >= 2**60:
        raise ValueError(f"tensor {name!r} has a shape that no tensor has")
    dtype = TYPES[code]
    if place[1] - place[0] != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"tensor {name!r} has {place[1] - place[0]:,} bytes, which its type and shape do not make")
    return Entry(name, dtype, tuple(shape), *place)


def _check_places(entries: list[Entry], size: int) -> None:
    """Tensors must follow each other without gap or overlap and fill the file, before any memory is taken for them."""
    place = 0
    for entry in entries:
        if entry.start != place:
            raise ValueError(f"tensor {entry.name!r} does not begin where the one before it ends")
        place = entry.end
    if place != size:
        raise ValueError(f"its tensors take {place:,} bytes, and {size:,} are there")


def _counts(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and 0 <= item < 2**60 for item in value)


def _strict(text: str | bytes) -> dict:
    """A JSON object without repeated keys, NaN or infinities."""

    def closed(pairs: list[tuple[str, Any]]) -> dict:
        found = {}
        for key, value in pairs:
            if key in found:
                raise ValueError(f"the key {key!r} stands twice")
            found[key] = value
        return found

    def number(text: str) -> float:
        value = float(text)
        if not math.isfinite(value):
            raise ValueError(f"{text[:20]} is not a finite number")
        return value

    found = json.loads(
        text.decode() if isinstance(text, bytes) else text,
        object_pairs_hook=closed, parse_constant=number, parse_float=number,
    )  # fmt: skip
    if not isinstance(found, dict):
        raise ValueError("an object is expected")
    return found


def _not_safetensors(path: Path, start: bytes) -> str:
    kind = next((kind for magic, kind in KINDS if start.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(magic)), None)
    what = f"not a safetensors file but {kind}" if kind else "not a safetensors file, or the torn beginning of one"
    return f"{path} is {what}; it is not opened: give the .safetensors file that training wrote."


def _line(error: Exception) -> str:
    """What went wrong, in a few words on one line."""
    if isinstance(error, KeyError):
        return f"no {error}"
    return " ".join(str(error).split())[:120]


def _shown(shape: Iterable[int], dtype: torch.dtype) -> str:
    return f"{str(dtype).removeprefix('torch.')} {tuple(shape)}"
