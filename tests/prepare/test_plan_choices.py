"""What a plan chooses for sizes, counts, names and machines, against values worked out by hand."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from i2i import build, config
from i2i.errors import UserError
from i2i.prepare.layout import Layout
from i2i.prepare.planning import choices
from i2i.prepare.planning.choices import choose, size
from i2i.prepare.planning.fingerprint import Fingerprint, Side
from i2i.prepare.planning.machine import GB, Machine, kept, machine, needed
from i2i.prepare.planning.recipetext import flow, written
from i2i.yamlfile import read_yaml_value

CPU = Machine("cpu", int(16 * GB), 4)
CUDA = Machine("cuda", int(24 * GB), 16)


def side(name="A", sizes=((256, 256),), count=400, channels=3, depth=8, detail=2.0) -> Side:
    width, height = np.array(sizes).T
    return Side(name, count, channels, 0, depth, None, [0, 255], None, detail, width, height)


def found(a=None, b=None, kind="two folders", folders=None, made=None, **counts) -> Fingerprint:
    a, b = a or side(), b or side("B")
    counts = counts or {"train": max(a.count, b.count)}
    return Fingerprint("my", Layout(kind, Path("my"), {}, folders, []), folders, a, b, counts, {}, made)


def chosen(*given, at=CUDA, **more):
    made = choose(found(*given, **more), at, build.check)
    return build.check(made.source("x")), made.why


# ------------------------------------------------------------------------------------------------ sizes

SIZES = {  # sizes of the pictures: (load_size, crop, levels)
    "as in the papers": ([(256, 256)], 286, 256, 8),
    "one size, larger": ([(600, 600)], None, 256, 8),
    "near each other": ([(300, 400), (420, 310)], None, 256, 8),
    "below the papers'": ([(250, 260)], None, 192, 6),
    "128": ([(128, 128)], 143, 128, 7),
    "100": ([(100, 120)], None, 96, 5),
    "28": ([(28, 28)], None, 24, 3),
    "16": ([(16, 16)], 18, 16, 4),
    "of all sizes": ([(200, 300), (1000, 1000), (4000, 3000)], 286, 256, 8),
    "of all sizes, small": ([(60, 60), (150, 170), (400, 900)], 143, 128, 7),
    "tiny": ([(5, 5), (6, 7)], 9, 8, 3),
}


@pytest.mark.parametrize("case", SIZES)
def test_crops_fit_the_pictures_and_the_network(case):
    sizes, load, crop, downs = SIZES[case]
    recipe, why = chosen(side(sizes=sizes), side("B", sizes=sizes))
    assert (recipe.data.load_size, recipe.data.crop_size, recipe.generator.args["num_downs"]) == (load, crop, downs)
    assert why["data", "load_size"].startswith("null: ") == (load is None)
    assert recipe.generator.args["dropout"] == recipe.translate.dropout == (downs > 5)
    assert recipe.discriminator.args["num_layers"] == (3 if crop >= 96 else 2 if crop >= 48 else 1)


def test_what_is_measured_is_not_resampled():
    for given in ({"depth": 16}, {"depth": 32, "channels": 1}, {"channels": 7}):
        for sizes, crop in (([(256, 256)], 256), ([(200, 300), (3000, 3000)], 192)):
            cut = size(found(side(sizes=sizes, **given), side("B", sizes=sizes)))
            assert (cut.load_size, cut.crop) == (None, crop) and "are measured are not resampled" in cut.why_load
    sizes = [(40, 40), (300, 300), (310, 310)]
    assert size(found(side(sizes=sizes, depth=16), side("B", sizes=sizes))).load_size == 286, "40 px are too few"


def test_the_smaller_domain_counts_too():
    cut = size(found(side(sizes=[(600, 600)]), side("B", sizes=[(100, 100)]), kind="unpaired"))
    assert cut.load_size is not None and "run from 100 to 600 px (median 350)" in cut.why_load
    assert "1 of 2 pictures is enlarged" in cut.why_load and "null, with a crop of 96" in cut.why_load


# ------------------------------------------------------------------------------------------------ machines


def test_what_autograd_keeps_is_counted():
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.LeakyReLU(0.2, inplace=True), nn.Conv2d(8, 1, 1), nn.Tanh())
    with torch.device("meta"):
        net, x = net.to("meta"), torch.empty(2, 3, 10, 10)
    # the input, the first map (its activation lies in the same place), and the output, which tanh keeps
    assert kept(net, x) == 4 * 2 * 100 * (3 + 8 + 1)


def test_the_estimate_grows_as_it_should():
    def need(*overrides, name="pix2pix_facades"):
        return needed(build.check(config.read(name, overrides)), "cpu") - 1 * GB

    one, four = need(), need("train.batch_size=4")
    weights = 4 * 4 * (54_414_531 + 2_769_601)  # G and D of the papers, with gradients and Adam's moments
    assert one - weights == pytest.approx((four - weights) / 4, rel=0.01), "but for what BatchNorm keeps"
    assert need("generator.width=32", "discriminator.width=32") < one / 1.9
    assert 2.5 * GB < need(name="cyclegan_horse2zebra") < 4 * GB


def test_the_plan_fits_the_memory():
    sizes = [(256, 256)]
    for gigabytes, width in ((24, 64), (3.3, 48)):
        recipe, why = chosen(side(sizes=sizes), side("B", sizes=sizes), at=Machine("cuda", int(gigabytes * GB), 8))
        assert recipe.generator.args["width"] == recipe.discriminator.args["width"] == width, gigabytes
        assert f"GB (an estimate) of {gigabytes:.3g} at batch 1" in why["generator",]
        assert ("to fit the memory" in why["generator",]) == (width < 64)
    recipe, why = chosen(kind="unpaired", at=Machine("cuda", int(2.7 * GB), 8))
    assert (
        recipe.data.crop_size < 256 and "Smaller than the pictures allow, to fit the memory" in why["data", "crop_size"]
    )
    assert needed(recipe, "cuda") <= 0.8 * 2.7 * GB
    _, why = chosen(at=Machine("cuda", int(1 * GB), 8))
    assert "more than there may be" in why["generator",]


def test_without_a_gpu_networks_are_narrower():
    recipe, why = chosen(at=CPU)
    assert recipe.generator.args["width"] == 32 and "for want of a GPU" in why["generator",]
    assert recipe.data.workers == 1 and chosen(at=CUDA)[0].data.workers == 8
    assert chosen(at=Machine("cuda", CUDA.memory, 2))[0].data.workers == 2


def test_the_machine_here():
    here = machine("cpu")
    assert here.kind == "cpu" and 0.5 * GB < here.memory < 1e14 and here.cores >= 1 and str(here).startswith("cpu, ")
    missing = "mps" if not torch.backends.mps.is_available() else "cuda"
    with pytest.raises(UserError, match=f"there is no {missing} device here. Plan with --device (cuda|mps|cpu)"):
        machine(missing)


# ------------------------------------------------------------------------------------------------ counts

COUNTS = {  # pairs: (steps, decay_from, log, sample, save)
    3: (4_000, 2_000, 10, 100, 200),
    100: (20_000, 10_000, 50, 500, 1_000),
    400: (80_000, 40_000, 100, 2_000, 5_000),
    50_000: (400_000, 200_000, 100, 2_000, 5_000),
}


@pytest.mark.parametrize("count", COUNTS)
def test_the_length_follows_the_count(count):
    recipe, why = chosen(side(count=count), side("B", count=count))
    train = recipe.train
    assert (train.steps, train.decay_from, train.log_every, train.sample_every, train.save_every) == COUNTS[count]
    assert recipe.augment.policy == ([] if count >= 200 else ["color", "translation", "cutout"])
    epochs = {3: "1,333 epochs of 3 pairs", 100: "200 epochs of 100", 400: "200 epochs", 50_000: "8 epochs of 50,000"}
    assert epochs[count] in why["train", "steps"]


def test_the_longer_side_is_an_epoch_and_the_shorter_one_is_few():
    recipe, why = chosen(side(count=150), side("B", count=1_000), kind="unpaired")
    assert recipe.train.steps == 200_000 and recipe.augment.policy
    assert "150 training pictures of A are few" in why["augment",] and "the larger side" in why["train", "steps"]


def test_small_crops_go_several_at_a_time():
    for side_px, batch in ((128, 1), (64, 4), (32, 16)):
        sizes = [(side_px, side_px)]
        recipe, _ = chosen(side(sizes=sizes), side("B", sizes=sizes))
        assert recipe.train.batch_size == batch and recipe.train.steps == 80_000 // batch
        assert recipe.translate.norm == ("batch" if batch == 1 else "running")
    recipe, _ = chosen(side(sizes=[(32, 32)], count=9), side("B", sizes=[(32, 32)], count=9))
    assert recipe.train.batch_size == 2


# ------------------------------------------------------------------------------------------------ direction

DIRECTIONS = {
    "drawings are inputs": ((side(detail=2.0), side("B", detail=0.4)), {}, "ba", "B is taken for the input, since it says"),
    "of A too": ((side(detail=0.4), side("B", detail=2.0)), {}, "ab", "(0.40 bytes a pixel as PNG where B takes 2.00)"),
    "none says less": ((side(detail=1.8), side("B", detail=2.0)), {}, "ab", "From A to B, as is usual; A says little less"),
    "measured": ((side(depth=16), side("B", detail=0.1)), {}, "ab", "From A to B, as is usual."),
    "made": ((side(detail=2.0), side("B", detail=0.1)), {"made": "blur"}, "ab", "`i2i data pairs --by blur` made of B"),
    "names": (
        (side("clean", detail=0.5), side("noisy", detail=2.0)),
        {"folders": ["clean", "noisy"]},
        "ba",
        "noisy is taken for the input and clean for the target, by their names. ab turns it round",
    ),
    "name of a target": (
        (side("Photos", detail=0.5), side("x", detail=2.0)),
        {"folders": ["Photos", "x"]},
        "ba",
        "x is taken for the input",
    ),
    "names that say nothing": (
        (side("x", detail=2.0), side("y", detail=0.5)),
        {"folders": ["x", "y"]},
        "ba",
        "y is taken for the input, since it says less",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", DIRECTIONS)
def test_the_input_is_told_by_maker_names_and_detail(case):
    sides, given, direction, words = DIRECTIONS[case]
    way, why = choices.direction(found(*sides, **given))
    assert way == direction and words in why


def test_grey_scans_and_characters_are_not_mirrored():
    for given, flip in (
        ({"channels": 1, "depth": 16}, False),
        ({"channels": 1, "sizes": [(28, 28)]}, False),
        ({"channels": 1}, True),
        ({"channels": 3, "depth": 16}, True),
        ({"channels": 3, "sizes": [(28, 28)]}, True),
    ):
        mirrored, why = choices.flip(found(side(**given), side("B", **given), kind="unpaired"))
        assert mirrored is flip and why.startswith("Off, since") is not flip


# ------------------------------------------------------------------------------------------------ the text

VALUES = [0, 7, 999, 80_000, -12_345, 0.5, 100.0, 2e-4, 1e-8, 1.5e12, -3.25, 0.1 + 0.2, 1e-8 / 3, True, False, None]
VALUES += ["adam", "my scans/ü: x", "null", "true", "NO", "2e4", "80_000", "~", ".5", "/a/b.c", "", "a #b", "'", "-"]
VALUES += [
    [0, 65535],
    [-0.5, 1.25],
    ["color", "cutout"],
    [],
    {"name": "x", "betas": [0.5, 0.999], "inner": {"a": None}},
]


@pytest.mark.parametrize("value", VALUES, ids=map(str, VALUES))
def test_values_read_back_as_they_were(value):
    again = read_yaml_value(flow(value))
    assert again == value and type(again) is type(value)


def test_numbers_are_written_as_people_do():
    assert [flow(v) for v in (2e-4, 1e-8, 80_000, 4_000, 400, 100.0, 0.999)] == [
        "2.0e-4", "1.0e-8", "80_000", "4_000", "400", "100.0", "0.999",
    ]  # fmt: skip
    assert flow([0, 65535]) == "[0, 65535]"


def test_comments_stand_above_what_they_are_about_and_lines_are_short():
    sections = {
        "method": {"name": "x", **{f"argument_{n}": n for n in range(12)}},
        "data": {"kind": "paired", "path": "my"},
        "optimizer": {"G": {"name": "adam"}},
    }
    why = {("method",): "word " * 40, ("data", "path"): "Because."}
    lines = written(sections, why, ["Title."]).splitlines()
    assert max(map(len, lines)) <= 120 and lines[0] == "# Title." and lines[1] == ""
    assert lines[lines.index("data:") :] == [
        "data:", "  kind: paired", "  # Because.", "  path: my", "optimizer:", "  G: {name: adam}",
    ]  # fmt: skip
    method = lines.index("method:")
    assert lines[method - 1].startswith("# word") and read_yaml_value("\n".join(lines)) == sections


def test_equal_detail_is_not_called_less():
    _, why = chosen(side(detail=6.561), side("B", detail=6.564))
    assert "less" not in why["data", "direction"]
