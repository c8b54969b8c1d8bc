"""How far the generated pictures are from the real ones as sets, measured on the features of a frozen network."""

from i2i.data import DATASETS
from i2i.evaluation.compared import check_samples, made, told
from i2i.evaluation.features import FeatureNet, feature_net
from i2i.evaluation.judging import classifier, classifier_net, classifier_words, seen
from i2i.evaluation.protocol import Protocol
from i2i.evaluation.subject import Subject
from i2i.metrics import PROTOCOLS
from i2i.metrics.distribution import fid, inception_score, kid, precision_recall


@PROTOCOLS.register("distribution")
class Distribution(Protocol):
    """FID, KID, Inception score, precision and recall of the pictures that users get, against the real ones of a split.

    Of a sampler: samples against pictures prepared as for training. Of a translator: the translations of a split's
    inputs against the split's targets; where nothing is paired, of test A against test B, as in the literature on
    unpaired translation (Park et al., 2020), all at their own size, which the feature net's own rule resizes.

    Args:
        features: inception, timm:NAME or torchvision:NAME, with weights in $I2I_WEIGHTS; classifier, one that is
            trained on the real training pictures and their labels; or classifier:FOLDER, one that is trained on the
            labelled pictures of that folder, for data without labels. None is the classifier, where data have labels.
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
                "features=inception or features=classifier:FOLDER, a folder of labelled pictures like them"
            )
        return None

    def words(self, subject, split):
        compared = told(subject, split, self.export, self.samples, self.seed)
        net = self.net(subject)
        features = classifier_words(subject, self.seed, self.folder) if net.name == "classifier" else net.protocol
        return (
            f"distribution: FID, KID{', Inception score' if net.has_logits else ''}, precision and recall of "
            f"{compared}; features: {features}; seed {self.seed}"
        )

    def measure(self, subject, split):
        net, (export, _, target) = self.net(subject), subject.route(self.export)
        count = made(subject, split, export, self.samples)
        domain = subject.data.domains[target]
        # of these split and generator they are the same for every step of a run
        real, _ = subject.kept(
            ("features", net.protocol, split, export), lambda: seen(net, subject.reals(split, export), domain)
        )
        fake, logits = seen(net, subject.fakes(split, export, count, self.seed), domain)
        values = {
            "fid": fid(real, fake),
            "kid": kid(real, fake, seed=self.seed),
            "precision_recall": precision_recall(real, fake, k=self.k),
        }
        if logits is not None:
            values["inception_score"] = inception_score(logits, splits=self.score_splits, seed=self.seed)
        if net.name == "classifier":
            found = classifier(subject, self.seed, self.folder)
            values["classifier"] = {"accuracy": found.accuracy, "hash": found.hash}
        return values

    def net(self, subject: Subject) -> FeatureNet:
        """The feature net; a classifier is trained where none is kept."""
        name = self.features or "classifier"
        if name == "classifier" or self.folder is not None:
            return classifier_net(subject, self.seed, self.folder)
        return subject.kept(
            ("feature net", name, self.random_features, self.seed, str(subject.device)),
            lambda: feature_net(name, random_features=self.random_features, seed=self.seed, device=subject.device),
        )

    @property
    def folder(self) -> str | None:
        """Of the labelled pictures that a classifier of its own is trained on."""
        kind, _, folder = (self.features or "").partition(":")
        return folder if kind == "classifier" and folder else None
