"""What bad input gets: one clear message with value, rule and remedy, exit status 1, never a traceback."""

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from running import ARGUMENTS, ENV, LENGTH, command
from running import in_process as run

from i2i import cli


def refused(*arguments, words: list[str] | str) -> str:
    status, shown = run(*arguments)
    assert status == 1, shown
    for part in [words] if isinstance(words, str) else words:
        assert part in shown, shown
    assert "Traceback" not in shown
    return shown


def picture(path: Path, size=(40, 40), seed=0, channels=3, dtype=np.uint8):
    path.parent.mkdir(parents=True, exist_ok=True)
    top = np.iinfo(dtype).max
    cv2.imwrite(str(path), np.random.default_rng(seed).integers(0, top, (*size, channels), dtype=dtype, endpoint=True))
    return path


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


# ---- recipes


def test_check_prints_all_faults_at_once_with_file_and_line(elsewhere):
    Path("mine.yaml").write_text(
        "method: {name: cyclgan, objective: lsgann, constraint: {name: gpp}}\n"
        "generator: {name: resnt, width: 8}\n"
        "discriminator: {name: patchgan, num_layer: 3, width: wide}\n"
        "augment: {policy: [colour]}\n"
        "data: {kind: unpared, path: x, crop_size: 32, transform: d5}\n"
        "optimizer: {G: {name: adm}, D: {name: adam, lr: -1, beta: 3}}\n"
        "train: {steps: 0, seeds: 3, precision: fp16}\n"
    )
    shown = refused(
        "check", "mine.yaml",
        words=[
            "line 1, method.name: 'cyclgan' is not a method. Did you mean 'cyclegan'?",
            "line 1, method.objective: 'lsgann' is not an objective. Did you mean 'lsgan'?",
            "line 1, method.constraint.name: 'gpp' is not a constraint. Did you mean 'gp'?",
            "line 2, generator.name: 'resnt' is not a generator. Did you mean 'resnet'?",
            "line 3, discriminator.num_layer: there is no such key here. Did you mean 'num_layers'?",
            "line 3, discriminator.width: 'wide' is not a whole number.",
            "line 4, augment.policy: 'colour' is not an augmentation. Did you mean 'color'?",
            "line 5, data.kind: 'unpared' is not a data kind. Did you mean 'unpaired'?",
            "line 5, data.transform: 'd5' is not a transform. Did you mean 'd4'?",
            "line 6, optimizer.G.name: 'adm' is not an optimizer. Did you mean 'adam'?",
            "line 6, optimizer.D.beta: there is no such key here. Did you mean 'betas'?",
            "line 7, train.steps: 0 must be at least 1.",
            "line 7, train.seeds: there is no such key here. Did you mean 'seed'?",
            "line 7, train.precision: 'fp16' is not offered",
        ],
    )  # fmt: skip
    assert "mine.yaml has 14 problems:" in shown


@pytest.mark.parametrize(
    ("recipe", "overrides", "words"),
    [
        (
            "cyclegan_horse2zebra",
            ["method.objective=wasserstein"],
            "method.objective: 'wasserstein' needs a Lipschitz critic.",
        ),
        ("pix2pix_facades", ["method.constraint={name: gp}"], "which batch normalisation in the discriminator mixes"),
        ("pix2pix_facades", ["data.crop_size=128"], "Use generator.num_downs=7, or a crop of 256."),
        ("cyclegan_horse2zebra", ["data.crop_size=130"], "Use a crop of 132."),
        ("cyclegan_horse2zebra", ["data.crop_size=16"], "discriminator.num_layers=2"),
        (
            "cyclegan_horse2zebra",
            ["data.load_size=200"],
            "200 is smaller than the crop, 256. Use load_size 256 or more",
        ),
        (
            "cyclegan_horse2zebra",
            ["data.a.channels=1"],
            "method.lam_identity: 0.5 needs domains of equally many channels",
        ),
        (
            "cyclegan_horse2zebra",
            ["data.kind=paired"],
            "'paired' data hold input and target, but cyclegan needs a and b. Use unpaired.",
        ),
        ("cyclegan_horse2zebra", ["method.constraint={name: clip, value: 0}"], "value of clip is 0"),
        ("cyclegan_horse2zebra", ["generator.width=0"], "width is 0"),
        ("cyclegan_horse2zebra", ["generator.init=magic"], "magic"),
        (
            "cyclegan_horse2zebra",
            ["generator.upsample=bilinear"],
            "'bilinear' is not one of deconv | resize | subpixel.",
        ),
        (
            "cyclegan_horse2zebra",
            ["optimizer.D={name: sgd, nesterov: true}"],
            "nesterov of sgd is true while momentum is 0",
        ),
        ("cyclegan_horse2zebra", ["train.warmup=266800"], "train.warmup: 266800 must be less than train.steps"),
        ("cyclegan_horse2zebra", ["data.a.range=[255, 0]"], "[255, 0] must rise"),
        ("cyclegan_horse2zebra", ["data.path=null"], "data need a folder. Set data.path=FOLDER."),
        (
            "cyclegan_horse2zebra",
            ["evaluate.every=10"],
            "evaluate.every: 10 is of no use without evaluate.protocol. Name one: classes",
        ),
        ("cyclegan_horse2zebra", ["evaluate.protocol=parsen"], "'parsen' is not a protocol. Did you mean 'parzen'?"),
        ("cyclegan_horse2zebra", ["evaluate.protocol=parzen"], "cannot score these runs: cyclegan draws no samples"),
        ("gan_mnist", ["evaluate.sample=5"], "there is no such key here. Did you mean 'samples'?"),
        ("gan_mnist", ["evaluate.samples=1"], "samples 1: a window needs at least 2"),
        (
            "gan_mnist",
            ["generator={name: unet}"],
            "'unet' reads pictures; the generator of gan reads latents. Use dcgan or mlp or",
        ),
        ("cyclegan_horse2zebra", ["generator={name: mlp}"], "'mlp' reads latents; the generator of cyclegan reads"),
        ("gan_mnist", ["translate.norm=batch"], "'batch' would make a sample depend on those that are drawn beside it"),
        ("gan_mnist", ["data.b={channels: 3}"], "'labelled' data have one domain, a. Set b to null"),
        (
            "gan_mnist",
            ["data={kind: paired, path: x, crop_size: 28}"],
            "gan needs image. Use folder or labelled or points",
        ),
        ("gan_mnist", ["discriminator=null"], "discriminator: this section is missing"),
        ("gan_mnist", ["encoder={name: mlp}"], "gan has no network of that kind. Set it to null"),
        ("gan_mnist", ["method.objective=null"], "method.objective: is missing. Known: hinge"),
        ("gan_mnist", ["method.latent=0"], "0 must be at least 1; the papers take 100"),
        ("vae_mnist", ["method.objective=lsgan"], "lsgan is of no use: vae has no discriminator"),
        ("vae_mnist", ["augment.policy=[color]"], "is of no use: vae has no discriminator. Set it to []"),
        ("vae_mnist", ["method.sigma=0.0"], "0 must be above 0"),
        ("cyclegan_horse2zebra", ["optimizer={G: {name: adam}}"], "the group 'D' is missing"),
        ("cyclegan_horse2zebra", ["optimizer.E={name: adam}"], "there is no such group. Known: G, D"),
        (
            "cyclegan_horse2zebra",
            ["train.stepz=3"],
            "command line, train.stepz: there is no such key here. Did you mean 'steps'?",
        ),
        ("cyclegan_horse2zebra", ["method.lam_l1=100"], "there is no such key here. Did you mean"),
        ("cyclegan_horse2zebra", ["=3"], "'=3' is not an override. Write section.key=value"),
    ],
)
def test_impossible_recipes(recipe, overrides, words):
    refused("check", recipe, *overrides, words=words)


def test_a_fine_recipe_is_said_to_be_fine():
    assert run("check", "cyclegan_horse2zebra") == (
        0,
        f"{cli.__file__.replace('i2i/cli/__init__.py', 'recipes/cyclegan_horse2zebra.yaml')}: fine.\n",
    )


def test_recipes_that_are_none(elsewhere):
    refused("check", "cyclegan_horse2zebr", words="Did you mean 'cyclegan_horse2zebra'? Shipped recipes:")
    Path("torn.yaml").write_text("method: {name: [\n")
    refused("check", "torn.yaml", words=["torn.yaml has 1 problem", "line 2", "not YAML"])
    Path("empty.yaml").write_text("")
    refused("check", "empty.yaml", words="holds no keys")
    Path("binary.yaml").write_bytes(bytes(range(256)))
    refused("check", "binary.yaml", words="is not a text file in UTF-8")


# ---- data


def small(kind: str, path) -> list[str]:
    recipe = {"paired": "pix2pix", "unpaired": "cyclegan"}[kind]
    overrides = [a for a in ARGUMENTS[recipe] if not a.startswith("data=")]
    return [
        "train",
        *overrides,
        f"data={{kind: {kind}, path: {path}, crop_size: 32, workers: 0}}",
        *LENGTH,
        "--device=cpu",
    ]


def test_folders_that_cannot_be_trained_on(elsewhere):
    refused(*small("unpaired", "nowhere"), words="nowhere")
    Path("empty").mkdir()
    refused(*small("unpaired", "empty"), words="empty")
    Path("filtered/trainA").mkdir(parents=True)
    Path("filtered/trainB").mkdir()
    Path("filtered/trainA/notes.txt").write_text("no picture")
    refused(*small("unpaired", "filtered"), words="trainA")
    assert not Path("runs").exists(), "nothing was started"


def test_a_known_data_set_that_is_not_there_says_where_it_can_be_had():
    refused(
        "train",
        "pix2pix_facades",
        words=["datasets/facades", "efrosgans.eecs.berkeley.edu/pix2pix/datasets/facades.tar.gz", "data.path"],
    )


def test_pictures_smaller_than_the_crop(elsewhere):
    for name in "xy":
        picture(Path(f"tiny/trainA/{name}.png"), (20, 20))
        picture(Path(f"tiny/trainB/{name}.png"), (20, 20))
    refused(*small("unpaired", "tiny"), words=["20", "32"])


def test_all_pictures_broken_and_then_too_many(elsewhere):
    for index in range(4):
        for side in "AB":
            picture(Path(f"sick/train{side}/{index}.png"), seed=index)
    for index in range(2):
        file = Path(f"sick/trainA/{index}.png")
        file.write_bytes(file.read_bytes()[:200])
    shown = refused(*small("unpaired", "sick"), words=["sick/trainA/0.png", "sick/trainA/1.png"])
    assert "1 %" in shown


def test_one_broken_picture_among_good_ones_is_named_and_the_run_goes_on(elsewhere):
    for index in range(4):
        for side in "AB":
            picture(Path(f"mostly/train{side}/{index}.png"), seed=index)
    file = Path("mostly/trainA/2.png")
    file.write_bytes(file.read_bytes()[:300])
    status, shown = run(*small("unpaired", "mostly"), "--run=out")
    assert status == 0 and shown.count("mostly/trainA/2.png") == 1, shown


def test_a_pair_of_two_sizes_and_a_missing_partner(elsewhere):
    picture(Path("pairs/train/A/x.png"), (40, 40))
    picture(Path("pairs/train/B/x.png"), (40, 44))
    refused(*small("paired", "pairs"), words=["x.png", "40", "44"])
    picture(Path("pairs/train/A/lonely.png"))
    refused(*small("paired", "pairs"), words="lonely")


# ---- run folders


def test_a_run_folder_of_another_recipe_shows_the_difference(elsewhere):
    base = [
        "train",
        *ARGUMENTS["pix2pix"],
        *LENGTH,
        "--run=r",
        "--device=cpu",
        "train.steps=1",
        "train.warmup=0",
        "train.decay_from=null",
    ]
    assert run(*base)[0] == 0
    shown = refused(
        *base,
        "train.seed=5",
        "optimizer.G.lr=1e-3",
        words=["r belongs to another recipe:", "train.seed: 0 in the run, 5 now", "--fresh"],
    )
    assert "optimizer.G.lr: 0.0002 in the run, 0.001 now" in shown and "train.steps" not in shown
    before = sorted((p, p.stat().st_mtime_ns) for p in Path("r").rglob("*") if p.is_file() and p.name != ".lock")
    assert run(*base, "data.workers=1", "train.log_every=7")[0] == 0, "these may differ"
    status, shown = run(*base, "--fresh")
    assert status == 0 and Path("r-2/generator.safetensors").is_file()
    after = {p: p.stat().st_mtime_ns for p in Path("r").rglob("*")}
    assert all(after[p] == time for p, time in before if p.suffix == ".safetensors")


def test_a_folder_that_is_no_run_is_not_written_to(elsewhere):
    Path("mine").mkdir()
    Path("mine/thesis.txt").write_text("words")
    refused(
        "train",
        *ARGUMENTS["pix2pix"],
        *LENGTH,
        "--run=mine",
        "--device=cpu",
        words="mine holds files but no recipe.yaml",
    )
    assert [p.name for p in Path("mine").iterdir()] == ["thesis.txt"]


def test_no_write_permission(tmp_path):
    place = tmp_path / "locked"
    place.mkdir()
    place.chmod(0o555)
    # root may write anywhere unless it gives that right up
    prefix = ["setpriv", "--bounding-set=-dac_override"] if os.geteuid() == 0 else []
    arguments = ["train", *ARGUMENTS["pix2pix"], *LENGTH, "--device=cpu"]
    done = subprocess.run(
        [*prefix, sys.executable, "-m", "i2i", *arguments], cwd=place, capture_output=True, text=True, env=ENV
    )
    assert done.returncode == 1 and "runs: Permission denied" in done.stderr and "Traceback" not in done.stderr, (
        done.stderr[-2000:]
    )
    assert not list(place.iterdir())


# ---- translating


def test_translating_without_anything_to_translate_with(elsewhere):
    Path("pictures").mkdir()
    refused("translate", "pictures", words="runs")
    refused("translate", "nowhere", words="nowhere")


def test_a_pickle_that_poses_as_weights_is_refused_and_not_executed(elsewhere):
    import pickle

    class Bomb:
        def __reduce__(self):
            return (open, (str(elsewhere / "exploded"), "w"))

    Path("evil.safetensors").write_bytes(pickle.dumps(Bomb()))
    picture(Path("in/x.png"))
    refused("translate", "in", "--model", "evil.safetensors", words=["evil.safetensors", "pickle"])
    Path("r/checkpoints").mkdir(parents=True)
    assert not (elsewhere / "exploded").exists()


def test_a_checkpoint_that_is_a_pickle_is_refused_and_not_executed(elsewhere):
    import pickle

    class Bomb:
        def __reduce__(self):
            return (open, (str(elsewhere / "exploded"), "w"))

    assert run(*command("pix2pix", Path("r"), "train.steps=8"))[0] == 0
    Path("r/checkpoints/00000008.safetensors").write_bytes(pickle.dumps(Bomb()))
    status, shown = run(*command("pix2pix", Path("r"), "train.steps=8"))
    assert status == 0 and "pickle" in shown and "at step 4 of 8" in shown
    assert not (elsewhere / "exploded").exists()


def test_a_broken_picture_in_a_folder_is_named_the_rest_is_done_and_the_status_is_1(elsewhere):
    assert run(*command("pix2pix", Path("runs/p"), "train.steps=3"))[0] == 0
    for index in range(3):
        picture(Path(f"in/sub/{index}.png"), (50, 37), seed=index)
    Path("in/sub/1.png").write_bytes(Path("in/sub/1.png").read_bytes()[:100])
    shown = refused("translate", "in", "--device", "cpu", words=["in/sub/1.png", "runs/p"])
    assert sorted(p.name for p in Path("runs/p/translated/in/sub").iterdir()) == ["0.png", "2.png"]
    assert cv2.imread("runs/p/translated/in/sub/0.png").shape == (50, 37, 3)
    shown = refused("translate", "in", "--out", ".", words="in")
    assert "overwrite" in shown


def test_command_line_mistakes_have_a_non_zero_status():
    for arguments in (
        ["trian"],
        ["train"],
        ["translate", "x", "--samples", "0"],
        ["train", "pix2pix_facades", "--device", "tpu"],
    ):
        assert run(*arguments)[0] != 0


def test_help_is_quick_and_imports_nothing_heavy():
    assert run("--help")[0] == 0
    code = "import sys; sys.argv = ['i2i', '--help']\ntry:\n from i2i.cli import main; main()\nexcept SystemExit: pass\nprint([m for m in ('torch', 'cv2', 'albumentations', 'numpy', 'pydantic') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip().endswith("[]"), done.stdout[-300:]
