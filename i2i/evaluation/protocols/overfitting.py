"""Whether D has learnt its training pictures by heart: its judgement of these, of held-out and of generated ones."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from i2i.data.limit import shuffled
from i2i.errors import UserError
from i2i.evaluation.judging import held_out, prepared
from i2i.evaluation.protocol import Protocol
from i2i.evaluation.subject import Subject
from i2i.losses import OBJECTIVES
from i2i.methods import METHODS
from i2i.metrics import PROTOCOLS
from i2i.metrics.classes import share
from i2i.metrics.ranks import auc
from i2i.seeds import derive

Judged = dict[str, Tensor]  # "train", "held_out", "generated" -> logits (N,)


@PROTOCOLS.register("overfitting")
class Overfitting(Protocol):
    """D's accuracy on training pictures beside that on held-out ones (Zhao et al., 2020, figure 1): where D has
    memorised the few pictures that it was shown, it takes others for generated ones.

        accuracy    the share that D is right about: of training and of held-out pictures those above the objective's
                    boundary (0, of lsgan 0.5), of generated ones the others
        gap         accuracy on training pictures minus that on held-out ones
        auc         P(D's logit of a training picture > that of a held-out one), ties half

    The auc needs no boundary: 0.5 says that D cannot tell the two apart, 1 that it can always. wasserstein's critic is
    free up to a constant and has no boundary, so no accuracy and no gap. Neither number says that samples are good: an
    untrained D has memorised nothing.

    Pictures are as training prepares them, un-augmented, those of train the ones that the run was trained on
    (data.limit). D is in evaluation mode, and so is G, of the same checkpoint, which makes a picture for each of train.
    With batch norm D then goes by its running statistics of real and of generated pictures together, and all logits
    may lie to one side of the boundary; the auc stays what it is. D is told the class of a picture where it was in
    training, G the same ones. Of patches, and of scales, the mean logit counts.

    Args:
        pictures: of each of train and the split, at most; they are drawn by seed.
        seed: of that and of the noise.
    """

    score = "auc.mean"
    higher_is_better = False
    shows = ("accuracy.train", "accuracy.held_out", "accuracy.generated", "gap", "auc")

    def __init__(self, *, pictures: int = 10_000, seed: int = 0):
        if pictures < 2:
            raise UserError(f"pictures {pictures}: shares are of at least 2. Give 10000.")
        self.pictures, self.seed = pictures, seed

    @staticmethod
    def refuses(recipe):
        name, method = recipe.method.name, METHODS.get(recipe.method.name)
        if not method.adversarial:
            return f"{name} has no discriminator"
        if method.generator_takes != "latents":
            return f"the discriminator of {name} judges what a generator made of an input, patch by patch"
        if recipe.data.kind == "points":
            return "its points are drawn afresh, and none is trained on twice"
        return None

    def words(self, subject, split):
        held_out(subject, split, "overfitting")
        train, total = subject.trained_on.count("train"), subject.count(split)
        bound = _boundary(subject)
        told = "no boundary, so no accuracy" if bound is None else f"accuracy at the boundary {bound:g} and its gap"
        return (
            f"overfitting: D on {self._share(train)} pictures that it was trained on, {self._share(total)} of {split}, "
            f"and as many generated as the first; un-augmented, D and G of the checkpoint in evaluation mode; {told}, "
            f"auc of training over held-out logits (0.5: not told apart); +- standard error; seed {self.seed}"
        )

    def _share(self, total: int) -> str:
        return f"{total:,}" if total <= self.pictures else f"{self.pictures:,} of {total:,}"

    def measure(self, subject, split):
        held_out(subject, split, "overfitting")
        logits, bound = self.judged(subject, split), _boundary(subject)
        values: dict[str, Any] = {"accuracy": None, "gap": None}
        if bound is not None:
            right = {name: (x <= bound) if name == "generated" else (x > bound) for name, x in logits.items()}
            values["accuracy"] = found = {name: share(each.tolist()) for name, each in right.items()}
            sides = found["train"], found["held_out"]
            values["gap"] = {
                "mean": sides[0]["mean"] - sides[1]["mean"],
                "standard_error": math.hypot(*(side["standard_error"] for side in sides)),
                "count": sum(side["count"] for side in sides),
            }
        values["auc"] = auc(logits["train"], logits["held_out"])
        values["logit"] = {name: float(x.mean()) for name, x in logits.items()}
        return values

    def judged(self, subject: Subject, split: str) -> Judged:
        """D's logits of all pictures."""
        method = _method(subject)
        sides = {"train": (subject.trained_on, "train"), "held_out": (subject.data, split)}
        found: dict[str, list[Tensor]] = {name: [] for name in (*sides, "generated")}
        place = subject.device
        with torch.no_grad(), torch.random.fork_rng([place] if place.type == "cuda" else []):
            for name, (data, part) in sides.items():
                torch.manual_seed(derive(self.seed, "overfitting", name))
                order = shuffled(data.count(part), f"overfitting {self.seed}")
                places = np.sort(order[: self.pictures])
                for chosen, x in prepared(data, part, places):
                    real, fake = _critique(method, data, part, chosen, x.to(place))
                    found[name].append(real)
                    if name == "train":
                        found["generated"].append(fake)
        return {name: torch.cat(parts) for name, parts in found.items()}


def _boundary(subject: Subject) -> float | None:
    """The logit at which D holds a picture for as much real as generated; None where the objective has none."""
    objective = subject.recipe.method.objective
    return None if objective is None else OBJECTIVES.get(objective).boundary


def _method(subject: Subject):
    """The run's method over copies of its networks, to judge and not to train."""
    nets = {name: net.eval().to(subject.device) for name, net in subject.nets().items()}
    chosen = subject.recipe.method
    return METHODS.get(chosen.name)(
        nets, {}, None, objective=None, constraint=None, augment=None, num_critic=chosen.num_critic, **chosen.args
    )


def _critique(method, data: Any, split: str, places: np.ndarray, x: Tensor) -> tuple[Tensor, Tensor]:
    """D's logits (B,) of pictures, and of as many that G makes now."""
    batch: Mapping[str, Tensor] = {method.keys[0]: x}
    if method.needs_labels:
        batch = {**batch, "label": torch.from_numpy(data.labels(split)[places]).to(x.device)}
    return tuple(map(_of_each, method.critique(batch)["D"]))


def _of_each(logits: Tensor | list[Tensor]) -> Tensor:
    """One logit for each picture: the mean over its patches, and over the scales."""
    scales = [logits] if isinstance(logits, Tensor) else logits
    return torch.stack([scale.double().flatten(1).mean(1) for scale in scales]).mean(0).cpu()
