"""What the protocols share that look at pictures through a network: batches, and the classifier of labelled data."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from i2i.data import DATASETS
from i2i.data.domain import Domain
from i2i.errors import UserError
from i2i.evaluation.classifier import Classifier
from i2i.evaluation.compared import in_words
from i2i.evaluation.features import FeatureNet, feature_net
from i2i.evaluation.subject import Subject

BATCH = 64  # pictures that go through the net together
VALUES = 2**24  # and no more numbers than these: 64 MiB of floats


def classifier(subject: Subject, seed: int, folder: str | None = None) -> Classifier:
    """Of real pictures, judged on those of test (else val), where there are any; trained where none is kept.

    Args:
        folder: labelled pictures to train it on (see `i2i.data.labelled.Labelled`), prepared as those of the run are;
            None takes the training pictures of the run and their labels.
    """

    def make() -> Classifier:
        data = _labelled_data(subject, folder)
        split = _held_out(data)
        test = None if split is None else _labelled(data, split)
        with in_words():
            return Classifier.fit(
                *_labelled(data, "train"), seed=seed, say=subject.say, test=test, classes=data.num_classes
            )

    return subject.kept(("classifier", seed, folder), make)


def classifier_net(subject: Subject, seed: int, folder: str | None = None) -> FeatureNet:
    """The classifier as a feature net, on the subject's device."""
    return subject.kept(
        ("feature net", "classifier", seed, folder, str(subject.device)),
        lambda: feature_net("classifier", classifier=classifier(subject, seed, folder), device=subject.device),
    )


def classifier_words(subject: Subject, seed: int, folder: str | None = None) -> str:
    """Which classifier it is, what it tells apart where that is not the run's own classes, and how often it is right on
    real pictures, where some were held out."""
    data = _labelled_data(subject, folder)
    words, split = classifier_net(subject, seed, folder).protocol, _held_out(data)
    if folder is not None:
        words += f"; it tells {', '.join(data.class_names)} apart"
    if split is None:
        return words
    right = classifier(subject, seed, folder).accuracy
    return f"{words}; right on {right:.2%} of the {data.count(split):,} real pictures of {split}"


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


def _labelled_data(subject: Subject, folder: str | None) -> Any:
    """The data that a classifier is trained on."""
    if folder is None:
        return subject.data
    data, (_, _, target) = subject.recipe.data, subject.route()
    domain = subject.data.domains[target]
    return subject.kept(
        ("labelled", folder),
        lambda: DATASETS.get("labelled")(
            path=folder, load_size=data.load_size, crop_size=data.crop_size, flip=False, transform=None, seed=0,
            a={"channels": domain.channels, "range": list(domain.range), "page": domain.page},
        ),
    )  # fmt: skip


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


def _held_out(data: Any) -> str | None:
    return next((split for split in ("test", "val") if split in data.splits_there), None)


def _labelled(data: Any, split: str) -> tuple[Tensor, np.ndarray]:
    pictures = torch.stack([data.prepared(whole["image"], "image") for whole in data.whole(split)])
    return pictures, data.labels(split)
