"""From the metadata and tensors of a weights file to a network, nothing computed or copied on the way."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from i2i import __version__
from i2i.errors import UserError
from i2i.infer.weights import check_tensors
from i2i.nets import GENERATORS


def build_network(meta: Mapping[str, Any], tensors: Mapping[str, Tensor], name: str = "the weights") -> nn.Module:
    """The generator that `meta["net"]` describes, in evaluation mode, its weights being `tensors` themselves.

    It is built on the meta device and without first weights: no memory is taken and no random number drawn.

    Args:
        name: what a message calls the weights.

    Raises:
        UserError: metadata that describe no network of this version, or tensors that are not exactly its own.
    """
    try:
        net = meta["net"]
        with torch.device("meta"), _Undrawn():
            shapes = [net[key] for key in ("in_channels", "out_channels", "size", "classes") if key in net]
            network = GENERATORS.build(net["name"], *shapes, **net["args"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{name}: the network that it describes cannot be built ({_words(error)}); it was written by i2i "
            f"{meta.get('version', 'of no known version')} and this is {__version__}."
        ) from None
    expected = {key: (value.shape, value.dtype) for key, value in network.state_dict().items()}
    check_tensors(expected, tensors, name)
    network.load_state_dict({key: value.detach() for key, value in tensors.items()}, assign=True)
    return network.eval().requires_grad_(False)


class _Undrawn(TorchFunctionMode):
    """Leaves out the drawing of first weights, which on the meta device imports sympy: a second, for nothing."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in (Tensor.normal_, Tensor.uniform_) or getattr(func, "__module__", "") == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def _words(error: Exception) -> str:
    text = f"no {error} in its metadata" if isinstance(error, KeyError) else str(error)
    return text.removesuffix(".")
