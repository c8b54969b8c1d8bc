"""Feature nets by name: pictures -> features that distances between sets of pictures are measured in.

Two numbers are comparable only where the net, its weights and the way pictures are brought to it are the same. All of
that stands in `FeatureNet.protocol`, for the report. Nothing is ever fetched: weights are files in $I2I_WEIGHTS.
"""

import hashlib
import io
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from i2i.errors import UserError
from i2i.evaluation.batches import Pictures, checked, to_levels, to_rgb
from i2i.evaluation.classifier import Classifier
from i2i.registry import nearest
from i2i.seeds import derive

INCEPTION_FILES = (
    "pt_inception-2015-12-05-6726825d.pth",
    "weights-inception-2015-12-05-6726825d.pth",
)  # of one content
INCEPTION_SHA256 = "6726825d"  # how its SHA-256 begins; the file's name says so
INCEPTION_FROM = "github.com/mseitzer/pytorch-fid/releases (fid_weights) or github.com/toshas/torch-fidelity (v0.2.0)"
NAMES = "inception, classifier, classifier:FOLDER, timm:NAME, torchvision:NAME"
VARIABLE = "I2I_WEIGHTS"

Both = Callable[[Tensor], tuple[Tensor, Tensor | None]]
_loading = threading.Lock()


class File(NamedTuple):
    """Tensors of a weights file, and its SHA-256."""

    name: str
    sha256: str
    state: dict[str, Tensor]


class FeatureNet:
    """A frozen net that gives features, and logits where it has any.

    Args:
        name: as `feature_net` takes it.
        protocol: what two numbers must share to be comparable.
        both: (B, C, H, W) `checked` pictures -> features (B, F), logits (B, K) or None.
        has_logits: whether `logits` gives any.
        random: whether the weights are random; features then mean little.
    """

    def __init__(self, name: str, protocol: str, both: Both, *, has_logits: bool, random: bool = False):
        self.name, self.protocol = name, protocol
        self.has_logits, self.random = has_logits, random
        self._both = both

    def features(self, pictures: Pictures) -> Tensor:
        """uint8 (B, H, W, C), or a tensor (B, C, H, W) in [-1, 1] (see `checked`) -> (B, F) float32 on the CPU."""
        return self.both(pictures)[0]

    def logits(self, pictures: Pictures) -> Tensor:
        """As `features` -> (B, K) float32. UserError where the net has none."""
        logits = self.both(pictures)[1]
        if logits is None:
            raise UserError(f"{self.name} gives features and no logits. Use a net that classifies, as inception.")
        return logits

    @torch.no_grad()
    def both(self, pictures: Pictures) -> tuple[Tensor, Tensor | None]:
        """(features, logits or None) in one pass."""
        features, logits = self._both(checked(pictures))
        return features.float().cpu(), None if logits is None else logits.float().cpu()


def feature_net(
    name: str,
    *,
    weights: str | os.PathLike | None = None,
    random_features: bool = False,
    seed: int = 0,
    size: int | None = None,
    classifier: Classifier | None = None,
    device: str | torch.device = "cpu",
) -> FeatureNet:
    """The feature net of this name.

    Args:
        name: "inception", of FID and Inception Score; "timm:NAME" and "torchvision:NAME", any of their classifiers;
            "classifier", the one that is handed in.
        weights: the folder that holds the weights file, or the file; None takes $I2I_WEIGHTS.
        random_features: timm and torchvision only: draw the weights if there is no file, and say so in the protocol.
        seed: of random weights.
        size: side that pictures are brought to; None takes what the net's weights were trained for. timm and
            torchvision only.
        classifier: for the name "classifier".
        device: where the net computes; what it gives comes back to the CPU.

    Raises:
        UserError: no such net; no weights and no leave to draw them; a file that is another one's, or damaged.
    """
    kind, _, which = name.partition(":")
    place = Place(weights, torch.device(device))
    if name == "classifier":
        return _classifier(classifier, place)
    if name == "inception":
        if random_features:
            raise UserError("inception is defined by its weights and is not drawn at random. Use timm:NAME for that.")
        return _inception(place)
    if kind in ("timm", "torchvision") and which:
        described = (_timm if kind == "timm" else _torchvision)(which)
        return _backbone(name, which, described, place, random_features, seed, size)
    raise UserError(f"'{name}' is no feature net.{nearest(name, ('inception', 'classifier'))} Known: {NAMES}.")


class Place(NamedTuple):
    """Where weights are looked for, and where nets compute."""

    weights: str | os.PathLike | None
    device: torch.device

    def find(self, names: tuple[str, ...]) -> Path | None:
        """The first file of these names; or the file that was named itself."""
        root = self.weights if self.weights is not None else os.environ.get(VARIABLE)
        if not root:
            return None
        path = Path(os.path.expanduser(root))
        if path.is_file():
            return path
        return next((path / name for name in names if (path / name).is_file()), None)

    def words(self) -> str:
        root = self.weights if self.weights is not None else os.environ.get(VARIABLE)
        return f"in {root}" if root else f"to be looked for: {VARIABLE} is not set"


# ------------------------------------------------------------------------------------------------------- one of each


def _classifier(found: Classifier | None, place: Place) -> FeatureNet:
    if found is None:
        raise UserError("the feature net 'classifier' is one that was fitted before. Hand it in as classifier=.")
    sides = " x ".join(map(str, found.meta["shape"][1:]))
    protocol = (
        f"classifier fitted on {found.meta['count']:,} real pictures, seed {found.meta['seed']} "
        f"(weights {found.hash}); pictures of {sides} as they are, not resized; [-1, 1]"
    )
    return FeatureNet("classifier", protocol, found.to(place.device).both, has_logits=True)


def _inception(place: Place) -> FeatureNet:
    path = place.find(INCEPTION_FILES)
    if path is None:
        raise UserError(
            f"inception needs the file {INCEPTION_FILES[0]}, and there is none {place.words()}. Fetch it once from "
            f"{INCEPTION_FROM} and set {VARIABLE} to its folder; or use classifier or timm:NAME."
        )
    file = _read(path, sha256=INCEPTION_SHA256)
    net = _inception_net(file, path).to(place.device)
    protocol = (
        f"inception: torch-fidelity's InceptionV3, features 2048, logits unbiased (weights {file.sha256}); "
        "8-bit levels; resized to 299 x 299 by its own rule, the bilinear one of TensorFlow 1, without antialias; "
        "(x - 128) / 128"
    )

    def both(x: Tensor) -> tuple[Tensor, Tensor]:
        return net(to_rgb(to_levels(x)).to(place.device))

    return FeatureNet("inception", protocol, both, has_logits=True)


def _inception_net(file: File, path: Path) -> nn.Module:
    """torch-fidelity's net with tensors that were read safely.

    Its constructor loads by itself, either from the net or by unpickling what a path holds. It takes the first way
    here, and what it calls for that gives our tensors.
    """
    from torch_fidelity import feature_extractor_inceptionv3 as theirs

    with _loading:
        original = theirs.load_state_dict_from_url
        theirs.load_state_dict_from_url = lambda *_, **__: file.state
        try:
            return theirs.FeatureExtractorInceptionV3("inception", ["2048", "logits_unbiased"], verbose=False).eval()
        except RuntimeError as error:  # a file of other tensors
            raise _not_its_file(path, "inception", error) from None
        finally:
            theirs.load_state_dict_from_url = original


class Described(NamedTuple):
    """How to build a net and what its weights expect: a side, a mean and a deviation of values in [0, 1]."""

    library: str
    build: Callable[[], nn.Module]
    both: Callable[[nn.Module], Both]
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


def _timm(which: str) -> Described:
    import timm

    if not timm.is_model(which.partition(".")[0]):
        raise UserError(f"'timm:{which}' is no feature net.{nearest(which, timm.list_models())} Use a name of timm's.")
    config = timm.data.resolve_data_config(pretrained_cfg=_config(which))

    def both(net: nn.Module) -> Both:
        def call(x: Tensor) -> tuple[Tensor, Tensor]:
            maps = net.forward_features(x)
            return net.forward_head(maps, pre_logits=True), net.forward_head(maps)

        return call

    return Described(
        f"timm {timm.__version__}", lambda: timm.create_model(which), both,
        config["input_size"][-1], config["mean"], config["std"],
    )  # fmt: skip


def _config(which: str) -> dict[str, Any]:
    import timm

    tags = timm.list_models(f"{which.partition('.')[0]}.*", pretrained=True)
    if "." in which and which not in tags:
        raise UserError(
            f"'timm:{which}' is no feature net: timm knows no such tag.{nearest(which, tags)} Leave it out."
        )
    config = timm.get_pretrained_cfg(which)
    return config.to_dict() if config else {}


def _torchvision(which: str) -> Described:
    import torchvision

    known = torchvision.models.list_models(module=torchvision.models)
    if which not in known:
        raise UserError(f"'torchvision:{which}' is no feature net.{nearest(which, known)} Use a name of torchvision's.")
    rule = torchvision.models.get_model_weights(which).DEFAULT.transforms()  # what its weights expect; fetches nothing

    def both(net: nn.Module) -> Both:
        last = [module for module in net.modules() if isinstance(module, nn.Linear | nn.Conv2d)][-1]
        seen: list[Tensor] = []
        last.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))

        def call(x: Tensor) -> tuple[Tensor, Tensor]:
            seen.clear()
            logits = net(x)
            features = seen.pop()  # what the last layer is given; SqueezeNet's is a convolution
            return features.mean((2, 3)) if features.ndim == 4 else features, logits

        return call

    return Described(
        f"torchvision {torchvision.__version__}", lambda: torchvision.models.get_model(which, weights=None), both,
        rule.crop_size[0], tuple(rule.mean), tuple(rule.std),
    )  # fmt: skip


def _backbone(
    name: str, which: str, described: Described, place: Place, random_features: bool, seed: int, size: int | None
) -> FeatureNet:
    side = described.size if size is None else size
    if not (isinstance(side, int) and side >= 1):
        raise UserError(f"size is {side}; it must be a whole number of pixels, as {described.size}.")
    path = place.find((f"{which}.safetensors", f"{which}.pth"))
    if path is None and not random_features:
        raise UserError(
            f"{name} needs a file {which}.safetensors or {which}.pth of its weights, and there is none "
            f"{place.words()}. Put it there and set {VARIABLE} to its folder; or allow random "
            "features, which tell little."
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "random features", name))
        net = described.build().requires_grad_(False).eval()
    told = f"RANDOM FEATURES, seed {seed}"
    if path is not None:
        file = _read(path)
        try:
            net.load_state_dict(file.state, strict=True)
        except RuntimeError as error:
            raise _not_its_file(path, name, error) from None
        told = f"weights {file.sha256}"
    both, mean, std = described.both(net.to(place.device)), *map(_column, (described.mean, described.std))
    protocol = (
        f"{name} of {described.library} ({told}); 8-bit levels; resized to {side} x {side}, bilinear, antialiased; "
        f"mean {_numbers(described.mean)}, deviation {_numbers(described.std)} of [0, 1]"
    )

    def call(x: Tensor) -> tuple[Tensor, Tensor]:
        x = to_rgb(to_levels(x)).to(place.device).float() / 255
        x = F.interpolate(x, (side, side), mode="bilinear", antialias=True, align_corners=False)
        return both((x - mean.to(x.device)) / std.to(x.device))

    return FeatureNet(name, protocol, call, has_logits=True, random=path is None)


def _column(numbers: tuple[float, ...]) -> Tensor:
    return torch.tensor(numbers).reshape(1, -1, 1, 1)


def _numbers(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:g}" for value in values)


# ------------------------------------------------------------------------------------------------------ weights files


def _read(path: Path, sha256: str = "") -> File:
    """Tensors of a .safetensors file, or of one that torch.save wrote and that holds nothing else.

    The hash is that of the very bytes that are loaded, and is checked before they are.
    """
    from safetensors.torch import load

    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from None
    found = hashlib.sha256(data).hexdigest()
    if not found.startswith(sha256):
        raise UserError(
            f"{path} is not the file that it should be: its SHA-256 begins with "
            f"{found[: len(sha256)]}, not {sha256}. Fetch it again."
        )
    try:
        state = load(data) if data[8:9] == b"{" else torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # a pickle of something else, a torn file
        raise _not_its_file(path, "a network", error) from None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise _not_its_file(path, "a network", ValueError("it holds something else than named tensors"))
    broken = next((key for key, value in state.items() if not bool(value.isfinite().all())), None)
    if broken is not None:
        raise _not_its_file(path, "a network", ValueError(f"{broken} is not finite"))
    return File(path.name, found, dict(state))


def _not_its_file(path: Path, name: str, error: Exception) -> UserError:
    why = " ".join(str(error).split())
    why = f"{why[:157]}..." if len(why) > 160 else why
    return UserError(f"{path} does not hold the weights of {name} ({why}). Give the file that its publisher names.")
