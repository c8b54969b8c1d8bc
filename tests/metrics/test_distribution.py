"""Distances of feature sets: against torch-fidelity run on pictures, torchmetrics, and closed forms."""

import json
import math

import numpy as np
import pytest
import torch
from torch import nn

from i2i.errors import UserError
from i2i.metrics.distribution import fid, inception_score, kid, precision_recall

SIDE = 8
FEATURES = 6


def pictures(seed, count=120, shift=0):
    """(count, 3, 8, 8) uint8, darker or lighter by `shift`."""
    drawn = torch.randint(30, 200, (count, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(seed))
    return (drawn + shift).to(torch.uint8)


class Small(nn.Module):
    """A fixed small net: (B, 3, 8, 8) uint8 -> (B, 6)."""

    num_features = FEATURES

    def __init__(self):
        super().__init__()
        weight = torch.randn(FEATURES, 3 * SIDE**2, generator=torch.Generator().manual_seed(7)) / 8
        self.register_buffer("weight", weight)

    def forward(self, x):
        return torch.tanh(x.float().flatten(1) / 255 @ self.weight.T)


@pytest.fixture(scope="module")
def sets():
    real, fake = pictures(0), pictures(1, count=100, shift=25)
    net = Small()
    return {"real": real, "fake": fake, "features": (net(real), net(fake))}


@pytest.fixture(scope="module")
def fidelity(sets):
    """torch-fidelity's own run over the pictures."""
    from torch.utils.data import Dataset
    from torch_fidelity import calculate_metrics, register_feature_extractor
    from torch_fidelity.feature_extractor_base import FeatureExtractorBase

    class Extractor(FeatureExtractorBase):
        def __init__(self, name, features_list, **_):
            super().__init__(name, features_list)
            self.net = Small()

        @staticmethod
        def get_provided_features_list():
            return ("small",)

        @staticmethod
        def get_default_feature_layer_for_metric(metric):
            return "small"

        @staticmethod
        def can_be_compiled():
            return False

        def forward(self, input):
            return (self.net(input),)

    class Drawn(Dataset):
        def __init__(self, kind):
            self.pictures = sets[kind]

        def __len__(self):
            return len(self.pictures)

        def __getitem__(self, index):
            return self.pictures[index]

    register_feature_extractor("small-fixed-net", Extractor)
    return calculate_metrics(
        input1=Drawn("fake"),
        input2=Drawn("real"),
        feature_extractor="small-fixed-net",
        isc=True,
        fid=True,
        kid=True,
        prc=True,
        isc_splits=5,
        kid_subsets=20,
        kid_subset_size=40,
        prc_neighborhood=4,
        rng_seed=3,
        cuda=False,
        cache=False,
        verbose=False,
        save_cpu_ram=True,  # no worker processes for a hundred pictures
    )


def test_torch_fidelity_says_the_same(sets, fidelity):
    real, fake = sets["features"]
    near = {"rel": 1e-3, "abs": 1e-6}
    assert fid(real, fake)["fid"] == pytest.approx(fidelity["frechet_inception_distance"], **near)
    found = kid(real, fake, subsets=20, subset_size=40, seed=3)
    assert found["mean"] == pytest.approx(fidelity["kernel_inception_distance_mean"], **near)
    assert found["std"] == pytest.approx(fidelity["kernel_inception_distance_std"], **near)
    found = inception_score(fake, splits=5, seed=3)
    assert found["mean"] == pytest.approx(fidelity["inception_score_mean"], **near)
    assert found["std"] == pytest.approx(fidelity["inception_score_std"], **near)
    found = precision_recall(real, fake, k=4)
    for name in ("precision", "recall", "f_score"):
        assert found[name] == pytest.approx(fidelity[name], **near)
    assert 0 < found["recall"] != found["precision"] < 1  # the two cannot be mistaken for one another


def test_torchmetrics_says_the_same(sets):
    """KID with one draw of the whole set, and the score in one split: no shuffle has a say."""
    from torchmetrics.image.fid import FrechetInceptionDistance
    from torchmetrics.image.inception import InceptionScore
    from torchmetrics.image.kid import KernelInceptionDistance

    real, fake = sets["features"]
    theirs = FrechetInceptionDistance(feature=Small(), input_img_size=(3, SIDE, SIDE))
    theirs.update(sets["real"], real=True)
    theirs.update(sets["fake"], real=False)
    assert fid(real, fake)["fid"] == pytest.approx(float(theirs.compute()), rel=1e-3)

    theirs = KernelInceptionDistance(feature=Small(), subsets=1, subset_size=100)
    theirs.update(sets["real"][:100], real=True)
    theirs.update(sets["fake"], real=False)
    found = kid(real[:100], fake, subsets=1, subset_size=100)
    assert found["mean"] == pytest.approx(float(theirs.compute()[0]), rel=1e-3) and found["std"] == 0

    theirs = InceptionScore(feature=Small(), splits=1)
    theirs.update(sets["fake"])
    assert inception_score(fake, splits=1)["mean"] == pytest.approx(float(theirs.compute()[0]), rel=1e-3)


def with_moments(mean, covariance, count=40, seed=0):
    """Rows whose sample mean and covariance (n - 1) are exactly these."""
    mean, covariance = np.atleast_1d(mean), np.atleast_2d(covariance)
    rows = np.random.default_rng(seed).normal(size=(count, len(mean)))
    rows -= rows.mean(axis=0)
    rows = rows @ np.linalg.inv(np.linalg.cholesky(np.atleast_2d(np.cov(rows, rowvar=False)))).T
    return rows @ np.linalg.cholesky(covariance).T + mean


def test_fid_of_two_gaussians_in_closed_form():
    """Diagonal covariances commute: |m - n|^2 + sum (s - t)^2 = 9 + 16 + (1 - 2)^2 + (3 - 1)^2 = 30."""
    real = with_moments([0, 0], np.diag([1.0, 9.0]))
    fake = with_moments([3, 4], np.diag([4.0, 1.0]), count=70, seed=1)
    assert fid(real, fake)["fid"] == pytest.approx(30, abs=1e-9)
    assert fid(fake, real)["fid"] == pytest.approx(30, abs=1e-9)
    assert fid(real + 1000, fake + 1000)["fid"] == pytest.approx(30, abs=1e-6)


def test_fid_of_correlated_gaussians():
    """S = [[2, 1], [1, 2]] against the identity: trace(S + I - 2 S^(1/2)) with eigenvalues 3 and 1:
    (sqrt 3 - 1)^2 + 0."""
    found = fid(with_moments([0, 0], [[2.0, 1.0], [1.0, 2.0]]), with_moments([0, 0], np.eye(2), seed=1))
    assert found["fid"] == pytest.approx((math.sqrt(3) - 1) ** 2, abs=1e-9)


def test_fid_of_a_single_feature():
    found = fid(with_moments(0.0, 4.0), with_moments(5.0, 1.0, seed=1))
    assert found["fid"] == pytest.approx(25 + 1, abs=1e-9) and found["features"] == 1


def test_identical_sets():
    same = torch.randn(80, 5, generator=torch.Generator().manual_seed(0))
    assert fid(same, same)["fid"] == pytest.approx(0, abs=1e-9)
    found = precision_recall(same, same.clone())
    assert (found["precision"], found["recall"], found["f_score"]) == (1, 1, 1)


def test_kid_of_a_set_with_itself():
    """Draws of m of n pictures share some: the expectation is 2 / n (mean k(x, y) - mean k(x, x)), a little below 0."""
    same = torch.randn(80, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    kernel = (same @ same.T / 5 + 1) ** 3
    alike = float(kernel.trace()) / 80
    apart = (float(kernel.sum()) - 80 * alike) / (80 * 79)
    found = kid(same, same, subsets=2000)
    expected = 2 / 80 * (apart - alike)
    assert expected < 0 and found["mean"] < 0
    assert found["mean"] == pytest.approx(expected, abs=4 * found["std"] / math.sqrt(2000))


def test_few_pictures_leave_a_note_beside_the_number():
    many, few = torch.eye(8).repeat(4, 1), torch.eye(8)
    whole, poor = fid(many, many), fid(many, few)
    assert whole["note"] is None and whole["rank_deficient"] is False
    assert poor["rank_deficient"] is True and poor["note"].startswith("8 pictures for 8 features")
    assert math.isfinite(poor["fid"]) and (poor["count_real"], poor["count_fake"]) == (32, 8)


def test_kid_by_hand():
    """One draw of all of {0, 1} and {2, 2}, F = 1, k = (xy + 1)^3: inside real k(0, 1) = 1, inside fake 125, across the
    mean of 1 and 27: 1 + 125 - 2 * 14 = 98."""
    found = kid([[0.0], [1.0]], [[2.0], [2.0]], subsets=1, subset_size=2)
    assert found["mean"] == pytest.approx(98, abs=1e-12)


@pytest.mark.parametrize("counts, size", [((101, 90), 45), ((1500, 1500), 750), ((2500, 3000), 1000), ((4, 9), 2)])
def test_the_subset_size_goes_by_the_smaller_set(counts, size):
    real, fake = (torch.randn(count, 2, generator=torch.Generator().manual_seed(count)) for count in counts)
    found = kid(real, fake, subsets=2)
    assert found["subset_size"] == size and found["subsets"] == 2 and found["std"] > 0


def test_the_seed_decides_the_draws(sets):
    real, fake = sets["features"]
    assert kid(real, fake, seed=1) == kid(real, fake, seed=1)
    assert kid(real, fake, seed=1)["mean"] != kid(real, fake, seed=2)["mean"]
    assert inception_score(fake, seed=1)["std"] != inception_score(fake, seed=2)["std"]


def test_inception_score_by_hand():
    """Certain and even over 4 classes: 4. The same answer for all: 1. Half certain of A, half undecided between A and
    B: p(y) = (3/4, 1/4); KL = log(4/3) and log(2/3)/2 + log(2)/2."""
    assert inception_score(torch.eye(4).repeat(5, 1), probabilities=True, splits=1)["mean"] == pytest.approx(4)
    assert inception_score(1000 * torch.eye(4).repeat(5, 1), splits=1)["mean"] == pytest.approx(4)
    assert inception_score(torch.ones(20, 4), splits=2)["mean"] == pytest.approx(1)
    found = inception_score([[1.0, 0.0], [0.5, 0.5]] * 4, probabilities=True, splits=1)["mean"]
    assert found == pytest.approx(math.exp((math.log(4 / 3) + math.log(4 / 3) / 2) / 2), rel=1e-12)


def test_logits_and_their_probabilities_score_alike(sets):
    logits = sets["features"][1].double() * 5
    direct, through = inception_score(logits), inception_score(logits.softmax(dim=1), probabilities=True)
    assert through["mean"] == pytest.approx(direct["mean"], rel=1e-12)
    assert (direct["splits"], direct["classes"], direct["count"]) == (10, FEATURES, 100)


def test_precision_and_recall_by_hand():
    """On a line, k = 1. Real 0, 1, 10, 11: balls of radius 1. Fake 0, 0.5, 20: balls 0.5, 0.5, 19.5. Inside real balls:
    0 and 0.5 (2 of 3). Inside fake balls: 0, 1, 10 and 11 (20 reaches down to 0.5): 4 of 4."""
    found = precision_recall([[0.0], [1.0], [10.0], [11.0]], [[0.0], [0.5], [20.0]], k=1)
    assert found["precision"] == pytest.approx(2 / 3) and found["recall"] == 1
    assert found["f_score"] == pytest.approx(0.8) and found["k"] == 1
    found = precision_recall([[0.0], [1.0]], [[50.0], [50.5]], k=1)
    assert found["precision"] == found["recall"] == found["f_score"] == 0


def test_results_are_strict_json(sets):
    real, fake = sets["features"]
    for found in (fid(real, fake), kid(real, fake), inception_score(fake), precision_recall(real, fake)):
        assert json.loads(json.dumps(found, allow_nan=False)) == found


GOOD = torch.eye(5).repeat(4, 1)


@pytest.mark.parametrize("metric", [fid, kid, precision_recall])
@pytest.mark.parametrize(
    "real, fake, words",
    [
        ([], GOOD, "real features are empty"),
        (GOOD, torch.empty(0, 5), "fake features are empty"),
        (GOOD[:, :3], GOOD, "fake features have 5 numbers a row, the other set 3"),
        (GOOD[0], GOOD, r"shape \(5,\)"),
        (GOOD, GOOD.masked_fill(GOOD > 0, math.nan), "20 of 20 fake features hold NaN"),
        (GOOD, GOOD[:1], "1 fake pictures are too few"),
    ],
)
def test_bad_sets_are_refused(metric, real, fake, words):
    with pytest.raises(UserError, match=words):
        metric(real, fake)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: kid(GOOD, GOOD[:7], subset_size=8), "subset size is 8: it must be from 2 to 7"),
        (lambda: kid(GOOD, GOOD, subset_size=1), "subset size is 1"),
        (lambda: kid(GOOD, GOOD, subsets=0), "subsets is 0"),
        (lambda: kid(GOOD[:3], GOOD), "3 real pictures are too few: give at least 4"),
        (lambda: precision_recall(GOOD, GOOD[:3], k=3), "3 fake pictures are too few: give at least 4"),
        (lambda: precision_recall(GOOD, GOOD, k=0), "k is 0"),
        (lambda: inception_score(GOOD, splits=11), "20 pictures in 11 splits"),
        (lambda: inception_score(GOOD, splits=0), "20 pictures in 0 splits"),
        (lambda: inception_score([]), "logits are empty"),
        (lambda: inception_score(GOOD * 2, probabilities=True), "no probability distribution"),
        (lambda: inception_score(GOOD - torch.eye(5)[[1, 2, 3, 4, 0]].repeat(4, 1), probabilities=True), "no prob"),
    ],
)
def test_bad_parameters_are_refused(call, words):
    with pytest.raises(UserError, match=words):
        call()
