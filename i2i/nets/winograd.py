"""3x3 convolutions of stride 1 by Winograd's F(4x4, 3x3): 36 products of matrices for each 16 pixels of every channel,
where the convolution has 144 (Lavin and Gray, 2016, "Fast Algorithms for Convolutional Neural Networks").

    Y = A^T [(G g G^T) * (B^T d B)] A        d: a tile of 6x6 pixels, g: a kernel, Y: 4x4 pixels, *: entry by entry

Tiles overlap by two pixels. Over channels, the products of entries become one product of matrices for each of the 36,
(O x I) times (I x tiles). A transform of a tile from both sides is one matrix, the Kronecker product of two, on all
tiles at once: two thin products in a row take longer, since each reads and writes all of them.

The gradients are the adjoint of each step in reverse, in the same transformed domain: the gradient of Y, transformed
once, serves both those of the weights and of the input. What autograd keeps is what it keeps of a convolution, x and
the weights; tiles are cut anew, which takes little beside the products. All of it is made of differentiable operations,
so that there are gradients of gradients, too.

The sums have other terms than a convolution's, larger ones that cancel, so that rounding shows more. How much depends
on the points at which polynomials are evaluated. Lavin and Gray take 0, 1, -1, 2, -2, whose matrices need few
multiplications by hand; here a multiplication costs nothing, and +-1/c and +-c (Alam et al., 2022, "Winograd
Convolution for Deep Neural Networks: Efficient Point Selection") with c^2 = 2 round less: by the largest difference
from float64, 256 channels, float32, four times less.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from i2i.nets.layers import PaddedConv, continue_border

OUT, IN = 4, 6  # sides of what a tile gives and takes, px
POINTS = (0.0, math.sqrt(0.5), -math.sqrt(0.5), math.sqrt(2.0), -math.sqrt(2.0))  # and infinity
MANY = 64  # channels, in and out, from which on the transforms cost little beside the products


def _matrices() -> tuple[Tensor, Tensor, Tensor]:
    """(B^T, G, A^T), 6x6, 6x3 and 4x6 in float64: Toom and Cook's evaluation at the points, and interpolation."""
    every = _product(POINTS)
    read, kernel, give = [], [], [[] for _ in range(OUT)]
    for point in POINTS:
        others = [other for other in POINTS if other != point]
        scale = math.prod(point - other for other in others)
        read.append([*_product(others), 0.0])
        kernel.append([point**power / scale for power in range(3)])
        for power in range(OUT):
            give[power].append(point**power)
    read.append(every)  # of infinity: the leading coefficients
    kernel.append([0.0, 0.0, 1.0])
    for power in range(OUT):
        give[power].append(float(power == OUT - 1))
    # on the CPU whatever is the default: networks are laid out on the meta device, and this file is first read there
    return tuple(torch.tensor(rows, dtype=torch.float64, device="cpu") for rows in (read, kernel, give))


def _product(roots) -> list[float]:
    """The coefficients of the product of all (z - root), the constant one first."""
    coefficients = [1.0]
    for root in roots:
        raised, scaled = [0.0, *coefficients], [*(-root * c for c in coefficients), 0.0]
        coefficients = [one + other for one, other in zip(raised, scaled)]
    return coefficients


READ, KERNEL, GIVE = (torch.kron(matrix, matrix) for matrix in _matrices())  # (36, 36), (36, 9), (16, 36)


def fits(layer: nn.Module) -> bool:
    """Whether a layer is a 3x3 convolution of stride 1, ungrouped, with many channels, and no more than that."""
    kind = PaddedConv if isinstance(layer, PaddedConv) else nn.Conv2d
    return (
        isinstance(layer, kind)
        and type(layer).forward is kind.forward
        and (layer.kernel_size, layer.stride, layer.dilation, layer.groups) == ((3, 3), (1, 1), (1, 1), 1)
        and layer.padding_mode == "zeros"
        and not isinstance(layer.padding, str)
        and min(layer.in_channels, layer.out_channels) >= MANY
    )


def continued(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """What a layer that `fits` convolves: x, or x with its border continued as the layer does it."""
    return continue_border(x, layer.margin, layer.continued_by) if isinstance(layer, PaddedConv) else x


def transformed(weight: Tensor) -> Tensor:
    """G g G^T of every kernel: (O, I, 3, 3) -> (36, O, I)."""
    return (KERNEL.to(weight) @ weight.flatten(2).flatten(0, 1).t()).unflatten(1, weight.shape[:2])


def convolved(x: Tensor, factors: Tensor, bias: Tensor | None, padding: tuple[int, int]) -> Tensor:
    """F.conv2d with weights that are `transformed` already: (B, I, H, W) -> (B, O, H', W'), zeros beyond the border."""
    height, width, down, across = _laid_out(x.shape, padding)
    entries = factors @ _tiles(x, padding)  # (36, O, tiles)
    tiles = (GIVE.to(x) @ entries.flatten(1)).reshape(OUT, OUT, -1, len(x), down, across)
    y = tiles.permute(3, 2, 4, 0, 5, 1).reshape(len(x), -1, OUT * down, OUT * across)
    y = y[:, :, :height, :width].contiguous()
    return y if bias is None else y.add_(bias[:, None, None])


def convolution(x: Tensor, weight: Tensor, bias: Tensor | None, padding: tuple[int, int]) -> Tensor:
    """F.conv2d, zeros beyond the border: (B, I, H, W), with weights (O, I, 3, 3) -> (B, O, H', W'). With gradients."""
    return _Convolution.apply(x, weight, bias, padding)


def workspace(shape: tuple[int, ...], out_channels: int, padding: tuple[int, int]) -> int:
    """About how many numbers a forward and backward holds at once beside those that a convolution needs, for x of
    `shape`: the transformed gradient of Y, transformed tiles of x, what these are made of or the weights' gradient."""
    _, _, down, across = _laid_out(shape, padding)
    tiles, channels = shape[0] * down * across, shape[1]
    return IN * IN * (out_channels * tiles + channels * tiles + channels * max(tiles, out_channels))


def _laid_out(shape: tuple[int, ...], padding: tuple[int, int]) -> tuple[int, int, int, int]:
    """Rows and columns of the output, and of the tiles that cover it."""
    height, width = (side + 2 * p - 2 for side, p in zip(shape[-2:], padding))
    return height, width, -(-height // OUT), -(-width // OUT)


def _margins(x: Tensor, padding: tuple[int, int]) -> tuple[int, int, int, int]:
    """Left, right, top, bottom: the padding, and what the last tiles reach beyond it."""
    _, _, down, across = _laid_out(x.shape, padding)
    (height, width), (above, left) = x.shape[-2:], padding
    return left, OUT * across + 2 - width - left, above, OUT * down + 2 - height - above


def _tiles(x: Tensor, padding: tuple[int, int]) -> Tensor:
    """B^T d B of every tile: (B, I, H, W) -> (36, I, tiles)."""
    margins = _margins(x, padding)
    x = F.pad(x, margins) if any(margins) else x
    tiles = x.unfold(2, IN, OUT).unfold(3, IN, OUT)  # (B, I, down, across, 6, 6), a view
    flat = tiles.permute(4, 5, 1, 0, 2, 3).reshape(IN * IN, -1)
    return (READ.to(x) @ flat).unflatten(1, (x.shape[1], -1))


def _spread(grad: Tensor) -> Tensor:
    """The adjoint of giving pixels from entries: (B, O, H', W') -> (36, O, tiles)."""
    beyond = [-side % OUT for side in grad.shape[-2:]]
    grad = F.pad(grad, (0, beyond[1], 0, beyond[0])) if any(beyond) else grad
    tiles = grad.unfold(2, OUT, OUT).unfold(3, OUT, OUT)
    flat = tiles.permute(4, 5, 1, 0, 2, 3).reshape(OUT * OUT, -1)
    return (GIVE.t().to(grad) @ flat).unflatten(1, (grad.shape[1], -1))


def _gathered(entries: Tensor, x: Tensor, padding: tuple[int, int]) -> Tensor:
    """The adjoint of `_tiles`: (36, I, tiles) -> (B, I, H, W), as x."""
    batch, channels, height, width = x.shape
    left, right, above, below = _margins(x, padding)
    flat = (READ.t().to(entries) @ entries.flatten(1)).reshape(IN * IN, channels, batch, -1)
    del entries  # as large as x twice over, like each of the following
    columns = flat.permute(2, 1, 0, 3).reshape(batch, channels * IN * IN, -1)
    del flat
    whole = F.fold(columns, (above + height + below, left + width + right), IN, stride=OUT)
    return whole[:, :, above : above + height, left : left + width].contiguous()


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None, padding: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.padding = padding
        return convolved(x, transformed(weight), bias, padding)

    @staticmethod
    def backward(ctx, grad: Tensor):
        (x, weight), (of_x, of_weight, of_bias, _) = ctx.saved_tensors, ctx.needs_input_grad
        entries = _spread(grad) if of_x or of_weight else None  # (36, O, tiles)
        grad_weight = grad_x = None
        if of_weight:
            factors = entries @ _tiles(x, ctx.padding).transpose(1, 2)  # (36, O, I)
            grad_weight = (KERNEL.t().to(grad) @ factors.flatten(1)).t().reshape(weight.shape)
            del factors
        if of_x:
            grad_x = _gathered(transformed(weight).transpose(1, 2) @ entries, x, ctx.padding)
        return grad_x, grad_weight, grad.sum((0, 2, 3)) if of_bias else None, None
