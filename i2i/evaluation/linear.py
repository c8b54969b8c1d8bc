"""A linear classifier on features: how much of the labels a representation holds, read off without training a network.

Multinomial logistic regression, for the comparison of a discriminator's features with the pixels themselves
(Radford et al., 2016, section 5.1, used a linear L2-SVM for it).
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from i2i.evaluation.batches import checked_labels

ROWS = 8192  # that are in float64 at a time
TOLERANCE = 1e-6  # of the largest entry of the gradient


class LinearClassifier:
    """A fitted linear classifier; made by `LinearClassifier.fit`.

    Minimises mean cross-entropy + weight_decay / 2 * |W|^2 over W and the bias, which is not decayed, on features that
    are brought to mean 0 and deviation 1 each: the minimum is one (weight_decay > 0), and nothing is drawn at random.

    Attributes:
        weight, bias: (K, F) and (K,) float64, for standardised features.
        loss: the minimum that was reached.
        converged: whether the gradient came below the tolerance within the steps.
    """

    def __init__(self, mean: Tensor, std: Tensor, weight: Tensor, bias: Tensor, loss: float, converged: bool):
        self.mean, self.std, self.weight, self.bias = mean, std, weight, bias
        self.loss, self.converged = loss, converged

    @classmethod
    def fit(
        cls, features: Tensor, labels: Any, *, weight_decay: float = 1e-3, classes: int | None = None, steps: int = 500
    ) -> "LinearClassifier":
        """By L-BFGS over all features at once, in float64.

        Args:
            features: (N, F), floats; more axes are flattened, so that pictures (N, C, H, W) do.
            labels: (N,), 0 .. classes - 1.
            weight_decay: 0 or above.
            classes: None counts to the highest label.
            steps: of L-BFGS at most.

        Raises:
            ValueError: features that are none or not finite, labels that do not fit, a negative weight decay.
        """
        x, y = _checked(features, labels, classes)
        if not weight_decay >= 0:
            raise ValueError(f"weight_decay is {weight_decay}; it must be 0 or above.")
        classes = classes or int(y.max()) + 1
        mean, std = _moments(x)
        weight = torch.zeros(classes, x.shape[1], dtype=torch.float64, requires_grad=True)
        bias = torch.zeros(classes, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.LBFGS(
            [weight, bias], max_iter=steps, max_eval=2 * steps, history_size=20, line_search_fn="strong_wolfe",
            tolerance_grad=TOLERANCE, tolerance_change=1e-12,
        )  # fmt: skip

        def closure() -> Tensor:
            optimizer.zero_grad()
            total = 0.5 * weight_decay * weight.square().sum()
            total.backward()
            for rows, right in zip(x.split(ROWS), y.split(ROWS)):
                logits = F.linear((rows.double() - mean) / std, weight, bias)
                part = F.cross_entropy(logits, right, reduction="sum") / len(y)
                part.backward()
                total = total + part.detach()
            return total.detach()

        optimizer.step(closure)
        loss = float(closure())
        converged = max(float(each.grad.abs().max()) for each in (weight, bias)) <= TOLERANCE
        return cls(mean, std, weight.detach(), bias.detach(), loss, converged)

    def predict(self, features: Tensor) -> Tensor:
        """(N, F) -> (N,) int64."""
        x = _rows(features)
        if x.shape[1] != len(self.mean):
            raise ValueError(f"features are {x.shape[1]} numbers each; the classifier was fitted to {len(self.mean)}.")
        parts = [((rows.double() - self.mean) / self.std) @ self.weight.T + self.bias for rows in x.split(ROWS)]
        return torch.cat(parts).argmax(1)

    def accuracy(self, features: Tensor, labels: Any) -> float:
        """The part of (N, F) features whose label is predicted, in [0, 1]."""
        _, y = _checked(features, labels, len(self.bias))
        return (self.predict(features) == y).double().mean().item()


def _rows(features: Tensor | np.ndarray) -> Tensor:
    x = torch.as_tensor(features).detach().cpu()
    if x.ndim < 2 or not x.is_floating_point() or not x.numel():
        raise ValueError(f"features are {x.dtype} {tuple(x.shape)}; they must be floats (N, F), at least one of each.")
    x = x.flatten(1)
    if not torch.isfinite(x).all():
        raise ValueError("features hold values that are not finite; the network that gave them has diverged.")
    return x


def _checked(features: Tensor, labels: Any, classes: int | None) -> tuple[Tensor, Tensor]:
    x = _rows(features)
    y = checked_labels(labels, len(x), classes)
    if y.ndim != 1:
        raise ValueError("labels have several axes; they must be one number for each row of features.")
    return x, y


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each feature, in float64; a feature that never changes is divided by 1."""
    mean = sum(rows.double().sum(0) for rows in x.split(ROWS)) / len(x)
    variance = sum((rows.double() - mean).square().sum(0) for rows in x.split(ROWS)) / len(x)
    std = variance.sqrt()
    return mean, torch.where(std > 1e-12 * (1 + mean.abs()), std, torch.ones_like(std))
