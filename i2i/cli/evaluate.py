"""`i2i evaluate`: a run is scored by a protocol."""

from pathlib import Path
from typing import Annotated

import typer

from i2i.cli import completion
from i2i.cli.options import Device, DeviceOption, aside


def evaluate(
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="The run folder; the newest run if not given.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="The protocol's arguments; data.path=FOLDER if the data moved."),
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option(
            help="How to score; the recipe's, else the usual one if not given.", autocompletion=completion.protocols
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON.")] = False,
    device: DeviceOption = Device.auto,
):
    """Score a trained run by a protocol, on data that it was not trained on; adds to RUN/evaluation.json.

    \b
    i2i evaluate
    i2i evaluate runs/gan_mnist --protocol distribution samples=5000
    i2i evaluate runs/mine --protocol distribution features=inception --json
    """
    from i2i.engine.progress import bar
    from i2i.evaluation.evaluate import as_json
    from i2i.evaluation.evaluate import evaluate as score

    given = [*(settings or ())]
    if run is not None and "=" in run and not Path(run).exists():
        run, given = None, [run, *given]
    with bar("scoring") as advance:
        say = aside if json else print
        entries = score(run, protocol, given, device=device.value, say=say, progress=advance)
    if json:
        print(as_json(entries))
