"""A convolution as one product of matrices, and its transpose as another: pure functions of tensors, with gradients.

With `unfolded`, which lays the window of every output pixel into a column, and its adjoint `folded`, which adds columns
back up where windows overlap:

    convolution              y = W unfold(x)            W: (O, I k k)
    transposed convolution   y = fold(W^T x)            W: (I, O k k)

A convolution of stride 1 is a transposed one, too, of the kernels turned around: `scattered`. Where many channels
become few, as in the last layer of a generator, its columns are the smaller ones.

The sums are those of the convolution and run in another order: in float64 they agree to 1e-14. A product reads the
weights once, as they lie in memory; where there are millions of them and a handful of pixels, it takes as long as the
reading.

torch.nn.functional.unfold and fold are the same, and take four to thirteen times as long on a CPU: here a column is
copied by a strided view, and added tap by tap, each a shifted picture that is added whole (measured on AVX2, 2 cores:
256 channels, 32 px, kernel 4, stride 1: 5.1 and 0.6 ms; back 8.1 and 1.3 ms).
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

Pair = tuple[int, int]  # of rows, of columns
FEW = 16  # columns below which a product reads the weights as rows: libraries are slow at a handful of columns


class Windows(NamedTuple):
    """How windows lie on a picture."""

    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair = (1, 1)

    def counts(self, sides: Pair) -> Pair:
        """How many there are, over and beside each other, on a picture of these sides."""
        return tuple(
            (side + 2 * p - d * (k - 1) - 1) // s + 1
            for side, k, s, p, d in zip(sides, self.kernel, self.stride, self.padding, self.dilation)
        )


def convolved(
    x: Tensor, weight: Tensor, bias: Tensor | None, *, stride: Pair, padding: Pair, dilation: Pair = (1, 1)
) -> Tensor:
    """F.conv2d: (B, I, H, W), with weights (O, I, k, k) -> (B, O, H', W')."""
    windows = Windows(tuple(weight.shape[2:]), stride, padding, dilation)
    y = _times(weight.flatten(1), unfolded(x, windows)).unflatten(2, windows.counts(x.shape[2:]))
    return y if bias is None else y + bias[:, None, None]


def deconvolved(
    x: Tensor, factor: Tensor, bias: Tensor | None, *, kernel: Pair, stride: Pair, padding: Pair,
    output_padding: Pair = (0, 0), dilation: Pair = (1, 1),
) -> Tensor:  # fmt: skip
    """F.conv_transpose2d: (B, I, H, W) -> (B, O, H', W'); its weights (I, O, k, k) come as `factor`, (O k k, I)."""
    sides = tuple(
        (side - 1) * s - 2 * p + d * (k - 1) + extra + 1
        for side, s, p, d, k, extra in zip(x.shape[-2:], stride, padding, dilation, kernel, output_padding)
    )
    y = folded(_times(factor, x.flatten(2)), Windows(kernel, stride, padding, dilation), sides)
    return y if bias is None else y + bias[:, None, None]


def scattered(
    x: Tensor, factor: Tensor, bias: Tensor | None, *, kernel: Pair, padding: Pair, dilation: Pair = (1, 1)
) -> Tensor:
    """F.conv2d of stride 1: (B, I, H, W) -> (B, O, H', W'); its weights come `turned`, and the padding is smaller than
    the kernel reaches."""
    beyond = tuple(d * (k - 1) - p for k, p, d in zip(kernel, padding, dilation))
    return deconvolved(x, factor, bias, kernel=kernel, stride=(1, 1), padding=beyond, dilation=dilation)


def turned(weight: Tensor) -> Tensor:
    """The weights of a convolution, (O, I, k, k), as `scattered` takes them: (O k k, I)."""
    return weight.flip(2, 3).movedim(1, 3).flatten(0, 2)


def unfolded(x: Tensor, windows: Windows) -> Tensor:
    """F.unfold: (B, C, H, W) -> (B, C k k, windows), zeros beyond the border."""
    return _Unfolded.apply(x, windows)


def folded(columns: Tensor, windows: Windows, sides: Pair) -> Tensor:
    """F.fold: (B, C k k, windows) -> (B, C, *sides), the sum of all windows where they lie."""
    return _Folded.apply(columns, windows, sides)


class _Unfolded(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, windows: Windows) -> Tensor:
        (kernel, stride, padding, dilation), (down, across) = windows, windows.counts(x.shape[2:])
        ctx.windows, ctx.sides = windows, tuple(x.shape[2:])
        x = F.pad(x, (padding[1], padding[1], padding[0], padding[0])) if any(padding) else x
        row, column = x.stride()[2:]
        steps = (row * dilation[0], column * dilation[1], row * stride[0], column * stride[1])
        taps = x.as_strided((*x.shape[:2], *kernel, down, across), (*x.stride()[:2], *steps))
        return taps.reshape(len(x), -1, down * across)

    @staticmethod
    def backward(ctx, grad: Tensor):
        return folded(grad, ctx.windows, ctx.sides), None


class _Folded(torch.autograd.Function):
    @staticmethod
    def forward(ctx, columns: Tensor, windows: Windows, sides: Pair) -> Tensor:
        (kernel, stride, padding, dilation), (down, across) = windows, windows.counts(sides)
        ctx.windows = windows
        taps = columns.reshape(len(columns), -1, *kernel, down, across)
        whole = [side + 2 * p for side, p in zip(sides, padding)]
        # by phases of the stride, in which the pixels that one tap adds to lie side by side
        phases = taps.new_zeros(*taps.shape[:2], *stride, *(-(-side // s) for side, s in zip(whole, stride)))
        for i in range(kernel[0]):
            for j in range(kernel[1]):
                (above, up), (left, beside) = divmod(i * dilation[0], stride[0]), divmod(j * dilation[1], stride[1])
                phases[:, :, up, beside, above : above + down, left : left + across] += taps[:, :, i, j]
        picture = phases.permute(0, 1, 4, 2, 5, 3).flatten(4, 5).flatten(2, 3)
        return picture[:, :, padding[0] : padding[0] + sides[0], padding[1] : padding[1] + sides[1]].contiguous()

    @staticmethod
    def backward(ctx, grad: Tensor):
        return unfolded(grad, ctx.windows), None, None


def _times(weights: Tensor, columns: Tensor) -> Tensor:
    """(M, K) times each of (B, K, L) -> (B, M, L), as one product: the gradient of the weights is then one, too."""
    batch, rows, count = columns.shape
    flat = columns[0] if batch == 1 else columns.movedim(1, 0).reshape(rows, batch * count)
    # rows that lie as such, so that autograd multiplies rows, too
    y = (flat.t().contiguous() @ weights.t()).t() if 1 < batch * count < FEW else weights @ flat
    return y[None] if batch == 1 else y.reshape(-1, batch, count).movedim(0, 1)
