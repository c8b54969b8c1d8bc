"""3x3 convolutions of stride 1 by Winograd's forms F(2x2, 3x3) and F(4x4, 3x3): 4 and 2.25 products for each pixel of a
channel, where the convolution has 9 (Lavin and Gray, 2016, "Fast Algorithms for Convolutional Neural Networks").

    Y = A^T [(G g G^T) * (B^T d B)] A        d: a tile of 4x4 or 6x6 pixels, g: a kernel, Y: 2x2 or 4x4, *: by entries

Tiles overlap by two pixels. Over channels, the products of entries become one product of matrices for each entry,
(O x I) times (I x tiles). A transform of a tile from both sides is one matrix, the Kronecker product of two; on all
tiles of a picture it is a convolution of one channel: a filter for each entry, the tiles' distance as its stride.

The gradients are the adjoint of each step in reverse, in the same transformed domain: the gradient of Y, transformed
once, serves both those of the weights and of the input. What autograd keeps is what it keeps of a convolution, x and
the weights; tiles are cut anew, which takes little beside the products. All of it is made of differentiable operations,
so that there are gradients of gradients, too.

The sums have other terms than a convolution's, larger ones that cancel, so that rounding shows more; how much depends
on the points at which polynomials are evaluated. F2's 0, 1 and -1 leave only sums, differences and halves of pixels:
its results are as near to float64's as a convolution's, or nearer. F4 needs two points more. Lavin and Gray take 2 and
-2, with which few multiplications are made by hand; here a multiplication costs nothing, and +-1/c and +-c (Alam et
al., 2022, "Winograd Convolution for Deep Neural Networks: Efficient Point Selection") with c^2 = 2 round less: by the
largest difference from float64, 256 channels, float32, four times less.
"""

import math
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from i2i.nets.layers import is_convolution
from i2i.nets.products import Windows, folded

KERNEL = 3
MANY = 64  # channels, in and out, from which on the transforms cost little beside the products
FEWEST = 256  # pixels, over a batch, up to which they cost more than they spare
STRIP = 1 << 24  # numbers of transformed tiles that are held at once


@dataclass(frozen=True, eq=False)
class Form:
    """One of Winograd's forms.

    Args:
        out: side of what a tile gives, px.
        points: where polynomials are evaluated, out + 1 of them; infinity is one more.
    """

    out: int
    points: tuple[float, ...]
    read: Tensor = field(init=False, repr=False)  # (entries, pixels of a tile)
    kernel: Tensor = field(init=False, repr=False)  # (entries, pixels of a kernel)
    give: Tensor = field(init=False, repr=False)  # (pixels of an output tile, entries)

    def __post_init__(self):
        for name, matrix in zip(("read", "kernel", "give"), _matrices(self.out, self.points), strict=True):
            object.__setattr__(self, name, torch.kron(matrix, matrix))

    def __str__(self) -> str:
        return f"Winograd's F({self.out}x{self.out}, {KERNEL}x{KERNEL})"

    @property
    def side(self) -> int:
        """Of a tile, px."""
        return self.out + KERNEL - 1

    @property
    def entries(self) -> int:
        """Of a transformed tile."""
        return self.side**2


def _matrices(out: int, points: tuple[float, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """(B^T, G, A^T) in float64: Toom and Cook's evaluation at the points, and interpolation."""
    read, kernel, give = [], [], [[] for _ in range(out)]
    for point in points:
        others = [other for other in points if other != point]
        scale = math.prod(point - other for other in others)
        read.append([*_product(others), 0.0])
        kernel.append([point**power / scale for power in range(KERNEL)])
        for power in range(out):
            give[power].append(point**power)
    read.append(_product(points))  # of infinity: the leading coefficients
    kernel.append([float(power == KERNEL - 1) for power in range(KERNEL)])
    for power in range(out):
        give[power].append(float(power == out - 1))
    # on the CPU whatever is the default: networks are laid out on the meta device, and this file is first read there
    return tuple(torch.tensor(rows, dtype=torch.float64, device="cpu") for rows in (read, kernel, give))


def _product(roots) -> list[float]:
    """The coefficients of the product of all (z - root), the constant one first."""
    coefficients = [1.0]
    for root in roots:
        raised, scaled = [0.0, *coefficients], [*(-root * c for c in coefficients), 0.0]
        coefficients = [one + other for one, other in zip(raised, scaled)]
    return coefficients


F2 = Form(2, (0.0, 1.0, -1.0))
F4 = Form(4, (0.0, math.sqrt(0.5), -math.sqrt(0.5), math.sqrt(2.0), -math.sqrt(2.0)))
FORMS = (F2, F4)


def fits(layer: nn.Module) -> bool:
    """Whether a layer is a 3x3 convolution of stride 1, ungrouped, with many channels, and no more than that."""
    return (
        is_convolution(layer)
        and not isinstance(layer, nn.ConvTranspose2d)
        and (layer.kernel_size, layer.stride, layer.dilation) == ((KERNEL, KERNEL), (1, 1), (1, 1))
        and min(layer.in_channels, layer.out_channels) >= MANY
    )


def transformed(weight: Tensor, form: Form) -> Tensor:
    """G g G^T of every kernel: (O, I, 3, 3) -> (entries, O, I)."""
    return (form.kernel.to(weight) @ weight.flatten(2).flatten(0, 1).t()).unflatten(1, weight.shape[:2])


def convolved(x: Tensor, factors: Tensor, bias: Tensor | None, padding: tuple[int, int], form: Form) -> Tensor:
    """F.conv2d with weights that are `transformed` already: (B, I, H, W) -> (B, O, H', W'), zeros beyond the border.

    In strips of rows of tiles where all tiles together were more than STRIP numbers.
    """
    height, width, down, across = _laid_out(x.shape, padding, form)
    channels = max(factors.shape[1:])
    rows = max(1, STRIP // (form.entries * channels * len(x) * across))
    x = _padded(x, padding, form)
    if rows >= down:
        y = _strip(x, factors, form)[:, :, :height, :width].contiguous()
    else:
        y = x.new_empty(len(x), factors.shape[1], height, width)
        for top in range(0, height, rows * form.out):
            strip = _strip(x[:, :, top : top + rows * form.out + KERNEL - 1], factors, form)
            y[:, :, top : top + rows * form.out] = strip[:, :, : height - top, :width]
    return y if bias is None else y.add_(bias[:, None, None])


def _strip(x: Tensor, factors: Tensor, form: Form) -> Tensor:
    """Of x as whole tiles cover it: (B, I, H, W) -> (B, O, H - 2, W - 2)."""
    height, width = (side - KERNEL + 1 for side in x.shape[2:])
    entries = factors @ _each_tile(x, form.read, form)  # (entries, O, tiles)
    tiles = form.give.to(x) @ entries.flatten(1)
    tiles = tiles.reshape(form.out, form.out, -1, len(x), height // form.out, width // form.out)
    return tiles.permute(3, 2, 4, 0, 5, 1).reshape(len(x), -1, height, width)


def convolution(x: Tensor, weight: Tensor, bias: Tensor | None, padding: tuple[int, int], form: Form) -> Tensor:
    """F.conv2d, zeros beyond the border: (B, I, H, W), with weights (O, I, 3, 3) -> (B, O, H', W'). With gradients."""
    return _Convolution.apply(x, weight, bias, padding, form)


def workspace(shape: tuple[int, ...], out_channels: int, padding: tuple[int, int], form: Form) -> int:
    """About how many numbers a forward and backward holds at once beside those that a convolution needs, for x of
    `shape`: the transformed gradient of Y and tiles of x, and what these are made of, the weights' gradient, or the
    pictures that they are added up to."""
    _, _, down, across = _laid_out(shape, padding, form)
    tiles, channels = shape[0] * down * across, shape[1]
    pictures = 3 * math.prod(shape)
    more = max(form.entries * channels * max(tiles, out_channels), pictures)
    return form.entries * (out_channels + channels) * tiles + more


def _laid_out(shape: tuple[int, ...], padding: tuple[int, int], form: Form) -> tuple[int, int, int, int]:
    """Rows and columns of the output, and of the tiles that cover it."""
    height, width = (side + 2 * p - KERNEL + 1 for side, p in zip(shape[-2:], padding))
    return height, width, -(-height // form.out), -(-width // form.out)


def _margins(x: Tensor, padding: tuple[int, int], form: Form) -> tuple[int, int, int, int]:
    """Left, right, top, bottom: the padding, and what the last tiles reach beyond it."""
    _, _, down, across = _laid_out(x.shape, padding, form)
    (height, width), (above, left), over = x.shape[-2:], padding, KERNEL - 1
    return left, form.out * across + over - width - left, above, form.out * down + over - height - above


def _padded(x: Tensor, padding: tuple[int, int], form: Form) -> Tensor:
    margins = _margins(x, padding, form)
    return F.pad(x, margins) if any(margins) else x


def _spread(grad: Tensor, form: Form) -> Tensor:
    """The adjoint of giving pixels from entries: (B, O, H', W') -> (entries, O, tiles)."""
    beyond = [-side % form.out for side in grad.shape[-2:]]
    grad = F.pad(grad, (0, beyond[1], 0, beyond[0])) if any(beyond) else grad
    return _each_tile(grad, form.give.t(), form)


def _each_tile(x: Tensor, matrix: Tensor, form: Form) -> Tensor:
    """A matrix (entries, pixels) times every tile of each channel: (B, C, H, W) -> (entries, C, tiles)."""
    batch, channels = x.shape[:2]
    side = math.isqrt(matrix.shape[1])
    filters = matrix.to(x).reshape(-1, 1, side, side)
    entries = F.conv2d(x.reshape(batch * channels, 1, *x.shape[2:]), filters, stride=form.out)
    return entries.reshape(batch, channels, form.entries, -1).permute(2, 1, 0, 3).flatten(2)


def _gathered(entries: Tensor, x: Tensor, padding: tuple[int, int], form: Form) -> Tensor:
    """The adjoint of reading tiles: (entries, I, tiles) -> (B, I, H, W), as x."""
    batch, channels, height, width = x.shape
    left, right, above, below = _margins(x, padding, form)
    flat = (form.read.t().to(entries) @ entries.flatten(1)).reshape(form.entries, channels, batch, -1)
    del entries  # as large as x twice over, like what comes of it
    columns = flat.permute(2, 1, 0, 3).flatten(1, 2)
    del flat
    windows = Windows((form.side, form.side), (form.out, form.out), (0, 0))
    whole = folded(columns, windows, (above + height + below, left + width + right))
    return whole[:, :, above : above + height, left : left + width].contiguous()


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None, padding: tuple[int, int], form: Form) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.padding, ctx.form = padding, form
        return convolved(x, transformed(weight, form), bias, padding, form)

    @staticmethod
    def backward(ctx, grad: Tensor):
        (x, weight), form, (of_x, of_weight, of_bias, *_) = ctx.saved_tensors, ctx.form, ctx.needs_input_grad
        entries = _spread(grad, form) if of_x or of_weight else None  # (entries, O, tiles)
        grad_weight = grad_x = None
        if of_weight:
            factors = entries @ _each_tile(_padded(x, ctx.padding, form), form.read, form).transpose(
                1, 2
            )  # (entries, O, I)
            grad_weight = (form.kernel.t().to(grad) @ factors.flatten(1)).t().reshape(weight.shape)
            del factors
        if of_x:
            grad_x = _gathered(transformed(weight, form).transpose(1, 2) @ entries, x, ctx.padding, form)
        return grad_x, grad_weight, grad.sum((0, 2, 3)) if of_bias else None, None, None
