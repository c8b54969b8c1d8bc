"""Label maps against the true ones: the scores of Long et al., 2015, from one confusion matrix."""

from collections.abc import Iterable
from itertools import zip_longest

import numpy as np

from i2i.errors import UserError


def confusion(truths: Iterable, predictions: Iterable, classes: int, *, ignore: int | None = None) -> np.ndarray:
    """n_ij, the number of pixels of class i that were predicted as class j, summed over all pictures.

    Args:
        truths, predictions: (H, W) arrays or tensors of class numbers 0 to classes - 1, in the same order, read once.
        classes: K.
        ignore: the truth's number for pixels that are not judged, such as 255; None judges all.

    Returns:
        (K, K) int64 array, the truth along the first axis.

    Raises:
        UserError: no picture, two counts, a pair of two shapes, numbers that are no integers, or a class outside 0 to
            K - 1.
    """
    import torch
    from torchmetrics.functional.classification import multiclass_confusion_matrix

    if classes < 2:
        raise UserError(f"{classes} classes: a confusion matrix needs at least 2")
    total = np.zeros((classes, classes), dtype=np.int64)
    number = 0
    for number, (truth, predicted) in enumerate(zip_longest(truths, predictions), start=1):
        if truth is None or predicted is None:
            longer = "predictions" if truth is None else "truths"
            raise UserError(f"label map {number} is only among the {longer}: give as many predictions as truths")
        truth, predicted = np.asarray(truth), np.asarray(predicted)
        if truth.shape != predicted.shape:
            raise UserError(f"label map {number} is {predicted.shape}, its truth {truth.shape}: they must agree")
        for name, labels in (("truth", truth), ("prediction", predicted)):
            if labels.dtype.kind not in "ui":
                raise UserError(f"the {name} of label map {number} is {labels.dtype}: give integers")
        judged = np.ones(truth.shape, dtype=bool) if ignore is None else truth != ignore
        pair = [labels[judged].astype(np.int64) for labels in (predicted, truth)]
        for name, labels in zip(("prediction", "truth"), pair):
            if labels.size and not (labels.min() >= 0 and labels.max() < classes):
                wrong = int(labels.min() if labels.min() < 0 else labels.max())
                raise UserError(f"the {name} of label map {number} holds {wrong}: classes are 0 to {classes - 1}")
        preds, target = (torch.from_numpy(labels) for labels in pair)
        total += multiclass_confusion_matrix(preds, target, classes, validate_args=False).numpy()
    if not number:
        raise UserError("no label maps to compare: truths and predictions are empty; give at least one of each")
    return total


def scores(matrix) -> dict[str, float | int]:
    """Pixel accuracy, mean accuracy and mean intersection over union (Long et al., 2015, section 5), each in [0, 1].

    With n_ij as in `confusion` and t_i = sum_j n_ij:

        per_pixel = sum_i n_ii / sum_i t_i
        per_class = mean_i n_ii / t_i
        class_iou = mean_i n_ii / (t_i + sum_j n_ji - n_ii)

    The means run over the classes with t_i > 0; a class that the truth never holds is left out, and "classes_present"
    says how many stayed. Its pixels still count against the classes they were taken from.

    Returns:
        {"per_pixel", "per_class", "class_iou", "classes", "classes_present", "pixels"}.

    Raises:
        UserError: a matrix that is not square, holds other than counts, or counts no pixel.
    """
    matrix = np.asarray(matrix)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise UserError(f"the confusion matrix is of shape {matrix.shape}: it must be square")
    if matrix.dtype.kind not in "ui" or (matrix < 0).any():
        raise UserError("the confusion matrix holds other than counts: give integers, at least 0")
    matrix = matrix.astype(np.float64)
    right, truth, predicted = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    present = truth > 0
    if not present.any():
        raise UserError("the confusion matrix counts no pixel: every one was ignored")
    union = truth + predicted - right
    return {
        "per_pixel": float(right.sum() / truth.sum()),
        "per_class": float((right[present] / truth[present]).mean()),
        "class_iou": float((right[present] / union[present]).mean()),
        "classes": len(matrix),
        "classes_present": int(present.sum()),
        "pixels": int(truth.sum()),
    }
