"""`i2i doctor` on a machine that is well, and on machines that are not."""

import shutil
from collections import namedtuple

from running import in_process

from i2i import doctor
from i2i.data import pictures

Usage = namedtuple("Usage", "total used free")


def findings() -> dict[str, list[doctor.Finding]]:
    found: dict[str, list[doctor.Finding]] = {}
    for finding in doctor.doctor():
        found.setdefault(finding.topic, []).append(finding)
    return found


def test_a_machine_that_is_well(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, shown = in_process("doctor")
    assert status == 0 and "FAIL" not in shown
    for topic in ("i2i", "torch", "albumentations", "cpu", "PNG", "JPEG", "WebP", "TIFF", "BMP", "NPY", "disk"):
        assert any(line.split()[1:2] == [topic] for line in shown.splitlines()), topic
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"


def test_a_library_that_cannot_be_imported_fails_with_its_remedy(monkeypatch):
    real = doctor.importlib.import_module

    def broken(name):
        if name == "timm":
            raise ImportError("libsomething.so: cannot open shared object file\nmore lines")
        return real(name)

    monkeypatch.setattr(doctor.importlib, "import_module", broken)
    finding = findings()["timm"][0]
    assert finding.bad and "libsomething.so" in finding.text and "more lines" not in str(finding)
    assert finding.remedy == 'pip install --upgrade "timm"'
    status, _ = in_process("doctor")
    assert status == 1


def test_two_versions_of_opencv_fail(monkeypatch):
    versions = {"opencv-python": "5.0.0.93", "opencv-python-headless": "4.13.0.90"}
    monkeypatch.setattr(doctor, "_version", lambda name: versions.get(name, "1.0"))
    (finding,) = findings()["cv2"]
    assert finding.bad and finding.remedy == "pip install opencv-python==5.0.0.93 opencv-python-headless==5.0.0.93"
    versions["opencv-python-headless"] = versions["opencv-python"]
    assert list(doctor._opencv()) == []


def test_a_codec_that_alters_pictures_fails(monkeypatch):
    real = pictures.encode
    monkeypatch.setattr(
        pictures, "encode", lambda pixels, form="PNG": real(255 - pixels if form == "TIFF" else pixels, form=form)
    )
    bad = [finding.topic for finding in doctor._formats() if finding.bad]
    assert bad == ["TIFF"]


def test_a_full_disk_and_a_folder_that_takes_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "disk_usage", lambda place: Usage(10**9, 10**9, 10**6))
    first, *rest = doctor._disk(tmp_path)
    assert "--run DIR" in first.remedy and not first.bad and rest == []

    def refuse(*args):
        raise PermissionError(13, "Permission denied", str(tmp_path))

    monkeypatch.setattr(doctor.atomic, "write_bytes", refuse)
    assert [finding.bad for finding in doctor._disk(tmp_path)] == [False, True]


def test_little_shared_memory_is_a_note(monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda place: Usage(64 * 2**20, 0, 64 * 2**20))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    notes = {finding.topic: finding for finding in doctor._workers()}
    assert "64 MiB" in notes["workers"].text and "--shm-size" in notes["workers"].remedy
    assert notes["compiler"].remedy and not notes["compiler"].bad


def test_what_is_kept_is_shown_with_its_place(tmp_path):
    assert "0.0 GB in " + str(tmp_path / "none") in str(doctor._cache(tmp_path / "none"))
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures/a.levels").write_bytes(bytes(60_000_000))
    assert doctor._cache(tmp_path).text.startswith("0.1 GB in ") and not doctor._cache(tmp_path).bad
