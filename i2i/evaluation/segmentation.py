"""The segmentation net of protocol facades-fcn: photo -> the twelve classes of its label map, learnt from real pairs.

The FCN score of Isola et al. (2017, section 4.1) asks a net that was trained on real photos where it sees which class
in a generated one. Theirs was an FCN-8s fitted to Cityscapes; this one is fitted on the spot to the training pairs, so
that nothing needs to be fetched: a U-Net on a small encoder of timm's with random first weights.

    encoder   features at 1/2, 1/4, 1/8, 1/16, 1/32
    decoder   `Stage` of the U-Net on timm's encoders at 1/16, 1/8, 1/4 and 1/2, each beside the encoder's features
    head      1x1 convolution to the classes at 1/2, brought to full size bilinearly

With the defaults, on the 400 training pairs of facades at 128 pixels: 65.2 % of the pixels of the 100 validation photos
(facade alone is 39.0 %), 41.9 % of a class, IoU 31.4 %; deco and pillar are never called. Ten minutes of one core.
"""

import time
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from i2i.evaluation.batches import Pictures, checked, checked_labels, to_floats
from i2i.evaluation.store import Say, fitted, key_of
from i2i.evaluation.training import batches, check_training, moves, one_cycle, taken
from i2i.nets.encoder import fitting, timm_encoder
from i2i.nets.init import init_weights
from i2i.nets.unet_timm import Stage
from i2i.seeds import derive

FORM = 1  # counts up with every change to the net or its training, so that older fits are not taken for new ones


class Class(NamedTuple):
    """A class of the label maps and its colour in them."""

    name: str
    colour: tuple[int, int, int]


# The classes of the CMP Facade Database in its own order (Tylecek, research report CTU-CMP-2012-24). The colours are
# those of the label maps as pix2pix packs them, medians over the flat areas of the 400 for training: steps of MATLAB's
# "jet", in the same order.
CMP = (
    Class("background", (0, 0, 222)),
    Class("facade", (0, 48, 255)),
    Class("window", (0, 128, 255)),
    Class("door", (0, 208, 255)),
    Class("cornice", (32, 255, 224)),
    Class("sill", (112, 255, 144)),
    Class("balcony", (192, 255, 64)),
    Class("blind", (255, 240, 0)),
    Class("deco", (255, 160, 0)),
    Class("molding", (255, 80, 0)),
    Class("pillar", (255, 0, 0)),
    Class("shop", (174, 0, 0)),
)
CLEAR = 48  # levels: a colour this near to a class's, and to no other as near, is that class and no mixture


def palette_of(label_maps: Pictures) -> Tensor:
    """Label maps (B, H, W, 3) uint8, or (B, 3, H, W) in [-1, 1] -> (B, H, W) int64, places in `CMP`.

    Each pixel has the class of the nearest colour. Between two areas JPEG, and every resizing, leave colours of
    neither, some of them near a third class's: a seam of background runs where molding meets the facade. A pixel that
    is not clear therefore takes the class of the nearest pixel that is, if the picture has any.
    """
    from cv2 import DIST_L2, DIST_LABEL_PIXEL, distanceTransformWithLabels

    x = checked(label_maps, "label maps")
    if x.shape[1] != 3:
        raise ValueError(f"label maps have {x.shape[1]} channels; their classes are told by colours, of 3.")
    colours = torch.tensor([each.colour for each in CMP], dtype=torch.float32)
    found = []
    for picture in x:
        levels = picture.float() if picture.dtype == torch.uint8 else (picture + 1) * 127.5
        square = (levels.permute(1, 2, 0)[:, :, None] - colours).square().sum(-1)  # (H, W, K)
        distance, index = (each.numpy() for each in square.min(-1))
        unclear = (distance > CLEAR**2).astype(np.uint8)
        if not unclear.all():
            _, nearest = distanceTransformWithLabels(unclear, DIST_L2, 5, labelType=DIST_LABEL_PIXEL)
            classes = np.zeros(nearest.max() + 1, np.int64)  # of each clear pixel, by the number that OpenCV gave it
            classes[nearest[unclear == 0]] = index[unclear == 0]
            index = classes[nearest]
        found.append(torch.from_numpy(index))
    return torch.stack(found) if found else torch.empty(0, *x.shape[2:], dtype=torch.int64)


def scores(truth: Tensor, predicted: Tensor, classes: int) -> dict[str, Any]:
    """The numbers of Long et al. (2015, section 5), from n[i, j], the pixels of class i predicted as j.

    Args:
        truth, predicted: (B, H, W) int64, 0 .. classes - 1.

    Returns:
        per_pixel: sum_i n[i, i] / sum n. per_class: mean over i of n[i, i] / sum_j n[i, j]. iou: mean over i of
        n[i, i] / (sum_j n[i, j] + sum_j n[j, i] - n[i, i]); means over the classes that occur in `truth`. majority:
        per_pixel of calling everything by the commonest class. accuracies, ious: of each class, None where it does not
        occur.
    """
    if truth.shape != predicted.shape or not truth.numel():
        raise ValueError(f"truth is {tuple(truth.shape)}, predicted {tuple(predicted.shape)}; they must be alike.")
    pairs = (truth.long() * classes + predicted.long()).reshape(-1)
    n = torch.bincount(pairs, minlength=classes**2).reshape(classes, classes).double()
    right, true, called = n.diagonal(), n.sum(1), n.sum(0)
    there = true > 0
    accuracies, ious = right / true, right / (true + called - right)
    return {
        "per_pixel": float(right.sum() / n.sum()),
        "per_class": float(accuracies[there].mean()),
        "iou": float(ious[there].mean()),
        "majority": float(true.max() / n.sum()),
        "accuracies": [float(value) if here else None for value, here in zip(accuracies, there)],
        "ious": [float(value) if here else None for value, here in zip(ious, there)],
    }


class _Net(nn.Module):
    """(B, C, H, W) in [-1, 1] -> logits (B, K, H, W); H and W are multiples of the encoder's largest reduction."""

    def __init__(self, channels: int, classes: int, encoder: str, width: int):
        super().__init__()
        counts, self.reductions = fitting(encoder, channels)
        skips = dict(zip(self.reductions, counts))
        before, reduction, self.stages = counts[-1], self.reductions[-1], nn.ModuleList()
        while reduction > 2:
            reduction //= 2
            after = width * min(reduction, 8)
            skip = skips.get(reduction, 0)
            self.stages.append(
                Stage(before, skip, after, norm="batch", dropout=False, upsample="resize", padding="zero")
            )
            before = after
        self.head = nn.Conv2d(before, classes, 1)
        init_weights(self.stages, "normal_0.02")
        init_weights(self.head, "normal_0.02")
        self.encoder = timm_encoder(encoder, channels, pretrained=False, weights=None)

    def forward(self, x: Tensor) -> Tensor:
        features = self.encoder(x)
        skips = {reduction: [feature] for reduction, feature in zip(self.reductions, features)}
        reduction, y = self.reductions[-1], features[-1]
        for stage in self.stages:
            reduction //= 2
            y = stage(y, *skips.get(reduction, ()))  # (B, width * min(reduction, 8), H / reduction, W / reduction)
        return F.interpolate(self.head(y), x.shape[-2:], mode="bilinear", align_corners=False)


class Segmenter:
    """A fitted segmentation net; made by `Segmenter.fit`.

    Attributes:
        meta: settings, what it was fitted to, and `scores` on the validation pairs ("validation"; None without).
        hash: SHA-256 of its weights.
    """

    def __init__(self, net: nn.Module, meta: dict[str, Any], hash: str):
        self.net = net.requires_grad_(False).eval()
        self.meta, self.hash = meta, hash

    @classmethod
    def fit(
        cls,
        photos: Pictures,
        label_indices: Any,
        *,
        size: int = 128,
        steps: int = 1600,
        seed: int,
        say: Say = print,
        validation: tuple[Pictures, Any] | None = None,
        classes: int = len(CMP),
        batch_size: int = 8,
        lr: float = 3e-3,
        weight_decay: float = 1e-2,
        encoder: str = "test_resnet",
        width: int = 16,
    ) -> "Segmenter":
        """The net of these pairs, from the store or trained now (AdamW, one cycle, mirrored and shifted pairs).

        The same bits for the same seed and number of threads; the state of PyTorch's generator is left alone.

        Args:
            photos: (N, 3, H, W) or (N, H, W, 3), see `checked`; real ones, for training. Brought to size x size.
            label_indices: (N, H, W), 0 .. classes - 1, as `palette_of` gives them.
            size: side of the pictures that the net sees, a multiple of the encoder's largest reduction (32).
            say: takes a sentence before and after training.
            validation: (photos, label_indices) that were not trained on, for the scores.
            classes: that there are, whether they occur or not.
            steps, batch_size, lr, weight_decay: of training; the highest rate of the cycle.
            encoder: a name of timm's that `fitting` accepts.
            width: filters of the decoder at 1/2^i are width * min(2^i, 8).

        Raises:
            ValueError: pairs that do not fit each other, a size that the encoder does not take.
        """
        check_training(steps=steps, batch_size=batch_size, lr=lr)
        train = _pairs(photos, label_indices, size, classes, "photos")
        held_out = None if validation is None else _pairs(*validation, size, classes, "validation photos")
        if held_out is not None and held_out.photos.shape[1] != train.photos.shape[1]:
            raise ValueError("validation photos have other channels than those of training; they must be alike.")
        _check_size(size, encoder, train.photos.shape[1])
        settings = {
            "form": FORM, "size": size, "classes": classes, "encoder": encoder, "width": width, "steps": steps,
            "batch_size": min(batch_size, len(train.photos)), "lr": lr, "weight_decay": weight_decay,
        }  # fmt: skip
        arrays = {"photos": train.photos, "labels": train.labels}
        arrays |= {f"validation {name}": data for name, data in zip(Pairs._fields, held_out or (None, None))}
        meta = {
            "kind": "segmentation", "settings": settings, "seed": seed,
            "channels": train.photos.shape[1], "count": len(train.photos),
        }  # fmt: skip

        def make() -> tuple[dict[str, Tensor], dict[str, Any]]:
            began = time.monotonic()
            say(f"Training a segmentation net on {len(train.photos):,} real pairs of {size} x {size}, {steps:,} steps.")
            net = _trained(train, settings, seed)
            seconds = round(time.monotonic() - began, 1)
            found = None
            if held_out is not None:
                found = scores(held_out.labels, _logits(net, held_out.photos).argmax(1), classes)
            say(f"The segmentation net is trained: {seconds:g} s{_told(found)}.")
            return net.state_dict(), {"validation": found, "seconds": seconds}

        found = fitted(key_of("segmentation", settings, arrays, seed), meta, make, say=say)
        with torch.device("meta"), torch.random.fork_rng(devices=[]):
            net = _Net(meta["channels"], classes, encoder, width)
        net.load_state_dict(found.tensors, assign=True)
        return cls(net, found.meta, found.hash)

    def to(self, device: str | torch.device) -> "Segmenter":
        """Moves the net; what it gives comes back to the CPU."""
        self.net.to(device)
        return self

    def predict(self, photos: Pictures) -> Tensor:
        """(B, 3, H, W) in [-1, 1], or levels (see `checked`), any size -> (B, H, W) int64.

        Photos are brought to the size of the fit, and the logits back to theirs, both bilinearly.
        """
        x = checked(photos, "photos")
        if x.shape[1] != self.meta["channels"]:
            raise ValueError(f"photos have {x.shape[1]} channels; the net was fitted to {self.meta['channels']}.")
        found = [torch.empty(0, *x.shape[2:], dtype=torch.int64)]
        for part in x.split(32):
            logits = _logits(self.net, _resized(part, self.meta["settings"]["size"]))
            found.append(F.interpolate(logits, x.shape[-2:], mode="bilinear", align_corners=False).argmax(1))
        return torch.cat(found)


class Pairs(NamedTuple):
    """Photos (N, C, size, size) float32 in [-1, 1] and their labels (N, size, size) int64."""

    photos: Tensor
    labels: Tensor


def _pairs(photos: Pictures, label_indices: Any, size: int, classes: int, name: str) -> Pairs:
    x = checked(photos, name)
    if not len(x):
        raise ValueError(f"{name} are none; give at least one.")
    labels = checked_labels(label_indices, len(x), classes, f"labels of {name}")
    if labels.shape[1:] != x.shape[2:]:
        shapes = tuple(labels.shape[1:]), tuple(x.shape[2:])
        raise ValueError(f"labels of {name} are {shapes[0]}, {name} {shapes[1]}; they must be of one height and width.")
    if labels.shape[1:] != (size, size):  # float32 holds every class exactly
        labels = F.interpolate(labels[:, None].float(), (size, size), mode="nearest-exact")[:, 0].long()
    return Pairs(torch.cat([_resized(part, size) for part in x.split(32)]), labels)


def _resized(x: Tensor, size: int) -> Tensor:
    x = to_floats(x)
    if x.shape[-2:] == (size, size):
        return x
    return F.interpolate(x, (size, size), mode="bilinear", antialias=True, align_corners=False).clamp_(-1, 1)


def _check_size(size: int, encoder: str, channels: int) -> None:
    multiple = fitting(encoder, channels).reductions[-1]
    if size % multiple or size < 2 * multiple:  # BatchNorm needs more than a pixel at the smallest size
        raise ValueError(f"size is {size}; '{encoder}' takes multiples of {multiple} from {2 * multiple} up, as 128.")


def _trained(pairs: Pairs, settings: dict[str, Any], seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "segmentation", "weights"))
        net = _Net(pairs.photos.shape[1], settings["classes"], settings["encoder"], settings["width"]).train()
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=settings["weight_decay"])
    draw = torch.Generator().manual_seed(derive(seed, "segmentation", "order and moves"))
    steps, most = settings["steps"], settings["size"] // 8
    for step, chosen in enumerate(batches(len(pairs.labels), settings["batch_size"], steps, draw)):
        optimizer.param_groups[0]["lr"] = settings["lr"] * one_cycle(step, steps)
        x = pairs.photos[chosen]
        places = moves(x, most, flip=True, draw=draw)
        labels = taken(pairs.labels[chosen][:, None], *places)[:, 0]
        loss = F.cross_entropy(net(taken(x, *places)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net.eval()


@torch.no_grad()
def _logits(net: nn.Module, x: Tensor) -> Tensor:
    """(B, C, size, size), in batches -> (B, K, size, size) on the CPU."""
    place = next(net.parameters()).device
    return torch.cat([net(part.to(place)).cpu() for part in x.split(16)])


def _told(found: dict[str, Any] | None) -> str:
    if found is None:
        return ""
    return (
        f"; on validation pairs {found['per_pixel']:.1%} of pixels are right (the commonest class alone: "
        f"{found['majority']:.1%}), {found['per_class']:.1%} of a class, IoU {found['iou']:.1%}"
    )
