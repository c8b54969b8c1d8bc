"""Encoders of timm as parts of our networks: which of its names fit, and where their pretrained weights come from.

timm takes seconds to import, so that it is imported only when a network with such an encoder is built.
"""

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from i2i.errors import UserError
from i2i.registry import nearest

WORKING = "resnet18, convnext_tiny, efficientnet_b0, mobilenetv3_large_100, regnety_016"
_RULE = "it must be one that takes pictures of many sizes and gives features at three sizes or more, each smaller"


class Features(NamedTuple):
    """What an encoder gives, finest first."""

    channels: tuple[int, ...]
    reductions: tuple[int, ...]  # how many times smaller than the picture: powers of two, growing


class Statistics(NamedTuple):
    """What an encoder's pretrained weights expect of values in [0, 1]: one number per channel of the picture."""

    mean: list[float]
    std: list[float]


def timm_encoder(name: str, in_channels: int, *, pretrained: bool, weights: str | None) -> nn.Module:
    """timm's encoder: (B, in_channels, H, W) -> a list of features; H and W multiples of its largest reduction.

    On the meta device nothing is read or fetched, so that a network can be built without its pretrained weights. All
    that it computes with is in its state dict.

    Args:
        name: one that `fitting` accepts.
        in_channels: of the pictures; the first convolution of pretrained weights is adapted to another number than 3
            as timm does it (repeated and rescaled, or summed for one channel).
        pretrained: take the weights that timm names, never silently others.
        weights: a local file of them (.safetensors, or one of torch.save that holds nothing but tensors); None: from
            the hub, or what is left of an earlier download.

    Raises:
        UserError: weights without `pretrained`, no such file, weights of another network, a hub that does not answer.
    """
    import timm

    if weights is not None and not pretrained:
        raise UserError(f"weights is '{weights}'; it must be null where pretrained is false. Set pretrained to true.")
    if weights is not None and not Path(weights).is_file():
        raise UserError(
            f"weights is '{weights}'; it must be a file of the weights of timm's '{name}', and there is none. "
            "Set weights to where it is, or to null to take them from the hub."
        )
    config = timm.get_pretrained_cfg(name)
    if pretrained and weights is None and not (config and config.has_weights):
        hint = nearest(name, timm.list_models(pretrained=True))
        raise UserError(
            f"encoder is '{name}'; it must be one with published weights where pretrained is true.{hint} "
            "Set pretrained to false, or weights to a file of yours."
        )
    encoder = timm.create_model(name, features_only=True, in_chans=in_channels)
    if pretrained and not torch.empty(0).is_meta:
        _load(encoder, name, in_channels, weights)
    for module in encoder.modules():  # a few keep index tables beside their state dict; a weights file needs them in it
        for key, buffer in list(module.named_buffers(recurse=False)):
            module.register_buffer(key, buffer, persistent=True)
    return encoder


def statistics(name: str, in_channels: int) -> Statistics:
    """The mean and deviation of the pictures that the weights were trained on; for other than 3 channels, averages."""
    import timm

    config = timm.get_pretrained_cfg(name)
    if in_channels == len(config.mean):
        return Statistics(list(config.mean), list(config.std))
    mean, std = (sum(values) / len(values) for values in (config.mean, config.std))
    return Statistics([mean] * in_channels, [std] * in_channels)


@lru_cache(maxsize=64)
def fitting(name: str, in_channels: int) -> Features:
    """What timm's encoder of this name gives, tried out on the meta device; draws no random number.

    Raises:
        UserError: not a name of timm's; an encoder without three growing powers of two as reductions (ViT, Mixer), or
            that takes one size only, or no single picture in training.
    """
    import timm

    _known(name)
    size = ""
    try:
        with torch.device("meta"), torch.random.fork_rng(devices=[]):
            encoder = timm.create_model(name, features_only=True, in_chans=in_channels).train()
            channels, reductions = encoder.feature_info.channels(), encoder.feature_info.reduction()
            if not _growing(reductions):
                raise UserError(f"gives features reduced by {', '.join(map(str, reductions))}")
            height, width = 2 * reductions[-1], 3 * reductions[-1]
            size = f" of {height} x {width} pixels"
            shapes = [tuple(feature.shape) for feature in encoder(torch.empty(1, in_channels, height, width))]
    except UserError as error:
        raise _unfit(name, str(error)) from None
    except Exception as error:  # whatever a network of timm's says to a size or a use that it was not made for
        raise _unfit(name, f"does not take a single picture{size} ({_line(error)})") from None
    expected = [(1, count, height // step, width // step) for count, step in zip(channels, reductions)]
    if shapes != expected:
        raise _unfit(name, f"gives features of shapes {shapes} where {expected} are announced")
    return Features(tuple(channels), tuple(reductions))


def _known(name: str) -> None:
    """UserError unless timm has an encoder of this name, and under its tag, if it has one."""
    import timm

    bare = name.partition(".")[0]
    if not timm.is_model(bare):
        words = f"it must be a name of timm's.{nearest(name, timm.list_models())}"
        raise UserError(f"encoder is '{name}'; {words} Known to work, among others: {WORKING}.")
    tags = timm.list_models(f"{bare}.*", pretrained=True)
    if "." in name and name not in tags:
        raise UserError(f"encoder is '{name}'; it must be one of {', '.join([bare, *tags])}.{nearest(name, tags)}")


def _growing(reductions: list[int]) -> bool:
    doubling = all(step & (step - 1) == 0 for step in reductions)
    return doubling and len(reductions) >= 3 and sorted(set(reductions)) == list(reductions)


def _unfit(name: str, why: str) -> UserError:
    return UserError(f"encoder is '{name}'; {_RULE}. This one {why}. Known to work, among others: {WORKING}.")


# -------------------------------------------------------------------------------------------------- pretrained weights


def _load(encoder: nn.Module, name: str, in_channels: int, weights: str | None) -> None:
    """Every tensor of the encoder from the pretrained classifier that it is a part of; UserError if one is missing.

    timm itself loads the classifier, whole and strictly: into an encoder it would load what fits and leave the rest
    as it was drawn.
    """
    import timm
    from timm.models import adapt_input_conv

    overlay = None if weights is None else _overlay(weights, name)
    try:
        whole = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay)
        state = whole.state_dict()
        first = whole.pretrained_cfg.get("first_conv") or ()
        for conv in (first,) if isinstance(first, str) else first:
            if in_channels != 3:
                state[f"{conv}.weight"] = adapt_input_conv(in_channels, state[f"{conv}.weight"])
        encoder.load_state_dict(_part(state, encoder))
    except Exception as error:  # whatever the hub, the network or torch says
        if weights is not None:
            raise _not_its_file(weights, name, _line(error)) from None
        raise UserError(
            f"the pretrained weights of '{name}' are not to be had ({_line(error)}). Connect this machine to the hub; "
            "or fetch them on another one and set weights to the file; or set pretrained to false."
        ) from None


def _part(state: dict[str, Tensor], encoder: nn.Module) -> dict[str, Tensor]:
    """The tensors of a classifier under the names that they have in its encoder.

    timm's wrappers write the dots of outer names as underscores, or put one more name in front.
    """
    flat = {key.replace(".", "_"): value for key, value in state.items()}
    found = {}
    for key in encoder.state_dict():
        names = [each.replace(".", "_") for each in (key, key.partition(".")[2])]
        there = next((each for each in names if each in flat), None)
        if there is None:
            raise KeyError(f"they have nothing for {key}")
        found[key] = flat[there]
    return found


def _overlay(weights: str, name: str) -> dict:
    """What timm is told in place of its hub: the tensors of a file, and how many classes its classifier has."""
    import timm

    config, state = timm.get_pretrained_cfg(name), _tensors(weights, name)
    layer = config.classifier[0] if isinstance(config.classifier, list | tuple) else config.classifier
    classes = len(state[f"{layer}.weight"]) if f"{layer}.weight" in state else 0
    if classes == config.num_classes + (config.label_offset or 0):
        return {"state_dict": state}
    return {"state_dict": state, "num_classes": classes}


def _tensors(weights: str, name: str) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    try:
        with open(weights, "rb") as file:
            is_safetensors = file.read(9)[8:] == b"{"
        state = load_file(weights) if is_safetensors else torch.load(weights, map_location="cpu", weights_only=True)
    except Exception as error:  # a pickle of something else, a torn file, a folder without permission
        raise _not_its_file(weights, name, _line(error)) from None
    for key in ("state_dict", "model"):  # as training scripts wrap them
        state = state.get(key, state) if isinstance(state, dict) else {}
    state = {key.removeprefix("module."): value for key, value in state.items()}
    if not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise _not_its_file(weights, name, "it holds something else than named tensors")
    broken = next((key for key, value in state.items() if not bool(value.isfinite().all())), None)
    if broken is not None:
        raise _not_its_file(weights, name, f"{broken} is not finite")
    return state


def _not_its_file(weights: str, name: str, why: str) -> UserError:
    return UserError(
        f"weights is '{weights}'; it must be a file of the weights of timm's '{name}' ({why}). "
        "Set encoder to the network that they are of, or weights to another file."
    )


def _line(error: Exception) -> str:
    """What went wrong, in a few words on one line."""
    text = " ".join(str(error.args[0] if isinstance(error, KeyError) else error).split()).removesuffix(".")
    return f"{text[:157]}..." if len(text) > 160 else text or type(error).__name__
