"""How many of the known modes of a distribution of points a generator has found."""

import numpy as np

from i2i.evaluation.compared import check_samples
from i2i.evaluation.protocol import Protocol
from i2i.metrics import PROTOCOLS
from i2i.metrics.modes import coverage


@PROTOCOLS.register("modes")
class Modes(Protocol):
    """Covered modes, good samples and how evenly these spread, after Srivastava et al. (2017).

    The modes are the data's own centres, so no split is read.

    Args:
        samples: drawn from the model; 2,500 in the papers.
        seed: of the samples.
    """

    score = "modes.covered"
    higher_is_better = True
    shows = ("modes.covered", "modes.modes", "modes.good", "modes.kl")

    def __init__(self, *, samples: int = 2500, seed: int = 0):
        check_samples(samples)
        self.samples, self.seed = samples, seed

    @staticmethod
    def refuses(recipe):
        return None if recipe.data.kind == "points" else "the modes of pictures are not known; points have known ones"

    def words(self, subject, split):
        data = subject.data
        return (
            f"modes: {self.samples:,} samples (seed {self.seed}) against the {len(data.centres)} known modes of "
            f"{data.distribution}, each of standard deviation {data.std:g}: modes covered, by 1 % of the samples "
            "within 3 standard deviations; good, the share of samples within these of some mode; kl of the good ones' "
            "spread over the modes from an even one, in nats; no split is read"
        )

    def measure(self, subject, split):
        points = np.stack(subject.sampler.pixels(self.samples, seed=self.seed)).reshape(self.samples, -1)
        return {"modes": coverage(points, subject.data.centres, subject.data.std)}
