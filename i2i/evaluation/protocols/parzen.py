"""The Parzen-window log-likelihood of the first GAN paper (Goodfellow et al., 2014, section 5)."""

from pathlib import Path

from torch import Tensor

from i2i.errors import UserError
from i2i.evaluation.protocol import Protocol
from i2i.methods import METHODS
from i2i.metrics import PROTOCOLS
from i2i.metrics.parzen import choose_sigma, log_likelihoods
from i2i.metrics.summary import summary


@PROTOCOLS.register("parzen")
class Parzen(Protocol):
    """Mean log-likelihood, in nats, of pictures under Gaussians of one width around the model's samples.

    Pictures and samples are taken in [0, 1], as rows of C H W numbers. The width sigma is the one under which the
    pictures of val are likeliest; those of test are read once, with that sigma. Samples are the model's own values,
    before they are rounded to levels.

    Args:
        samples: drawn from the model.
        seed: of the samples.
    """

    score = "log_likelihood.mean"
    higher_is_better = True
    shows = ("log_likelihood", "sigma")

    def __init__(self, *, samples: int = 10_000, seed: int = 0):
        if samples < 2:
            raise UserError(f"samples {samples}: a window needs at least 2. The paper takes 10,000.")
        self.samples, self.seed = samples, seed

    @staticmethod
    def refuses(recipe):
        if METHODS.get(recipe.method.name).generator_takes != "latents":
            return f"{recipe.method.name} draws no samples from noise"
        held_out = recipe.data.args.get("val") or (Path(recipe.data.path or "") / "val").is_dir()
        if recipe.data.kind == "labelled" and not held_out:
            return "the data have no split val, on which sigma is chosen (data.val holds training pictures out)"
        return None

    def words(self, subject, split):
        shape = tuple(subject.data.prepared(subject.data.sample(split, 0)["image"], "image").shape)
        chosen = subject.count(_chosen_on(subject))
        return (
            f"parzen: mean log-likelihood of {split} ({subject.count(split):,} pictures, {shape} in [0, 1], natural "
            f"log) under Gaussian windows on {self.samples:,} samples (seed {self.seed}), sigma chosen on val "
            f"({chosen:,} of them); +- standard error"
        )

    def measure(self, subject, split):
        windows = rows(subject.sampler.tensors(self.samples, seed=self.seed))
        sigma, table = choose_sigma(windows, rows(subject.pictures(_chosen_on(subject))))
        values = log_likelihoods(windows, rows(subject.pictures(split)), sigma)
        return {"log_likelihood": summary(values), "sigma": sigma, "sigmas": {f"{s:.4g}": v for s, v in table.items()}}


def rows(pictures: Tensor) -> Tensor:
    """(N, C, H, W) in [-1, 1] -> (N, C H W) in [0, 1]."""
    return pictures.flatten(1).add(1).div(2)


def _chosen_on(subject) -> str:
    """val; UserError where the data have none, which only their folder can tell."""
    if "val" not in subject.data.splits_there:
        there = ", ".join(subject.data.splits_there)
        raise UserError(f"parzen chooses sigma on val, and the data have {there} alone. Add a folder val.")
    return "val"
