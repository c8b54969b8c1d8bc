"""The image pool of Shrivastava et al. (2017), as CycleGAN uses it: D also sees what G made a while ago."""

from collections.abc import Mapping

import torch
from torch import Tensor


class ImagePool:
    """Keeps the last-seen pictures of a generator on their device; never waits for it.

    While it fills, pictures are stored and handed back. Once full, each picture is, with probability 1/2, exchanged for
    a uniformly chosen stored one (which is handed back), else handed back itself.

    Args:
        size: pictures kept; 0 hands every picture back.
    """

    def __init__(self, size: int):
        self.size = size
        self.count = torch.zeros((), dtype=torch.int64)  # that are stored; on the device, for a step that is replayed
        self.pictures: Tensor | None = None  # (size, C, H, W)

    def __call__(self, pictures: Tensor) -> Tensor:
        """(B, C, H, W) detached -> (B, C, H, W): what the discriminator is shown instead."""
        if self.size == 0:
            return pictures
        if self.pictures is None:
            self.pictures = pictures.new_zeros((self.size, *pictures.shape[1:]))
            self.count = pictures.new_zeros((), dtype=torch.int64)
        swap = torch.rand(len(pictures), device=pictures.device) < 0.5
        slot = torch.randint(self.size, (len(pictures), 1), device=pictures.device)
        shown = []
        for index, picture in enumerate(pictures.split(1)):  # one after the other: two may meet in one slot
            full = self.count == self.size
            place = torch.where(full, slot[index], self.count)
            stored, swapped = self.pictures.index_select(0, place), full & swap[index]
            shown.append(torch.where(swapped, stored, picture))
            self.pictures.index_copy_(0, place, torch.where(full & ~swapped, stored, picture))
            self.count += ~full
        return torch.cat(shown)

    def state(self) -> dict[str, Tensor]:
        """The stored pictures, for a checkpoint; nothing while none is stored."""
        return {} if self.pictures is None else {"pictures": self.pictures[: int(self.count)]}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Takes back what `state` gave."""
        self.pictures, stored = None, state.get("pictures")
        self.count = torch.tensor(0 if stored is None else len(stored))
        if stored is not None:
            self.pictures = stored.new_zeros((self.size, *stored.shape[1:]))
            self.pictures[: len(stored)] = stored
            self.count = self.count.to(stored.device)
