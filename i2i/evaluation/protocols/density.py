"""The densities of a game that is played on a line: p_data, p_g, D and the best D, as in the first paper's Figure 1."""

import math
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import torch

from i2i.data.points import MIXTURES
from i2i.errors import UserError
from i2i.evaluation.protocol import Protocol
from i2i.evaluation.subject import Subject
from i2i.losses import OBJECTIVES
from i2i.losses.adversarial import Minimax
from i2i.metrics import PROTOCOLS
from i2i.metrics.divergence import js, optimal_discriminator, value
from i2i.seeds import derive

CELLS = 20  # cells in a standard deviation of the data
LIKELY = 0.05  # where p_data + p_g is above it, D is compared with D*: elsewhere it is hardly ever asked
ARROWS = 33
FOLDER = "density"


class Densities(NamedTuple):
    """Values at the centres `x` (K,) of cells of one `width`, in natural units."""

    x: np.ndarray
    width: float
    data: np.ndarray
    model: np.ndarray
    best: np.ndarray
    d: np.ndarray | None  # None: the run has no D that gives probabilities


@PROTOCOLS.register("density")
class Density(Protocol):
    """How near the game on a line is to its end, p_g = p_data and D = 1/2 (Goodfellow et al., 2014, section 4).

    p_data is known; p_g is a histogram of many samples. In nats, by the midpoint rule on the histogram's cells:

        js = JS(p_data, p_g)             D* = p_data / (p_data + p_g)
        value = V(D, G) = E_data[log D] + E_g[log(1 - D)]
        v_gap = |V + log 4|              d_gap = mean of |D - D*| where p_data + p_g > 0.05

    All are 0 at the end but `value`, which is -log 4. A histogram is never quite even: the samples' own unevenness adds
    about (cells with mass) / (8 samples) to js, 1e-4 by default, and 0.006 to d_gap. D counts only where it was trained
    to be a probability (minimax, nonsaturating, maximum_likelihood); a run without such a D has js alone. A picture of
    all this, drawn after Figure 1, is left in `<run>/density/`.

    Args:
        samples: of the histogram.
        seed: of their z.
    """

    score = "js"
    higher_is_better = False
    shows = ("js", "value", "v_gap", "d_gap")

    def __init__(self, *, samples: int = 200_000, seed: int = 0):
        if samples < 1000:
            raise UserError(f"samples {samples}: the histogram of p_g needs at least 1000. 200,000 take a second.")
        self.samples, self.seed = samples, seed

    @staticmethod
    def refuses(recipe):
        if recipe.data.kind != "points":
            return "the density of pictures is not known; that of points of one coordinate is"
        name = recipe.data.args["distribution"]
        if MIXTURES[name].centres.shape[1] != 1:
            return f"points of {name} have more than one coordinate; modes scores them"
        return None

    def words(self, subject, split):
        data, (edges, width) = subject.data, _cells(subject)
        low, high = edges[0], edges[-1]
        judged = "D in evaluation mode" if _gives_probabilities(subject) else "no D, which gives no probabilities here"
        return (
            f"density: p_g, a histogram of {self.samples:,} samples (seed {self.seed}) in {len(edges) - 1} cells of "
            f"{width:g} on [{low:g}, {high:g}], against the density of {data.distribution}; nats; {judged}; no split "
            "is read"
        )

    def measure(self, subject, split):
        found = self.densities(subject)
        p_data, p_g, cell = found.data, found.model, found.width
        values: dict[str, Any] = {"js": js(p_data, p_g, cell=cell), "value": None, "v_gap": None, "d_gap": None}
        if found.d is not None:
            judged = p_data + p_g > LIKELY
            values["value"] = value(p_data, p_g, found.d, cell=cell)
            values["v_gap"] = abs(values["value"] + math.log(4))
            values["d_gap"] = float(np.abs(found.d - found.best)[judged].mean())
        path = subject.run / FOLDER / f"{subject.step:06d}.png"
        path.parent.mkdir(exist_ok=True)
        _draw(found, _arrows(subject), path)
        return values

    def densities(self, subject: Subject) -> Densities:
        sampler, (edges, width) = subject.sampler, _cells(subject)
        generator = torch.Generator().manual_seed(derive(self.seed, "density"))
        points = _natural(subject, sampler.prior.draw(self.samples, generator=generator))
        p_g = np.histogram(points, edges)[0] / (self.samples * width)
        x = (edges[:-1] + edges[1:]) / 2
        p_data = subject.data.density(x[:, None])
        return Densities(x, width, p_data, p_g, optimal_discriminator(p_data, p_g, cell=width), _judged(subject, x))


def _cells(subject: Subject) -> tuple[np.ndarray, float]:
    """(edges (K + 1,), width) of cells over the data's range, so narrow that the density hardly changes in one."""
    low, high = subject.data.domains["image"].range
    count = math.ceil((high - low) / subject.data.std * CELLS)
    return np.linspace(low, high, count + 1), (high - low) / count


def _natural(subject: Subject, z: torch.Tensor) -> np.ndarray:
    """(N, Z) -> G(z), (N,) in the data's units."""
    made = subject.sampler.decode(z)  # (N, 1, 1, 1)
    return subject.sampler.output.to_pixels(made.reshape(1, -1, 1)).reshape(-1).astype(np.float64)


def _gives_probabilities(subject: Subject) -> bool:
    objective = subject.recipe.method.objective
    return "D" in subject.recipe.optimizer and issubclass(OBJECTIVES.get(objective), Minimax)


def _judged(subject: Subject, x: np.ndarray) -> np.ndarray | None:
    """D(x), (K,) probabilities of "data"."""
    if not _gives_probabilities(subject):
        return None
    pixels = x.astype(np.float32)[None, :, None]  # K points as one picture of K pixels
    points = subject.data.domains["image"].to_tensor(pixels).reshape(-1, 1, 1, 1)
    net = subject.nets()["D"].eval()
    with torch.no_grad():
        logits = net(points.to(next(net.parameters()).device)).double()
    return torch.sigmoid(logits).reshape(-1).cpu().numpy()


def _arrows(subject: Subject) -> tuple[np.ndarray, np.ndarray] | None:
    """(z, x = G(z)) of as many z as arrows, each of which stands for as many samples; None where z is no number."""
    prior = subject.sampler.prior
    if prior.size != 1:
        return None
    shares = (np.arange(ARROWS) + 0.5) / ARROWS
    z = 2 * shares - 1 if prior.name == "uniform" else np.array([NormalDist().inv_cdf(share) for share in shares])
    return z, _natural(subject, torch.from_numpy(z).float()[:, None])


def _draw(found: Densities, arrows: tuple[np.ndarray, np.ndarray] | None, path) -> None:
    """Figure 1: p_data dotted, p_g solid, D dashed, and below how G carries z to x."""
    from matplotlib.figure import Figure

    from i2i.infer.scatter import save

    figure = Figure(figsize=(5, 4.2 if arrows else 3.2), dpi=110, layout="constrained")
    heights = [3, 1] if arrows else [1]
    above, *below = figure.subplots(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    above.plot(found.x, found.data, color="black", linestyle=":", label="$p_{data}$")
    above.plot(found.x, found.model, color="#2e8b57", label="$p_g$")
    above.plot(found.x, found.best, color="#8fb4dd", linewidth=1, label="$D^*$")
    if found.d is not None:
        above.plot(found.x, found.d, color="#1f4fb2", linestyle="--", label="D")
    low, high = found.x[0] - found.width / 2, found.x[-1] + found.width / 2
    above.set_xlim(low, high)
    above.set_ylim(0, 1.05)  # a p_g that has collapsed leaves the picture at the top
    above.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=4, fontsize=8, frameon=False)
    above.tick_params(labelsize=8)
    if arrows:
        _draw_arrows(below[0], *arrows, low, high)
    save(figure, path)


def _draw_arrows(axes, z: np.ndarray, x: np.ndarray, low: float, high: float) -> None:
    """The domain of z as the lower line, that of x as the upper one."""
    most = np.abs(z).max()
    feet = (low + high) / 2 + z / most * (high - low) / 2 * 0.95
    axes.set_xlim(low, high)
    axes.set_ylim(0, 1)
    axes.axis("off")
    for line, name in ((0.05, "z"), (0.95, "x")):
        axes.axhline(line, color="black", linewidth=1)
        axes.text(low, line, f"{name} ", ha="right", va="center", fontsize=9)
    style = {"arrowstyle": "->", "linewidth": 0.6, "shrinkA": 0, "shrinkB": 0}
    for foot, head in zip(feet, x):
        axes.annotate("", (head, 0.95), (foot, 0.05), arrowprops=style)
