"""Does a picture show the class that was asked for? Classes predicted by a classifier against the classes asked."""

import math

from i2i.errors import UserError


def accuracy(asked, predicted) -> dict:
    """Share of pictures whose predicted class is the one asked for, in all and for each class asked.

    Standard error of a share p of n: sqrt(p (1 - p) / n), the binomial's; at p = 0 and 1 it is 0 and says nothing.

    Args:
        asked, predicted: (N,) class numbers: tensors, arrays or iterables of integers, in the same order.

    Returns:
        {"accuracy", "standard_error", "count", "classes": one {"class", "accuracy", "standard_error", "count"} for each
        class that was asked for, ascending}.

    Raises:
        UserError: no picture, two counts, or a class that is no integer.
    """
    asked, predicted = _numbers("asked", asked), _numbers("predicted", predicted)
    if len(asked) != len(predicted):
        raise UserError(
            f"{len(asked)} classes asked and {len(predicted)} predicted: give one of each for every picture"
        )
    if not asked:
        raise UserError("no pictures to judge: give at least one class asked and one predicted")
    right: dict[int, list[bool]] = {}
    for wanted, found in zip(asked, predicted):
        right.setdefault(wanted, []).append(wanted == found)
    classes = [{"class": number, **_share(right[number])} for number in sorted(right)]
    return {**_share([hit for hits in right.values() for hit in hits]), "classes": classes}


def share(hits: list[bool]) -> dict[str, float | int]:
    """{"mean", "standard_error", "count"} of what is true or not, the error as `accuracy` has it."""
    found = _share(hits)
    return {"mean": found.pop("accuracy"), **found}


def _share(hits: list[bool]) -> dict[str, float | int]:
    part = sum(hits) / len(hits)
    return {"accuracy": part, "standard_error": math.sqrt(part * (1 - part) / len(hits)), "count": len(hits)}


def _numbers(name: str, values) -> list[int]:
    values = values.tolist() if hasattr(values, "tolist") else list(values)
    if not isinstance(values, list):
        raise UserError(f"the classes {name} are one number: give one for every picture")
    found = []
    for value in values:
        value = value.item() if hasattr(value, "item") else value
        if not isinstance(value, int) or isinstance(value, bool):
            raise UserError(f"{value!r} is among the classes {name}: a class is an integer")
        found.append(value)
    return found
