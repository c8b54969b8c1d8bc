"""Samples beside the training pictures nearest to them: does G draw, or does it remember?

The first GAN paper shows such pictures in its figure 2. Nearest is meant in pixels, where a shift of one pixel is far,
and in the features of a network, where it is not. What distance is small is told by pictures that were held out.
"""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from i2i import atomic, build
from i2i.data.pictures import BrokenPicture
from i2i.errors import UserError
from i2i.evaluation.classifier import MINIMUM, Classifier
from i2i.evaluation.features import FeatureNet, feature_net
from i2i.infer import models
from i2i.infer.generate import RECORD, claim, origin_of, place
from i2i.infer.grid import grid, titled
from i2i.infer.runs import BEST, read_recipe
from i2i.infer.sampler import Sampler
from i2i.metrics.neighbours import nearest

SHEET, NUMBERS = "neighbours.png", "neighbours.json"
SHOWN, K = 8, 5  # samples, and neighbours of each
HELD_OUT = 64  # pictures that were not trained on, for comparison
VALUES = 2**24  # of the training pictures in memory at once, as float64 128 MiB
CELL = 128  # the most pixels on the longer side of a picture


class Found(NamedTuple):
    """Neighbours in one space: (Q, k) distances, nearest first, and places in the training split."""

    distances: Tensor
    indices: Tensor


class Neighbours:
    """The training pictures of a run, as its samples are compared with them.

    Args:
        model: a run folder, a weights file in it, or None for the newest run.
        data: where the data are; None takes the recipe's path.
        k: how many neighbours; fewer where there are fewer training pictures.
        say: takes each line for the user.

    Raises:
        UserError: no run, no recipe, no data; data that are drawn afresh.
    """

    def __init__(
        self,
        model: Any = None,
        *,
        data: str | os.PathLike | None = None,
        k: int = K,
        say: Callable[[str], None] = print,
    ):
        if k < 1:
            raise UserError(f"k {k}: at least one neighbour is looked for; give 5.")
        self.file, self.k, self.say = models.find(model), k, say
        run = self.file.parent.parent if self.file.parent.name == BEST else self.file.parent
        recipe = read_recipe(run)
        if recipe is None:
            raise UserError(f"{run} holds no recipe.yaml, which names the training pictures; give a run folder.")
        if recipe.data.path is None:
            raise UserError(
                f"{run} was trained on {recipe.data.kind}, drawn afresh and in no file: nothing can be copied."
            )
        if data is not None:
            recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"path": str(data)})})
        self.data = build.dataset(recipe)

    def write(
        self,
        n: int = SHOWN,
        *,
        out: str | os.PathLike | None = None,
        seed: int | None = None,
        start: int = 0,
        label: int | None = None,
        device: str = "auto",
    ) -> Path:
        """`neighbours.png`, up to 8 of `n` samples each beside its neighbours, and `neighbours.json`, the numbers.

        Args:
            out, seed, start, label, device: as for `generate`.

        Returns:
            The folder.
        """
        sampler = models.sampler(self.file, device)
        if n < 1 or start < 0:
            raise UserError(f"n {n}, start {start}: compare at least one sample, from number 0 on.")
        count, seed = min(n, SHOWN), sampler.seed if seed is None else seed
        origin = origin_of(sampler, seed, label)
        folder = place(self.file, sampler, origin, out, (SHEET, NUMBERS), self.say)
        if not (folder / RECORD).exists():
            claim(folder, origin, start, count)
        net = self.feature_net(sampler.device)
        samples = torch.stack(
            [
                sampler.output.to_tensor(pixels)
                for pixels in sampler.pixels(count, start=start, seed=seed, classes=label)
            ]
        )
        held_out, split = self.held_out()
        found, total = self.search(torch.cat([samples, held_out]), net)
        self.sheet(folder / SHEET, sampler, samples, {name: each.indices[:count] for name, each in found.items()})
        words = {
            "pixels": f"values in [-1, 1] of pictures {tuple(samples.shape[1:])}",
            "features": net and net.protocol,
        }
        report = {
            **origin, "start": start, "count": count, "training_pictures": total, "held_out": split,
            "distance": "square root of the sum of squared differences",
            **{name: {"of": words[name], **_numbers(each, count)} for name, each in found.items()},
        }  # fmt: skip
        atomic.write_text(folder / NUMBERS, json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
        for name in found:
            against = f", of {len(held_out)} pictures of {split} {report[name]['held_out_mean']:.4g}" if split else ""
            mean = report[name]["mean"]
            self.say(f"nearest of {total:,} training pictures in {name}: mean distance of samples {mean:.4g}{against}")
        self.say(f"{SHEET} and {NUMBERS} written to {folder}")
        return folder

    def feature_net(self, device: torch.device) -> FeatureNet | None:
        """The net whose features tell what is alike; None, said, where there is none.

        Of labelled data it is a classifier of the real training pictures, of others Inception, where its weights are.
        """
        if self.data.labelled and self.data.transform.crop_size >= MINIMUM and self.data.num_classes > 1:
            return feature_net("classifier", classifier=self.classifier(), device=device)
        try:
            return feature_net("inception", device=device)
        except UserError as error:
            self.say(f"neighbours are looked for in pixels alone: {error}")
            return None

    def classifier(self) -> Classifier:
        """The classifier of all training pictures, whatever data.limit, scored on test where that is there; from the
        store, or trained."""
        data = self.data.unlimited
        pairs = []
        for split in ("train", "test"):
            if split in data.splits_there:
                places, pictures = zip(*self.blocks(split, data=data))
                pairs.append((torch.cat(pictures), torch.from_numpy(data.labels(split))[torch.cat(places)]))
        test = pairs[1] if len(pairs) > 1 else None
        return Classifier.fit(*pairs[0], seed=0, say=self.say, test=test, classes=data.num_classes)

    def held_out(self) -> tuple[Tensor, str | None]:
        """The first pictures of test, else val, and which; none where all are trained on."""
        split = next((split for split in ("test", "val") if split in self.data.splits_there), None)
        side = self.data.transform.crop_size
        if split is None:
            return torch.empty(0, self.data.domains["image"].channels, side, side), None
        return next(pictures for _, pictures in self.blocks(split, HELD_OUT)), split

    def search(self, queries: Tensor, net: FeatureNet | None) -> tuple[dict[str, Found], int]:
        """{"pixels": ..., "features": ...} of queries (Q, C, H, W), and how many training pictures were looked at.

        They are read block by block; the nearest so far are kept.
        """
        spaces = {"pixels": lambda x: x.flatten(1)} | ({} if net is None else {"features": net.features})
        rows = {name: space(queries) for name, space in spaces.items()}
        best: dict[str, Found] = {}
        total = 0
        for places, pictures in self.blocks("train"):
            total += len(places)
            for name, space in spaces.items():
                distances, indices = nearest(rows[name], space(pictures), min(self.k, len(places)))
                best[name] = _nearer(best.get(name), Found(distances, places[indices]), self.k)
        return best, total

    def blocks(self, split: str, size: int | None = None, data: Any = None) -> Iterator[tuple[Tensor, Tensor]]:
        """(places (B,) in the split, pictures (B, C, crop, crop) in [-1, 1]), as training sees them but for what is
        drawn. Files that cannot be read are left out. `data` None are those that the run was trained on."""
        data = self.data if data is None else data
        domain, side = data.domains["image"], data.transform.crop_size
        size = size or max(1, VALUES // (domain.channels * side**2))
        places, pictures = [], []
        for place_ in range(data.count(split)):
            try:
                pictures.append(data.prepared(data.sample(split, place_)["image"], "image"))
            except BrokenPicture:  # training went around it too
                continue
            places.append(place_)
            if len(places) == size:
                yield torch.tensor(places), torch.stack(pictures)
                places, pictures = [], []
        if places:
            yield torch.tensor(places), torch.stack(pictures)

    def prepared(self, split: str, index: int) -> Tensor:
        return self.data.prepared(self.data.sample(split, index)["image"], "image")

    def sheet(self, path: Path, sampler: Sampler, samples: Tensor, found: dict[str, Tensor]) -> None:
        """A row for each sample: itself, then its neighbours in each space."""

        def shown(x: Tensor):
            return sampler.output.shown(sampler.output.to_pixels(x))

        columns = [("sample", [shown(x) for x in samples])]
        for name, indices in found.items():
            for rank, column in enumerate(indices.T.tolist()):
                title = f"nearest in {name}" if rank == 0 else str(rank + 1)
                columns.append((title, [shown(self.prepared("train", index)) for index in column]))
        grid(titled(columns), path, largest=CELL, heading="Samples, and the training pictures nearest to each")


def _nearer(before: Found | None, found: Found, k: int) -> Found:
    """The k nearest of both; of equal ones the first in the split."""
    if before is None:
        return found
    distances = torch.cat([before.distances, found.distances], dim=1)
    order = distances.argsort(dim=1, stable=True)[:, :k]
    indices = torch.cat([before.indices, found.indices], dim=1)
    return Found(distances.gather(1, order), indices.gather(1, order))


def _numbers(found: Found, count: int) -> dict[str, Any]:
    """Neighbours of the samples, and the mean distance of the nearest, of samples and of held-out pictures."""
    nearest_of = found.distances[:, 0]
    held_out = nearest_of[count:]
    return {
        "indices": found.indices[:count].tolist(),
        "distances": found.distances[:count].tolist(),
        "mean": float(nearest_of[:count].mean()),
        "held_out_mean": float(held_out.mean()) if len(held_out) else None,
    }
