"""What D has learnt about pictures beyond real or generated: how well a linear classifier reads classes off it."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from i2i import build
from i2i.build.make import wiring
from i2i.data import DATASETS
from i2i.data.limit import shuffled
from i2i.errors import UserError
from i2i.evaluation.compared import in_words
from i2i.evaluation.judging import held_out, prepared
from i2i.evaluation.linear import LinearClassifier
from i2i.evaluation.protocol import Protocol
from i2i.evaluation.subject import Subject
from i2i.methods import METHODS
from i2i.metrics import PROTOCOLS
from i2i.metrics.classes import share

GRID = 4  # side that feature maps are pooled to
DECAYS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
FOLD = 5  # without val, weight decay is chosen on one of so many parts of the labelled pictures
Features = Callable[[Tensor], Tensor]  # (B, C, H, W) in [-1, 1] -> (B, F)


@PROTOCOLS.register("linear")
class Linear(Protocol):
    """Accuracy of a linear classifier on D's features (Radford et al., 2016, section 5.2, and 5.1 for the features).

    The output of each block of D, in evaluation mode, is max-pooled to 4 x 4 (maps that are smaller, and rows, stay as
    they are), flattened and laid beside the others. A linear classifier (here multinomial logistic regression, theirs
    an L2-SVM) is fitted to a few labelled training pictures, as many of each class, the same ones for each row:

        discriminator   D's features
        untrained       features of the same D with its first weights, its batch norms told the statistics of the
                        labelled pictures: what the architecture alone gives
        pixels          the pictures themselves

    Its weight decay is the one of 0.001 to 10 that is best on val; without val, or where val itself is scored, on a
    fifth of the labelled pictures, and the classifier is then fitted to all of them. Labels come from the whole
    training split, whatever data.limit. Of a method whose D was trained with classes the features have seen labels.

    Args:
        labels: labelled pictures that the classifier is fitted to.
        seed: which ones they are.
    """

    score = "discriminator.mean"
    higher_is_better = True
    shows = ("discriminator", "untrained", "pixels")

    def __init__(self, *, labels: int = 1000, seed: int = 0):
        if labels < FOLD:
            raise UserError(
                f"labels {labels}: a classifier is fitted to at least {FOLD} pictures. The paper takes 1000."
            )
        self.labels, self.seed = labels, seed

    @staticmethod
    def refuses(recipe):
        name, method = recipe.method.name, METHODS.get(recipe.method.name)
        if not method.adversarial:
            return f"{name} has no discriminator"
        if method.generator_takes != "latents":
            return f"the discriminator of {name} sees pictures that have no class"
        if not DATASETS.get(recipe.data.kind).labelled:
            return "its data have no labels to fit a classifier to"
        if wiring(recipe)["D"].classes is not None:
            return f"the discriminator of {name} is told the class, so that its features cannot be asked for it"
        return None

    def words(self, subject, split):
        self._check(subject, split)
        chosen = f"val ({subject.count('val'):,})" if _has_val(subject, split) else "a fifth of these"
        return (
            f"linear: accuracy on the {subject.count(split):,} pictures of {split} of logistic regression fitted to "
            f"{self.labels:,} labelled ones of train, as many of each of {subject.data.num_classes} classes (seed "
            f"{self.seed}), on features of D, each block max-pooled to {GRID} x {GRID}, of D untrained, and on pixels; "
            f"weight decay chosen on {chosen}; +- standard error"
        )

    def measure(self, subject, split):
        self._check(subject, split)
        values = {"discriminator": self.read(subject, split, _of(subject.nets()["D"].eval().to(subject.device)))}
        controls = {"untrained": lambda: _of(self._untrained(subject)), "pixels": lambda: lambda x: x.flatten(1)}
        for name, features in controls.items():  # the same at every step of a run
            values[name] = subject.kept(
                ("linear", name, split, self.labels, self.seed), lambda make=features: self.read(subject, split, make())
            )
        return values

    def read(self, subject: Subject, split: str, features: Features) -> dict[str, Any]:
        """The accuracy on a split of the classifier of these features, its weight decay, and how many features."""
        data, order = subject.data, self._order(subject)
        x = torch.cat([features(pictures) for _, pictures in prepared(data, "train", order)])
        y, classes = data.labels("train")[order], data.num_classes

        def fitted(count: int, decays: Iterable[float]) -> dict[float, LinearClassifier]:
            with in_words():
                return {
                    decay: LinearClassifier.fit(x[:count], y[:count], weight_decay=decay, classes=classes)
                    for decay in decays
                }

        if _has_val(subject, split):
            fits = fitted(len(x), DECAYS)
            decay = _best(_right(fits, subject, "val", features))
        else:
            kept = len(x) - len(x) // FOLD
            scores = {each: fit.accuracy(x[kept:], y[kept:]) for each, fit in fitted(kept, DECAYS).items()}
            decay = _best(scores)
            fits = fitted(len(x), [decay])
        right = _right({decay: fits[decay]}, subject, split, features)[decay]
        return {**share(right.tolist()), "weight_decay": decay, "features": x.shape[1]}

    def _order(self, subject: Subject) -> np.ndarray:
        """The places of the labelled pictures, class by class in turn, so that any beginning of it is balanced."""
        labels = subject.data.labels("train")
        return shuffled(len(labels), f"linear {self.seed}", labels)[: self.labels]

    def _check(self, subject: Subject, split: str) -> None:
        held_out(subject, split, "linear")
        total, classes = subject.count("train"), subject.data.num_classes
        if not classes <= self.labels <= total:
            raise UserError(
                f"labels {self.labels}: train has {total:,} pictures of {classes} classes. Give at least one of each "
                "class, and no more than there are."
            )

    def _untrained(self, subject: Subject) -> nn.Module:
        """D as this run began, its norms with the statistics of the labelled pictures."""
        with torch.random.fork_rng([]):
            net = build.networks(subject.recipe)["D"].eval().requires_grad_(False).to(subject.device)
        norms = [each for each in net.modules() if isinstance(each, nn.modules.batchnorm._BatchNorm)]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a plain mean over the batches
            norm.train()
        if norms:
            for _, pictures in prepared(subject.data, "train", self._order(subject)):
                net(pictures.to(subject.device))
        return net.eval()


def _of(net: nn.Module) -> Features:
    """What a classifier sees of D: every feature map, max-pooled to 4 x 4 where it is larger."""
    place = next(net.parameters()).device

    @torch.no_grad()
    def features(x: Tensor) -> Tensor:
        _, maps = net(x.to(place), features=True)
        return torch.cat([_pooled(each).flatten(1) for each in maps], dim=1).float().cpu()

    return features


def _pooled(x: Tensor) -> Tensor:
    return F.adaptive_max_pool2d(x, [min(GRID, side) for side in x.shape[2:]]) if x.ndim == 4 else x


def _right(
    fits: Mapping[float, LinearClassifier], subject: Subject, split: str, features: Features
) -> dict[float, np.ndarray]:
    """{decay: whether each picture of a split is named right (N,)}; the features are there block by block only."""
    labels, found = subject.data.labels(split), {decay: [] for decay in fits}
    for places, pictures in prepared(subject.data, split, np.arange(len(labels))):
        seen = features(pictures)
        for decay, fit in fits.items():
            found[decay].append(fit.predict(seen).numpy() == labels[places])
    return {decay: np.concatenate(parts) for decay, parts in found.items()}


def _best(scores: Mapping[float, Any]) -> float:
    """The decay with the best mean, of equal ones the largest."""
    return max(scores, key=lambda decay: (float(np.mean(scores[decay])), decay))


def _has_val(subject: Subject, split: str) -> bool:
    return split != "val" and "val" in subject.data.splits_there
