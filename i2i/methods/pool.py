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
        self.count = 0  # how many are stored: known to the host, since it only depends on how many came
        self.pictures: Tensor | None = None  # (size, C, H, W)

    def __call__(self, pictures: Tensor) -> Tensor:
        """(B, C, H, W) detached -> (B, C, H, W): what the discriminator is shown instead."""
        if self.size == 0:
            return pictures
        if self.pictures is None:
            self.pictures = pictures.new_zeros((self.size, *pictures.shape[1:]))
        swap = torch.rand(len(pictures), device=pictures.device) < 0.5
        slot = torch.randint(self.size, (len(pictures), 1), device=pictures.device)
        shown = []
        for index, picture in enumerate(pictures.split(1)):  # one after the other: two may meet in one slot
            if self.count < self.size:
                self.pictures[self.count] = picture[0]
                self.count += 1
                shown.append(picture)
            else:
                stored = self.pictures.index_select(0, slot[index])
                shown.append(torch.where(swap[index], stored, picture))
                self.pictures.index_copy_(0, slot[index], torch.where(swap[index], picture, stored))
        return torch.cat(shown)

    def state(self) -> dict[str, Tensor]:
        """The stored pictures, for a checkpoint; nothing while none is stored."""
        return {} if self.pictures is None else {"pictures": self.pictures[: self.count]}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Takes back what `state` gave."""
        self.count, self.pictures = 0, None
        if "pictures" in state:
            stored = state["pictures"]
            self.pictures = stored.new_zeros((self.size, *stored.shape[1:]))
            self.count = len(stored)
            self.pictures[: self.count] = stored
