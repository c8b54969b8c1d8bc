"""Whether generated pictures hold as much fine detail as real ones."""

import math

from i2i.errors import UserError
from i2i.evaluation.compared import check_samples, made, told
from i2i.evaluation.protocol import Protocol
from i2i.metrics import PROTOCOLS
from i2i.metrics.sharpness import laplacian_variance


@PROTOCOLS.register("sharpness")
class Sharpness(Protocol):
    """The variance of the Laplacian of generated pictures beside that of real ones, their ratio, and its distance from
    1, |log ratio|: blur makes the ratio small, noise and other artefacts make it large.

    Args:
        samples: drawn from a sampler; None is 10,000. A translator translates every picture of the split.
        seed: of the samples.
        export: which generator, of a method that has two; None is the first.
    """

    score = "distance"
    higher_is_better = False
    shows = ("generated", "real", "ratio", "distance")

    def __init__(self, *, samples: int | None = None, seed: int = 0, export: str | None = None):
        check_samples(samples)
        self.samples, self.seed, self.export = samples, seed, export

    @staticmethod
    def refuses(recipe):
        return "a point has no detail" if recipe.data.kind == "points" else None

    def words(self, subject, split):
        compared = told(subject, split, self.export, self.samples, self.seed)
        low, high = subject.data.domains[subject.route(self.export)[2]].range
        return (
            f"sharpness: variance of the Laplacian of the luminance, values [{low:g}, {high:g}] as [0, 1], of "
            f"{compared}; mean over pictures +- standard error, ratio of the means, distance = |log ratio|"
        )

    def measure(self, subject, split):
        export, _, target = subject.route(self.export)
        count, value_range = made(subject, split, export, self.samples), subject.data.domains[target].range
        real = subject.kept(
            ("sharpness", split, export),
            lambda: laplacian_variance(subject.reals(split, export), value_range=value_range),
        )
        if not real["mean"]:
            raise UserError(f"the real pictures of {split} are flat: there is no detail to compare with.")
        fakes = subject.fakes(split, export, count, self.seed)
        generated = laplacian_variance(fakes, value_range=value_range)
        ratio = generated["mean"] / real["mean"]
        distance = abs(math.log(ratio)) if ratio else None  # flat pictures: no number is far enough
        return {"generated": generated, "real": real, "ratio": ratio, "distance": distance}
