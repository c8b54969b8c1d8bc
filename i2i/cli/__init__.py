"""The command line: parse, call, print. Heavy imports stay inside the commands."""

import os
import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from i2i import __version__
from i2i.cli import completion
from i2i.cli.evaluate import evaluate
from i2i.cli.generate import generate
from i2i.cli.options import Device, DeviceOption, aside
from i2i.errors import UserError

app = typer.Typer(
    name="i2i",
    help="Image-to-image translation: pix2pix, CycleGAN, DiffAugment.\n\n"
    "\b\ni2i recipes plan my/scans\ni2i train scans.yaml\ni2i translate some_folder/",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Direction(StrEnum):
    ab = "ab"
    ba = "ba"


class Pairing(StrEnum):
    canny = "canny"
    gray = "gray"
    blur = "blur"
    downscale = "downscale"
    mask = "mask"


RecipeArgument = Annotated[
    str,
    typer.Argument(
        help="A recipe file, or the name of a shipped one: cyclegan_horse2zebra.", autocompletion=completion.recipes
    ),
]
ShippedArgument = Annotated[
    str, typer.Argument(help="As `i2i recipes list` prints it.", autocompletion=completion.recipes, metavar="NAME")
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[SECTION.KEY=VALUE]...", help="Values that replace the recipe's.", autocompletion=completion.keys
    ),
]


@app.command()
def train(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    run: Annotated[Path | None, typer.Option(help="The run folder; runs/<recipe name> if not given.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start anew in <run>-2 instead of continuing.")] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Show the recipe, the networks, and what the run will take; write nothing."),
    ] = False,
    device: DeviceOption = Device.auto,
):
    """Train from a recipe; the same command continues an unfinished run.

    \b
    i2i train recipes/pix2pix_facades.yaml data.path=my/facades train.steps=2000
    i2i train mine.yaml --dry-run
    torchrun --nproc_per_node 2 -m -- i2i train mine.yaml train.batch_size=8
    """
    from i2i.engine.train import Interrupted
    from i2i.engine.train import train as start

    try:
        start(recipe, overrides or (), run=run, fresh=fresh, dry_run=dry_run, device=device.value)
    except Interrupted as stopped:
        print(stopped, file=sys.stderr)
        raise typer.Exit(128 + stopped.signal) from None


@app.command()
def check(recipe: RecipeArgument, overrides: Overrides = None):
    """Say everything that is wrong with a recipe; needs no data.

    \b
    i2i check mine.yaml
    i2i check pix2pix_facades generator.width=32
    """
    from i2i import build, config

    source = config.read(recipe, overrides or ())
    build.check(source)
    print(f"{source.origin}: fine.")


@app.command()
def translate(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Pictures, and folders of pictures.")],
    model: Annotated[
        Path | None, typer.Option(help="A run folder or a .safetensors file; the newest run if not given.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where the pictures go; <run>/translated/ if not given.")] = None,
    direction: Annotated[Direction | None, typer.Option(help="Which half of a CycleGAN; ab if not given.")] = None,
    page: Annotated[
        int | None, typer.Option(min=0, help="Which page of TIFF files that hold several; 0 is the first.")
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=1, help="Translate with the shorter side at this size, then resize back.")
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="So many outputs of each picture, under different noise.")] = 1,
    sheet: Annotated[
        bool, typer.Option("--sheet", help="Also draw OUT/sheet.png: each input in a row with its outputs.")
    ] = False,
    paired: Annotated[
        bool, typer.Option("--paired", help="The files hold input and target side by side; take the input.")
    ] = False,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Keep outputs of an interrupted call by the same weights, options and inputs."),
    ] = False,
    winograd: Annotated[
        bool, typer.Option("--winograd", help="ResNets on a CPU: residual blocks in a faster form that rounds more.")
    ] = False,
    device: DeviceOption = Device.auto,
):
    """Translate pictures with a trained model.

    \b
    i2i translate some_folder/
    i2i translate scan.tif --model runs/mine --out translated
    i2i translate testB --model runs/cyclegan_horse2zebra --direction ba --size 256
    i2i translate labels --model runs/pix2pix_facades --samples 4 --sheet
    i2i translate some_folder/ --resume
    """
    from i2i.engine.progress import bar
    from i2i.infer.folder import translate as run

    with bar("translating") as advance:
        report = run(
            paths, model=model, out=out, direction=direction and direction.value, size=size, samples=samples,
            sheet=sheet, paired=paired, page=page, resume=resume, winograd=winograd, device=device.value, say=aside,
            progress=advance,
        )  # fmt: skip
    if report.failed:
        raise typer.Exit(1)


app.command()(generate)
app.command()(evaluate)


recipes = typer.Typer(
    help="The recipes that come with i2i, and one written for a folder of yours.", no_args_is_help=True
)
data = typer.Typer(help="Check, download and make data.", no_args_is_help=True)
app.add_typer(recipes, name="recipes")
app.add_typer(data, name="data")


@recipes.command("list")
def recipes_list():
    """One line for each recipe: its name and what it trains.

    i2i recipes list
    """
    from i2i.prepare.shelf import titles

    known = titles()
    width = max(map(len, known))
    for name, title in known.items():
        print(f"{name:<{width}}  {title}")


@recipes.command("show")
def recipes_show(name: ShippedArgument):
    """Print a recipe, comments included.

    i2i recipes show cyclegan_horse2zebra
    """
    from i2i.prepare.shelf import text

    print(text(name), end="")


@recipes.command("copy")
def recipes_copy(
    name: ShippedArgument,
    to: Annotated[
        Path | None, typer.Argument(help="The new file; ./NAME.yaml if not given. Never overwritten.")
    ] = None,
):
    """Write a recipe to a file of yours, to change it.

    i2i recipes copy pix2pix_facades mine.yaml
    """
    from i2i.prepare.shelf import copy

    file = copy(name, to)
    print(f"{file} is yours. Next: i2i check {shlex.quote(str(file))}")


@recipes.command("plan")
def recipes_plan(
    path: Annotated[Path, typer.Argument(help="A folder of pictures, in any layout that the README names.")],
    out: Annotated[Path | None, typer.Option(help="The recipe to write; ./<folder>.yaml if not given.")] = None,
    device: DeviceOption = Device.auto,
):
    """Look at a folder and write a recipe that trains on it, with a reason for every choice.

    i2i recipes plan my/scans
    """
    from i2i.engine.progress import bar
    from i2i.prepare.plan import plan

    with bar("looking") as advance:
        file = plan(path, out=out, device=device.value, say=aside, progress=advance)
    print(f"{file}: read it, then  i2i train {shlex.quote(str(file))}")


@data.command("check")
def data_check(
    path: Annotated[Path, typer.Argument(help="A folder of pictures, or of one split of them.")],
    crop: Annotated[int | None, typer.Option(min=1, help="Tell which pictures are smaller than this crop.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the whole report as JSON.")] = False,
    workers: Annotated[int | None, typer.Option(min=0, help="Processes that read; one per core if not given.")] = None,
):
    """Read every picture below a folder and list every problem with its remedy.

    \b
    i2i data check my/scans
    i2i data check my/scans --crop 256 --json
    """
    from i2i.engine.progress import bar
    from i2i.prepare.check import check

    with bar("reading") as advance:
        report = check(path, crop=crop, workers=workers, progress=advance)
    print(report.as_json() if json else report.as_text())
    if report.problems:
        raise typer.Exit(1)


@data.command("download")
def data_download(
    name: Annotated[
        str | None,
        typer.Argument(
            help="A data set with a card; without a name, they are listed.", autocompletion=completion.cards
        ),
    ] = None,
    to: Annotated[Path | None, typer.Option(help="The folder to make; datasets/NAME if not given.")] = None,
):
    """Fetch a known data set, continue a broken download, verify it and unpack it.

    i2i data download facades
    """
    from i2i.engine.progress import bar
    from i2i.prepare import cards
    from i2i.prepare.download import download

    if name is None:
        print(cards.listed())
        return
    with bar(f"downloading {name}") as advance:
        folder = download(name, to=to, say=aside, progress=advance)
    print(folder)


@data.command("pairs")
def data_pairs(
    folder: Annotated[Path, typer.Argument(help="Any folder of pictures.")],
    by: Annotated[Pairing, typer.Option(help="What the input is made by; the picture itself is the target.")],
    out: Annotated[Path | None, typer.Option(help="The folder to make; <folder>_<by> if not given.")] = None,
    factor: Annotated[int, typer.Option(min=2, help="downscale alone: how many times smaller.")] = 4,
    masks: Annotated[Path | None, typer.Option(help="mask alone: a folder of masks; drawn if not given.")] = None,
    val: Annotated[float, typer.Option(min=0, max=0.9, help="Share of the pictures that goes to val.")] = 0.1,
):
    """Make a paired set from any pictures.

    \b
    i2i data pairs my/photos --by canny
    i2i data pairs my/photos --by downscale --factor 4 --out my/superres
    """
    from i2i.engine.progress import bar
    from i2i.prepare.pairs import pairs

    with bar("pairing") as advance:
        made = pairs(folder, by=by.value, out=out, factor=factor, masks=masks, val=val, say=aside, progress=advance)
    print(f"{made}: paired. Next: i2i recipes plan {shlex.quote(str(made))}")


@app.command()
def doctor():
    """Say what this machine has: versions, device, picture formats, disk; and what is missing.

    i2i doctor
    """
    from i2i.doctor import doctor as look

    bad = 0
    for finding in look():
        print(finding, flush=True)
        bad += finding.bad
    if bad:
        raise typer.Exit(1)


def _version(wanted: bool):
    if wanted:
        print(f"i2i {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
):
    pass


def main():
    """Runs a command; what a user can mend is one sentence on stderr and exit status 1."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else it asks the network for news when imported
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a file name that the terminal cannot show
    try:
        app()
    except UserError as error:
        sys.exit(f"i2i: {error}")
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        sys.exit(f"i2i: {place}{error.strerror or error}. Nothing that was saved before is lost.")


if __name__ == "__main__":
    main()
