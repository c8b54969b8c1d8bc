"""What every training algorithm shares: named networks, who is trained when, and one door to an update."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn
from torch.optim import Optimizer

Scalars = dict[str, Tensor]
Batch = Mapping[str, Tensor]


class Duel(NamedTuple):
    """The scalars of a step in which a discriminator and the generator that it judges are seen against each other."""

    critic: str  # `weight` times the objective's d_loss
    generator: str  # the objective's g_loss
    weight: float = 0.5


class Method:
    """One training algorithm over named networks.

    A subclass declares the class attributes below, takes its own hyper-parameters as keyword-only arguments, and writes
    `step`. A step knows no device, precision, logging, checkpoint or process; those belong to the runtime.

    Args:
        nets: name -> network, the names of `wiring`.
        optimizers: group -> optimizer, the names of `groups`.
        runtime: carries out `descend` and knows what is `foreseen` (see `i2i.engine.runtime`).
        objective: adversarial objective, `d_loss(real, fake)` and `g_loss(fake)`.
        constraint: what keeps a critic Lipschitz, `penalty(D, real, fake)` and `project(D)`.
        augment: DiffAugment, or the identity.
        num_critic: discriminator updates for each generator update.
    """

    keys: ClassVar[tuple[str, ...]]  # what a batch holds, in the order of `channels`
    groups: ClassVar[dict[str, tuple[str, ...]]]  # group -> the networks that its optimizer updates
    exports: ClassVar[dict[str, str]]  # weights file -> the network it holds
    maps: ClassVar[dict[str, tuple[str | None, str]]]  # exported network -> (domain it reads, or None: latents; writes)
    sections: ClassVar[tuple[str, ...]] = ("generator", "discriminator")  # of a recipe, that describe its networks
    generator_takes: ClassVar[str] = "pictures"  # or latents
    needs_labels: ClassVar[bool] = False  # whether a batch must hold "label", the class of each picture,
    few_labels: ClassVar[bool] = False  # or of the few in "labelled" alone, beside all others
    adversarial: ClassVar[bool] = True  # whether it has an objective, a constraint, a critic to be augmented
    paired: ClassVar[bool] = True  # whether the pictures of a sample belong together
    previews: ClassVar[int] = 4  # pictures of a kind in a sample grid
    duels: ClassVar[dict[str, Duel]] = {}  # discriminator -> how it stands
    foresees: ClassVar[tuple[str, ...]] = ()  # networks that a step calls on several pictures known beforehand

    def __init__(
        self, nets: dict[str, nn.Module], optimizers: dict[str, Optimizer], runtime, *,
        objective, constraint, augment, num_critic: int = 1,
    ):  # fmt: skip
        self.nets, self.optimizers, self.runtime = nets, optimizers, runtime
        self.objective, self.constraint, self.augment, self.num_critic = objective, constraint, augment, num_critic
        for name, net in nets.items():
            setattr(self, name, net)

    @staticmethod
    def wiring(channels: Mapping[str, int], arguments: Mapping[str, Any]) -> dict[str, tuple]:
        """{network: its `Wire`} for the domains' channels ("label": the number of classes) and its own arguments."""
        raise NotImplementedError

    @staticmethod
    def check(arguments: Mapping[str, Any], channels: Mapping[str, int]) -> list[tuple[str, str]]:
        """What is impossible about this method's own arguments: [(argument, sentence)]."""
        return []

    @property
    def batches_per_step(self) -> int:
        return self.num_critic

    def step(self, batches: Iterator[Batch]) -> Scalars:
        """One update of the generators with their critic updates, on exactly `batches_per_step` batches.

        Each batch is {key: (B, C, H, W) in [-1, 1]}, of labelled data with "label", (B,) int64. Returns named scalars,
        detached, still on the device.
        """
        raise NotImplementedError

    def critique(self, batch: Batch) -> dict[str, tuple[Any, Any]]:
        """{discriminator: (its logits on a batch's real pictures, on G's)}, un-augmented: only for watching."""
        return {}

    def preview(self, models: Mapping[str, Callable], pictures: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
        """Columns of a sample grid, {title: a picture per row}; `models[export]` is what users will run: a translator,
        called with a picture (which is passed on as it comes: it knows its own domain), or a sampler, with a count."""
        raise NotImplementedError

    def state(self) -> dict[str, Tensor]:
        """Tensors beyond weights and optimizers that a continued run needs (image pools)."""
        return {}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Takes back what `state` gave."""

    @contextmanager
    def only(self, group: str):
        """Inside, the networks of `group` collect gradients and every other one is frozen."""
        trained = self.groups[group]
        for name, net in self.nets.items():
            net.requires_grad_(name in trained)
        try:
            yield
        finally:
            for net in self.nets.values():
                net.requires_grad_(True)

    def descend(self, group: str, loss: Tensor) -> None:
        """One optimizer update of `group` down the gradient of `loss`, all that belongs to it included."""
        self.runtime.descend(self, group, loss)
