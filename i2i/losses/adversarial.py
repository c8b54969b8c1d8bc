"""Adversarial objectives: what D and G minimise, as functions of D's logits.

Logits are a tensor of any shape, (B, 1, h, w) from a PatchGAN, or a list of such tensors, one per scale. Every term is
the mean over all entries of a scale and then over the scales, so that a scale with more patches weighs no more than
another. Terms are summed as the papers write them, without a factor of 1/2; a method that halves D's loss (pix2pix,
CycleGAN) does so itself. Logits of fewer than 32 bits are raised to float32 before anything is computed or averaged.

In the formulas r are the logits of real pictures, f those of generated ones, E is a mean, sigma the sigmoid.
"""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from i2i.losses import OBJECTIVES

Logits = Tensor | Sequence[Tensor]


class Objective:
    """A pair of losses. A subclass gives the three terms entry by entry; this class averages entries and scales."""

    needs_lipschitz: bool = False  # whether the theory asks for a 1-Lipschitz D (clip, gp or spectral norm)
    boundary: float | None = 0.0  # the logit of which both labels cost D the same, if it has such a meaning

    def real_term(self, r: Tensor) -> Tensor:
        """D's loss on logits of real pictures, entry by entry: any shape -> same shape."""
        raise NotImplementedError

    def fake_term(self, f: Tensor) -> Tensor:
        """D's loss on logits of generated pictures, entry by entry: any shape -> same shape."""
        raise NotImplementedError

    def generator_term(self, f: Tensor) -> Tensor:
        """G's loss on logits of its pictures, entry by entry: any shape -> same shape."""
        raise NotImplementedError

    def d_loss(self, real: Logits, fake: Logits) -> Tensor:
        """What D minimises: logits of real and of generated pictures -> scalar.

        Raises:
            ValueError: no logits, or another number of scales for `real` than for `fake`.
        """
        return _average(self.real_term, real, len(_scales(fake))) + _average(self.fake_term, fake)

    def g_loss(self, fake: Logits, real: Logits | None = None) -> Tensor:
        """What G minimises: logits of its pictures -> scalar. `real` is for relativistic objectives; these ignore it.

        Raises:
            ValueError: no logits.
        """
        return _average(self.generator_term, fake)

    def estimates(self, d_loss: Tensor) -> dict[str, Tensor]:
        """What `d_loss` says of how far the two distributions are apart: scalar -> {name of the distance: scalar}.

        Each is at most the true distance, on average over batches, and equals it where D is the best that its game
        allows: it falls where G comes nearer as long as D keeps up. Of augmented pictures it is the distance of these.
        """
        return {}


@OBJECTIVES.register("minimax")
class Minimax(Objective):
    """The zero-sum game of Goodfellow et al. (2014), equation 1: D minimises -E[log sigma(r)] - E[log(1 - sigma(f))],
    G minimises E[log(1 - sigma(f))], which fades where D is sure of itself."""

    def real_term(self, r: Tensor) -> Tensor:
        return F.softplus(-r)  # -log sigma(r), which neither overflows nor takes the log of 0

    def fake_term(self, f: Tensor) -> Tensor:
        return F.softplus(f)  # -log(1 - sigma(f))

    def generator_term(self, f: Tensor) -> Tensor:
        return -F.softplus(f)

    def estimates(self, d_loss: Tensor) -> dict[str, Tensor]:
        """JS in nats: V = -d_loss is at most 2 JS - 2 log 2 (Goodfellow et al., 2014, theorem 1)."""
        return {"estimate/JS": math.log(2) - d_loss / 2}


@OBJECTIVES.register("nonsaturating")
class Nonsaturating(Minimax):
    """D as in minimax; G minimises -E[log sigma(f)] (Goodfellow et al., 2014, section 3): binary cross entropy on
    logits with the label "real", pix2pix's choice."""

    def generator_term(self, f: Tensor) -> Tensor:
        return F.softplus(-f)


@OBJECTIVES.register("maximum_likelihood")
class MaximumLikelihood(Minimax):
    """D as in minimax; G minimises -E[exp(f)] (Goodfellow, 2014, "On distinguishability criteria for estimating
    generative models"; 2016, "NIPS 2016 Tutorial: Generative Adversarial Networks", equation 14, without its 1/2).

    Where D is optimal exp(f) is p_data / p_g, and the expected gradient that G gets is that of KL(p_data || p_g). It
    fades where D is sure, as minimax's does, and few pictures with high logits make up nearly all of it. Logits above
    88 overflow float32: the loss is then minus infinity, which ends a run in words.
    """

    def generator_term(self, f: Tensor) -> Tensor:
        return -f.exp()


@OBJECTIVES.register("lsgan")
class LSGAN(Objective):
    """Least squares with labels 0 and 1 (Mao et al., 2017, equation 9): D minimises E[(r - 1)^2] + E[f^2],
    G minimises E[(f - 1)^2]; the paper's factors of 1/2 are left out. CycleGAN's choice."""

    boundary = 0.5

    def real_term(self, r: Tensor) -> Tensor:
        return (r - 1).square()

    def fake_term(self, f: Tensor) -> Tensor:
        return f.square()

    def generator_term(self, f: Tensor) -> Tensor:
        return (f - 1).square()

    def estimates(self, d_loss: Tensor) -> dict[str, Tensor]:
        """Pearson's chi^2 between p_d + p_g and 2 p_g (Mao et al., 2017, section 3.2), from 0 to 2."""
        return {"estimate/chi2": 2 - 4 * d_loss}


@OBJECTIVES.register("hinge")
class Hinge(Objective):
    """D minimises E[max(0, 1 - r)] + E[max(0, 1 + f)], G minimises -E[f] (Lim & Ye, 2017; Miyato et al., 2018,
    equations 16 and 17)."""

    def real_term(self, r: Tensor) -> Tensor:
        return F.relu(1 - r)

    def fake_term(self, f: Tensor) -> Tensor:
        return F.relu(1 + f)

    def generator_term(self, f: Tensor) -> Tensor:
        return -f

    def estimates(self, d_loss: Tensor) -> dict[str, Tensor]:
        """Total variation, from 0 to 1: the best D leaves twice what the distributions share, 2 - 2 TV."""
        return {"estimate/TV": 1 - d_loss / 2}


@OBJECTIVES.register("wasserstein")
class Wasserstein(Objective):
    """D minimises E[f] - E[r], G minimises -E[f] (Arjovsky et al., 2017, equation 2): minus D's loss estimates the
    earth mover's distance as long as D is 1-Lipschitz."""

    needs_lipschitz = True
    boundary = None  # the same loss for any constant added to D

    def real_term(self, r: Tensor) -> Tensor:
        return -r

    def fake_term(self, f: Tensor) -> Tensor:
        return f

    def generator_term(self, f: Tensor) -> Tensor:
        return -f

    def estimates(self, d_loss: Tensor) -> dict[str, Tensor]:
        """The earth mover's distance, times the Lipschitz constant that the constraint leaves D (Arjovsky et al., 2017,
        section 3: only up to that constant where weights are clipped)."""
        return {"estimate/W": -d_loss}


def _scales(logits: Logits) -> Sequence[Tensor]:
    return (logits,) if isinstance(logits, Tensor) else logits


def _average(term: Callable[[Tensor], Tensor], logits: Logits, expected: int | None = None) -> Tensor:
    scales = _scales(logits)
    if not scales:
        raise ValueError("the list of logits is empty; give a tensor or at least one scale")
    if expected is not None and len(scales) != expected:
        raise ValueError(f"{len(scales)} scales of real logits meet {expected} of fake ones; take both from the same D")
    means = [term(scale.to(torch.promote_types(scale.dtype, torch.float32))).mean() for scale in scales]
    return sum(means[1:], start=means[0]) / len(means)
