"""What the protocols share that set a generator's pictures beside real ones: how many there are, and what they are."""

from collections.abc import Iterator
from contextlib import contextmanager

from i2i.errors import UserError
from i2i.evaluation.subject import Subject

SAMPLES = 10_000


def check_samples(samples: int | None) -> None:
    """Refuses fewer than two."""
    if samples is not None and samples < 2:
        raise UserError(f"samples {samples}: a comparison of sets needs at least 2. Give {SAMPLES}, or leave it out.")


def made(subject: Subject, split: str, export: str | None, samples: int | None) -> int:
    """How many pictures a generator makes: `samples`, else 10,000; of a translator one for each picture of the split.

    Raises:
        UserError: samples asked of a translator; no such generator or split.
    """
    export, source, _ = subject.route(export)
    if source is None:
        return SAMPLES if samples is None else samples
    if samples is not None:
        raise UserError(
            f"samples {samples}: {export} draws none, it translates every picture of {split} once. Leave samples out."
        )
    return subject.count(split, source)


def told(subject: Subject, split: str, export: str | None, samples: int | None, seed: int) -> str:
    """Which pictures are compared with which, as it stands in a protocol's words."""
    count = made(subject, split, export, samples)
    export, source, target = subject.route(export)
    real = subject.count(split, target)
    if source is None:
        sides = subject.recipe.data.crop_size
        prepared = f"the {real:,} real pictures of {split}, as prepared for training ({sides} x {sides})"
        return f"{count:,} samples (seed {seed}) against {prepared}"
    return (
        f"translations by {export} of the {count:,} pictures '{source}' of {split} against its {real:,} real pictures "
        f"'{target}', all at their own size"
    )


@contextmanager
def in_words() -> Iterator[None]:
    """What the networks of an evaluation refuse about pictures is for users: they chose the data and the protocol."""
    try:
        yield
    except ValueError as error:
        raise UserError(str(error)) from error
