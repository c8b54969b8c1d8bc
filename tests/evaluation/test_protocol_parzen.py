"""The Parzen window of the first paper, on a data set and a sampler that are known."""

import pytest
import torch
from hand_made import Given, labelled, pictures, points, recipe, subject, translating

from i2i.errors import UserError
from i2i.evaluation.evaluate import made
from i2i.metrics import PROTOCOLS
from i2i.metrics.parzen import choose_sigma, log_likelihoods
from i2i.metrics.summary import summary


def test_sigma_is_chosen_on_val_and_test_is_read_once(tmp_path):
    chosen = recipe(tmp_path, pictures("labelled", labelled(tmp_path / "digits", 20, 6), val=8))
    samples = torch.rand(50, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    found = subject(chosen, {"generator": Given(samples)}, tmp_path)
    protocol = made("parzen", {"samples": 50})
    values = protocol.measure(found, "test")

    def rows(split: str) -> torch.Tensor:
        return torch.stack([torch.from_numpy(w["image"]).double().reshape(-1) / 255 for w in found.data.whole(split)])

    windows = (samples.reshape(50, -1).double() + 1) / 2
    sigma, _ = choose_sigma(windows, rows("val"))
    assert values["sigma"] == pytest.approx(sigma, rel=1e-5)
    assert values["log_likelihood"] == pytest.approx(summary(log_likelihoods(windows, rows("test"), sigma)), rel=1e-5)
    words = protocol.words(found, "test")
    assert "(12 pictures, (1, 16, 16) in [0, 1], natural log)" in words and "chosen on val (8 of them)" in words
    assert "50 samples (seed 0)" in words


def test_pictures_are_prepared_once(tmp_path, monkeypatch):
    chosen = recipe(tmp_path, points("ring2d", count=30))
    found = subject(chosen, {"generator": Given(torch.rand(40, 2, 1, 1))}, tmp_path)
    reads, sample = [], type(found.data).sample
    monkeypatch.setattr(
        type(found.data), "sample", lambda self, split, i, key=None: reads.append(split) or sample(self, split, i, key)
    )
    protocol = made("parzen", {"samples": 40})
    protocol.measure(found, "test")
    protocol.measure(subject(chosen, found.models, tmp_path, data=found.data), "test")
    assert sorted(reads) == ["test"] * 30 + ["val"] * 30


def test_without_val_it_is_refused(tmp_path):
    root, refuses = labelled(tmp_path / "digits", 4, 2), PROTOCOLS.get("parzen").refuses
    assert "no split val" in refuses(recipe(tmp_path, pictures("labelled", root)))
    assert refuses(recipe(tmp_path, pictures("labelled", root, val=2))) is None
    (root / "test").rename(root / "val")
    assert refuses(recipe(tmp_path, pictures("labelled", root))) is None
    folder = subject(recipe(tmp_path, pictures("folder", root / "train" / "dark")), {}, tmp_path)
    with pytest.raises(UserError, match="sigma on val, and the data have train alone"):
        made("parzen", {}).words(folder, "train")
    assert "no samples from noise" in refuses(translating("cyclegan", pictures("unpaired", tmp_path, 32)))
