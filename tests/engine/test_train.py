"""Whole runs in this process: what they say, write, keep and refuse."""

import json

import numpy as np
import pytest
import torch
from running import ARGUMENTS, LENGTH

from i2i.data.pictures import write
from i2i.engine import checkpoint
from i2i.engine.runtime import NotFinite
from i2i.engine.train import train
from i2i.errors import UserError
from i2i.infer.runs import checkpoint_of, checkpoints, read_recipe
from i2i.infer.weights import read_meta, read_tensors


@pytest.fixture
def run(tmp_path):
    """`run("pix2pix", ...)` trains the small run of a method in tmp_path/run and returns (folder, lines said)."""

    def start(name, *more, **options):
        recipe, *overrides = ARGUMENTS[name]
        said = []
        options = {"run": tmp_path / "run", "device": "cpu", "say": said.append, **options}
        path = train(recipe, [*overrides, *LENGTH, *more], **options)
        return path, said

    return start


def stats(path):
    return [json.loads(line) for line in (path / "stats.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("name", ARGUMENTS)
def test_what_a_run_leaves_behind(name, run):
    path, said = run(name, "train.keep=2")
    assert [p.stem for p in checkpoints(path)][:2] == ["00000012", "00000008"]
    assert len(checkpoints(path)) <= 2 + (path / "evaluations.jsonl").exists(), "of a run that is scored, the best"
    assert sorted(p.name for p in (path / "samples").iterdir()) == [
        "000000.png",
        "000000_real.png",
        "000006.png",
        "000012.png",
    ]
    lines = stats(path)
    assert [line["step"] for line in lines] == [3, 6, 9, 12]
    per_step = {"pix2pix": 2, "cyclegan": 1 * 2, "vae": 4}.get(name, 4 * 2)  # pictures of a batch, critic batches
    assert [line["images"] for line in lines] == [per_step * line["step"] for line in lines]
    losses = {"cyclegan": {"loss/D_a"}, "vae": {"loss/kl"}}.get(name, {"loss/D"})
    assert all({"images/s", *losses} <= line.keys() for line in lines)
    for export in ["generator_ab", "generator_ba"] if name == "cyclegan" else ["generator"]:
        meta = read_meta(path / f"{export}.safetensors")
        assert meta["step"] == 12 and meta["export"] == export and meta["method"] == name
    assert any("M parameters" in line for line in said) and any(line.startswith("finished: ") for line in said)


def test_a_damaged_later_checkpoint_never_pushes_out_a_whole_one(run):
    """Continued from step 8 past a torn step 12, the run is saved again at 9, 10 and 11: keep 1 keeps those."""
    path, _ = run("pix2pix", "train.keep=2")
    torn = checkpoint_of(path, 12)
    torn.write_bytes(torn.read_bytes()[:-5])

    class Stopped(Exception):
        pass

    def stop_at_11(line):
        if line.startswith("step 11/"):
            raise Stopped

    with pytest.raises(Stopped):
        run("pix2pix", "train.keep=1", "train.save_every=1", "train.log_every=1", say=stop_at_11)
    assert [p.stem for p in checkpoints(path)] == ["00000012", "00000010"]
    tensors, meta = checkpoint.newest(path, lambda line: None)
    assert meta["step"] == 10 and tensors
    path, said = run("pix2pix")
    assert any("at step 10 of 12" in line for line in said)


def test_the_recipe_of_a_run_is_complete_and_resolved(run):
    path, _ = run("cyclegan")
    recipe = read_recipe(path)
    assert recipe.data.a.channels == 3 and recipe.data.a.range == [0.0, 255.0] and recipe.train.steps == 12
    assert recipe.generator.args["padding"] == "reflect", "a default that was left out is written in"


def test_ema_is_what_is_exported(run):
    path, _ = run("pix2pix")
    tensors, _ = checkpoint.newest(path, print)
    weights, _ = read_tensors(path / "generator.safetensors")
    assert all(torch.equal(value, tensors[f"ema.G.{key}"]) for key, value in weights.items())
    assert any(not torch.equal(value, tensors[f"nets.G.{key}"]) for key, value in weights.items())


def test_spectral_norm_is_baked_into_what_is_exported(run):
    import i2i

    path, _ = run(
        "pix2pix",
        "generator.spectral_norm=true",
        "generator.norm=instance",
        "train.ema=null",
        "translate.dropout=false",
    )
    weights, meta = read_tensors(path / "generator.safetensors")
    assert meta["net"]["args"]["spectral_norm"] is False and not any("parametrizations" in key for key in weights)
    tensors, _ = checkpoint.newest(path, print)
    key = next(key for key in weights if key.endswith("weight") and weights[key].dim() == 4)
    original = tensors[f"nets.G.{key.removesuffix('weight')}parametrizations.weight.original"]
    ratio = original / weights[key]
    assert torch.allclose(ratio, ratio.flatten()[0].expand_as(ratio), rtol=1e-4), "the weight over its sigma"
    assert i2i.load(path).net is not None


def test_a_larger_number_of_steps_continues_and_a_smaller_one_is_refused(run):
    path, _ = run("cyclegan")
    path, said = run("cyclegan", "train.steps=14")
    assert any("continuing" in line and "at step 12 of 14" in line for line in said)
    assert any("the decay that is left is stretched" in line for line in said)
    assert stats(path)[-1]["step"] == 14 and read_recipe(path).train.steps == 14
    with pytest.raises(UserError, match=r"train\.steps: 14 in the run, 13 now; only a larger number can continue it"):
        run("cyclegan", "train.steps=13")


def test_a_finished_run_mends_its_weights_and_touches_nothing_else(run):
    path, _ = run("pix2pix")
    whole = (path / "generator.safetensors").read_bytes()
    (path / "generator.safetensors").unlink()
    stamps = {p: p.stat().st_mtime_ns for p in path.rglob("*.*") if p.suffix in (".png", ".safetensors")}
    _, said = run("pix2pix")
    assert (path / "generator.safetensors").read_bytes() == whole
    assert all(p.stat().st_mtime_ns == stamp for p, stamp in stamps.items())
    assert said == [f"{path} is finished: 12 of 12 steps. A larger train.steps continues it, --fresh starts anew."]


def test_a_finished_run_mends_weights_that_are_torn(run):
    path, _ = run("pix2pix")
    whole = (path / "generator.safetensors").read_bytes()
    (path / "generator.safetensors").write_bytes(whole[:20])
    run("pix2pix")
    assert (path / "generator.safetensors").read_bytes() == whole


def test_when_a_loss_is_no_longer_finite_the_run_stops_and_saves_nothing(run, tmp_path):
    with pytest.raises(NotFinite, match=r"step \d+: the (loss|gradient norm) of [GD] is (nan|inf|-inf)"):
        run("pix2pix", "optimizer.G.lr=1e36", "train.warmup=0", "train.decay_from=null")
    path = tmp_path / "run"
    assert not checkpoints(path) and not (path / "generator.safetensors").exists()
    assert (path / "stats.jsonl").exists() is False or all(line["step"] < 12 for line in stats(path))


def test_batches_of_training_are_what_the_real_grid_shows(run):
    path, _ = run("cyclegan")
    assert (path / "samples" / "000000_real.png").stat().st_size > 1000


def test_nothing_is_written_by_a_dry_run(run, tmp_path):
    path, said = run("pix2pix", dry_run=True)
    assert path == tmp_path / "run" and not path.exists()
    assert "method:" in said[0] and "encoder.0" in said[1]


def test_progress_of_previews_does_not_touch_training(run, tmp_path):
    """Drawing more samples, or logging and saving more often, changes no weight."""
    one, _ = run("pix2pix")
    two, _ = run("pix2pix", "train.sample_every=1", "train.log_every=1", "train.save_every=2", run=tmp_path / "often")
    ours, theirs = (read_tensors(checkpoint_of(path, 12))[0] for path in (one, two))
    assert all(torch.equal(value, theirs[key]) for key, value in ours.items())


@pytest.mark.parametrize("more", [(), ("data.workers=1",)])
def test_a_run_whose_pictures_stay_decoded_has_the_same_bits(run, tmp_path, more):
    root = tmp_path / "pictures"
    (root / "train").mkdir(parents=True)
    for number in range(5):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 90, 3), np.uint8)
        write(root / f"train/{number}.png", pixels)
    data = f"data={{kind: paired, path: '{root}', load_size: 36, crop_size: 32, workers: 0}}"
    plain, said = run("pix2pix", data, "data.cache=off", run=tmp_path / "plain")
    assert not (root / ".i2i-cache").exists() and not any("decoded pictures" in line for line in said)
    path, said = run("pix2pix", data, *more)
    assert sum("decoded pictures are kept in" in line for line in said) == 1 and (root / ".i2i-cache").is_dir()
    last = "checkpoints/00000012.safetensors"
    ours, theirs = read_tensors(path / last)[0], read_tensors(plain / last)[0]
    assert ours.keys() == theirs.keys() and all(ours[key].equal(theirs[key]) for key in ours)
    _, said = run("pix2pix", data, "data.cache=off", "train.steps=14")
    assert any("continuing" in line for line in said), "another data.cache is no other recipe"


def test_a_run_of_less_than_an_epoch_keeps_nothing_decoded(run, tmp_path):
    root = tmp_path / "pictures"
    for name in "AB":
        (root / f"train{name}").mkdir(parents=True)
        for number in range(26):
            write(root / f"train{name}/{number}.png", np.zeros((40, 40, 3), np.uint8))
    data = f"data={{kind: paired, path: '{root}', load_size: 36, crop_size: 32, workers: 0}}"
    run("pix2pix", data)
    assert not (root / ".i2i-cache").exists()
