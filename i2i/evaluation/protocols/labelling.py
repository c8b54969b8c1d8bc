"""How often a discriminator that names classes is wrong about real pictures: what few labels have taught it."""

import torch
from torch import Tensor

from i2i.evaluation.protocol import Protocol
from i2i.evaluation.subject import Subject
from i2i.methods import METHODS
from i2i.metrics import PROTOCOLS
from i2i.metrics.classes import accuracy

BATCH = 1000  # pictures that go through D together


@PROTOCOLS.register("labelling")
class Labelling(Protocol):
    """The share of a split's pictures whose class D gets wrong, in all and class by class: the test error of Salimans
    et al. (2016, tables 1 to 3).

    D is in evaluation mode: no noise, no dropout, running statistics. The class that it names is the largest of its K
    logits. Pictures are prepared as in training, without what is drawn.
    """

    score = "error.mean"
    higher_is_better = False
    shows = ("error", "wrong")

    @staticmethod
    def refuses(recipe):
        name = recipe.method.name
        return None if METHODS.get(name).few_labels else f"D of {name} is no classifier of pictures of unknown class"

    def words(self, subject, split):
        train, used = subject.count("train"), len(subject.data.few)
        return (
            f"labelling: the share of the {subject.count(split):,} real pictures of {split} whose class, of "
            f"{subject.data.num_classes}, is not the one that D names; D in evaluation mode, trained with the classes "
            f"of {used:,} of {train:,} training pictures; error +- the binomial's standard error"
        )

    def measure(self, subject, split):
        names, labels = subject.data.class_names, subject.data.labels(split)
        whole = accuracy(labels, named(subject, split))
        return {
            "error": _error(whole),
            "wrong": round((1 - whole["accuracy"]) * whole["count"]),
            "classes": {names[one["class"]]: _error(one) for one in whole["classes"]},
        }


@torch.no_grad()
def named(subject: Subject, split: str) -> Tensor:
    """The class (N,) that D names of each picture of a split, on the CPU."""
    net = subject.nets()["D"].eval().to(subject.device)
    parts = subject.pictures(split).split(BATCH)
    return torch.cat([net(part.to(subject.device)).argmax(1).cpu() for part in parts])


def _error(share: dict) -> dict[str, float | int]:
    return {"mean": 1 - share["accuracy"], "standard_error": share["standard_error"], "count": share["count"]}
