"""Training on a few of the pictures that there are: which ones, and always the same.

Differentiable augmentation is studied on 100 pictures, and on 10 % of a set (Zhao et al., 2020, section 4). Runs that
are compared there must see the same ones, whatever their seed, and a larger set should hold the smaller.
"""

import numpy as np

from i2i.errors import UserError
from i2i.seeds import derive


def chosen(count: int, limit: int, where: str, key: str = "", labels: np.ndarray | None = None) -> np.ndarray:
    """The places (limit,) int64, rising, of the training pictures that data.limit leaves.

    They are the first `limit` in one shuffled order of `count` places, which no seed of a run changes: those of a
    smaller limit are among them. With labels, all first pictures of a class in this order come before all second ones,
    and so on: every class has as many as another, or one more, as long as it has so many.

    Args:
        where: the pictures are, for the message.
        key: of pictures that have no partners: each key has an order of its own.
        labels: (count,) the class of each picture, 0 or above.

    Raises:
        UserError: a limit below 1 or above `count`.
    """
    if limit < 1:
        raise UserError(f"data.limit is {limit}; training takes at least 1 picture. Set it to 1 or more, or null.")
    if limit > count:
        holds = f"{count:,} training {'picture' if count == 1 else 'pictures'}"
        raise UserError(
            f"data.limit is {limit:,}, but {where} has {holds}. Set it to {count} or less, or null for all."
        )
    return np.sort(shuffled(count, key, labels)[:limit])


def shuffled(count: int, key: str, labels: np.ndarray | None = None) -> np.ndarray:
    """All places (count,) in an order that derives from the key alone; with labels as `chosen` takes its first."""
    # RandomState, because its numbers are frozen across NumPy versions
    order = np.random.RandomState(derive("limit", key) % 2**32).permutation(count)
    return order if labels is None else order[np.argsort(_rank(labels[order]), kind="stable")]


def _rank(labels: np.ndarray) -> np.ndarray:
    """(N,): how many of the same label stand before each."""
    by_label = np.argsort(labels, kind="stable")
    in_turn = labels[by_label]
    rank = np.empty(len(labels), np.int64)
    rank[by_label] = np.arange(len(labels)) - np.searchsorted(in_turn, in_turn)
    return rank
