"""The Parzen-window log-likelihood of the first GAN paper (Goodfellow et al., 2014, section 5)."""

import torch
from torch import Tensor

from i2i.errors import UserError
from i2i.evaluation.protocol import Protocol
from i2i.infer.sampler import Sampler
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

    def __init__(self, *, samples: int = 10_000, seed: int = 0):
        if samples < 2:
            raise UserError(f"samples {samples}: a window needs at least 2. The paper takes 10,000.")
        self.samples, self.seed = samples, seed

    @staticmethod
    def refuses(recipe):
        if METHODS.get(recipe.method.name).generator_takes != "latents":
            return f"{recipe.method.name} draws no samples from noise"
        if recipe.data.kind == "labelled" and not recipe.data.args.get("val"):
            return "the data have no split val, on which sigma is chosen (data.val holds training pictures out)"
        return None

    def words(self, subject, split):
        shape = tuple(subject.sampler.tensors(1).shape[1:])
        count, chosen = (len(self.pictures(subject, which)) for which in (split, "val"))
        return (
            f"parzen: mean log-likelihood of {split} ({count:,} pictures, {shape} in [0, 1], natural log) under "
            f"Gaussian windows on {self.samples:,} samples (seed {self.seed}), sigma chosen on val ({chosen:,} of them)"
        )

    def measure(self, subject, split):
        windows = rows(drawn(subject.sampler, self.samples, self.seed))
        sigma, table = choose_sigma(windows, self.pictures(subject, "val"))
        values = log_likelihoods(windows, self.pictures(subject, split), sigma)
        return {"log_likelihood": summary(values), "sigma": sigma, "sigmas": {f"{s:.4g}": v for s, v in table.items()}}

    def pictures(self, subject, split: str) -> Tensor:
        return rows(prepared(subject, split))


def rows(pictures: Tensor) -> Tensor:
    """(N, C, H, W) in [-1, 1] -> (N, C H W) in [0, 1]."""
    return pictures.flatten(1).add(1).div(2)


def drawn(sampler: Sampler, count: int, seed: int) -> Tensor:
    """(count, C, H, W): samples 0 ... count - 1 of the sequence `seed`."""
    return sampler.tensors(count, seed=seed)


def prepared(subject, split: str) -> Tensor:
    """(N, C, H, W): every picture of a split as training prepares it, nothing drawn. UserError where there is none."""
    if split not in subject.data.splits_there:
        raise UserError(f"the data have no split {split}, only {', '.join(subject.data.splits_there)}.")
    return torch.stack([subject.data.prepared(whole["image"], "image") for whole in subject.data.whole(split)])
