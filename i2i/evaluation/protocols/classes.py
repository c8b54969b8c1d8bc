"""Does a generator make what it was asked for? A classifier of real pictures says which class each sample is of."""

from i2i.evaluation.compared import SAMPLES, check_samples
from i2i.evaluation.judging import classifier, classifier_net, classifier_words, seen
from i2i.evaluation.protocol import Protocol
from i2i.methods import METHODS
from i2i.metrics import PROTOCOLS
from i2i.metrics.classes import accuracy


@PROTOCOLS.register("classes")
class Classes(Protocol):
    """The share of samples that are of the class that they were asked for, in all and class by class.

    A classifier that was trained on the real training pictures, and never sees a generated one before, says which class
    a sample is of. Its own share on real pictures stands beside: more than that cannot be told from it. The share does
    not see whether the samples of a class differ from each other, nor much of how good they are.

    Args:
        samples: drawn, of each class in turn; None is 10,000.
        seed: of the samples and of the classifier.
    """

    score = "accuracy.mean"
    higher_is_better = True
    shows = ("accuracy",)

    def __init__(self, *, samples: int | None = None, seed: int = 0):
        check_samples(samples)
        self.samples, self.seed = samples, seed

    @staticmethod
    def refuses(recipe):
        method = METHODS.get(recipe.method.name)
        told = method.needs_labels and not method.few_labels
        return None if told else f"{recipe.method.name} is asked for no class, so that none can be missed"

    def words(self, subject, split):
        return (
            f"classes: the share of {self.count:,} samples (seed {self.seed}), of {subject.data.num_classes} classes "
            "in turn, that are of the class asked for, by a classifier of the real pictures of train: "
            f"{classifier_words(subject, self.seed)}; seed {self.seed}"
        )

    def measure(self, subject, split):
        asked, found = subject.sampler.classes_of(self.count), classifier(subject, self.seed)
        made = subject.fakes(split, count=self.count, seed=self.seed)
        _, logits = seen(classifier_net(subject, self.seed), made, subject.sampler.output)
        whole, names = accuracy(asked, logits.argmax(1)), subject.data.class_names
        return {
            "accuracy": _mean(whole),
            "classes": {names[one["class"]]: _mean(one) for one in whole["classes"]},
            "classifier": {"accuracy": found.accuracy, "hash": found.hash},
        }

    @property
    def count(self) -> int:
        """Samples that are drawn."""
        return SAMPLES if self.samples is None else self.samples


def _mean(share: dict) -> dict[str, float | int]:
    return {"mean": share["accuracy"], "standard_error": share["standard_error"], "count": share["count"]}
