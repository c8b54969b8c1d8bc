"""Downloads from a server on this machine that breaks its word; no test touches a network."""

import hashlib
import importlib.util
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from running import in_process
from serving import Served, noise, serving, tar, zipped

from i2i import atomic
from i2i.errors import UserError
from i2i.prepare import cards
from i2i.prepare import download as room
from i2i.prepare.download import download
from i2i.prepare.downloading import fetch

ROOT = Path(__file__).parent.parent.parent
PICTURES = {f"trainA/{n}.png": noise(3000 + n, n) for n in range(4)} | {f"trainB/{n}.jpg": noise(999, 9 + n) for n in range(3)}  # fmt: skip
PACKED = {f"toy/{name}": data for name, data in PICTURES.items()}
KINDS = {
    ".zip": zipped(PACKED),
    ".tar.gz": tar(PACKED),
    ".tar.bz2": tar(PACKED, "w:bz2"),
    ".tar.xz": tar(PACKED, "w:xz"),
}
ZIP = KINDS[".zip"]
CARD = """
name: {name}
title: toys
kind: unpaired
layout: trainA and trainB
counts: {{trainA: 4, trainB: 3}}
counts_from: the test
source: {url}
licence: ours
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """No waiting between tries, and no flushing of everybody's disk."""
    monkeypatch.setattr(fetch, "PAUSE", 0)
    monkeypatch.setattr(os, "sync", lambda: None)
    for key in [key for key in os.environ if key.lower().endswith("_proxy")]:
        monkeypatch.delenv(key)


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """The folder of the cards; `toy(base, more)` writes the card of one set into it."""
    folder = tmp_path / "cards"
    folder.mkdir()
    monkeypatch.setattr(cards, "shipped", lambda kind: folder)
    return folder


class Toy:
    """One set behind one server: `get()` downloads it into `folder` and keeps what was said."""

    def __init__(self, shelf: Path, base: str, *, path: str = "/toy.zip", more: str = "", card: str | None = None):
        (shelf / "toy.yaml").write_text((card or CARD).format(name="toy", url=base + path, base=base) + more)
        self.home = shelf.parent / "home"
        self.folder = self.home / "toy"
        self.said, self.told = [], []

    def get(self) -> Path:
        return download("toy", to=self.folder, say=self.said.append, progress=lambda *counts: self.told.append(counts))

    def refused(self, sentence: str) -> str:
        """Downloads, expects to be refused, and that nothing stands where the set would."""
        with pytest.raises(UserError, match=sentence) as error:
            self.get()
        assert not self.folder.exists()
        assert not [path for path in self.home.glob(".*") if path.is_dir()]
        return str(error.value)

    @property
    def left(self) -> list[str]:
        """What lies beside the folder."""
        return sorted(path.name for path in self.home.iterdir() if path != self.folder)


def pictures(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != room.NOTE
    }


def sha(data: bytes, kind: str = "sha256") -> str:
    value = hashlib.new(kind, data).hexdigest()
    return f"checksum: {{{kind}: {value}, told_by: the test}}\n"


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :]


# ---------------------------------------------------------------------------------------------------- as it should be


@pytest.mark.parametrize("checksum", [None, "sha256", "md5"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_set_arrives_whole(kind, checksum, shelf):
    data = KINDS[kind]
    served = Served(data)
    with serving({f"/toy{kind}": served}) as base:
        toy = Toy(shelf, base, path=f"/toy{kind}", more=sha(data, checksum) if checksum else "")
        assert toy.get() == toy.folder
        assert pictures(toy.folder) == PICTURES
        assert toy.left == [], "no part, no note and no temporary folder stays behind"
        assert toy.told[0][1] == len(data) and (len(data), len(data)) in toy.told
        assert "Next: i2i recipes plan" in toy.said[-1] and any("ours" in line for line in toy.said)
        assert stat.S_IMODE(toy.folder.stat().st_mode) == 0o777 & ~_umask()
        note = json.loads((toy.folder / room.NOTE).read_text())
        assert note["pictures"] == {"trainA": 4, "trainB": 3} and note["from"].startswith(base)

        toy.said.clear()
        assert toy.get() == toy.folder  # the second time: recognised, and nobody is asked
        assert "already there" in toy.said[0] and len(served.asked) == 1


def _umask() -> int:
    now = os.umask(0)
    os.umask(now)
    return now


def test_the_command_prints_the_folder_and_fails_with_a_status(shelf):
    with serving({"/toy.zip": Served(ZIP)}) as base:
        toy = Toy(shelf, base)
        status, shown = in_process("data", "download", "toy", "--to", toy.folder)
        assert status == 0 and shown.splitlines()[-1] == str(toy.folder)
        assert in_process("data", "download")[1].splitlines()[1].startswith("toy ")
    status, shown = in_process("data", "download", "toi")
    assert status == 1 and "Did you mean 'toy'?" in shown and "Traceback" not in shown


def test_without_a_folder_it_goes_to_datasets(shelf, monkeypatch):
    with serving({"/toy.zip": Served(ZIP)}) as base:
        Toy(shelf, base)
        monkeypatch.chdir(shelf.parent)
        assert download("toy", say=lambda text: None) == Path("datasets/toy")
    assert pictures(shelf.parent / "datasets" / "toy") == PICTURES


def test_prefixes_of_an_archive_are_stripped_and_flat_ones_stay_flat(shelf):
    flat = CARD.replace("{{trainA: 4, trainB: 3}}", "{{.: 4}}").replace("unpaired", "folder")
    for prefix in ("", "100-shot/", "a/b/"):
        data = zipped({f"{prefix}{n}.png": noise(9, n) for n in range(4)})
        with serving({"/toy.zip": Served(data)}) as base:
            toy = Toy(shelf, base, card=flat)
            toy.get()
            assert sorted(pictures(toy.folder)) == ["0.png", "1.png", "2.png", "3.png"]
            assert "i2i data pairs" in toy.said[-1]
        shutil.rmtree(toy.folder)


def test_a_set_of_plain_files(shelf):
    files = {"train-images.gz": tar({"x": noise(50)}), "train-labels.gz": tar({"y": b"1"})}
    entries = "".join(
        f"  - {{name: {name}, bytes: {len(data)}, sha256: {hashlib.sha256(data).hexdigest()}}}\n"
        for name, data in files.items()
    )
    more = f"holds: [{', '.join(files)}]\nfiles:\n{entries}"
    routes = {f"/two/{name}": Served(data, cuts=[20]) for name, data in files.items()}
    with serving(routes) as base:
        toy = Toy(shelf, base, path="/one/", more=f"mirrors: ['{base}/two/']\n{more}")
        toy.get()
        assert pictures(toy.folder) == files and toy.left == []
        toy.get()
    assert [len(served.asked) for served in routes.values()] == [2, 2]


def test_a_shipped_recipe_that_reads_the_set_is_the_next_command(tmp_path):
    assert room.next_commands(cards.card("facades"), Path("datasets/facades"))[0].startswith("i2i train ")
    commands = room.next_commands(cards.card("horse2zebra"), tmp_path / "elsewhere")
    assert f"i2i train cyclegan_horse2zebra data.path={tmp_path / 'elsewhere'}" in commands
    assert f"i2i train gan_mnist data.path={tmp_path}" in room.next_commands(cards.card("mnist"), tmp_path)
    assert room.next_commands(cards.card("afhq"), tmp_path) == []


@pytest.mark.slow
def test_the_real_facades_packed_as_published_end_as_its_recipe_expects(shelf, real_data):
    from i2i import build, config

    real = real_data("facades")
    files = {f"facades/{path.relative_to(real)}": path.read_bytes() for path in sorted(real.rglob("*.jpg"))}
    data, text = tar(files), (ROOT / "datasets" / "facades.yaml").read_text()
    served = Served(data, cuts=[len(data) // 3, len(data) // 2])
    with serving({"/facades.tar.gz": served}) as base:
        lines = [
            line for line in text.splitlines() if not line.startswith(("bytes", "mirrors", "  - ", "checksum", "  "))
        ]
        card = [f"source: {base}/facades.tar.gz" if line.startswith("source") else line for line in lines]
        (shelf / "facades.yaml").write_text("\n".join(card) + "\n")
        folder = download("facades", to=shelf.parent / "facades", say=lambda text: None)
    data = build.dataset(build.check(config.read("pix2pix_facades", [f"data.path={folder}"])))
    assert data.files == 400 and len(served.asked) == 3


# ---------------------------------------------------------------------------------------------------- cuts


POINTS = sorted({1, 2, 5, 6, 511, 512, 513, len(ZIP) - 1, len(ZIP) - 22, *range(700, len(ZIP) - 100, len(ZIP) // 12)})


@pytest.mark.parametrize("point", POINTS)
def test_cut_anywhere_it_goes_on_from_there(point, shelf):
    """In the same run, after a connection that broke off: only the rest is asked for, of the same file."""
    served = Served(ZIP, cuts=[point])
    with serving({"/toy.zip": served}) as base:
        toy = Toy(shelf, base)
        toy.get()
    assert pictures(toy.folder) == PICTURES
    kept = point if point >= 6 else 0  # too few bytes to tell what they are, are not kept
    rest = {"range": f"bytes={kept}-", "if": '"one"'} if kept else {"range": None, "if": None}
    assert served.asked == [{"range": None, "if": None}, rest]


def test_there_are_twenty_points():
    assert len(POINTS) >= 20


def test_twenty_cuts_in_one_download(shelf):
    cuts = [len(ZIP) * n // 21 for n in range(1, 21)]
    served = Served(ZIP, cuts=list(cuts))
    with serving({"/toy.zip": served}) as base:
        toy = Toy(shelf, base, more=sha(ZIP))
        toy.get()
    assert pictures(toy.folder) == PICTURES
    assert [request["range"] for request in served.asked] == [None, *(f"bytes={cut}-" for cut in cuts)]
    done = [done for done, _ in toy.told[: toy.told.index((len(ZIP), len(ZIP)))]]
    assert done == sorted(done)


@pytest.mark.parametrize("point", [0, 3, len(ZIP) // 2, len(ZIP) - 1])
def test_cut_for_good_a_later_run_goes_on(point, shelf):
    served = Served(ZIP, cuts=[point] * 99)
    with serving({"/toy.zip": served}) as base:
        toy = Toy(shelf, base)
        said = toy.refused("the connection broke off")
        part = toy.home / ("toy.zip" + atomic.SUFFIX)
        if point < 6:
            assert toy.left == []
        else:
            assert part.stat().st_size == point and "the same command continues" in said
        served.cuts.clear()
        served.asked.clear()
        toy.get()
    assert pictures(toy.folder) == PICTURES and toy.left == []
    assert [request["range"] for request in served.asked] == [f"bytes={point}-" if point >= 6 else None]


def test_a_whole_part_is_not_asked_for_again(shelf):
    served = Served(ZIP)
    with serving({"/toy.zip": served}) as base:
        toy = Toy(shelf, base)
        toy.home.mkdir()
        with fetch.Part(toy.home / ("toy.zip" + atomic.SUFFIX), "toy") as part:
            fetch.fetch(part, f"{base}/toy.zip", fetch.Wanted(None, 10**6, None), toy.said.append, None)
        toy.get()
    assert len(served.asked) == 1 and pictures(toy.folder) == PICTURES


def test_a_server_that_knows_no_ranges_starts_anew(shelf):
    served = Served(ZIP, ranges=False, cuts=[1000])
    with serving({"/toy.zip": served}) as base:
        toy = Toy(shelf, base)
        toy.get()
    assert pictures(toy.folder) == PICTURES and any("starting anew" in line for line in toy.said)


def test_another_file_by_now_starts_anew(shelf):
    served = Served(flipped(ZIP, 40), cuts=[1000] * 99)
    with serving({"/toy.zip": served}) as base:
        toy = Toy(shelf, base)
        toy.refused("broke off")
        served.data, served.etag, served.cuts = ZIP, '"two"', []
        toy.get()
    assert pictures(toy.folder) == PICTURES


def test_a_part_that_nothing_is_known_of_is_not_continued(shelf):
    served = Served(ZIP)
    with serving({"/toy.zip": served}) as base:
        toy = Toy(shelf, base)
        toy.home.mkdir()
        (toy.home / ("toy.zip" + atomic.SUFFIX)).write_bytes(b"whatever" * 100)
        toy.get()
    assert served.asked[0]["range"] is None and pictures(toy.folder) == PICTURES


END = f"{len(ZIP) - 1}/{len(ZIP)}"
RANGES = ["bytes 5-9/10", "bytes 999999-9/10", "none", "bytes 1000-/", "bytes */4", "bytes 0-1/2", f"bytes 5-{END}",
          f"bytes 1001-{END}", f"bytes 0-{END}"]  # fmt: skip


@pytest.mark.parametrize("said", RANGES)
def test_a_wrong_content_range_is_not_believed(said, shelf):
    served = Served(ZIP, cuts=[1000], content_range=said)
    with serving({"/toy.zip": served}) as base:
        toy = Toy(shelf, base)
        toy.get()
    assert pictures(toy.folder) == PICTURES
    assert [request["range"] for request in served.asked] == [None, "bytes=1000-", None]


def test_nothing_after_what_is_here(shelf):
    """Status 416 with our length: it is whole. With another one: it is another file."""
    served = Served(ZIP + b"12345", cuts=[len(ZIP)] * 99)
    with serving({"/toy.zip": served}) as base:
        toy = Toy(shelf, base)
        toy.refused("broke off")
        served.data, served.cuts = ZIP, []
        toy.get()
        assert pictures(toy.folder) == PICTURES
        shutil.rmtree(toy.folder)
        served.data, served.cuts = ZIP + b"12345", [len(ZIP) + 2] * 99
        toy.refused("broke off")
        served.data, served.cuts, served.asked = ZIP, [], []
        toy.get()
    assert pictures(toy.folder) == PICTURES
    assert [request["range"] for request in served.asked] == [f"bytes={len(ZIP) + 2}-", None]


# ---------------------------------------------------------------------------------------------------- lies


@pytest.mark.parametrize("place", [0, 3, 700, len(ZIP) // 2, len(ZIP) - 5])
def test_a_flipped_byte_is_refused_by_the_checksum(place, shelf):
    with serving({"/toy.zip": Served(flipped(ZIP, place))}) as base:
        toy = Toy(shelf, base, more=sha(ZIP))
        said = toy.refused("sha256 of what it sent is|answers with")
        assert place == 0 or "told by the test" in said
        assert toy.left == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_byte_is_refused_without_a_checksum_too(kind, shelf):
    """The archive's own checksums see it; test_unpack tries every byte."""
    data = KINDS[kind]
    with serving({f"/toy{kind}": Served(flipped(data, len(data) // 2))}) as base:
        toy = Toy(shelf, base, path=f"/toy{kind}")
        toy.refused("damaged")
        assert toy.left == []


def test_too_few_pictures_are_refused_where_no_checksum_is_known(shelf):
    fewer = dict(list(PACKED.items())[:-1])
    with serving({"/toy.zip": Served(zipped(fewer))}) as base:
        Toy(shelf, base).refused("2 of 3 pictures in trainB, so it is not the published data set")
        toy = Toy(shelf, base, more=sha(zipped(fewer)))  # by its checksum it is the published one: the card is wrong
        toy.get()
        assert any("counts otherwise: 2 of 3" in line for line in toy.said)
        toy.said.clear()
        toy.get()
        assert "already there" in toy.said[0]


def test_a_length_that_says_too_much(shelf):
    served = Served(ZIP, lie=1000)
    with serving({"/toy.zip": served}) as base:
        toy = Toy(shelf, base)
        toy.get()  # the rest is asked for, and the server owns up: there is none
        assert pictures(toy.folder) == PICTURES and len(served.asked) == 2
        shutil.rmtree(toy.folder)
        Toy(shelf, base, more=f"bytes: {len(ZIP)}\n").refused("offers a file of .* and the right one has")
        served.ranges = False
        Toy(shelf, base).refused(f"broke off at {len(ZIP):,} of {len(ZIP) + 1000:,} bytes")


def test_a_length_that_says_too_little(shelf):
    with serving({"/toy.zip": Served(ZIP, lie=-500)}) as base:
        Toy(shelf, base).refused("cut short")
        Toy(shelf, base, more=sha(ZIP)).refused("sha256")
        Toy(shelf, base, more=f"bytes: {len(ZIP)}\n").refused("the right one has")


def test_no_length_at_all(shelf):
    served = Served(ZIP, length=False)
    with serving({"/toy.zip": served}) as base:
        toy = Toy(shelf, base)
        toy.get()
        assert pictures(toy.folder) == PICTURES and toy.told[0][1] is None
        shutil.rmtree(toy.folder)
        served.cuts = [3000]  # looks like the end: only what is inside can tell
        Toy(shelf, base).refused("cut short|damaged")
        served.cuts = [3000]
        Toy(shelf, base, more=f"bytes: {len(ZIP)}\n").refused("it sent 3,000 bytes, and the file has")


def test_more_than_the_set_can_have(shelf, monkeypatch):
    monkeypatch.setattr(room, "CAP", 5000)
    served = Served(ZIP)
    with serving({"/toy.zip": served}) as base:
        Toy(shelf, base).refused("no more than 5,000")
        served.length = False
        toy = Toy(shelf, base)
        toy.refused("sends more than 5,000 bytes")
        assert toy.left == []


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<!DOCTYPE html><html><body>The page has moved</body></html>", "a web page"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "an XML"),
        (b"Quota exceeded, try again tomorrow.", "a text"),
        (b"\x89PNG\r\n\x1a\n" + bytes(90), "a PNG"),
        (b"", "an empty file"),
    ],
)
def test_a_page_served_in_place_of_the_archive_is_recognised(body, words, shelf):
    with serving({"/toy.zip": Served(body)}) as base:
        toy = Toy(shelf, base)
        toy.refused(f"it answers with {words}")
        assert toy.left == []


def test_a_page_does_not_cost_the_part_that_is_here(shelf):
    served = Served(ZIP, cuts=[2000] * 99)
    with serving({"/toy.zip": served}) as base:
        toy = Toy(shelf, base)
        toy.refused("broke off")
        served.data, served.etag, served.cuts = b"<html>down for maintenance</html>" * 99, None, []
        toy.refused("a web page")
        assert (toy.home / ("toy.zip" + atomic.SUFFIX)).stat().st_size == 2000
        served.data, served.etag, served.asked = ZIP, '"one"', []
        toy.get()
    assert served.asked[0]["range"] == "bytes=2000-" and pictures(toy.folder) == PICTURES


# ---------------------------------------------------------------------------------------------------- other addresses


@pytest.mark.parametrize("status", [403, 404, 410, 500, 503])
def test_a_dead_source_leads_to_the_mirror(status, shelf):
    dead, mirror = Served(status=status), Served(ZIP)
    with serving({"/toy.zip": dead, "/mirror/toy.zip": mirror}) as base:
        toy = Toy(shelf, base, more=f"mirrors: ['{base}/gone.zip', '{base}/mirror/toy.zip']\n")
        toy.get()
        assert len(dead.asked) == (fetch.TRIES if status >= 500 else 1) and len(mirror.asked) == 1
        assert any(f"answers {status}" in line for line in toy.said)


def test_all_addresses_dead_are_all_named(shelf):
    with serving({"/toy.zip": Served(status=404)}) as base:
        toy = Toy(shelf, base, more=f"mirrors: ['{base}/two.zip']\n")
        said = toy.refused("could not be downloaded")
        assert f"{base}/toy.zip: it answers 404" in said and f"{base}/two.zip: it answers 404" in said
        assert f"fetched by hand goes to {toy.folder}.zip" in said
    Toy(shelf, base).refused("refused|Connection")  # now nobody listens at all


def test_what_one_began_the_mirror_ends_only_where_a_checksum_tells_that_it_is_the_same(shelf):
    for more, asked in ((sha(ZIP), "bytes=2000-"), ("", None)):
        first, mirror = Served(ZIP, cuts=[2000] * 99), Served(ZIP, etag='"another"')
        with serving({"/toy.zip": first, "/m.zip": mirror}) as base:
            toy = Toy(shelf, base, more=more + f"mirrors: ['{base}/m.zip']\n")
            toy.get()
            assert mirror.asked == [{"range": asked, "if": None}]
            assert pictures(toy.folder) == PICTURES
            shutil.rmtree(toy.folder)


def test_what_a_mirror_began_it_ends_though_the_source_is_back(shelf):
    source, mirror = Served(status=404), Served(ZIP, cuts=[2000] * 99)
    with serving({"/toy.zip": source, "/m.zip": mirror}) as base:
        toy = Toy(shelf, base, more=f"mirrors: ['{base}/m.zip']\n")
        toy.refused("broke off")
        mirror.cuts, mirror.asked, source.asked = [], [], []
        source.status, source.data = 0, ZIP
        toy.get()
    assert mirror.asked == [{"range": "bytes=2000-", "if": '"one"'}] and source.asked == []
    assert pictures(toy.folder) == PICTURES


def test_a_wrong_file_at_the_source_leads_to_the_mirror(shelf):
    for wrong in (flipped(ZIP, 900), b"<html></html>", zipped({"toy/trainA/1.png": b""})):
        with serving({"/toy.zip": Served(wrong), "/m.zip": Served(ZIP)}) as base:
            toy = Toy(shelf, base, more=f"mirrors: ['{base}/m.zip']\n")
            toy.get()
            assert pictures(toy.folder) == PICTURES and toy.left == []
            shutil.rmtree(toy.folder)


@pytest.mark.parametrize(
    "target",
    ["file:///etc/passwd", "FILE:/etc/passwd", "ftp://127.0.0.1/toy.zip", "data:application/zip;base64,UEsF", "gopher://x/"],
)  # fmt: skip
def test_a_redirect_to_anything_but_http_is_refused(target, shelf):
    for status in (301, 302, 303, 307, 308):
        with serving({"/toy.zip": Served(status=status, location=target)}) as base:
            Toy(shelf, base).refused(f"leads on to a {target.partition(':')[0].lower()} address, which is not followed")


def test_a_redirect_from_https_to_http_is_refused():
    request = fetch.urllib.request.Request("https://example.org/a.zip")
    answer = fetch.http.client.HTTPMessage()

    class Body:
        def close(self):
            pass

    with pytest.raises(fetch.Refused, match="a http address"):
        fetch._Redirects().redirect_request(request, Body(), 302, "Found", answer, "http://example.org/a.zip")


def test_redirects_are_followed_but_not_in_circles(shelf):
    routes = {
        "/toy.zip": Served(status=302, location="/there.zip"),
        "/there.zip": Served(ZIP),
        "/loop.zip": Served(status=301, location="/pool.zip"),
        "/pool.zip": Served(status=301, location="/loop.zip"),
    }
    with serving(routes) as base:
        toy = Toy(shelf, base)
        toy.get()
        assert pictures(toy.folder) == PICTURES
        shutil.rmtree(toy.folder)
        Toy(shelf, base, path="/loop.zip").refused("leads on in circles")
    assert len(routes["/loop.zip"].asked) < 10


def test_a_server_that_hangs_is_left(shelf, monkeypatch):
    monkeypatch.setattr(fetch, "TIMEOUT", 0.2)
    monkeypatch.setattr(fetch, "TRIES", 2)
    hanging = Served(ZIP, cuts=[2000] * 99, hold=threading.Event())
    with serving({"/toy.zip": hanging, "/m.zip": Served(ZIP)}) as base:
        toy = Toy(shelf, base, more=f"mirrors: ['{base}/m.zip']\n")
        toy.get()
        assert pictures(toy.folder) == PICTURES
        assert any("nothing came for 0.2 s" in line for line in toy.said)


# ---------------------------------------------------------------------------------------------------- the user's things


@pytest.mark.parametrize("content", [{"notes.txt": b"mine"}, {"trainA/1.png": b"x"}, {".hidden": b""}])
def test_a_folder_with_anything_else_in_it_is_never_touched(content, shelf):
    served = Served(ZIP)
    with serving({"/toy.zip": served}) as base:
        toy = Toy(shelf, base)
        for name, data in content.items():
            (toy.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (toy.folder / name).write_bytes(data)
        with pytest.raises(UserError, match=r"it is not touched\. Move it away, or choose another folder"):
            toy.get()
        assert pictures(toy.folder) == content and toy.left == [] and served.asked == []


def test_an_empty_folder_and_a_link_to_one_are_filled(shelf):
    with serving({"/toy.zip": Served(ZIP)}) as base:
        toy = Toy(shelf, base)
        toy.folder.mkdir(parents=True)
        toy.get()
        assert pictures(toy.folder) == PICTURES
        disk = shelf.parent / "disk"
        disk.mkdir()
        (toy.home / "link").symlink_to(disk)
        download("toy", to=toy.home / "link", say=toy.said.append)
        assert pictures(disk) == PICTURES and (toy.home / "link").is_symlink()


def test_a_file_in_the_way_is_left(shelf):
    toy = Toy(shelf, "http://127.0.0.1:9")
    toy.home.mkdir()
    toy.folder.write_text("mine")
    with pytest.raises(UserError, match=r"is a file\. Give the folder"):
        toy.get()
    with pytest.raises(UserError, match="is not a folder"):
        download("toy", to=toy.folder / "below")
    assert toy.folder.read_text() == "mine" and toy.left == []


def test_a_link_where_the_part_would_be_is_not_written_through(shelf):
    with serving({"/toy.zip": Served(ZIP)}) as base:
        toy = Toy(shelf, base)
        toy.home.mkdir()
        (toy.home / "precious").write_text("mine")
        (toy.home / ("toy.zip" + atomic.SUFFIX)).symlink_to(toy.home / "precious")
        with pytest.raises(OSError, match="symbolic links"):
            toy.get()
        assert (toy.home / "precious").read_text() == "mine"


def test_an_archive_fetched_by_hand_is_taken_and_kept(shelf):
    by_hand = CARD.replace("/toy.zip", "") + "manual: Ask for it in person.\n"
    toy = Toy(shelf, "https://example.org", card=by_hand, more=sha(ZIP))
    toy.refused(r"toy cannot be downloaded by a program\. Ask for it in person\.")
    toy.home.mkdir(exist_ok=True)
    archive = toy.home / "toy.zip"
    archive.write_bytes(flipped(ZIP, 800))
    toy.refused("is not the archive of toy, or is damaged")
    assert archive.read_bytes() == flipped(ZIP, 800)
    archive.write_bytes(ZIP)
    toy.get()
    assert pictures(toy.folder) == PICTURES and toy.left == ["toy.zip"] and archive.read_bytes() == ZIP

    shutil.rmtree(toy.folder)
    toy = Toy(shelf, "https://example.org")  # without a checksum its contents are looked at
    archive.write_bytes(zipped({"a.png": b""}))
    toy.refused(r"is refused: it holds 0 of 4 pictures in trainA, .*It is left as it is")
    assert toy.left == ["toy.zip"]


def test_sets_that_no_program_may_fetch_say_how(tmp_path):
    for name, words in (("cityscapes", "register"), ("celeba", "Google Drive")):
        status, shown = in_process("data", "download", name, "--to", tmp_path / name)
        assert status == 1 and words in shown and "cannot be downloaded by a program" in shown
    assert list(tmp_path.iterdir()) == []


def test_the_room_is_looked_at_first(shelf, monkeypatch):
    served = Served(ZIP)
    monkeypatch.setattr(fetch.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 12_345))
    with serving({"/toy.zip": served}) as base:
        toy = Toy(shelf, base)
        toy.refused(r"needs about .* kB, and .*home has 12\.3 kB free\. Make room, or choose another disk with --to")
        assert toy.told == [], "before the first byte"
        assert toy.left == []


def test_two_at_the_same_time_do_not_meet(shelf):
    fcntl = pytest.importorskip("fcntl")
    toy = Toy(shelf, "http://127.0.0.1:9")
    toy.home.mkdir()
    with (toy.home / ("toy.zip" + atomic.SUFFIX)).open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        toy.refused("is being downloaded to .* by another process")


# ---------------------------------------------------------------------------------------------------- hostile archives


def test_hostile_archives_leave_nothing_at_all(shelf, monkeypatch):
    """What test_unpack refuses one by one, through the whole command: a status, a sentence, and the tree as before."""
    place = Path(__file__).with_name("test_unpack.py")
    spec = importlib.util.spec_from_file_location("hostile_archives", place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(room, "ROOM", 100_000)
    served = Served()
    with serving({"/toy.zip": served}) as base:
        toy = Toy(shelf, base)
        toy.home.mkdir()
        (toy.home / "bystander").write_text("mine")
        before = module.tree(shelf.parent)
        for name, (data, _) in module.HOSTILE.items():
            served.data = data
            status, shown = in_process("data", "download", "toy", "--to", toy.folder)
            assert status == 1, name
            assert "Traceback" not in shown and f"{base}/toy.zip: " in shown, name
            assert module.tree(shelf.parent) == before, name
    assert len(module.HOSTILE) >= 20


# ---------------------------------------------------------------------------------------------------- SIGKILL


CHILD = """
import os, signal, sys
from pathlib import Path
from i2i.prepare import cards, download
from i2i.prepare.downloading import unpack
shelf, folder, die = sys.argv[1:]
cards.shipped = lambda kind: Path(shelf)
if die == "unpacking":
    write, seen = unpack.Writer._write, []
    def killed(self, *arguments):
        write(self, *arguments)
        seen.append(1)
        if len(seen) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
    unpack.Writer._write = killed
if die == "moving":
    os.rename = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)
download.download("toy", to=folder)
"""


def child(toy: Toy, shelf: Path, die: str = "never") -> subprocess.Popen:
    command = [sys.executable, "-c", CHILD, str(shelf), str(toy.folder), die]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_killed_in_the_middle_of_the_download_the_same_command_ends_it(shelf):
    served = Served(ZIP, cuts=[len(ZIP) // 2], hold=threading.Event())
    with serving({"/toy.zip": served}) as base:
        toy = Toy(shelf, base)
        running = child(toy, shelf)
        part, deadline = toy.home / ("toy.zip" + atomic.SUFFIX), time.monotonic() + 120
        while not (part.exists() and part.stat().st_size) and running.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        running.send_signal(signal.SIGKILL)
        assert running.wait(60) == -signal.SIGKILL, running.stdout.read()
        kept = part.stat().st_size
        assert 0 < kept <= len(ZIP) // 2 and not toy.folder.exists()
        again = child(toy, shelf)
        assert again.wait(120) == 0, again.stdout.read()
    assert [request["range"] for request in served.asked] == [None, f"bytes={kept}-"]
    assert pictures(toy.folder) == PICTURES and toy.left == []


@pytest.mark.parametrize("moment", ["unpacking", "moving"])
def test_killed_while_it_unpacks_the_same_command_ends_it(moment, shelf):
    served = Served(ZIP)
    with serving({"/toy.zip": served}) as base:
        toy = Toy(shelf, base)
        running = child(toy, shelf, moment)
        assert running.wait(120) == -signal.SIGKILL, running.stdout.read()
        assert not toy.folder.exists() and f".toy{atomic.SUFFIX}" in toy.left
        toy.get()
    assert len(served.asked) == 1, "the archive was whole: it is not fetched again"
    assert pictures(toy.folder) == PICTURES and toy.left == []
