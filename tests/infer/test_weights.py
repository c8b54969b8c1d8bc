"""A weights file gives back every bit, or is refused in one sentence; nothing in it is ever run."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from i2i.errors import UserError
from i2i.infer import weights
from i2i.infer.weights import check_tensors, read_meta, read_tensors, write_tensors

ROOT = Path(__file__).parents[2]
META = {
    "kind": "generator",
    "step": 1000,
    "rate": 2e-4,
    "text": 'größer "quoted" \\ 猫\n',
    "none": None,
    "list": [1, [2.5]],
}


def tensors() -> dict[str, torch.Tensor]:
    return {
        "conv.weight": torch.linspace(-1, 1, 24).reshape(2, 3, 2, 2),
        "double": torch.tensor([torch.pi, 1e-300], dtype=torch.float64),
        "count": torch.tensor(2**53 + 1, dtype=torch.int64),
        "mask": torch.tensor([[True, False, True]]),
        "scalar": torch.tensor(0.1),
        "half": torch.tensor([1.5, -0.0], dtype=torch.float16),
        "brain": torch.tensor([3.140625], dtype=torch.bfloat16),
        "bytes": torch.arange(5, dtype=torch.uint8),
        "empty": torch.zeros(0, 3),
        "odd.nän": torch.tensor([float("nan"), float("inf"), -0.0]),
    }


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "generator.safetensors"
    write_tensors(path, tensors(), META)
    return path


def refused(path: Path) -> str:
    """The one sentence that `path` is refused with."""
    with pytest.raises(UserError) as error:
        read_tensors(path)
    text = str(error.value)
    assert "\n" not in text and text.endswith(".") and str(path) in text and len(text) < 500, text
    return text


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    raw = [bytes(weights._bytes(x)) for x in (a, b)]
    return a.dtype == b.dtype and a.shape == b.shape and raw[0] == raw[1]


class TestRoundTrip:
    def test_every_type_and_shape_comes_back_bit_for_bit(self, file):
        found, meta = read_tensors(file)
        assert meta == META and read_meta(file) == META
        assert set(found) == set(tensors())
        for name, tensor in tensors().items():
            assert same(found[name], tensor), name

    def test_what_is_not_contiguous_or_shares_memory_is_stored_as_it_reads(self, tmp_path):
        base = torch.arange(12.0).reshape(3, 4)
        given = {"t": base.t(), "every_other": base[:, ::2], "same": base, "again": base, "p": torch.nn.Parameter(base)}
        write_tensors(tmp_path / "a", given, {})
        found, meta = read_tensors(tmp_path / "a")
        assert meta == {} and all(torch.equal(found[name], tensor) for name, tensor in given.items())
        found["same"].zero_()
        assert torch.equal(found["again"], base)  # each has memory of its own

    def test_no_tensors_at_all(self, tmp_path):
        write_tensors(tmp_path / "a", {}, META)
        assert read_tensors(tmp_path / "a") == ({}, META)

    def test_the_same_tensors_make_the_same_bytes_in_any_order(self, file, tmp_path):
        write_tensors(tmp_path / "b", dict(reversed(tensors().items())), META)
        assert (tmp_path / "b").read_bytes() == file.read_bytes()

    def test_the_safetensors_library_reads_it_too(self, file):
        theirs = load_file(file)
        assert set(theirs) == set(tensors()) and all(same(theirs[name], x) for name, x in tensors().items())
        with safe_open(file, "pt") as opened:
            assert json.loads(opened.metadata()["i2i"])["meta"] == META

    @pytest.mark.parametrize("bad", [{"x": float("nan")}, {"x": float("inf")}, {"x": torch.zeros(1)}])
    def test_metadata_that_are_not_strict_json_are_not_written(self, file, bad):
        before = file.read_bytes()
        with pytest.raises(ValueError):
            write_tensors(file, tensors(), bad)
        assert file.read_bytes() == before

    def test_a_type_that_cannot_be_stored_is_named(self, tmp_path):
        with pytest.raises(ValueError, match=r"'z' is torch\.complex64"):
            write_tensors(tmp_path / "a", {"z": torch.zeros(1, dtype=torch.complex64)}, {})

    def test_imports_neither_cv2_nor_pillow(self):
        code = "import sys, i2i.infer.weights; print({'cv2', 'PIL', 'albumentations', 'i2i.data'} & set(sys.modules))"
        out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
        assert out.stdout == "set()\n"


class TestDamage:
    def test_one_changed_byte_anywhere_is_refused(self, file):
        whole = file.read_bytes()
        places = sorted({round(i * (len(whole) - 1) / 199) for i in range(200)} | set(range(16)))
        assert len(places) > 200
        for place in places:
            for flip in (0x01, 0x20, 0xFF):  # a bit, the case of a letter, the whole byte
                damaged = bytearray(whole)
                damaged[place] ^= flip
                file.write_bytes(damaged)
                refused(file)

    def test_every_truncation_is_refused(self, file):
        whole = file.read_bytes()
        for length in sorted({round(i * (len(whole) - 1) / 99) for i in range(100)} | set(range(70))):
            file.write_bytes(whole[:length])
            refused(file)

    def test_a_byte_too_many_is_refused(self, file):
        file.write_bytes(file.read_bytes() + b"\0")
        assert "torn" in refused(file)

    def test_swapped_metadata_are_refused(self, file):
        whole = file.read_bytes()
        file.write_bytes(whole.replace(b"1000", b"9000", 1))
        assert "altered" in refused(file)
        assert read_meta(file)["step"] == 9000  # documented: the header alone proves nothing

    def test_a_failing_disk_is_a_sentence(self, file, monkeypatch):
        def broken(*_):
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(weights, "_read_header", broken)
        assert "Input/output error" in refused(file)


def with_header(path: Path, text: str | bytes, data: bytes = b"", length: int | None = None) -> Path:
    text = text.encode() if isinstance(text, str) else text
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + data)
    return path


def own(meta: str = "{}", digest: str = "0" * 64) -> str:
    return json.dumps({"i2i": f'{{"sha256": "{digest}", "meta": {meta}}}'})


def headed(metadata: str) -> str:
    return '{"__metadata__": ' + metadata + "}"


class TestStrangers:
    @pytest.mark.parametrize("zipped", [True, False])
    def test_a_pickle_is_named_and_never_opened(self, tmp_path, zipped):
        marker = tmp_path / "executed"

        class Hostile:
            def __reduce__(self):
                return (open, (str(marker), "w"))

        path = tmp_path / "net.pth"
        torch.save({"weight": Hostile()}, path, _use_new_zipfile_serialization=zipped)
        assert "pickle" in refused(path)
        for protocol in range(6):
            path.write_bytes(pickle.dumps(Hostile(), protocol))
            assert "not opened" in refused(path)
        assert not marker.exists()
        pickle.loads(path.read_bytes())
        assert marker.exists()

    @pytest.mark.parametrize(
        "data, word",
        [
            (b"", "is empty"),
            (b"<!DOCTYPE html>\n<html><body>404</body></html>", "web page"),
            (b"\n\n  <html></html>", "web page"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "LFS pointer"),
            (b"\x1f\x8b\x08\x00" + bytes(20), "gzip"),
            (b"\x89PNG\r\n\x1a\n" + bytes(40), "picture"),
            (b"hello", "not a safetensors file"),
            (bytes(100), "not a safetensors file"),
        ],
    )
    def test_other_files_are_named(self, tmp_path, data, word):
        path = tmp_path / "a.safetensors"
        path.write_bytes(data)
        assert word in refused(path)

    def test_a_folder_nothing_and_a_pipe(self, tmp_path):
        assert "is a folder" in refused(tmp_path)
        assert "No such file" in refused(tmp_path / "none.safetensors")
        os.mkfifo(tmp_path / "pipe")
        assert "pipe" in refused(tmp_path / "pipe")

    @pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
    def test_a_safetensors_file_of_another_program(self, tmp_path, metadata):
        save_file({"w": torch.zeros(3)}, tmp_path / "a.safetensors", metadata)
        assert "another program" in refused(tmp_path / "a.safetensors")

    @pytest.mark.parametrize(
        "text, word",
        [
            (headed(own() + ', "__metadata__": {}'), "twice"),
            ('{"a": {"dtype": "U8", "dtype": "I8", "shape": [], "data_offsets": [0, 1]}}', "twice"),
            (headed(own('{"a": 1, "a": 2}')), "'a' stands twice"),
            (headed(own('{"a": NaN}')), "NaN is not"),
            (headed(own('{"a": -Infinity}')), "-Infinity is not"),
            (headed(own('{"a": 1e999}')), "1e999 is not"),
            (headed(own("[]")), "object"),
            (headed(own(digest="0")), "digest"),
            ('{"__metadata__": {"i2i": 5}}', "not strict JSON"),
            ('{"__metadata__": {"i2i": "{}"}}', "no 'sha256'"),
            ('{"a": NaN}', "not strict JSON"),
            ('{"a": ', "not strict JSON"),
            (b'{"\xff": 1}', "not strict JSON"),
            ('{"a": ' + "[" * 200_000, "not strict JSON"),
            ('{"a": ' + "1" * 5000 + "}", "not strict JSON"),
        ],
    )
    def test_json_that_is_not_strict(self, tmp_path, text, word):
        assert word in refused(with_header(tmp_path / "a", text))

    @pytest.mark.parametrize(
        "entry, word",
        [
            ("5", "not described"),
            ('{"dtype": "U8", "shape": [1]}', "not described"),
            ('{"dtype": "U7", "shape": [1], "data_offsets": [0, 1]}', "unknown type"),
            ('{"dtype": ["U8"], "shape": [1], "data_offsets": [0, 1]}', "unknown type"),
            ('{"dtype": "U8", "shape": [-1], "data_offsets": [0, 1]}', "no proper shape"),
            ('{"dtype": "U8", "shape": [true], "data_offsets": [0, 1]}', "no proper shape"),
            ('{"dtype": "U8", "shape": [1.0], "data_offsets": [0, 1]}', "no proper shape"),
            ('{"dtype": "U8", "shape": [1], "data_offsets": [0, 1, 2]}', "no proper shape"),
            ('{"dtype": "U8", "shape": [2], "data_offsets": [0, 1]}', "has 1 bytes"),
            ('{"dtype": "U8", "shape": [1], "data_offsets": [1, 2]}', "does not begin"),
            ('{"dtype": "U8", "shape": [9], "data_offsets": [0, 9]}', "take 9 bytes"),
            ('{"dtype": "U8", "shape": [1152921504606846975], "data_offsets": [0, 1152921504606846975]}', "bytes"),
            ('{"dtype": "F32", "shape": [1125899906842624, 0, 1125899906842624], "data_offsets": [0, 0]}', "no tensor"),
            (f'{{"dtype": "U8", "shape": {[1] * 99}, "data_offsets": [0, 1]}}', "no tensor"),
        ],
    )
    def test_tensors_that_cannot_be(self, tmp_path, entry, word):
        path = with_header(tmp_path / "a", f'{{"__metadata__": {own()}, "x": {entry}}}', data=b"\0")
        assert word in refused(path)

    def test_overlapping_tensors(self, tmp_path):
        both = '{"dtype": "U8", "shape": [2], "data_offsets": [0, 2]}'
        path = with_header(tmp_path / "a", f'{{"__metadata__": {own()}, "x": {both}, "y": {both}}}', data=b"\0\0")
        assert "does not begin" in refused(path)

    @pytest.mark.parametrize("length", [10**6, 100_000_001, 2**63, 2**64 - 1])
    def test_absurd_header_lengths(self, tmp_path, length):
        assert "claims a header" in refused(with_header(tmp_path / "a", '{"a": 1}', length=length))

    def test_too_many_tensors(self, tmp_path, monkeypatch):
        monkeypatch.setattr(weights, "COUNT_CAP", 3)
        entries = ", ".join(f'"{i}": {{"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}}' for i in range(4))
        assert "claims 4 tensors" in refused(with_header(tmp_path / "a", f'{{"__metadata__": {own()}, {entries}}}'))
        with pytest.raises(ValueError, match="4 tensors are more"):
            write_tensors(tmp_path / "b", {str(i): torch.zeros(0) for i in range(4)}, {})


class TestCheckTensors:
    EXPECTED = {"w": ((2, 3), torch.float32), "n": ((), torch.int64)}

    def given(self, **changed) -> dict:
        return {"w": torch.zeros(2, 3), "n": torch.tensor(1)} | changed

    def test_accepts_what_fits(self):
        check_tensors(self.EXPECTED, self.given())
        check_tensors({"w": (torch.Size([2, 3]), torch.float32)}, {"w": torch.zeros(2, 3)})

    @pytest.mark.parametrize(
        "changed, word",
        [
            ({"extra": torch.zeros(1)}, "should not have, the tensor 'extra'"),
            ({"w": torch.zeros(3, 2)}, r"'w' as float32 \(3, 2\) where float32 \(2, 3\) belongs"),
            ({"w": torch.zeros(2, 3, dtype=torch.float64)}, "'w' as float64"),
            ({"n": torch.tensor([1])}, r"'n' as int64 \(1,\)"),
            ({"w": torch.full((2, 3), float("inf"))}, "'w' that are not finite"),
            ({"w": torch.tensor([[0, 0, 0], [0, 0, float("nan")]])}, "'w' that are not finite"),
        ],
    )
    def test_refuses_in_words(self, changed, word):
        with pytest.raises(UserError, match=word):
            check_tensors(self.EXPECTED, self.given(**changed))

    def test_refuses_what_is_missing_and_counts_it(self):
        with pytest.raises(UserError, match=r"^x\.safetensors lacks the tensor 'w' and 1 more"):
            check_tensors(self.EXPECTED, {}, "x.safetensors")


def test_memory_is_taken_once(tmp_path):
    """Writing and reading a large file needs no second copy of it."""
    code = """
import resource, sys, torch
from i2i.infer.weights import read_tensors, write_tensors
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
big = {str(i): torch.zeros(4 << 20).fill_(i) for i in range(4)}  # 64 MiB
write_tensors(sys.argv[1], {"warm": torch.zeros(1)}, {})
start = peak(); write_tensors(sys.argv[1], big, {}); wrote = peak() - start
del big
again = read_tensors(sys.argv[1]); read = peak() - start
print(wrote < 24, read < 24, wrote, read)
"""
    out = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a")], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert out.stdout.startswith("True True"), out.stdout
