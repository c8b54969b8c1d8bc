"""Metrics of predictions whose true picture is known.

Each takes predictions and targets, (H, W, C) arrays of uint8, uint16 or floats in the same order, reads them once, one
pair at a time, and gives the mean over the pictures: every picture counts alike, whatever its size. `value_range` is
the lowest and highest value of the domain; None takes the whole range of the arrays' type, and floats need one. A
result is {"mean", "standard_error", "count"}: the standard error is the pictures' standard deviation (n - 1) over
sqrt(n), None for a single picture. All raise UserError for no picture at all, two counts, a pair of two shapes or
types, floats without a range, NaN, or an empty value range.
"""

from collections.abc import Iterable, Iterator
from itertools import zip_longest
from pathlib import Path

import numpy as np

from i2i.errors import UserError
from i2i.metrics.pictures import checked_range, scaled
from i2i.metrics.summary import summary

Range = tuple[float, float] | None

ALEXNET = "alexnet-owt-7be5be79.pth"  # torchvision's name, which ends in the first letters of the SHA-256
CHECKSUM = "7be5be79"


def l1(
    predictions: Iterable[np.ndarray], targets: Iterable[np.ndarray], *, value_range: Range = None
) -> dict[str, float | int | None]:
    """Mean absolute difference of a picture's values, |p - t| / (highest - lowest).

    Unit: parts of the value range, so 0 is equality and 1 the distance from black to white; for 8-bit pictures a
    result of 0.1 is 25.5 levels. On tensors in [-1, 1] the same difference is twice this number.

    Arguments, result and errors: see the head of this file.
    """
    import torch  # both take seconds to import, and only an evaluation needs them
    from torchmetrics import MeanAbsoluteError

    difference = MeanAbsoluteError().set_dtype(torch.float64)
    values = []
    for prediction, target, low, high in _pairs(predictions, targets, value_range):
        pair = (np.ascontiguousarray(picture, dtype=np.float64) for picture in (prediction, target))
        difference.update(*map(torch.from_numpy, pair))
        values.append(float(difference.compute()) / (high - low))
        difference.reset()
    return summary(values)


def psnr(
    predictions: Iterable[np.ndarray], targets: Iterable[np.ndarray], *, value_range: Range = None
) -> dict[str, float | int | None]:
    """Peak signal-to-noise ratio, 10 log10((highest - lowest)^2 / mean squared difference), in dB.

    A prediction that equals its target has no finite ratio. Such pairs are counted in "identical" and left out of mean
    and standard error, which are None where no pair is left: a mean can only be read together with that count.

    Arguments, result and errors: see the head of this file; "count" counts every pair.
    """
    from torchmetrics.functional.image import peak_signal_noise_ratio

    values, identical = [], 0
    for prediction, target, low, high in _pairs(predictions, targets, value_range):
        if np.array_equal(prediction, target):
            identical += 1
        else:
            pair = (_tensor(scaled(picture, low, high)) for picture in (prediction, target))
            values.append(float(peak_signal_noise_ratio(*pair, data_range=1.0)))
    found = summary(values) if values else {"mean": None, "standard_error": None}
    return {**found, "count": len(values) + identical, "identical": identical}


def ssim(
    predictions: Iterable[np.ndarray], targets: Iterable[np.ndarray], *, value_range: Range = None
) -> dict[str, float | int | None]:
    """Structural similarity (Wang et al., 2004): 1 is equality; no unit.

    (2 m_p m_t + c1) (2 s_pt + c2) / ((m_p^2 + m_t^2 + c1) (s_p^2 + s_t^2 + c2)) with means m, variances s^2 and
    covariance s_pt under a Gaussian window of 11 pixels and width 1.5, c1 = 0.01^2 and c2 = 0.03^2 on values in [0, 1];
    the mean over all pixels (borders mirrored) and over the channels, each by itself.

    Arguments, result and errors: see the head of this file; a picture with a side below 6 pixels is refused too.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure

    values = []
    for prediction, target, low, high in _pairs(predictions, targets, value_range):
        _check_side(len(values) + 1, prediction, 6)
        pair = (_tensor(scaled(picture, low, high)) for picture in (prediction, target))
        values.append(float(structural_similarity_index_measure(*pair, data_range=1.0)))
    return summary(values)


def lpips(
    predictions: Iterable[np.ndarray],
    targets: Iterable[np.ndarray],
    weights: str | Path,
    *,
    value_range: Range = None,
) -> dict[str, float | int | None]:
    """Learned perceptual distance (Zhang et al., 2018), version 0.1 on AlexNet: 0 is equality; no unit.

    sum_l mean_hw sum_c w_lc (f_lc(p) - f_lc(t))^2 over five layers l of a net trained on ImageNet, with features f of
    unit length along c. The small weights w come with torchmetrics; the net's own are a file of torchvision in the
    folder `weights`. Nothing is ever fetched.

    Args:
        weights: folder that holds alexnet-owt-7be5be79.pth.

    Further arguments, result and errors: see the head of this file. Grey is repeated to three channels; other channel
    counts, a side below 31 pixels, a missing file and one with another checksum are refused too.
    """
    model = _perceptual(Path(weights))
    values = []
    for prediction, target, low, high in _pairs(predictions, targets, value_range):
        number = len(values) + 1
        _check_side(number, prediction, 31)
        if prediction.shape[2] not in (1, 3):
            raise UserError(f"picture {number} has {prediction.shape[2]} channels: LPIPS takes 1 (grey) or 3 (RGB)")
        pair = (_tensor(scaled(picture, low, high)).float() for picture in (prediction, target))
        values.append(float(model(*(picture.expand(-1, 3, -1, -1) for picture in pair), normalize=True)))
    return summary(values)


def _perceptual(folder: Path):
    """The LPIPS net with AlexNet's weights from a folder."""
    import hashlib

    import torch
    from torchmetrics.functional.image.lpips import _LPIPS  # the public one fetches weights

    file = folder / ALEXNET
    if not file.is_file():
        raise UserError(f"LPIPS needs {ALEXNET}, which is not in {folder}: fetch it from torchvision and put it there")
    with file.open("rb") as opened:
        found = hashlib.file_digest(opened, "sha256").hexdigest()
    if not found.startswith(CHECKSUM):
        raise UserError(f"{file} is damaged: its SHA-256 begins with {found[:8]}, not {CHECKSUM}; fetch it again")
    state = torch.load(file, map_location="cpu", weights_only=True)
    with torch.random.fork_rng(devices=[]):  # the net is first drawn at random, which is nobody else's business
        model = _LPIPS(net="alex", pnet_rand=True)
    own = {key: f"features.{key.split('.', 1)[1]}" for key in model.net.state_dict()}  # from "slice2.3.bias"
    model.net.load_state_dict({key: state[theirs] for key, theirs in own.items()})
    return model.requires_grad_(False).eval()


def _tensor(picture: np.ndarray):
    """(H, W, C) -> (1, C, H, W)."""
    import torch

    return torch.from_numpy(picture).permute(2, 0, 1)[None]


def _check_side(number: int, picture: np.ndarray, least: int) -> None:
    if min(picture.shape[:2]) < least:
        raise UserError(f"picture {number} is {picture.shape[:2]}: each side must be at least {least} pixels")


def _pairs(predictions, targets, value_range: Range) -> Iterator[tuple[np.ndarray, np.ndarray, float, float]]:
    """(prediction, target, lowest, highest) of each pair, checked."""
    number = 0
    for number, (prediction, target) in enumerate(zip_longest(predictions, targets), start=1):
        if prediction is None or target is None:
            longer = "targets" if prediction is None else "predictions"
            raise UserError(f"picture {number} is only among the {longer}: give as many predictions as targets")
        if prediction.shape != target.shape or prediction.dtype != target.dtype:
            raise UserError(
                f"picture {number} is {prediction.dtype} {prediction.shape}, its target {target.dtype} {target.shape}: "
                "they must agree in type, height, width and channels"
            )
        checked_range(number, target, value_range)
        yield prediction, target, *checked_range(number, prediction, value_range)
    if not number:
        raise UserError("no pictures to compare: predictions and targets are empty; give at least one of each")
