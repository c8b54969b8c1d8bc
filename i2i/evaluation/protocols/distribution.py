"""How far the generated pictures are from the real ones as sets, measured on the features of a frozen network."""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from i2i.data import DATASETS
from i2i.data.domain import Domain
from i2i.evaluation.classifier import Classifier
from i2i.evaluation.compared import check_samples, in_words, made, told
from i2i.evaluation.features import FeatureNet, feature_net
from i2i.evaluation.protocol import Protocol
from i2i.evaluation.subject import Subject
from i2i.metrics import PROTOCOLS
from i2i.metrics.distribution import fid, inception_score, kid, precision_recall

BATCH = 64  # pictures that go through the feature net together
VALUES = 2**24  # and no more numbers than these: 64 MiB of floats


@PROTOCOLS.register("distribution")
class Distribution(Protocol):
    """FID, KID, Inception score, precision and recall of the pictures that users get, against the real ones of a split.

    Of a sampler: samples against pictures prepared as for training. Of a translator: the translations of a split's
    inputs against the split's targets; where nothing is paired, of test A against test B, as in the literature on
    unpaired translation (Park et al., 2020), all at their own size, which the feature net's own rule resizes.

    Args:
        features: inception, timm:NAME or torchvision:NAME, with weights in $I2I_WEIGHTS; or classifier, one that is
            trained on the real training pictures and their labels. None is the classifier, where data have labels.
        samples: drawn from a sampler; None is 10,000. A translator translates every picture of the split.
        seed: of the samples, of KID's subsets, of the score's splits, of the classifier and of random features.
        random_features: whether the feature net may have random weights where there is no file of its own.
        k: neighbours that reach precision's and recall's balls.
        score_splits: parts of the samples that the Inception score is computed of, each by itself.
        export: which generator, of a method that has two; None is the first.
    """

    score = "fid.fid"
    higher_is_better = False
    shows = ("fid.fid", "kid", "inception_score", "precision_recall.precision", "precision_recall.recall")

    def __init__(
        self,
        *,
        features: str | None = None,
        samples: int | None = None,
        seed: int = 0,
        random_features: bool = False,
        k: int = 3,
        score_splits: int = 10,
        export: str | None = None,
    ):
        check_samples(samples)
        self.features, self.samples, self.seed, self.random_features = features, samples, seed, random_features
        self.k, self.score_splits, self.export = k, score_splits, export

    @staticmethod
    def refuses(recipe):
        if recipe.data.kind == "points":
            return "its data are points, of which no network knows features; modes and density score them"
        asked = recipe.evaluate
        named = asked.args.get("features") if asked.protocol == "distribution" else None
        if named in (None, "classifier") and not DATASETS.get(recipe.data.kind).labelled:
            return (
                "its data have no labels to train a classifier with, so another feature net must be named, as in "
                "features=inception"
            )
        return None

    def words(self, subject, split):
        compared = told(subject, split, self.export, self.samples, self.seed)
        net, right = self.net(subject), ""
        if net.name == "classifier":
            found, held_out = self.classifier(subject), _held_out(subject)
            if held_out is not None:
                count = subject.count(held_out)
                right = f"; right on {found.accuracy:.2%} of the {count:,} real pictures of {held_out}"
        return (
            f"distribution: FID, KID{', Inception score' if net.has_logits else ''}, precision and recall of "
            f"{compared}; features: {net.protocol}{right}; seed {self.seed}"
        )

    def measure(self, subject, split):
        net, (export, _, target) = self.net(subject), subject.route(self.export)
        count = made(subject, split, export, self.samples)
        domain = subject.data.domains[target]
        # of these split and generator they are the same for every step of a run
        real, _ = subject.kept(
            ("features", net.protocol, split, export), lambda: _seen(net, subject.reals(split, export), domain)
        )
        fake, logits = _seen(net, subject.fakes(split, export, count, self.seed), domain)
        values = {
            "fid": fid(real, fake),
            "kid": kid(real, fake, seed=self.seed),
            "precision_recall": precision_recall(real, fake, k=self.k),
        }
        if logits is not None:
            values["inception_score"] = inception_score(logits, splits=self.score_splits, seed=self.seed)
        if net.name == "classifier":
            found = self.classifier(subject)
            values["classifier"] = {"accuracy": found.accuracy, "hash": found.hash}
        return values

    def net(self, subject: Subject) -> FeatureNet:
        """The feature net; a classifier is trained where none is kept."""
        name = self.features or "classifier"

        def make() -> FeatureNet:
            return feature_net(
                name,
                random_features=self.random_features,
                seed=self.seed,
                classifier=self.classifier(subject) if name == "classifier" else None,
                device=subject.device,
            )

        return subject.kept(("feature net", name, self.random_features, self.seed, str(subject.device)), make)

    def classifier(self, subject: Subject) -> Classifier:
        """Of the real training pictures, judged on those of test (else val)."""

        def make() -> Classifier:
            held_out = _held_out(subject)
            test = None if held_out is None else _labelled(subject, held_out)
            train, classes = _labelled(subject, "train"), subject.data.num_classes
            with in_words():
                return Classifier.fit(*train, seed=self.seed, say=subject.say, test=test, classes=classes)

        return subject.kept(("classifier", self.seed), make)


def _held_out(subject: Subject) -> str | None:
    return next((split for split in ("test", "val") if split in subject.data.splits_there), None)


def _labelled(subject: Subject, split: str) -> tuple[Tensor, np.ndarray]:
    data = subject.data
    pictures = torch.stack([data.prepared(whole["image"], "image") for whole in data.whole(split)])
    return pictures, data.labels(split)


def _seen(net: FeatureNet, pictures: Iterable[np.ndarray], domain: Domain) -> tuple[Tensor, Tensor | None]:
    """(features (N, F), logits (N, K) or None) of levels (H, W, C) of any sizes, in their order."""
    with in_words():
        features, logits = zip(*(net.both(x) for x in _batches(pictures, domain)))
    return torch.cat(features), None if logits[0] is None else torch.cat(logits)


def _batches(pictures: Iterable[np.ndarray], domain: Domain) -> Iterator[Tensor]:
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
