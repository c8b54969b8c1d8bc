"""A convolution as one product of matrices, and its transpose as another: pure functions of tensors, with gradients.

With `unfold`, which lays the window of every output pixel into a column, and its adjoint `fold`, which adds columns
back up where windows overlap:

    convolution              y = W unfold(x)            W: (O, I k k)
    transposed convolution   y = fold(W^T x)            W: (I, O k k)

The sums are those of the convolution and run in another order: in float64 they agree to 1e-14. A product reads the
weights once, as they lie in memory; where there are millions of them and a handful of pixels, it takes as long as the
reading. Autograd knows the gradients of products and of both layouts.
"""

import torch.nn.functional as F
from torch import Tensor

Pair = tuple[int, int]  # of rows, of columns


def convolved(
    x: Tensor, weight: Tensor, bias: Tensor | None, *, stride: Pair, padding: Pair, dilation: Pair = (1, 1)
) -> Tensor:
    """F.conv2d: (B, I, H, W), with weights (O, I, k, k) -> (B, O, H', W')."""
    kernel = tuple(weight.shape[2:])
    height, width = (
        (side + 2 * p - d * (k - 1) - 1) // s + 1
        for side, p, d, k, s in zip(x.shape[-2:], padding, dilation, kernel, stride)
    )
    columns = F.unfold(x, kernel, dilation, padding, stride)  # (B, I k k, H' W')
    y = _times(weight.flatten(1), columns).reshape(len(x), -1, height, width)
    return y if bias is None else y + bias[:, None, None]


def deconvolved(
    x: Tensor, factor: Tensor, bias: Tensor | None, *, kernel: Pair, stride: Pair, padding: Pair,
    output_padding: Pair = (0, 0), dilation: Pair = (1, 1),
) -> Tensor:  # fmt: skip
    """F.conv_transpose2d: (B, I, H, W) -> (B, O, H', W'); its weights (I, O, k, k) come as `factor`, (O k k, I)."""
    shape = tuple(
        (side - 1) * s - 2 * p + d * (k - 1) + extra + 1
        for side, s, p, d, k, extra in zip(x.shape[-2:], stride, padding, dilation, kernel, output_padding)
    )
    columns = _times(factor, x.flatten(2))  # (B, O k k, H W)
    y = F.fold(columns, shape, kernel, dilation, padding, stride)
    return y if bias is None else y + bias[:, None, None]


def _times(weights: Tensor, columns: Tensor) -> Tensor:
    """(M, K) times each of (B, K, L) -> (B, M, L), as one product: the gradient of the weights is then one, too."""
    if len(columns) == 1:
        return (weights @ columns[0])[None]
    batch, rows, count = columns.shape
    y = weights @ columns.movedim(1, 0).reshape(rows, batch * count)
    return y.reshape(-1, batch, count).movedim(0, 1)
