"""How near translations are to the true pictures, where these are known."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from i2i.evaluation.features import VARIABLE
from i2i.evaluation.protocol import Protocol
from i2i.evaluation.subject import Subject
from i2i.methods import METHODS
from i2i.metrics import PROTOCOLS
from i2i.metrics.paired import ALEXNET, l1, lpips, psnr, ssim
from i2i.metrics.summary import summary

SHOWN = {"l1": "L1 in parts of the range", "psnr": "PSNR in dB", "ssim": "SSIM", "lpips": "LPIPS on AlexNet"}


@PROTOCOLS.register("paired")
class Paired(Protocol):
    """L1, PSNR, SSIM and, where its weights are at hand, LPIPS of the translations of a split against its targets.

    Pictures are translated as users' are: whole, at their own size, to the levels of a file. One number for each; the
    mean and its standard error are over the pictures.
    """

    score = "l1.mean"
    higher_is_better = False
    shows = tuple(SHOWN)

    @staticmethod
    def refuses(recipe):
        method = METHODS.get(recipe.method.name)
        if method.generator_takes != "pictures" or not method.paired:
            return f"{recipe.method.name} knows no true picture for an input"
        return None

    def words(self, subject, split):
        export, source, target = subject.route()
        low, high = subject.data.domains[target].range
        left_out = "" if _weights() else f"; LPIPS is left out: there is no {ALEXNET} in ${VARIABLE}"
        names = ", ".join(words for name, words in SHOWN.items() if name != "lpips" or not left_out)
        return (
            f"paired: {names} of translations by {export} of the {subject.count(split, source):,} pictures '{source}' "
            f"of {split} against their '{target}', whole and at their own size, values in [{low:g}, {high:g}]; mean "
            f"over pictures +- standard error{left_out}"
        )

    def measure(self, subject, split):
        metrics = {"l1": l1, "psnr": psnr, "ssim": ssim}
        value_range = subject.data.domains[subject.route()[2]].range
        found = {name: [] for name in metrics}
        for fake, real in _pairs(subject, split):  # each metric of one pair at a time: a split may fill the memory
            for name, metric in metrics.items():
                found[name].append(metric([fake], [real], value_range=value_range))
        values = {name: _over(each) for name, each in found.items()}
        if weights := _weights():
            values["lpips"] = lpips(*_columns(subject, split), weights, value_range=value_range)
        return values


def _pairs(subject: Subject, split: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(translation, target) of every pair."""
    return zip(subject.fakes(split), subject.reals(split), strict=True)


def _columns(subject: Subject, split: str) -> tuple[Iterator[np.ndarray], Iterator[np.ndarray]]:
    return subject.fakes(split), subject.reals(split)


def _over(each: list[dict]) -> dict:
    """The summary of metrics of one picture each; PSNR has no number for a pair that is identical, and counts it."""
    means = [one["mean"] for one in each if one["mean"] is not None]
    found = summary(means) if means else {"mean": None, "standard_error": None}
    identical = {"identical": sum(one["identical"] for one in each)} if "identical" in each[0] else {}
    return {**found, "count": len(each), **identical}


def _weights() -> Path | None:
    """The folder of LPIPS' weights, if it holds them."""
    folder = os.environ.get(VARIABLE)
    path = Path(os.path.expanduser(folder)) if folder else None
    return path if path and (path / ALEXNET).is_file() else None
