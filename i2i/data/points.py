"""Points drawn from a known density: data so small that what a method does to a distribution can be seen and measured.

A point of D coordinates is a picture of D channels and 1 x 1 pixel, in 32-bit floats. The mixtures are those of the toy
experiments on mode collapse, for example in VEEGAN (Srivastava et al., 2017): eight Gaussians on a ring, 25 on a grid.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

from i2i.data import DATASETS
from i2i.data.domain import Domain
from i2i.data.pictureset import Broken, PictureSet, Pixels
from i2i.errors import UserError
from i2i.seeds import derive

SPLITS = ("train", "val", "test")
RANGE = (-4.0, 4.0)
ROOM = 4  # standard deviations around every centre that a range must hold: 6 of 100,000 draws lie beyond, clipped
PREVIEWS = 1000
KEPT = 3  # drawn epochs in memory: batches run from one into the next, and previews look at test


class Mixture(NamedTuple):
    """Gaussians of one standard deviation, each as likely: `centres` (K, D) in natural units."""

    centres: np.ndarray
    std: float


def _ring(number: int, radius: float) -> np.ndarray:
    angles = 2 * np.pi * np.arange(number) / number
    return radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _grid(side: int, spacing: float) -> np.ndarray:
    steps = spacing * (np.arange(side) - (side - 1) / 2)
    return np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1).reshape(-1, 2)


MIXTURES = {
    "gaussian1d": Mixture(np.zeros((1, 1)), 1.0),
    "ring2d": Mixture(_ring(8, 2.0), 0.02),
    "grid2d": Mixture(_grid(5, 1.0), 0.05),
}


@DATASETS.register("points")
class Points(PictureSet):
    """`count` fresh points in every epoch of training; as many, and always the same, in val and in test.

    Args:
        distribution: "gaussian1d" is N(0, 1); "ring2d" 8 Gaussians of standard deviation 0.02 on a circle of radius 2;
            "grid2d" 25 of 0.05 on the 5 x 5 points with coordinates -2, -1, 0, 1, 2.
        count: points of an epoch.
        path: null, since nothing is read.
        load_size, crop_size, flip, transform: null, 1, false and null: a point is a picture of 1 x 1.
        a: the recipe's domain, {"channels": coordinates | "auto", "range": [low, high] | "auto"}; auto is [-4, 4]. The
            range holds every coordinate; what is drawn beyond is clipped to it.
        seed: of the run; the points of epoch e derive from (seed, split, e).

    Attributes:
        distribution: as given.
        centres: (K, D), of the Gaussians, in natural units, as all of these.
        std: of each coordinate around its centre.

    Raises:
        UserError: another value of an argument than those above, a range that cuts off what is drawn.
    """

    needs_path: ClassVar[bool] = False
    sides_of: ClassVar[tuple[str, ...]] = ("a",)

    def __init__(
        self,
        *,
        distribution: Literal["gaussian1d", "ring2d", "grid2d"],
        count: int,
        path: None = None,
        load_size: int | None,
        crop_size: int,
        flip: bool,
        transform: str | None,
        a: Mapping[str, Any],
        seed: int,
    ):
        if distribution not in MIXTURES:
            raise UserError(f"distribution '{distribution}' is not one of {', '.join(MIXTURES)}. Give one of these.")
        if path is not None:
            raise UserError(f"path '{path}': points are drawn, not read. Set data.path to null.")
        if count < 1:
            raise UserError(f"count {count}: an epoch has at least one point. Set data.count to 1 or more.")
        given = {"load_size": load_size, "crop_size": crop_size, "flip": flip, "transform": transform}
        for name, only in {"load_size": None, "crop_size": 1, "flip": False, "transform": None}.items():
            if given[name] != only:
                shown = {None: "null", False: "false"}.get(only, only)
                raise UserError(
                    f"data.{name} is {str(given[name]).lower()}, but a point is a picture of 1 x 1 pixel, of which "
                    f"nothing can be cut or turned. Set data.{name}={shown}."
                )
        self.distribution, self._count = distribution, count
        self.centres, self.std = MIXTURES[distribution]
        super().__init__(
            seed=seed,
            sides={"image": "a"},
            domains={"a": self._domain(a)},
            together=True,
            load_size=None,
            crop_size=1,
            flip=False,
            transform=None,
            shape=(1, 1),
        )
        self._kept: dict[tuple[str, int], np.ndarray] = {}

    @staticmethod
    def keys_of(args: Mapping[str, Any]) -> tuple[str]:
        """The keys of a batch."""
        return ("image",)

    def __len__(self) -> int:
        return self._count

    @property
    def files(self) -> int:
        return self._count

    @property
    def splits_there(self) -> tuple[str, ...]:
        return SPLITS

    def density(self, x: np.ndarray) -> np.ndarray:
        """The density (N,) that points are drawn from, at x (N, D) in natural units, in float64."""
        x = np.asarray(x, np.float64)
        dimensions = self.centres.shape[1]
        if x.ndim != 2 or x.shape[1] != dimensions:
            raise ValueError(f"x {x.shape} is not (N, {dimensions}), {dimensions} coordinates a point.")
        peak = (2 * np.pi * self.std**2) ** (-dimensions / 2)
        total = np.zeros(len(x))
        for centre in self.centres:
            total += np.exp(-((x - centre) ** 2).sum(axis=1) / (2 * self.std**2))
        return peak * total / len(self.centres)

    def pictures(self, epoch: int, index: int) -> tuple[Pixels, list[Broken]]:
        return {"image": self._drawn("train", epoch)[index][None, None]}, []

    def levels(self, places: Sequence[tuple[int, int]]) -> tuple[dict[str, np.ndarray], list[Broken]]:
        epochs, indices = np.array(places).T
        points = np.empty((len(places), 1, 1, self.centres.shape[1]), np.float32)
        for epoch in np.unique(epochs):
            of = epochs == epoch
            points[of, 0, 0] = self._drawn("train", int(epoch))[indices[of]]
        return {"image": self.domains["image"].planes(points)}, []

    def previews(self, count: int) -> list[Pixels]:
        """The first points of test: PREVIEWS or more, since a distribution is not seen in a few."""
        return [self.sample("test", index) for index in range(min(max(count, PREVIEWS), self._count))]

    def count(self, split: str, key: str | None = None) -> int:
        self.asked(split, key)
        return self._count

    def sample(self, split: str, index: int, key: str | None = None) -> Pixels:
        """Point `index` of a split, (1, 1, D); of train, those of its first epoch."""
        self.asked(split, key)
        return {"image": self._drawn(split, 0)[index][None, None].copy()}

    def _drawn(self, split: str, epoch: int) -> np.ndarray:
        """The points (count, D) of an epoch. RandomState, because its numbers are frozen across NumPy versions."""
        if (split, epoch) not in self._kept:
            rng = np.random.RandomState(derive(self.seed, "points", split, epoch) % 2**32)
            chosen = self.centres[rng.randint(len(self.centres), size=self._count, dtype=np.int64)]
            while len(self._kept) >= KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[split, epoch] = np.float32(chosen + self.std * rng.standard_normal(chosen.shape))
        return self._kept[split, epoch]

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_kept": {}}  # a process that is started afresh draws its own

    def _domain(self, given: Mapping[str, Any]) -> Domain:
        coordinates = self.centres.shape[1]
        channels, span = given.get("channels", "auto"), given.get("range", "auto")
        if channels not in ("auto", coordinates):
            raise UserError(
                f"channels {channels}: a point of {self.distribution} has {coordinates} coordinate"
                f"{'s' if coordinates > 1 else ''}. Set data.a.channels to {coordinates} or auto."
            )
        if given.get("page") is not None:
            raise UserError(f"page {given['page']}: points are drawn, not read from pages. Set data.a.page to null.")
        try:
            domain = Domain(coordinates, RANGE if span == "auto" else tuple(span), 32)
        except UserError as error:
            raise UserError(f"data.a: {error}") from None
        low, high = self.centres.min() - ROOM * self.std, self.centres.max() + ROOM * self.std
        if domain.range[0] > low or domain.range[1] < high:
            raise UserError(
                f"data.a.range [{domain.range[0]:g}, {domain.range[1]:g}] cuts off points of {self.distribution}, "
                f"which lie in [{low:g}, {high:g}]. Give a range that holds these, or auto."
            )
        return domain
