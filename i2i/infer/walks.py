"""Sheets that show what lies between samples: ways from one to the other, and sums of them."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from i2i.errors import UserError
from i2i.infer.grid import BLOCK_CELL, grid, titled
from i2i.infer.sampler import Sampler
from i2i.latent import linear, spherical
from i2i.seeds import derive

WAYS = {"linear": linear, "spherical": spherical}
STEPS = 64  # the most pictures in a row
VARIATIONS, NOISE = 8, 0.25  # pictures around a sum, and how far each number of their z is from its


class Term(NamedTuple):
    """One list of a sum: the mean of these samples' z, added (1) or taken away (-1)."""

    sign: int
    numbers: tuple[int, ...]


def interpolate(
    sampler: Sampler, z: Tensor, steps: int, folder: Path, words: str, label: int | None = None
) -> list[Path]:
    """`interpolation_<way>.png`: a row for each two of the rows of `z`, (N, Z), ends included. An odd last is left out.

    Args:
        words: what the heading says of the samples.
        label: the class of all, of a sampler that is told one.
    """
    share = torch.linspace(0, 1, steps)
    written = []
    for name, way in WAYS.items():
        rows = [shown(sampler, way(one, other, share), label) for one, other in zip(z[::2], z[1::2])]
        columns = titled((f"{part:.2f}", column) for part, column in zip(share.tolist(), zip(*rows)))
        written.append(folder / f"interpolation_{name}.png")
        grid(columns, written[-1], largest=BLOCK_CELL, heading=f"The {name} way between {words}")
    return written


def arithmetic(sampler: Sampler, expression: str, seed: int | None, path: Path, label: int | None = None) -> None:
    """`arithmetic.png`: sums of z (Radford et al., 2016, section 6.3.2).

    A column for each term, its mean above its examples; then what they come to, and around it the paper's eight
    others, whose z differs from the sum's by noise that is uniform in [-0.25, 0.25).

    Args:
        seed: of the samples; None takes the one of the weights.
        label: the class of all, of a sampler that is told one.

    Raises:
        UserError: not a sum.
    """
    terms = parse(expression)
    examples = [torch.cat([sampler.latents(1, start=i, seed=seed) for i in term.numbers]) for term in terms]
    means = torch.stack([z.mean(dim=0) for z in examples])
    total = (means * torch.tensor([[float(term.sign)] for term in terms])).sum(dim=0, keepdim=True)
    draw = torch.Generator().manual_seed(derive(sampler.seed if seed is None else seed, "variations"))
    around = total + NOISE * (2 * torch.rand(VARIATIONS, total.shape[1], generator=draw) - 1)
    pictures = iter(shown(sampler, torch.cat([means, total, around, *examples]), label))
    tops = [next(pictures) for _ in terms]
    result, *others = [next(pictures) for _ in range(1 + VARIATIONS)]
    columns = []
    for place, (term, top) in enumerate(zip(terms, tops)):
        sign = "- " if term.sign < 0 else "+ " if place else ""
        columns.append((sign + ", ".join(map(str, term.numbers)), [top, *(next(pictures) for _ in term.numbers)]))
    rows = max(len(column) for _, column in columns)
    parts = [others[start : start + rows] for start in range(0, VARIATIONS, rows)]
    words = (
        f"Above, means of z and their sum; below, the samples. Nearby: every number of z within {NOISE:g} of the sum's"
    )
    columns += [("= sum", [result]), *(("nearby" if place == 0 else "", part) for place, part in enumerate(parts))]
    grid(titled(columns), path, largest=BLOCK_CELL, heading=words)


def parse(expression: str) -> list[Term]:
    """ "1,2,3 - 4,5,6 + 7,8,9" -> its terms. UserError, in one sentence, where it is not such a sum."""
    pieces = re.split(r"([+\-\u2212])", expression)
    terms = []
    for sign, words in zip(["+", *pieces[1::2]], pieces[::2]):
        numbers = [word.strip() for word in words.split(",")]
        if not all(re.fullmatch(r"[0-9]{1,18}", number) for number in numbers):
            raise UserError(
                f"'{expression}' is no sum of samples: '{words.strip()}' stands where a list of sample numbers should, "
                'which count from 0. Write it as "1,2,3 - 4,5,6 + 7,8,9".'
            )
        terms.append(Term(1 if sign == "+" else -1, tuple(map(int, numbers))))
    return terms


def check_steps(steps: int, count: int) -> None:
    """Refuses ways of fewer than two pictures, or of more than fit on a sheet, and fewer than two samples."""
    if not 2 <= steps <= STEPS:
        raise UserError(f"interpolate {steps}: a way has 2 to {STEPS} pictures, its two ends among them; give 8.")
    if count < 2:
        raise UserError(f"{count} sample has no other to go to; interpolate between at least 2 (-n 2).")


def shown(sampler: Sampler, z: Tensor, label: int | None = None) -> Sequence[np.ndarray]:
    """Latents (N, Z) -> their pictures, uint8, for the eye."""
    return [sampler.output.shown(sampler.output.to_pixels(x)) for x in sampler.decode(z, label)]
