"""Whether a network that knows real facades sees in a generated one what its label map says (the FCN score)."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from i2i.data.domain import Domain
from i2i.errors import UserError
from i2i.evaluation.compared import in_words
from i2i.evaluation.protocol import Protocol
from i2i.evaluation.segmentation import CMP, Segmenter, palette_of
from i2i.evaluation.subject import Subject
from i2i.methods import METHODS
from i2i.metrics import PROTOCOLS
from i2i.metrics.segmentation import confusion, scores

FAR = 60  # levels from the palette that half of a label map's pixels may lie; those of facades lie 31 off, photos 107
LOOKED_AT = 5  # label maps that tell whether they are of this palette
PARTS = ("per_pixel", "per_class", "class_iou")


@PROTOCOLS.register("facades-fcn")
class FacadesFCN(Protocol):
    """Per-pixel and per-class accuracy and class IoU of facades made from a split's label maps (Isola et al., 2017,
    section 4.1; the scores of Long et al., 2015): a segmentation net that was fitted to the real training pairs reads
    the generated photos, and their label maps are the truth. What it reads in the real photos of the same split stands
    beside, which is about as high as generated ones can come.

    Args:
        size: side that photos are brought to for the net, a multiple of 32; its answer is brought back to theirs.
        steps: of the net's training.
        seed: of the net.
    """

    score = "generated.per_pixel"
    higher_is_better = True
    shows = tuple(f"{photos}.{part}" for photos in ("generated", "real") for part in PARTS)

    def __init__(self, *, size: int = 128, steps: int = 1000, seed: int = 0):
        if size < 64 or size % 32:
            raise UserError(f"size {size}: the segmentation net takes multiples of 32 from 64 on. Give 128.")
        if steps < 1:
            raise UserError(f"steps {steps}: the segmentation net is trained for at least 1. Give 1000.")
        self.size, self.steps, self.seed = size, steps, seed

    @staticmethod
    def refuses(recipe):
        method = METHODS.get(recipe.method.name)
        if method.generator_takes != "pictures" or not method.paired:
            return f"{recipe.method.name} makes no photos of label maps that are known to belong to them"
        if any(side is not None and side.channels not in (3, "auto") for side in (recipe.data.a, recipe.data.b)):
            return "its pictures are not all RGB, as facades and their label maps are"
        return None

    def words(self, subject, split):
        _check_palette(subject, split)
        net = self.net(subject)
        export, source, target = subject.route()
        return (
            f"facades-fcn: pixels and classes ({len(CMP)} of CMP) that a segmentation net sees right in the photos "
            f"made by {export} of the {subject.count(split, source):,} label maps '{source}' of {split}, beside those "
            f"in its real photos '{target}'; net fitted to {net.meta['count']:,} real pairs of train at {self.size} x "
            f"{self.size}, {self.steps:,} steps, seed {self.seed} (weights {net.hash}); photos resized to that "
            "bilinearly, its answers back to their own size"
        )

    def measure(self, subject, split):
        net = self.net(subject)
        truth = subject.kept(("label maps", split), lambda: _classes(subject, split))

        def seen(photos: Iterator[np.ndarray]) -> dict[str, Any]:
            domain = subject.data.domains[subject.route()[2]]
            return scores(confusion(truth, _read(net, photos, domain), len(CMP)))

        real = subject.kept(("facades-fcn", net.hash, split), lambda: seen(subject.reals(split)))
        return {"generated": seen(subject.fakes(split)), "real": real, "net": {"hash": net.hash}}

    def net(self, subject: Subject) -> Segmenter:
        """Fitted to the real training pairs where none is kept."""

        def make() -> Segmenter:
            domain = subject.data.domains[subject.route()[2]]
            photos = [domain.to_tensor(pixels) for pixels in subject.reals("train")]
            shapes = {tuple(photo.shape[1:]) for photo in photos}
            if len(shapes) > 1:
                raise UserError(f"the training photos are of {len(shapes)} sizes; facades-fcn takes those of one.")
            labels = torch.stack(_classes(subject, "train"))
            with in_words():
                return Segmenter.fit(
                    torch.stack(photos), labels, size=self.size, steps=self.steps, seed=self.seed, say=subject.say
                ).to(subject.device)

        return subject.kept(("segmenter", self.size, self.steps, self.seed, str(subject.device)), make)


def _classes(subject: Subject, split: str) -> list[Tensor]:
    """(H, W) classes of every label map of a split."""
    _, source, _ = subject.route()
    return [palette_of(whole[source][None])[0] for whole in subject.data.whole(split, source)]


def _read(net: Segmenter, photos: Iterator[np.ndarray], domain: Domain) -> Iterator[Tensor]:
    """The classes (H, W) that the net sees in each photo."""
    for pixels in photos:
        with in_words():
            yield net.predict(domain.to_tensor(pixels)[None])[0]


def _check_palette(subject: Subject, split: str) -> None:
    """Refuses inputs that are no label maps of facades."""
    _, source, _ = subject.route()
    colours = np.array([each.colour for each in CMP], dtype=np.float32)
    for index in range(min(LOOKED_AT, subject.count(split, source))):
        pixels = subject.data.sample(split, index, source)[source]
        if pixels.dtype == np.uint8 and pixels.shape[2] == 3:
            some = pixels[::4, ::4].reshape(-1, 1, 3)
            if np.median(np.sqrt(((some - colours) ** 2).sum(-1)).min(1)) <= FAR:
                continue
        raise UserError(
            f"facades-fcn: picture {index} of '{source}' in {split} is no label map in the colours of the CMP facades. "
            "It scores photos that are made from these: the direction in which label maps are the input."
        )
