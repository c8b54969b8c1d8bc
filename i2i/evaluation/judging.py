"""What the protocols share that look at pictures through a network: batches, and the classifier of labelled data."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from i2i.data.domain import Domain
from i2i.errors import UserError
from i2i.evaluation.classifier import Classifier
from i2i.evaluation.compared import in_words
from i2i.evaluation.features import FeatureNet, feature_net
from i2i.evaluation.subject import Subject

BATCH = 64  # pictures that go through the net together
VALUES = 2**24  # and no more numbers than these: 64 MiB of floats


def classifier(subject: Subject, seed: int) -> Classifier:
    """Of the real training pictures, judged on those of test (else val); trained where none is kept."""

    def make() -> Classifier:
        split = _held_out(subject)
        test = None if split is None else _labelled(subject, split)
        train, classes = _labelled(subject, "train"), subject.data.num_classes
        with in_words():
            return Classifier.fit(*train, seed=seed, say=subject.say, test=test, classes=classes)

    return subject.kept(("classifier", seed), make)


def classifier_net(subject: Subject, seed: int) -> FeatureNet:
    """The classifier as a feature net, on the subject's device."""
    return subject.kept(
        ("feature net", "classifier", seed, str(subject.device)),
        lambda: feature_net("classifier", classifier=classifier(subject, seed), device=subject.device),
    )


def classifier_words(subject: Subject, seed: int) -> str:
    """Which classifier it is, and how often it is right on real pictures, where some were held out."""
    words, split = classifier_net(subject, seed).protocol, _held_out(subject)
    if split is None:
        return words
    right = classifier(subject, seed).accuracy
    return f"{words}; right on {right:.2%} of the {subject.count(split):,} real pictures of {split}"


def seen(net: FeatureNet, pictures: Iterable[np.ndarray], domain: Domain) -> tuple[Tensor, Tensor | None]:
    """(features (N, F), logits (N, K) or None) of levels (H, W, C) of any sizes, in their order."""
    with in_words():
        features, logits = zip(*(net.both(x) for x in batches(pictures, domain)))
    return torch.cat(features), None if logits[0] is None else torch.cat(logits)


def batches(pictures: Iterable[np.ndarray], domain: Domain) -> Iterator[Tensor]:
    """(B, C, H, W) in [-1, 1]; neighbours of one size go together."""
    part: list[np.ndarray] = []
    for pixels in pictures:
        full = len(part) == BATCH or (len(part) + 1) * pixels.size > VALUES
        if part and (full or pixels.shape != part[0].shape):
            yield domain.to_tensor(np.stack(part))
            part = []
        part.append(pixels)
    if part:
        yield domain.to_tensor(np.stack(part))


def prepared(data: Any, split: str, places: np.ndarray) -> Iterator[tuple[np.ndarray, Tensor]]:
    """(places (B,), pictures (B, C, crop, crop) in [-1, 1]) of a split of data, as training prepares them."""
    for start in range(0, len(places), BATCH):
        part = places[start : start + BATCH]
        yield part, torch.stack([data.prepared(data.sample(split, int(n), "image")["image"], "image") for n in part])


def held_out(subject: Subject, split: str, protocol: str) -> None:
    """UserError where a protocol that needs pictures that were not trained on has none."""
    if split == "train":
        there = ", ".join(subject.data.splits_there)
        raise UserError(
            f"{protocol} needs pictures that were not trained on, and the data have {there} alone. Add a folder val or "
            "test, or, of labelled data, set data.val."
        )


def _held_out(subject: Subject) -> str | None:
    return next((split for split in ("test", "val") if split in subject.data.splits_there), None)


def _labelled(subject: Subject, split: str) -> tuple[Tensor, np.ndarray]:
    data = subject.data
    pictures = torch.stack([data.prepared(whole["image"], "image") for whole in data.whole(split)])
    return pictures, data.labels(split)
