"""How well two generators undo each other, where no true picture is known."""

import math
from collections.abc import Iterator

from torch import Tensor

from i2i.evaluation.protocol import Protocol
from i2i.evaluation.subject import Subject
from i2i.methods import METHODS
from i2i.metrics import PROTOCOLS
from i2i.metrics.summary import summary


@PROTOCOLS.register("unpaired")
class Unpaired(Protocol):
    """The L1 of both cycles and of both identities (Zhu et al., 2017, equation 2 and section 5.2), on whole pictures.

        cycle_a = |G_ba(G_ab(a)) - a|    cycle_b = |G_ab(G_ba(b)) - b|    cycle: the mean of the two
        identity_a = |G_ba(a) - a|       identity_b = |G_ab(b) - b|

    in parts of the range, so 0 is equality and 1 the distance from black to white. What one generator makes goes into
    the other as it is, not rounded to levels. A small cycle says that nothing was lost, not that pictures look right.
    """

    score = "cycle.mean"
    higher_is_better = False
    shows = ("cycle", "cycle_a", "cycle_b", "identity_a", "identity_b")

    @staticmethod
    def refuses(recipe):
        routes = set(METHODS.get(recipe.method.name).maps.values())
        if not any(source is not None and (target, source) in routes for source, target in routes):
            return f"{recipe.method.name} has no generator for the way back"
        return None

    def words(self, subject, split):
        counts = " and ".join(f"{subject.count(split, side):,} pictures '{side}'" for side in "ab")
        channels = " and ".join(str(domain.channels) for domain in subject.data.domains.values())
        without = "" if _alike(subject) else f"; no identity between {channels} channels"
        return (
            f"unpaired: L1 of both cycles{'' if without else ' and identities'} of the {counts} of {split}, whole and "
            f"at their own size, in parts of the range; mean over pictures +- standard error{without}"
        )

    def measure(self, subject, split):
        found = {}
        for side, there, back in (("a", "generator_ab", "generator_ba"), ("b", "generator_ba", "generator_ab")):
            there, back = subject.models[there], subject.models[back]
            cycles, identities = [], []
            for x in _tensors(subject, split, side):
                cycles.append(_l1(back(there(x).clamp(-1, 1)), x))
                if _alike(subject):
                    identities.append(_l1(back(x), x))
            found[f"cycle_{side}"] = summary(cycles)
            found[f"identity_{side}"] = summary(identities) if identities else None
        return {"cycle": _middle(found["cycle_a"], found["cycle_b"]), **dict(sorted(found.items()))}


def _alike(subject: Subject) -> bool:
    """Whether a generator can be shown a picture of the domain that it writes."""
    return subject.data.domains["a"].channels == subject.data.domains["b"].channels


def _tensors(subject: Subject, split: str, side: str) -> Iterator[Tensor]:
    """(C, H, W) in [-1, 1], whole."""
    total = subject.count(split, side)
    for index, whole in enumerate(subject.data.whole(split, side), start=1):
        subject.progress(index, total)
        yield subject.data.domains[side].to_tensor(whole[side])


def _l1(x: Tensor, y: Tensor) -> float:
    return float((x.double() - y.double()).abs().mean()) / 2


def _middle(a: dict, b: dict) -> dict:
    """The mean of two summaries of independent pictures."""
    errors = a["standard_error"], b["standard_error"]
    error = None if None in errors else math.hypot(*errors) / 2
    return {"mean": (a["mean"] + b["mean"]) / 2, "standard_error": error, "count": a["count"] + b["count"]}
