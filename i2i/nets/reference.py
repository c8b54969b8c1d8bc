"""Weights of the reference implementation (junyanz/pytorch-CycleGAN-and-pix2pix) under our names.

Its networks are nested or numbered Sequentials, so that parameters are named by position. The functions in `_PLACES`
say at which positions our convolutions and norms stand.
"""

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from i2i.nets.patchgan import PatchGAN
from i2i.nets.pixel import PixelGAN
from i2i.nets.resnet import ResNet
from i2i.nets.unet import UNet

_REMEDY = "build the network with the arguments that these weights were trained with"


def from_reference(net: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The reference's state dict under the names of `net`, complete: `net.load_state_dict(from_reference(net, state))`.

    Files from before PyTorch 0.4 differ in two ways that mean nothing: they hold running statistics of InstanceNorm,
    which are passed over, and no count of BatchNorm's batches, which then starts at 0.

    Args:
        net: a UNet, ResNet, PatchGAN or PixelGAN of the architecture that the weights are for.
        state: parameters and buffers; keys like "model.1.weight". The tensors are handed on, not copied.

    Raises:
        ValueError: a network that the reference does not have; names missing or left over; another shape.
    """
    _check_architecture(net)
    places = _PLACES[type(net)](net)
    left, renamed = dict(state), {}
    for ours, tensor in net.state_dict().items():
        module, _, leaf = ours.rpartition(".")
        theirs = f"{places[module]}.{leaf}"
        if theirs not in left and leaf == "num_batches_tracked":
            left[theirs] = torch.zeros((), dtype=torch.long)
        if theirs not in left:
            raise ValueError(f"the reference's weights have no {theirs} for our {ours}: {_REMEDY}.")
        renamed[ours] = left.pop(theirs)
        if renamed[ours].shape != tensor.shape:
            shapes = f"{tuple(renamed[ours].shape)}, but our {ours} {tuple(tensor.shape)}"
            raise ValueError(f"the reference's {theirs} has shape {shapes}: {_REMEDY}.")

    for name, module in net.named_modules():
        if isinstance(module, nn.InstanceNorm2d):
            for leaf in ("running_mean", "running_var"):
                left.pop(f"{places[name]}.{leaf}", None)
    if left:
        first = ", ".join(sorted(left)[:3])
        raise ValueError(
            f"{len(left)} of the reference's weights have no place in our {type(net).__name__} ({first}): {_REMEDY}."
        )
    return renamed


def _check_architecture(net: nn.Module) -> None:
    name = type(net).__name__
    if type(net) not in _PLACES:
        known = ", ".join(kind.__name__ for kind in _PLACES)
        raise ValueError(f"the reference has no weights for a {name}; it has them for {known}.")
    if any(parametrize.is_parametrized(module) for module in net.modules()):
        raise ValueError(f"the reference's {name} has no spectral norm; build it with spectral_norm false.")
    if isinstance(net, UNet | ResNet):
        padding = "zero" if isinstance(net, UNet) else "reflect"
        if (net.upsample, net.padding) != ("deconv", padding):
            raise ValueError(
                f"the reference's {name} has upsample deconv and padding {padding}, but this one has upsample "
                f"{net.upsample} and padding {net.padding}; build it with the reference's."
            )


def _unet(net: UNet) -> dict[str, str]:
    """Sequentials within each other: the outermost [conv, level 1, act, deconv, tanh], the others
    [act, conv, norm, next level, act, deconv, norm, dropout], of which the innermost has neither norm nor next level.
    """
    places = {"encoder.0.conv": "model.model.0", "head.up": "model.model.3"}
    level, bottleneck = "model.model.1.model", len(net.encoder) - 1
    for i in range(1, bottleneck + 1):
        up = 3 if i == bottleneck else 5
        places |= {f"encoder.{i}.conv": f"{level}.1", f"encoder.{i}.norm": f"{level}.2"}
        places |= {
            f"decoder.{bottleneck - i}.up": f"{level}.{up}",
            f"decoder.{bottleneck - i}.norm": f"{level}.{up + 1}",
        }
        level += ".3.model"
    return places


def _resnet(net: ResNet) -> dict[str, str]:
    """One Sequential; norms follow their convolutions, and paddings and activations are counted too."""
    places = {"stem.conv": "model.1", "stem.norm": "model.2"}
    for i in range(2):
        places |= {f"down.{i}.conv": f"model.{4 + 3 * i}", f"down.{i}.norm": f"model.{5 + 3 * i}"}
    for i in range(len(net.blocks)):
        ours, theirs = f"blocks.{i}.residual", f"model.{10 + i}.conv_block"
        second = 6 if net.dropout else 5
        places |= {f"{ours}.conv1": f"{theirs}.1", f"{ours}.norm1": f"{theirs}.2"}
        places |= {f"{ours}.conv2": f"{theirs}.{second}", f"{ours}.norm2": f"{theirs}.{second + 1}"}
    after = 10 + len(net.blocks)
    for i in range(2):
        places |= {f"up.{i}.conv": f"model.{after + 3 * i}", f"up.{i}.norm": f"model.{after + 1 + 3 * i}"}
    return places | {"head.conv": f"model.{after + 7}"}


def _patchgan(net: PatchGAN) -> dict[str, str]:
    """One Sequential: conv and act, then conv, norm and act again and again, then conv."""
    places = {"blocks.0.conv": "model.0", "head": f"model.{3 * len(net.blocks) - 1}"}
    for i in range(1, len(net.blocks)):
        places |= {f"blocks.{i}.conv": f"model.{3 * i - 1}", f"blocks.{i}.norm": f"model.{3 * i}"}
    return places


def _pixel(net: PixelGAN) -> dict[str, str]:
    return {"blocks.0.conv": "net.0", "blocks.1.conv": "net.2", "blocks.1.norm": "net.3", "head": "net.5"}


_PLACES = {UNet: _unet, ResNet: _resnet, PatchGAN: _patchgan, PixelGAN: _pixel}
