"""`i2i generate`: samples, sheets of them, and the training pictures nearest to them."""

from pathlib import Path
from typing import Annotated

import typer

from i2i.cli.options import Device, DeviceOption, aside
from i2i.errors import UserError


def generate(
    run: Annotated[
        Path | None,
        typer.Argument(metavar="RUN", help="A run folder or a .safetensors file; the newest run if not given."),
    ] = None,
    n: Annotated[int, typer.Option("-n", help="How many samples.")] = 64,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Where they go; if not given, <run>/generated/: in it seed<S>/ for another --seed, class<N>/ for a "
            "--class, and step<N>/ once it holds samples of another step. Samples of two of these are never mixed."
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Which sequence of samples; the run's own if not given.")] = None,
    start: Annotated[int, typer.Option(help="Number of the first sample.")] = 0,
    grid: Annotated[bool, typer.Option("--grid/--no-grid", help="Write grid.png, a sheet of up to 64.")] = True,
    files: Annotated[bool, typer.Option("--files/--no-files", help="Write a file for each sample.")] = True,
    interpolate: Annotated[
        int | None,
        typer.Option(metavar="N", help="Sheets of the ways from sample to sample, two and two, in N pictures."),
    ] = None,
    arithmetic: Annotated[
        str | None,
        typer.Option(metavar="SUM", help="A sheet of sums: lists of sample numbers, averaged, added and taken away."),
    ] = None,
    label: Annotated[
        int | None,
        typer.Option(
            "--class", metavar="N", help="Every sample is of this class; if not given, each class has its turn."
        ),
    ] = None,
    neighbours: Annotated[
        bool, typer.Option("--neighbours", help="A sheet of samples beside the training pictures nearest to them.")
    ] = False,
    data: Annotated[
        Path | None, typer.Option(help="--neighbours alone: where the data are; the recipe's path if not given.")
    ] = None,
    device: DeviceOption = Device.auto,
):
    """Draw pictures with a trained model that makes them of noise.

    \b
    i2i generate runs/gan_mnist -n 100
    i2i generate --interpolate 8 --arithmetic "1,2,3 - 4,5,6 + 7,8,9"
    i2i generate runs/gan_mnist --neighbours --no-files
    i2i generate runs/cgan_mnist -n 100 --class 3
    """
    from i2i.engine.progress import bar
    from i2i.infer.generate import generate as draw
    from i2i.infer.models import find

    if data is not None and not neighbours:
        raise UserError(
            "--data says where the training pictures are, which only --neighbours reads; add it, or leave --data out."
        )
    file = find(run)
    compared = None
    if neighbours:
        from i2i.evaluation.neighbours import Neighbours

        compared = Neighbours(file, data=data, say=aside)  # refused before anything is drawn
    if compared is None or files or grid or interpolate is not None or arithmetic is not None:
        with bar("drawing") as advance:
            draw(
                file, n, out=out, seed=seed, start=start, files=files, grid=grid, interpolate=interpolate,
                arithmetic=arithmetic, label=label, device=device.value, say=aside, progress=advance,
            )  # fmt: skip
    if compared is not None:
        compared.write(n, out=out, seed=seed, start=start, label=label, device=device.value)
