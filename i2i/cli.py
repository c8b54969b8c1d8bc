"""The command line: parse, call, print. Heavy imports stay inside the commands."""

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from i2i import __version__
from i2i.errors import UserError

app = typer.Typer(
    name="i2i",
    help="Image-to-image translation: pix2pix, CycleGAN, DiffAugment.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Device(StrEnum):
    auto = "auto"
    cuda = "cuda"
    mps = "mps"
    cpu = "cpu"


class Direction(StrEnum):
    ab = "ab"
    ba = "ba"


RecipeArgument = Annotated[
    str, typer.Argument(help="A recipe file, or the name of a shipped one: cyclegan_horse2zebra.")
]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[SECTION.KEY=VALUE]...", help="Values that replace the recipe's.")
]
DeviceOption = Annotated[Device, typer.Option(help="Where to compute; auto takes cuda, then mps, then cpu.")]


@app.command()
def train(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    run: Annotated[Path | None, typer.Option(help="The run folder; runs/<recipe name> if not given.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start anew in <run>-2 instead of continuing.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the complete recipe and the networks, then stop.")
    ] = False,
    device: DeviceOption = Device.auto,
):
    """Train from a recipe; the same command continues an unfinished run.

    i2i train recipes/pix2pix_facades.yaml data.path=my/facades train.steps=2000
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
    """Say everything that is wrong with a recipe; needs no data."""
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
    size: Annotated[
        int | None, typer.Option(min=1, help="Translate with the shorter side at this size, then resize back.")
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="So many outputs of each picture, under different noise.")] = 1,
    paired: Annotated[
        bool, typer.Option("--paired", help="The files hold input and target side by side; take the input.")
    ] = False,
    device: DeviceOption = Device.auto,
):
    """Translate pictures with a trained model.

    i2i translate some_folder/
    """
    from i2i.engine.progress import bar
    from i2i.infer.folder import translate as run

    with bar("translating") as advance:
        report = run(
            paths, model=model, out=out, direction=direction and direction.value, size=size, samples=samples,
            paired=paired, device=device.value, say=lambda text: print(text, file=sys.stderr), progress=advance,
        )  # fmt: skip
    if report.failed:
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
    try:
        app()
    except UserError as error:
        sys.exit(f"i2i: {error}")
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        sys.exit(f"i2i: {place}{error.strerror or error}. Nothing that was saved before is lost.")


if __name__ == "__main__":
    main()
