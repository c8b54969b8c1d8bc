"""A trained generator of latents as a source of pictures. Sample grids, `i2i generate` and Python all call this."""

from collections.abc import Mapping, Sequence
from itertools import repeat
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
Classes = int | Sequence[int] | None


class Sampler:
    """Draws pictures, in fp32, with the norms' running statistics and without dropout: all noise is in z.

    Sample number i has its own z, drawn from (seed, i), and goes through the network in the company of the same 63
    others, whatever is asked for beside it: the same seed and number give the same picture, bit for bit.

    A generator that is told classes makes sample number i of class i mod K, or of the one that is asked for, from the
    same z: then seed, number and class give the picture.

    Args:
        net: the generator, (B, Z) -> (B, C, H, W) in [-1, 1], told classes (B,) where it has some; it becomes the
            sampler's.
        meta: its metadata; `output`, `prior` and `translate` are needed, and `classes` where it is told some.

    Attributes:
        class_names: of the classes, by number; none where it is told none.
        device: where to compute.

    Raises:
        UserError: metadata that say something impossible, or too little.
    """

    def __init__(self, net: nn.Module, meta: Mapping[str, Any], device: str | torch.device = "cpu"):
        try:
            self.output, self.prior = Domain(**meta["output"]), Prior(**meta["prior"])
            self.seed = meta["translate"]["seed"]
            self.class_names: list[str] = meta.get("classes", {"names": []})["names"]
        except (KeyError, TypeError) as error:
            raise UserError(f"the weights' metadata are not complete ({error}); export them again.") from None
        if (known := getattr(net, "classes", None) or 0) != len(self.class_names):
            raise UserError(
                f"the weights' metadata name {len(self.class_names)} classes, but their network knows {known}; export "
                "them again."
            )
        self.meta, self.device = dict(meta), torch.device(device)
        self.weights: str | None = None  # the digest of the file that they came from
        self.net = net.eval().to(self.device, torch.float32)

    def __call__(self, count: int = 1, *, start: int = 0, seed: int | None = None, classes: Classes = None) -> list:
        """`count` samples from number `start` on: Pillow images where Pillow can hold them, else arrays (H, W, C)."""
        return [to_image(pixels) for pixels in self.pixels(count, start=start, seed=seed, classes=classes)]

    def pixels(
        self, count: int, *, start: int = 0, seed: int | None = None, classes: Classes = None
    ) -> list[np.ndarray]:
        """Samples as levels (H, W, C) of the output domain."""
        return [self.output.to_pixels(x) for x in self.tensors(count, start=start, seed=seed, classes=classes)]

    def tensors(self, count: int, *, start: int = 0, seed: int | None = None, classes: Classes = None) -> Tensor:
        """Samples number start ... start + count - 1, (count, C, H, W) float32 in [-1, 1] on the CPU.

        Args:
            seed: which sequence of samples; None takes the one of the weights' own policy (translate.seed).
            classes: the class of all, or one for each; None lets sample i be of class i mod K.

        Raises:
            UserError: a count or start that cannot be; a class that these weights do not know.
        """
        if count < 1 or start < 0:
            raise UserError(f"count {count}, start {start}: draw at least one sample, from number 0 on.")
        first = start - start % CHUNK
        asked, before = self.classes_of(count, start, classes), self.classes_of(start - first, first)
        made = self.decode(self.latents(start + count - first, start=first, seed=seed), before + asked or None)
        return made[start - first :]

    def classes_of(self, count: int, start: int = 0, classes: Classes = None) -> list[int]:
        """The class of each of these samples; none of a model that is told none. Arguments and errors as `tensors`."""
        names = self.class_names
        if not names:
            if classes is not None:
                raise UserError(f"class {classes}: these weights draw pictures of no class. Leave it out.")
            return []
        if classes is None:
            return [number % len(names) for number in range(start, start + count)]
        asked = [int(classes)] * count if np.ndim(classes) == 0 else [int(label) for label in classes]
        if len(asked) != count:
            raise UserError(f"{len(asked)} classes for {count} samples: give one for all, or one for each.")
        for label in asked:
            if not 0 <= label < len(names):
                known = ", ".join(str(n) if str(n) == name else f"{n} {name}" for n, name in enumerate(names[:20]))
                more = ", ..." if len(names) > 20 else ""
                raise UserError(f"class {label}: these weights know {len(names)}: {known}{more}. Give one of these.")
        return asked

    def latents(self, count: int, *, start: int = 0, seed: int | None = None) -> Tensor:
        """(count, Z) float32: the z of samples start ... start + count - 1."""
        seed, generator = self.seed if seed is None else seed, torch.Generator()
        rows = []
        for index in range(start, start + count):
            generator.manual_seed(derive(seed, "z", index))
            rows.append(self.prior.draw(1, generator=generator))
        return torch.cat(rows)

    def decode(self, z: Tensor, classes: Classes = None) -> Tensor:
        """(N, Z) -> (N, C, H, W) float32 in [-1, 1] on the CPU, whatever the number at once of CHUNK.

        Args:
            classes: of all, or of each; a model that is told classes needs them here.
        """
        if z.ndim != 2 or z.shape[1] != self.prior.size or not len(z):
            raise UserError(f"latents are {tuple(z.shape)}; this model takes (N, {self.prior.size}), N at least 1.")
        if self.class_names and classes is None:
            raise UserError("these weights draw pictures of a class, and latents name none. Give classes, too.")
        labels = torch.tensor(self.classes_of(len(z), classes=classes))
        made = []
        with torch.no_grad(), exactly(self.device):
            for chunk, y in zip(z.float().split(CHUNK), labels.split(CHUNK) if len(labels) else repeat(None)):
                whole = (_filled(chunk),) if y is None else (_filled(chunk), _filled(y))
                out = self.net(*(each.to(self.device) for each in whole))
                made.append(out.to("cpu", torch.float32)[: len(chunk)])
        return torch.cat(made)


def _filled(rows: Tensor) -> Tensor:
    """Zeros behind them to CHUNK rows: sums are split by the size of a batch, and another size gives other bits."""
    lacking = CHUNK - len(rows)
    return torch.cat([rows, rows.new_zeros(lacking, *rows.shape[1:])]) if lacking else rows
