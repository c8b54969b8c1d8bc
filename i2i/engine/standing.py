"""How a discriminator stands against its generator, measured without touching either."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

GRID = torch.linspace(-8, 8, 3201)  # logits to try


def chance(objective) -> float:
    """D's loss where it gives every picture the same answer, the best one: 2 log 2 for minimax, 1/2 for least squares.

    0 for an objective whose loss has no such level, as Wasserstein's: it says how far, not how sure.
    """
    try:
        blind = (objective.real_term(GRID) + objective.fake_term(GRID)).min()
    except NotImplementedError:
        return 0.0
    return float(blind) if blind > 1e-6 else 0.0


def saturated(objective, loss: float, share: float) -> bool:
    """Whether G's adversarial loss is what it has to be where D is sure that its pictures are generated.

    D is sure at logits where its own loss on them is at most `share` of `chance`; of these the one kindest to G counts.
    """
    sure = objective.fake_term(GRID) <= share * chance(objective)
    return bool(sure.any()) and loss >= float(objective.generator_term(GRID)[sure].min())


@torch.no_grad()
def opinions(method, samples: list[dict[str, Tensor]]) -> dict[str, tuple[Tensor, Tensor]]:
    """{discriminator: its mean logit on each real picture of `samples`, on what G makes of each}, (len(samples),) each.

    In evaluation mode, so that no statistic and no vector of a norm moves; one picture at a time; the random state is
    left as it was.

    Args:
        samples: {key: (C, H, W) in [-1, 1]}, as training prepares them.
    """
    found: dict[str, list] = {}
    device = method.runtime.device
    with _at_rest(method.nets.values()), torch.random.fork_rng([device] if device.type == "cuda" else []):
        for sample in samples:
            batch = method.runtime.to_device({key: value[None] for key, value in sample.items()})
            for critic, (real, fake) in method.critique(batch).items():
                found.setdefault(critic, []).append(torch.stack([_mean(real), _mean(fake)]))
    return {critic: tuple(torch.stack(rows).float().cpu().unbind(1)) for critic, rows in found.items()}


def _mean(logits) -> Tensor:
    scales = [logits] if isinstance(logits, Tensor) else logits
    return torch.stack([scale.float().mean() for scale in scales]).mean()


@contextmanager
def _at_rest(nets) -> Iterator[None]:
    """Inside, networks are in evaluation mode and run as they are written, not as they were compiled for training."""
    before = [(net, net.training, net._compiled_call_impl) for net in nets]
    try:
        for net, _, _ in before:
            net.eval()
            net._compiled_call_impl = None
        yield
    finally:
        for net, training, compiled in before:
            net.train(training)
            net._compiled_call_impl = compiled
