"""benchmarks/loader.py at a tiny size: it reads what it says it reads, and its table says what was measured."""

import os
import sys

import pytest
from scripts import loaded

STAND_IN = """
import os
import torch
class Pairs(torch.utils.data.Dataset):
    def __init__(self, opt):
        self.names = sorted(os.listdir(os.path.join(opt.dataroot, opt.phase)))
        assert (opt.load_size, opt.crop_size, opt.batch_size, opt.no_flip) == (286, 256, 1, False)
    def __len__(self):
        return len(self.names)
    def __getitem__(self, index):
        read.append(index)
        return {"A": torch.zeros(3, 8, 8), "A_paths": self.names[index]}
read = []
def create_dataset(opt):
    return torch.utils.data.DataLoader(Pairs(opt), shuffle=True, num_workers=opt.num_threads)
"""


@pytest.fixture
def script(monkeypatch):
    monkeypatch.delenv("I2I_CACHE", raising=False)
    return loaded("loader", monkeypatch)


linux = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="reads the times of processes from /proc")


@linux
def test_it_measures_ours_and_the_reference(script, tmp_path, capsys, monkeypatch):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/__init__.py").write_text(STAND_IN)
    (tmp_path / "data/aligned_dataset.py").write_text("")
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "data", raising=False)
    script.main(["--made", "3", "--rounds", "2", "--workers", "0", "--reference", str(tmp_path)])
    assert sorted(sys.modules["data"].read) == sorted([0, 1, 2] * 3), "an epoch that is told apart, and two rounds"
    monkeypatch.delitem(sys.modules, "data")
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")][2:]
    assert [row[0] for row in rows] == ["| i2i, pictures kept", "| i2i, data.cache=off", "| reference"]
    assert all(row[1] == "0" and row[3].startswith("2, ") for row in rows)
    assert float(rows[2][6]) == 1.0 and float(rows[0][6]) > 0
    assert "I2I_CACHE" not in os.environ


@linux
def test_a_folder_of_ones_own_is_left_as_it_was(script, tmp_path, capsys):
    script.make(tmp_path, 2)
    script.main([str(tmp_path), "--rounds", "1", "--workers", "1"])
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["00000.jpg", "00001.jpg", "train"]
    assert capsys.readouterr().out.count("| - | - |") == 2, "no ratio without a reference"
    with pytest.raises(SystemExit, match=r"no checkout of the reference: it has no data/aligned_dataset\.py"):
        script.main([str(tmp_path), "--reference", str(tmp_path)])


def test_crowded_samples_are_left_out_and_counted(script):
    assert script.share_of_others(3.0, 8.0, 10.0, 2) == 0.25 and script.share_of_others(3.0, 2.9, 10.0, 2) == 0
    column, other = script.Column(script.ON, 2, None), script.Column(script.REFERENCE, 2, None)
    for pairs, seconds, others in ((100, 1.0, 0.0), (100, 0.5, 0.01), (100, 0.8, 0.05), (100, 4.0, 0.06)):
        column.add(pairs, seconds, 0.2, others)
    assert column.rates == [100, 200, 125] and column.crowded == [25] and column.rate() == 125
    other.add(50, 2.0, 0.5, 0.9)
    assert other.rate() == 25, "where none counts, all are shown"
    first, second = script.table([column, other]).splitlines()[2:]
    assert first.endswith("| 125 (100 to 200) | 4, 1 | 2.00 | 0 | 5.00 | 5.00 |")
    assert "1, 1 (all crowded: shown nevertheless)" in second


@linux
def test_the_time_of_workers_counts(script):
    before = script.processor_time()
    child = os.fork()
    if child == 0:
        end = sum(os.times()[:2]) + 0.2
        while sum(os.times()[:2]) < end:
            pass
        os._exit(0)
    os.waitpid(child, 0)
    assert script.processor_time() - before > 0.1
    assert script.busy() > script.processor_time() > 0
