"""A trained generator of latents as a source of pictures. Sample grids, `i2i generate` and Python all call this."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from i2i.data.domain import Domain
from i2i.errors import UserError
from i2i.infer.convert import to_image
from i2i.infer.exactly import exactly
from i2i.latent import Prior
from i2i.seeds import derive

CHUNK = 64  # samples that go through the network together


class Sampler:
    """Draws pictures, in fp32, with the norms' running statistics and without dropout: all noise is in z.

    Sample number i has its own z, drawn from (seed, i), and goes through the network in the company of the same 63
    others, whatever is asked for beside it: the same seed and number give the same picture, bit for bit.

    Args:
        net: the generator, (B, Z) -> (B, C, H, W) in [-1, 1]; it becomes the sampler's.
        meta: its metadata; `output`, `prior` and `translate` are needed.
        device: where to compute.

    Raises:
        UserError: metadata that say something impossible, or too little.
    """

    def __init__(self, net: nn.Module, meta: Mapping[str, Any], device: str | torch.device = "cpu"):
        try:
            self.output, self.prior = Domain(**meta["output"]), Prior(**meta["prior"])
            self.seed = meta["translate"]["seed"]
        except (KeyError, TypeError) as error:
            raise UserError(f"the weights' metadata are not complete ({error}); export them again.") from None
        self.meta, self.device = dict(meta), torch.device(device)
        self.net = net.eval().to(self.device, torch.float32)

    def __call__(self, count: int = 1, *, start: int = 0, seed: int | None = None) -> list:
        """`count` samples from number `start` on: Pillow images where Pillow can hold them, else arrays (H, W, C)."""
        return [to_image(pixels) for pixels in self.pixels(count, start=start, seed=seed)]

    def pixels(self, count: int, *, start: int = 0, seed: int | None = None) -> list[np.ndarray]:
        """Samples as levels (H, W, C) of the output domain."""
        return [self.output.to_pixels(x) for x in self.tensors(count, start=start, seed=seed)]

    def tensors(self, count: int, *, start: int = 0, seed: int | None = None) -> Tensor:
        """Samples number start ... start + count - 1, (count, C, H, W) float32 in [-1, 1] on the CPU.

        Args:
            seed: which sequence of samples; None takes the one of the weights' own policy (translate.seed).
        """
        if count < 1 or start < 0:
            raise UserError(f"count {count}, start {start}: draw at least one sample, from number 0 on.")
        first = start - start % CHUNK
        made = self.decode(self.latents(start + count - first, start=first, seed=seed))
        return made[start - first :]

    def latents(self, count: int, *, start: int = 0, seed: int | None = None) -> Tensor:
        """(count, Z) float32: the z of samples start ... start + count - 1."""
        seed, generator = self.seed if seed is None else seed, torch.Generator()
        rows = []
        for index in range(start, start + count):
            generator.manual_seed(derive(seed, "z", index))
            rows.append(self.prior.draw(1, generator=generator))
        return torch.cat(rows)

    def decode(self, z: Tensor) -> Tensor:
        """(N, Z) -> (N, C, H, W) float32 in [-1, 1] on the CPU, whatever the number at once of CHUNK."""
        if z.ndim != 2 or z.shape[1] != self.prior.size or not len(z):
            raise UserError(f"latents are {tuple(z.shape)}; this model takes (N, {self.prior.size}), N at least 1.")
        made = []
        with torch.no_grad(), exactly(self.device):
            for chunk in z.float().split(CHUNK):
                lacking = CHUNK - len(chunk)  # sums are split by the size of a batch: another size, other bits
                whole = torch.cat([chunk, chunk.new_zeros(lacking, chunk.shape[1])]) if lacking else chunk
                made.append(self.net(whole.to(self.device)).to("cpu", torch.float32)[: len(chunk)])
        return torch.cat(made)
