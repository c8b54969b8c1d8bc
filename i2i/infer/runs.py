"""What stands in a run folder beside the weights for users: the recipe as it was run, checkpoints, the best so far.

recipe.yaml            complete, as run
checkpoints/00001000.safetensors
best/                  weights and evaluation of the step that scored best, once evaluate.every is set
"""

from pathlib import Path

from i2i.config import Recipe, Source, parse
from i2i.errors import UserError
from i2i.yamlfile import YamlError, read_yaml

CHECKPOINTS, BEST = "checkpoints", "best"


def read_recipe(path: Path) -> Recipe | None:
    """The recipe of a run folder, or None when there is none."""
    file = path / "recipe.yaml"
    if not file.is_file():
        return None
    try:
        data, lines = read_yaml(file)
        sections, faults = parse(Source(path.name, str(file), data, lines))
    except YamlError as error:
        raise UserError(f"{file}: {error} It was changed by hand; mend it, or start anew with --fresh.") from None
    if faults:
        raise UserError(f"{file} is not a recipe of this version ({faults[0].message}) Start anew with --fresh.")
    return Recipe(**sections)


def checkpoint_of(run: Path, step: int) -> Path:
    """Where the checkpoint of a step is, or would be."""
    return run / CHECKPOINTS / f"{step:08d}.safetensors"


def checkpoints(run: Path) -> list[Path]:
    """The checkpoints of a run folder, newest first."""
    return sorted(
        (p for p in (run / CHECKPOINTS).glob("*.safetensors") if p.stem.isdigit()),
        key=lambda p: int(p.stem),
        reverse=True,
    )
