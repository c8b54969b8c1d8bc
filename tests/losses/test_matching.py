"""Feature matching against numbers worked by hand."""

import pytest
import torch

from i2i.losses.matching import feature_matching


def test_by_hand():
    """Means (2, 0) and (-1, 4): 9 + 16. The rows within a batch, and how many there are, do not matter."""
    real = torch.tensor([[1.0, 5.0], [3.0, -5.0]])
    fake = torch.tensor([[-1.0, 4.0], [-3.0, 4.0], [1.0, 4.0]])
    assert feature_matching(real, fake).item() == 25.0
    assert feature_matching(real, real.flip(0)).item() == 0.0
    maps = feature_matching(real.reshape(2, 1, 2, 1), fake.reshape(3, 1, 2, 1))
    assert maps.shape == () and maps.item() == 25.0


def test_its_gradient_by_hand():
    """d/d fake_ij = -2 (mean_j real - mean_j fake) / B: the same for every row, and the opposite for real ones."""
    real = torch.tensor([[2.0, 0.0], [2.0, 0.0]], requires_grad=True)
    fake = torch.tensor([[0.0, 1.0], [0.0, 5.0]], requires_grad=True)
    feature_matching(real, fake).backward()
    assert fake.grad.tolist() == [[-2.0, 3.0]] * 2 and real.grad.tolist() == [[2.0, -3.0]] * 2


def test_half_precision_is_raised_before_anything_is_averaged():
    """In bfloat16 256 + 1 is 256: the sum of 257 ones would stop there."""
    real, fake = torch.ones(1000, 1, dtype=torch.bfloat16), torch.zeros(10, 1, dtype=torch.bfloat16)
    found = feature_matching(real, fake)
    assert found.dtype == torch.float32 and found.item() == pytest.approx(1.0, abs=1e-6)


def test_features_of_two_layers_are_refused_in_words():
    with pytest.raises(ValueError, match=r"real features are \(2, 3\), fake ones \(2, 4\): take both from one layer"):
        feature_matching(torch.zeros(2, 3), torch.zeros(2, 4))
