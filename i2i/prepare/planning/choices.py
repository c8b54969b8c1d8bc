"""What a plan chooses, and why: each function writes values and the reason for them, with the numbers that it found."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from i2i.config import Source
from i2i.prepare.planning.fingerprint import Fingerprint, Side
from i2i.prepare.planning.machine import GB, Machine, needed

FEW = 200  # training pictures; the sets on which DiffAugment was shown to matter most have 100 to 400
CROPS = (256, 192, 128, 96, 64, 48, 32, 24, 16, 12, 8)  # 2^k and 3 * 2^(k-1): a U-Net halves them k or k - 1 times
WIDTHS = (64, 48, 32, 24, 16)
EPOCHS = 200
MOST = {"pix2pix": 400_000, "cyclegan": 300_000}  # pictures shown to G; the longest of the papers' schedules
LEAST = 4_000

# names that people give to the folder of the inputs, and of the targets
_INPUTS = ("input", "source", "src", "label", "mask", "seg", "semantic", "edge", "sketch", "line", "condition", "gray")
_INPUTS += ("grey", "low", "lr", "noisy", "noise", "blur", "degraded", "before", "hazy", "rain")
_TARGETS = ("target", "output", "photo", "image", "rgb", "colo", "real", "truth", "gt", "high", "hr", "clean", "sharp")
_TARGETS += ("after", "clear")


@dataclass
class Choices:
    """The sections of a recipe as far as they are chosen, and the reasons: {path of keys: sentence}."""

    sections: dict[str, dict[str, Any]] = field(default_factory=dict)
    why: dict[tuple[str, ...], str] = field(default_factory=dict)

    def source(self, name: str) -> Source:
        """The choices as `build.check` takes them."""
        return Source(name, name, self.sections)


@dataclass(frozen=True)
class Size:
    """How pictures are cut: `load_size` (None leaves them alone), `crop`, and why each."""

    load_size: int | None
    crop: int
    why_load: str
    why_crop: str


def choose(found: Fingerprint, machine: Machine, check) -> Choices:
    """The largest plan that fits into the machine's memory: the crop first, then the width.

    Args:
        check: `build.check`, which fills the choices up with defaults.
    """
    widths = [width for width in WIDTHS if machine.kind != "cpu" or width <= 32]
    own = size(found).crop
    for limit in [crop for crop in CROPS if min(own, 64) <= crop <= own]:
        best, *narrower = (
            _Try(found, machine, size(found, limit), width, check) for width in widths[:1] + widths[:0:-1]
        )
        # the widest, then the narrowest: mostly one of the two decides
        if not best.fits and narrower[0].fits:
            best = next(tried for tried in reversed(narrower) if tried.fits)
        if best.fits:
            break
        best = narrower[0]
    best.say(smaller=limit < own)
    return best.chosen


class _Try:
    """A plan with a crop and a width; what it needs is worked out when it is asked for."""

    def __init__(self, found: Fingerprint, machine: Machine, cut: Size, width: int, check):
        self.machine, self.check, self.chosen = machine, check, _chosen(found, machine, cut, width)

    @cached_property
    def need(self) -> float:
        return needed(self.check(self.chosen.source("plan")), self.machine.kind)

    @property
    def fits(self) -> bool:
        return self.need <= self.machine.budget

    def say(self, smaller: bool) -> None:
        """The reason for the generator, which the memory of the machine has a part in."""
        sections, why, machine = self.chosen.sections, self.chosen.why, self.machine
        net, crop, batch = sections["generator"], sections["data"]["crop_size"], sections["train"]["batch_size"]
        if net["name"] == "unet":
            depth = f"{net['num_downs']} levels take the crop of {crop} px down to {crop >> net['num_downs']}"
            depth += "" if net["dropout"] else ", too few for a level with dropout"
        else:
            depth = f"{net['num_blocks']} blocks, as the paper takes {'from' if crop >= 256 else 'below'} 256 px"
        room = f"about {self.need / GB:.1f} GB (an estimate) of {machine.memory / GB:.3g} at batch {batch}"
        width = f"Width {net['width']} where the papers have 64, "
        if net["width"] == WIDTHS[0]:
            width = f"Width 64, as in the papers: {room}"
        elif machine.kind == "cpu":
            width += f"for want of a GPU: a quarter of the work or less; {room}"
        else:
            width += f"to fit the memory: {room}"
        width += "" if self.fits else ", which is more than there may be: try it, or plan on another machine"
        why["generator",] = f"{depth}. {width}."
        if smaller:
            why["data", "crop_size"] += " Smaller than the pictures allow, to fit the memory."


def _chosen(found: Fingerprint, machine: Machine, cut: Size, width: int) -> Choices:
    chosen = Choices()
    _method(chosen, found)
    batch = _batch(size(found).crop, found.fewest)  # of a crop that is small for want of memory, no more
    downs = _downs(cut.crop)
    _networks(chosen, found, cut.crop, width, downs)
    _augment(chosen, found)
    _data(chosen, found, cut, machine)
    chosen.sections["optimizer"] = {group: {"name": "adam", "lr": 2e-4, "betas": [0.5, 0.999]} for group in "GD"}
    chosen.why["optimizer",] = "As in the papers."
    _train(chosen, found, batch)
    _translate(chosen, found, batch, downs)
    return chosen


# ------------------------------------------------------------------------------------------------ the method


def _method(chosen: Choices, found: Fingerprint) -> None:
    if found.paired:
        how = "side by side in each file" if found.layout.kind == "side by side" else "matched by their stems"
        chosen.sections["method"] = {"name": "pix2pix", "objective": "nonsaturating", "lam_l1": 100.0}
        why = f"The pictures are paired, {how}: pix2pix, which learns from each pair what is right."
        if found.folders not in (None, ["A", "B"]):
            why += " If they share their stems by chance, these are two domains: rename one side and plan again."
        chosen.why["method",] = why
        return
    a, b = found.a, found.b
    alike = a.channels == b.channels
    chosen.sections["method"] = {"name": "cyclegan", "objective": "lsgan", "lam_identity": 0.5 if alike else 0.0}
    if found.layout.kind == "labelled":
        first = f"One folder for each class and no pairs: CycleGAN, between the two largest, {a.name} and {b.name}."
    else:
        first = f"Nothing pairs {a.name} with {b.name}: CycleGAN, which translates each picture there and back."
    second = (
        "lam_identity keeps colours that need no change; 0.0 lets them go, and a step takes a third less work."
        if alike
        else f"lam_identity is 0.0: it would feed {b.name} to the network that reads {a.name}, and these have "
        f"{b.channels} and {a.channels} channels."
    )
    chosen.why["method",] = f"{first} {second}"


def _networks(chosen: Choices, found: Fingerprint, crop: int, width: int, downs: int) -> None:
    layers = 3 if crop >= 96 else 2 if crop >= 48 else 1
    norm = "batch" if found.paired else "instance"
    if found.paired:
        net = {"name": "unet", "num_downs": downs, "width": width, "norm": "batch", "dropout": downs > 5}
    else:
        net = {"name": "resnet", "num_blocks": 9 if crop >= 256 else 6, "width": width, "norm": "instance"}
    chosen.sections["generator"] = net
    chosen.sections["discriminator"] = {"name": "patchgan", "num_layers": layers, "width": width, "norm": norm}
    sees = {3: 70, 2: 34, 1: 16}[layers]
    reason = "as in the papers" if layers == 3 else f"fewer than the papers' 3, since the crop is {crop} px"
    judge = "1 layer judges" if layers == 1 else f"{layers} layers judge"
    chosen.why["discriminator",] = f"{judge} patches of {sees} px, {reason}."


def _downs(crop: int) -> int:
    """How often a U-Net halves a crop of `CROPS`: down to 1 or 3 px."""
    return (crop & -crop).bit_length() - 1


def _augment(chosen: Choices, found: Fingerprint) -> None:
    unit = "training pairs" if found.paired else f"training pictures of {_smaller(found).name}"
    if found.fewest >= FEW:
        chosen.sections["augment"] = {"policy": []}
        chosen.why["augment",] = f"{found.fewest:,} {unit}: no DiffAugment, which is for fewer than {FEW}."
        return
    colour = {found.a.channels, found.b.channels} <= {1, 3}
    chosen.sections["augment"] = {"policy": [*(["color"] if colour else []), "translation", "cutout"]}
    words = f"{found.fewest:,} {unit} are few: DiffAugment keeps the discriminator from learning them by heart."
    if not colour:
        most = max(found.a.channels, found.b.channels)
        words += f" Without color, which mixes channels as if they were red, green and blue; here are {most}."
    chosen.why["augment",] = words


def _smaller(found: Fingerprint) -> Side:
    return found.a if found.a.count <= found.b.count else found.b


# ------------------------------------------------------------------------------------------------ the pictures


def size(found: Fingerprint, limit: int = CROPS[0]) -> Size:
    """How the pictures are resized and cut, the crop being at most `limit`."""
    sides = np.concatenate([found.a.shorter, found.b.shorter])
    least, middle, most = int(sides.min()), int(np.median(sides)), int(sides.max())
    wholly = next((crop for crop in CROPS if crop <= min(limit, least)), None)
    span = f"{least} px" if least == most else f"{least} to {most} px"
    near = most <= 1.5 * least or (found.measured and least >= 64)
    if wholly is not None and near:
        if wholly == least == most and not found.measured:
            why = f"The shorter side of every picture is {least} px: enlarged a little, so that each crop is another."
            return Size(_loaded(wholly), wholly, f"{why} As in the papers.", "The whole picture but the edge.")
        own = "levels that are measured are not resampled" if found.measured else "nothing is resized"
        scale = f"; {_loaded(limit)} would show more of each picture, coarser" if least > 1.5 * wholly else ""
        why = f"null: {own}; the shorter sides are {span}, and crops are cut at the pictures' own scale{scale}."
        return Size(None, wholly, why, _why_crop(wholly, least))
    crop = next((crop for crop in CROPS if crop <= min(limit, middle)), CROPS[-1])
    load = _loaded(crop)
    small = int((sides < load).sum())
    why = f"Shorter sides run from {least} to {most} px (median {middle}), so all are brought to {load}, aspect kept"
    why += f"; {small:,} of {len(sides):,} pictures {'is' if small == 1 else 'are'} enlarged by that" if small else ""
    why += f". Where a pixel is as large in all of them (maps, scans): null, with a crop of {wholly}" if wholly else ""
    return Size(load, crop, f"{why}.", _why_crop(crop, load))


def _loaded(crop: int) -> int:
    """The shorter side to load for a crop: 286 for 256, 143 for 128."""
    return round(crop * 286 / 256)


def _why_crop(crop: int, side: int) -> str:
    if crop == CROPS[0]:
        return "As in the papers."
    return f"The largest below {side} px that can be halved {_downs(crop)} times."


def _data(chosen: Choices, found: Fingerprint, cut: Size, machine: Machine) -> None:
    why = chosen.why
    data = chosen.sections["data"] = {
        "kind": "paired" if found.paired else "unpaired",
        "path": found.path,
        "limit": None,
        "load_size": cut.load_size,
        "crop_size": cut.crop,
        "flip": True,
        "transform": None,
        "workers": 1 if machine.kind == "cpu" else min(8, max(2, machine.cores // 2)),
        "cache": "auto",
    }
    why["data", "load_size"], why["data", "crop_size"] = cut.why_load, cut.why_crop
    data["flip"], why["data", "flip"] = flip(found)
    cores = f"{machine.cores} core{'s' if machine.cores > 1 else ''}"
    reason = "one reads ahead, the rest compute" if machine.kind == "cpu" else "half of them read ahead, 8 at most"
    why["data", "workers"] = f"Of {cores}, {reason}."
    for key, side in (("a", found.a), ("b", found.b)):
        data[key] = {"channels": side.channels, "range": side.range, "page": side.page}
        why["data", key] = _domain(side)
    if found.paired:
        data["direction"], why["data", "direction"] = direction(found)
    data["folders"] = found.folders
    if found.others:
        left = ", ".join(f"{name} {count:,}" for name, count in list(found.others.items())[:12])
        more = f", and {len(found.others) - 12} more" if len(found.others) > 12 else ""
        why["data", "folders"] = f"The two largest classes, A and B. The others: {left}{more}."
    elif found.folders:
        why["data", "folders"] = "What stands for A and B."


def flip(found: Fingerprint) -> tuple[bool, str]:
    """Whether samples are mirrored, and why."""
    grey = found.a.channels == found.b.channels == 1
    if grey and found.measured:
        return False, "Off, since grey pictures of more than 8 bits are often scans, where left is not right."
    if grey and max(found.a.shorter.max(), found.b.shorter.max()) <= 64:
        return False, "Off, since small grey pictures are often characters, which mirrored are others."
    return True, "Half of the samples are mirrored. Set it to false where left is not right (text, anatomy)."


def _domain(side: Side) -> str:
    channels = {1: "grey", 3: "RGB"}.get(side.channels, f"{side.channels} channels")
    words = f"{side.name}, {channels}, " + ("float levels" if side.depth == 32 else f"{side.depth} bits")
    if side.grey:
        words += f" ({side.grey:,} of {side.count:,} pictures are grey, made RGB)"
    if side.levels is not None:
        low, high = side.levels.percentiles
        words += f", from {_number(side.levels.low)} to {_number(side.levels.high)}"
        words += f", 99.8 % of them within {_number(low)} and {_number(high)}; the range's ends become -1 and 1"
    if side.page is not None:
        words += "; the files hold several pages, and 0 is the first"
    return f"{words}."


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.4g}"


def direction(found: Fingerprint) -> tuple[str, str]:
    """Which side is the input: by what made it, by the names of the folders, by which one says less; else A."""
    a, b = found.a, found.b
    turn = {"ab": "ba", "ba": "ab"}
    if found.made:
        return "ab", f"A is the input, which `i2i data pairs --by {found.made}` made of B."
    if found.folders:
        for names, towards in ((_INPUTS, ("ab", "ba")), (_TARGETS, ("ba", "ab"))):
            hits = [any(word in side.name.lower() for word in names) for side in (a, b)]
            if hits[0] != hits[1]:
                way = towards[0] if hits[0] else towards[1]
                first, second = (a, b) if way == "ab" else (b, a)
                words = f"{first.name} is taken for the input and {second.name} for the target, by their names"
                return way, f"{words}. {turn[way]} turns it round."
    if found.measured:
        return "ab", f"From {a.name} to {b.name}, as is usual. ba turns it round."
    simple, rich = (a, b) if a.detail <= b.detail else (b, a)
    numbers = f"{simple.detail:.2f} bytes a pixel as PNG where {rich.name} takes {rich.detail:.2f}"
    if simple.detail <= 0.75 * rich.detail:
        way = "ab" if simple is a else "ba"
        return way, f"{simple.name} is taken for the input, since it says less ({numbers}). {turn[way]} turns it round."
    little = f"{simple.name} says little less ({numbers})"
    if f"{simple.detail:.2f}" == f"{rich.detail:.2f}":
        little = f"both say as much ({simple.detail:.2f} bytes a pixel as PNG)"
    return "ab", f"From {a.name} to {b.name}, as is usual; {little}. ba turns it round."


# ------------------------------------------------------------------------------------------------ the schedule


def _batch(crop: int, fewest: int) -> int:
    wanted = 1 if crop >= 128 else 4 if crop >= 64 else 16
    return max(1, min(wanted, fewest // 4))


def _train(chosen: Choices, found: Fingerprint, batch: int) -> None:
    name, count = chosen.sections["method"]["name"], found.counts["train"]
    shown = min(max(EPOCHS * count, LEAST), MOST[name])
    steps = max(2, shown // batch)
    epochs = steps * batch / count
    chosen.sections["train"] = {
        "steps": steps,
        "decay_from": steps // 2,
        "batch_size": batch,
        "log_every": _every(steps / 400, 100),
        "sample_every": _every(steps / 40, 2000),
        "save_every": _every(steps / 16, 5000),
    }
    unit = "pairs" if found.paired else "pictures" + (" (the larger side)" if found.a.count != found.b.count else "")
    shape = f"{_number(round(epochs, 1 if epochs < 10 else None))} epochs of {count:,} {unit} at batch {batch}"
    if shown == LEAST > EPOCHS * count:
        why = f"{shape}: so few are shown more often than the papers' {EPOCHS} times"
    elif shown < EPOCHS * count:
        why = f"{shape}: so many are shown less often than the papers' {EPOCHS} times"
    else:
        why = f"{shape}, as in the papers"
    chosen.why["train", "steps"] = f"{why}; the rate falls to 0 over the second half."
    if batch > 1:
        crop = chosen.sections["data"]["crop_size"]
        chosen.why["train", "batch_size"] = f"{batch}, since one crop of {crop} px says little."
    else:
        chosen.why["train", "batch_size"] = "1, as in the papers; larger ones are faster, seldom better."
    chosen.why["train", "log_every"] = "log_every, sample_every, save_every: some 400 lines, 40 grids and 16 saves."


def _every(steps: float, most: int) -> int:
    """1, 2 or 5 times a power of ten, at most `steps` and `most`, at least 10."""
    values = [digit * 10**power for power in range(1, 5) for digit in (1, 2, 5)]
    return max((value for value in values if value <= min(steps, most)), default=10)


def _translate(chosen: Choices, found: Fingerprint, batch: int, downs: int) -> None:
    if not found.paired:
        chosen.sections["translate"] = {"norm": "running", "dropout": False}
        chosen.why["translate",] = "Neither matters here: this generator has InstanceNorm and no dropout."
        return
    noise = downs > 5
    chosen.sections["translate"] = {"norm": "batch" if batch == 1 else "running", "dropout": noise}
    norm = (
        "each picture is normalised by its own statistics, as in training at batch 1"
        if batch == 1
        else f"pictures are normalised by what {batch} at a time were in training, since they come one at a time"
    )
    dropout = (
        "dropout stays on, as in the paper: it is the noise z" if noise else "no dropout, since the U-Net has none"
    )
    chosen.why["translate",] = f"In use, {norm}; {dropout}."
