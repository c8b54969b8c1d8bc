"""A classifier of small pictures, trained on the spot on real pictures only.

Its features stand in for Inception's where nothing can be downloaded or where Inception knows nothing of the domain
(digits), and its labels tell what a conditional generator drew. Four convolutions, the first and the last but one
halving, for pictures of 28 to 64 pixels; on MNIST 99.5 % after three epochs.

    28   5x5 convolution / 2 to 32       14   3x3 convolution / 2 to 64
     7   3x3 convolution to 64            7   3x3 convolution / 2 to 128       4   averaged to 2 x 2
         linear to 128 (the features)         linear to the classes

BatchNorm and ReLU follow every layer but the last.
"""

import time
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from i2i.evaluation.batches import Pictures, checked, checked_labels, to_floats
from i2i.evaluation.store import Say, fitted, key_of
from i2i.evaluation.training import batches, check_training, moves, one_cycle, taken
from i2i.seeds import derive

FORM = 1  # counts up with every change to the net or its training, so that older fits are not taken for new ones
FEATURES = 128
MINIMUM = 8  # pixels of a side
LABEL_SMOOTHING = 0.05


class Data(NamedTuple):
    """Pictures (N, C, H, W), as `checked` gives them, and their labels (N,)."""

    pictures: Tensor
    labels: Tensor


def _net(channels: int, classes: int) -> nn.ModuleDict:
    def layer(before: int, after: int, kernel: int, stride: int) -> list[nn.Module]:
        conv = nn.Conv2d(before, after, kernel, stride=stride, padding=kernel // 2, bias=False)
        return [conv, nn.BatchNorm2d(after), nn.ReLU(inplace=True)]

    body = [*layer(channels, 32, 5, 2), *layer(32, 64, 3, 2), *layer(64, 64, 3, 1), *layer(64, 128, 3, 2)]
    tail = [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(512, FEATURES), nn.BatchNorm1d(FEATURES), nn.ReLU()]
    return nn.ModuleDict({"features": nn.Sequential(*body, *tail), "logits": nn.Linear(FEATURES, classes)})


class Classifier:
    """A fitted classifier; made by `Classifier.fit`.

    Attributes:
        meta: settings, what it was fitted to, and how well.
        hash: SHA-256 of its weights.
        accuracy: on the test pictures that were handed to `fit`, in [0, 1]; None where none were.
    """

    def __init__(self, net: nn.ModuleDict, meta: dict[str, Any], hash: str):
        self.net = net.requires_grad_(False).eval()
        self.meta, self.hash = meta, hash

    @classmethod
    def fit(
        cls,
        pictures: Pictures,
        labels: Any,
        *,
        seed: int,
        say: Say = print,
        test: tuple[Pictures, Any] | None = None,
        classes: int | None = None,
        steps: int = 1400,
        batch_size: int = 128,
        lr: float = 6e-3,
        weight_decay: float = 1e-2,
        shift: int = 2,
    ) -> "Classifier":
        """The classifier of these pictures, from the store or trained now (AdamW, one cycle, shifted pictures).

        The same bits for the same seed and number of threads; the state of PyTorch's generator is left alone.

        Args:
            pictures: (N, C, H, W) or (N, H, W, C), see `checked`; real ones, for training.
            labels: (N,), 0 .. classes - 1.
            say: takes a sentence before and after training.
            test: (pictures, labels) that were not trained on, for `accuracy`.
            classes: None counts to the highest label.
            steps: of training; 1400 of 128 are three epochs of MNIST, a minute and a half on one core.
            batch_size: pictures in a step, and no more than there are.
            lr, weight_decay: AdamW's, the highest rate of the cycle.
            shift: pixels that a training picture is moved by at most, up, down and sideways.

        Raises:
            ValueError: pictures or labels that do not fit each other, fewer than two classes.
        """
        check_training(steps=steps, batch_size=batch_size, lr=lr)
        train = _checked(pictures, labels, classes, "pictures")
        held_out = None if test is None else _checked(*test, classes, "test pictures")
        classes = classes or int(train.labels.max()) + 1
        _check_together(train, held_out, classes)
        settings = {
            "form": FORM, "classes": classes, "steps": steps, "batch_size": min(batch_size, len(train.labels)),
            "lr": lr, "weight_decay": weight_decay, "shift": shift,
        }  # fmt: skip
        arrays = {"pictures": train.pictures, "labels": train.labels}
        arrays |= {f"test {name}": data for name, data in zip(Data._fields, held_out or (None, None))}
        shape = list(train.pictures.shape)
        meta = {"kind": "classifier", "settings": settings, "seed": seed, "shape": shape[1:], "count": shape[0]}

        def make() -> tuple[dict[str, Tensor], dict[str, Any]]:
            began = time.monotonic()
            say(f"Training a classifier on {shape[0]:,} real pictures, {steps:,} steps.")
            net = _trained(train, settings, seed)
            accuracy = None if held_out is None else _accuracy(net, held_out)
            seconds = round(time.monotonic() - began, 1)
            scored = "" if accuracy is None else f", {accuracy:.2%} right of {len(held_out.labels):,} test pictures"
            say(f"The classifier is trained: {seconds:g} s{scored}.")
            return net.state_dict(), {"accuracy": accuracy, "seconds": seconds}

        found = fitted(key_of("classifier", settings, arrays, seed), meta, make, say=say)
        with torch.device("meta"):
            net = _net(shape[1], classes)
        net.load_state_dict(found.tensors, assign=True)
        return cls(net, found.meta, found.hash)

    @property
    def accuracy(self) -> float | None:
        return self.meta["accuracy"]

    @property
    def classes(self) -> int:
        return self.meta["settings"]["classes"]

    def to(self, device: str | torch.device) -> "Classifier":
        """Moves the net; what it gives comes back to the CPU."""
        self.net.to(device)
        return self

    def features(self, pictures: Pictures) -> Tensor:
        """(B, C, H, W) in [-1, 1], or levels (see `checked`) -> (B, 128) float32, none below 0."""
        return self.both(pictures)[0]

    def logits(self, pictures: Pictures) -> Tensor:
        """(B, C, H, W) in [-1, 1], or levels (see `checked`) -> (B, K) float32."""
        return self.both(pictures)[1]

    def both(self, pictures: Pictures) -> tuple[Tensor, Tensor]:
        """(features, logits) in one pass. ValueError for pictures of another shape than those of the fit."""
        x = checked(pictures)
        if list(x.shape[1:]) != self.meta["shape"]:
            raise ValueError(
                f"pictures are {tuple(x.shape[1:])}; the classifier was fitted to {tuple(self.meta['shape'])}. "
                "Bring them to the channels and sides of its data."
            )
        return _both(self.net, x)


def _checked(pictures: Pictures, labels: Any, classes: int | None, name: str) -> Data:
    x = checked(pictures, name)
    if not len(x):
        raise ValueError(f"{name} are none; give at least one of each class.")
    if min(x.shape[-2:]) < MINIMUM:
        raise ValueError(f"{name} are {tuple(x.shape)}; a classifier takes sides of {MINIMUM} pixels or more.")
    return Data(x, checked_labels(labels, len(x), classes, f"labels of {name}"))


def _check_together(train: Data, test: Data | None, classes: int) -> None:
    if classes < 2:
        raise ValueError(f"labels name {classes} class; a classifier needs two or more.")
    if len(train.labels) < 2:
        raise ValueError("there is one picture to fit a classifier to; give two or more.")
    if train.labels.ndim != 1 or (test is not None and test.labels.ndim != 1):
        raise ValueError("labels have several axes; they must be one number for each picture.")
    if test is None:
        return
    if test.pictures.shape[1:] != train.pictures.shape[1:]:
        shapes = tuple(test.pictures.shape[1:]), tuple(train.pictures.shape[1:])
        raise ValueError(f"test pictures are {shapes[0]}, pictures {shapes[1]}; they must be of one shape.")
    if int(test.labels.max()) >= classes:
        raise ValueError(
            f"labels of test pictures go to {int(test.labels.max())}, those of training to {classes - 1}; set classes."
        )


def _trained(data: Data, settings: dict[str, Any], seed: int) -> nn.ModuleDict:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "classifier", "weights"))
        net = _net(data.pictures.shape[1], settings["classes"]).train()
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=settings["weight_decay"])
    draw = torch.Generator().manual_seed(derive(seed, "classifier", "order and shifts"))
    steps = settings["steps"]
    for step, chosen in enumerate(batches(len(data.labels), settings["batch_size"], steps, draw)):
        optimizer.param_groups[0]["lr"] = settings["lr"] * one_cycle(step, steps)
        x = to_floats(data.pictures[chosen])
        x = taken(x, *moves(x, settings["shift"], flip=False, draw=draw))
        loss = F.cross_entropy(net["logits"](net["features"](x)), data.labels[chosen], label_smoothing=LABEL_SMOOTHING)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net.eval()


@torch.no_grad()
def _both(net: nn.ModuleDict, x: Tensor, batch_size: int = 500) -> tuple[Tensor, Tensor]:
    """Checked pictures, in batches -> features (B, F) and logits (B, K), on the CPU."""
    place = net["logits"].weight.device
    features, logits = [], []
    for part in x.split(batch_size):
        features.append(net["features"](to_floats(part).to(place)))
        logits.append(net["logits"](features[-1]))
    return torch.cat(features).cpu(), torch.cat(logits).cpu()


def _accuracy(net: nn.ModuleDict, data: Data) -> float:
    right = _both(net, data.pictures)[1].argmax(1) == data.labels
    return right.double().mean().item()
