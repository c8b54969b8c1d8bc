"""The deepest layers of a U-Net and the last one of a generator as matrix products, for inference on a CPU.

Where a map has few pixels and many channels, a convolution of 4x4 with stride 2 is all weights, and the kernels for it,
above all for its transpose, read them far below the speed of the memory. Written as a product of matrices
(`nets.products`) it is the same sum in another order: it differs from the convolution in the last bits of float32 and
by nothing else.

Where it pays was measured on two cores of an AVX2 CPU, in ms: transposed, 1024 to 512 channels, from 2, 4 and 8 px:
6.4, 6.5, 14 as a convolution, 6, 5.9, 13 as a product; 512 to 512 from 1 px: 3.9 and 2; not transposed, 512 to 512
channels, from 2, 4, 8 and 16 px: 2, 2.2, 3.2, 6.5 and 0.7, 3.2, 2.3, 5.2. One core alone gains more. Beyond these sides
it costs more, there. On two cores with AVX512 it pays longer: transposed, 1024 to 256 channels, from 16 px 11 and 9;
not transposed, 256 to 512 channels, from 32 px 7 and 4.7; the whole U-Net 84 and 78.
"""

import types

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from i2i.nets import products
from i2i.nets.layers import is_convolution
from i2i.nets.narrow import narrow, scattered

LARGE = 1 << 20  # weights of a layer from which on reading them counts
WIDE = torch.backends.cpu.get_cpu_capability() == "AVX512"
# the most pixels for a product: before a transposed convolution, and after an ordinary one
UP_PIXELS, DOWN_PIXELS = (256, 1024) if WIDE else (64, 64)
GEOMETRY = {"kernel_size": (4, 4), "stride": (2, 2), "padding": (1, 1), "dilation": (1, 1), "groups": 1}


def as_products(net: nn.Module) -> nn.Module:
    """`net`, its deep layers replaced by `Down` and `Up` of the same names, weights and results (but for rounding), and
    its last one computed by a product."""
    for parent in list(net.modules()):
        for name, layer in parent.named_children():
            if _last(layer):
                layer.forward = types.MethodType(scattered, layer)
            if not all(getattr(layer, key, None) == value for key, value in GEOMETRY.items()):
                continue
            large = layer.weight.numel() >= LARGE
            if type(layer) is nn.Conv2d and layer.padding_mode == "zeros" and large:
                setattr(parent, name, Down(layer))
            elif type(layer) is nn.ConvTranspose2d and layer.output_padding == (0, 0) and (large or narrow(layer)):
                setattr(parent, name, Up(layer))
    return net


def _last(layer: nn.Module) -> bool:
    convolution = is_convolution(layer) and not isinstance(layer, nn.ConvTranspose2d)
    return convolution and max(layer.kernel_size) > 1 and narrow(layer)


class Down(nn.Module):
    """(B, C, H, W) -> (B, C', H / 2, W / 2), as the convolution of 4x4, stride 2, padding 1 whose weights it takes."""

    def __init__(self, layer: nn.Conv2d):
        super().__init__()
        self.weight, self.bias = layer.weight, layer.bias

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2] // 2, x.shape[-1] // 2
        if height * width > DOWN_PIXELS:
            return F.conv2d(x, self.weight, self.bias, stride=2, padding=1)
        return products.convolved(x, self.weight, self.bias, stride=(2, 2), padding=(1, 1))


class Up(nn.Module):
    """(B, C, H, W) -> (B, C', 2 H, 2 W), as the transposed convolution of 4x4, stride 2, padding 1 whose weights it
    takes.

    A product reads them in another order than a convolution. From the first product on they lie in that order; a map
    that is too large for one then makes a copy in the other, which stays.
    """

    def __init__(self, layer: nn.ConvTranspose2d):
        super().__init__()
        self.weight, self.bias = layer.weight, layer.bias
        self.narrow = narrow(layer)
        self.copy: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        if height * width > UP_PIXELS and not self.narrow:
            return F.conv_transpose2d(x, self._kernels(), self.bias, stride=2, padding=1)
        return products.deconvolved(x, self._factor(), self.bias, kernel=(4, 4), stride=(2, 2), padding=(1, 1))

    def _factor(self) -> Tensor:
        """The weights as (16 C', C), contiguous."""
        factor = self.weight.detach().flatten(1).t()
        if not factor.is_contiguous():
            factor = factor.contiguous()
            self.weight = nn.Parameter(factor.t().unflatten(1, self.weight.shape[1:]), requires_grad=False)
        return factor

    def _kernels(self) -> Tensor:
        """The weights as (C, C', 4, 4), contiguous."""
        if self.weight.is_contiguous():
            return self.weight
        if self.copy is None:
            self.copy = self.weight.detach().contiguous()
        return self.copy
