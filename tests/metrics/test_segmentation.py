"""Scores of label maps, worked by hand (Long et al., 2015, section 5)."""

import json

import numpy as np
import pytest
import torch

from i2i.errors import UserError
from i2i.metrics.segmentation import confusion, scores

TRUTH = np.array([[0, 0, 0, 1], [1, 1, 0, 0]])
FOUND = np.array([[0, 0, 1, 1], [1, 2, 0, 0]])


def test_by_hand():
    """t = (5, 3, 0), right (4, 2, 0), predicted (4, 3, 1): 6 of 8; mean of 4/5 and 2/3; mean of 4/5 and 2/4."""
    matrix = confusion([TRUTH], [FOUND], 3)
    assert matrix.tolist() == [[4, 1, 0], [0, 2, 1], [0, 0, 0]]
    found = scores(matrix)
    assert found["per_pixel"] == 0.75
    assert found["per_class"] == pytest.approx((4 / 5 + 2 / 3) / 2, abs=1e-15)
    assert found["class_iou"] == pytest.approx((4 / 5 + 2 / 4) / 2, abs=1e-15)
    assert (found["classes"], found["classes_present"], found["pixels"]) == (3, 2, 8)
    json.dumps(found, allow_nan=False)


def test_pictures_add_up_one_at_a_time():
    single = confusion([TRUTH], [FOUND], 3)
    maps = (np.array([[2, 2]], dtype=np.uint8) for _ in range(2))
    both = confusion(iter([TRUTH, next(maps)]), iter([torch.from_numpy(FOUND), next(maps)]), 3)
    assert (both - single).tolist() == [[0, 0, 0], [0, 0, 0], [0, 0, 2]]


def test_ignored_pixels_are_not_judged():
    truth = TRUTH.copy()
    truth[0, 2] = 255  # the pixel of class 0 that was called 1
    truth[1, 1] = 255  # and the one of class 1 called 2
    found = scores(confusion([truth], [FOUND], 3, ignore=255))
    assert found["per_pixel"] == found["per_class"] == found["class_iou"] == 1 and found["pixels"] == 6


def test_a_true_map_has_all_and_a_false_one_nothing():
    assert scores(confusion([TRUTH], [TRUTH], 2))["class_iou"] == 1
    wrong = scores(confusion([TRUTH], [1 - TRUTH], 2))
    assert wrong["per_pixel"] == wrong["per_class"] == wrong["class_iou"] == 0


@pytest.mark.parametrize(
    "truths, predictions, words",
    [
        ([], [], "no label maps"),
        ([TRUTH], [], "map 1 is only among the truths"),
        ([TRUTH], [FOUND, FOUND], "map 2 is only among the predictions"),
        ([TRUTH], [FOUND[:1]], r"map 1 is \(1, 4\), its truth \(2, 4\)"),
        ([TRUTH], [FOUND / 2], "prediction of label map 1 is float64"),
        ([TRUTH], [FOUND + 1], "prediction of label map 1 holds 3: classes are 0 to 2"),
        ([TRUTH - 1], [FOUND], "truth of label map 1 holds -1"),
    ],
)
def test_what_cannot_be_compared_is_refused(truths, predictions, words):
    with pytest.raises(UserError, match=words):
        confusion(truths, predictions, 3)


@pytest.mark.parametrize(
    "matrix, words",
    [
        (np.zeros((2, 3), int), "square"),
        (np.array([[1.5, 0], [0, 1]]), "other than counts"),
        (np.array([[-1, 0], [0, 1]]), "other than counts"),
        (np.zeros((2, 2), int), "no pixel"),
    ],
)
def test_what_is_no_confusion_is_refused(matrix, words):
    with pytest.raises(UserError, match=words):
        scores(matrix)


def test_one_class_confuses_nothing():
    with pytest.raises(UserError, match="at least 2"):
        confusion([TRUTH], [TRUTH], 1)
