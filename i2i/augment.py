"""DiffAugment (Zhao et al., "Differentiable Augmentation for Data-Efficient GAN Training", 2020).

The same random distortions are put on real and on generated pictures before D sees them, and gradients pass through
them to G. Everything runs on the pictures' device, whole batches at once, and never waits for the host.

A stage, such as `brightness(x, b)`, is a plain function of pictures (B, C, H, W) and one drawn number per sample.
A policy, such as `draw_color(x)`, draws those numbers for a batch and returns the stage with the numbers filled in.
Numbers are drawn from torch's global generator in float32, whatever the pictures' type.

Why not kornia: its brightness clips to [0, 1] and its saturation works in HSV; its translate and rotate interpolate
(1.6e-5 and 3.7e-5 off on a range of 2 where both should be exact, and slower); what is left, hflip, is `flip(-1)`.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from i2i.registry import Registry

POLICIES = Registry("augmentation")

Stage = Callable[[Tensor], Tensor]


class DiffAugment:
    """Draws one distortion per sample and puts it on every picture it is given.

    `augment(x)` returns a picture batch; `augment(x, y, ...)` returns a tuple, in which sample i of x, y, ... went
    through the same drawn parameters, each on its own channels: what a D that judges pairs needs. Nothing is clipped.

    `flip` and `rotate` are off unless named: DiffAugment's own policies are color, translation and cutout. They act
    with a probability G can reproduce, so that G may come to paint mirrored or turned pictures (the augmentation leaks
    into the results); name them only where the mirrored or turned picture is as good as the original.

    Args:
        policy: names of POLICIES, applied in this order; the authors' is color, translation, cutout. Empty is off.

    Raises:
        UserError: (a ValueError) an unknown name, which is answered with the nearest known one.
        ValueError: a policy that is not a list of names.
    """

    def __init__(self, policy: Sequence[str] = ()):
        if isinstance(policy, str):
            raise ValueError(f"policy is the text '{policy}': it must be a list of names; write ['{policy}']")
        self.policy = tuple(policy)
        self._draws = [POLICIES.get(name) for name in self.policy]

    def __call__(self, picture: Tensor, *others: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Pictures (B, C, H, W), any C each, all of one B, H and W -> the same shapes; the inputs themselves when off.

        Raises:
            ValueError: not a batch of floating point pictures, pictures of two sizes, or `rotate` of pictures that are
                not square.
        """
        pictures = (picture, *others)
        if self._draws:
            _check(pictures)
        for draw in self._draws:
            stage = draw(picture)
            pictures = tuple(stage(each) for each in pictures)
        return pictures if others else pictures[0]


def brightness(x: Tensor, b: Tensor) -> Tensor:
    """x + b: (B, C, H, W), b (B,)."""
    return x + _each(b, x)


def saturation(x: Tensor, s: Tensor) -> Tensor:
    """(x - mean) s + mean, mean over the channels of each pixel: (B, C, H, W), s (B,). One channel stays as it is."""
    mean = x.mean(1, keepdim=True)  # (B, 1, H, W)
    return (x - mean) * _each(s, x) + mean


def contrast(x: Tensor, c: Tensor) -> Tensor:
    """(x - mean) c + mean, mean over all of each picture: (B, C, H, W), c (B,)."""
    mean = x.mean((1, 2, 3), keepdim=True)  # (B, 1, 1, 1)
    return (x - mean) * _each(c, x) + mean


def color(x: Tensor, b: Tensor, s: Tensor, c: Tensor) -> Tensor:
    """Brightness, then saturation, then contrast: (B, C, H, W), parameters (B,)."""
    return contrast(saturation(brightness(x, b), s), c)


def translation(x: Tensor, shift_rows: Tensor, shift_cols: Tensor) -> Tensor:
    """out[h, w] = x[h + shift_rows, w + shift_cols], 0 outside: (B, C, H, W), integer shifts (B,)."""
    _, channels, height, width = x.shape
    rows = torch.arange(height, device=x.device) + shift_rows[:, None]  # (B, H)
    cols = torch.arange(width, device=x.device) + shift_cols[:, None]  # (B, W)
    inside = ((rows >= 0) & (rows < height))[:, None, :, None] & ((cols >= 0) & (cols < width))[:, None, None, :]
    source = rows.clamp(0, height - 1)[:, :, None] * width + cols.clamp(0, width - 1)[:, None, :]  # (B, H, W)
    moved = x.flatten(2).gather(2, source.flatten(1)[:, None].expand(-1, channels, -1))  # (B, C, H W)
    return torch.where(inside, moved.view(x.shape), 0)


def cutout(x: Tensor, centre_rows: Tensor, centre_cols: Tensor) -> Tensor:
    """Fills a rectangle with 0: (B, C, H, W), integer centres (B,).

    It has int(H / 2 + 0.5) rows, from centre_rows minus half of them downward, and likewise columns; what lies outside
    the picture is cut off.
    """
    rows = _covered(x.shape[2], centre_rows)  # (B, H)
    cols = _covered(x.shape[3], centre_cols)  # (B, W)
    return torch.where(rows[:, None, :, None] & cols[:, None, None, :], 0, x)


def flip(x: Tensor, mirrored: Tensor) -> Tensor:
    """Mirrors left and right where `mirrored`: (B, C, H, W), bool (B,)."""
    return torch.where(_each(mirrored), x.flip(-1), x)


def rotate(x: Tensor, turns: Tensor) -> Tensor:
    """Turns by `turns` times 90 degrees, counter-clockwise: square (B, C, H, H), integers 0 to 3 (B,)."""
    x = torch.where(_each(turns >= 2), x.flip(-2, -1), x)
    return torch.where(_each(turns % 2 == 1), x.rot90(1, (-2, -1)), x)


@POLICIES.register("color")
def draw_color(x: Tensor) -> Stage:
    """b uniform in [-0.5, 0.5), s in [0, 2), c in [0.5, 1.5)."""
    b, s, c = torch.rand(3, len(x), device=x.device)
    return partial(color, b=b - 0.5, s=s * 2, c=c + 0.5)


@POLICIES.register("translation")
def draw_translation(x: Tensor) -> Stage:
    """Shifts of rows and columns uniform over the integers up to an eighth of that size, either way."""
    rows, cols = (_integers(x, -reach, reach + 1) for reach in (int(size / 8 + 0.5) for size in x.shape[2:]))
    return partial(translation, shift_rows=rows, shift_cols=cols)


@POLICIES.register("cutout")
def draw_cutout(x: Tensor) -> Stage:
    """Centres uniform over the picture, and over one place more where the cut is even, as the authors do."""
    rows, cols = (_integers(x, 0, size + 1 - _cut(size) % 2) for size in x.shape[2:])
    return partial(cutout, centre_rows=rows, centre_cols=cols)


@POLICIES.register("flip")
def draw_flip(x: Tensor) -> Stage:
    """Mirrored with probability 1/2."""
    return partial(flip, mirrored=_integers(x, 0, 2) == 1)


@POLICIES.register("rotate")
def draw_rotate(x: Tensor) -> Stage:
    """One of the four turns, each with probability 1/4. ValueError for pictures that are not square."""
    height, width = x.shape[2:]
    if height != width:
        raise ValueError(f"pictures are {height} x {width}: rotate needs square ones; crop to a square or leave it out")
    return partial(rotate, turns=_integers(x, 0, 4))


def _check(pictures: tuple[Tensor, ...]) -> None:
    first = pictures[0]
    for picture in pictures:
        if picture.dim() != 4 or not picture.is_floating_point():
            raise ValueError(
                f"a picture batch is {picture.dtype} {tuple(picture.shape)}: it must be floating point (B, C, H, W)"
            )
        if (len(picture), picture.shape[2:]) != (len(first), first.shape[2:]):
            raise ValueError(
                f"pictures of one call are {tuple(first.shape)} and {tuple(picture.shape)}: they share their drawn "
                "parameters, so make them of one batch size, height and width"
            )


def _each(drawn: Tensor, x: Tensor | None = None) -> Tensor:
    """One number per sample (B,) -> (B, 1, 1, 1), in the type of `x` where given."""
    return (drawn if x is None else drawn.to(x.dtype))[:, None, None, None]


def _integers(x: Tensor, low: int, high: int) -> Tensor:
    return torch.randint(low, high, (len(x),), device=x.device)


def _cut(size: int) -> int:
    return int(size / 2 + 0.5)


def _covered(size: int, centre: Tensor) -> Tensor:
    """Which of `size` rows the cut around `centre` (B,) covers -> bool (B, size)."""
    offset = torch.arange(size, device=centre.device) - (centre - _cut(size) // 2)[:, None]
    return (offset >= 0) & (offset < _cut(size))
