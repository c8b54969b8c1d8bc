"""Alarms while training: what usually goes wrong with these methods, in words, each with its remedy.

An alarm is said once when it begins and again only after it was over. It is measured where the loop stops anyway: at a
log (the scalars of that step), and when samples are drawn (the preview pictures, and D on pictures that it trains on
and on some that it does not). Nothing of the training state is touched: the bits of a run are the same without alarms.
`alarms.jsonl` in the run folder has a line for each beginning and end.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from i2i.engine.lines import taken_up
from i2i.engine.standing import chance, opinions, saturated


class Rule(NamedTuple):
    """When an alarm begins and ends. Where `begins` is below `ends` small measures are bad, else large ones."""

    begins: float
    ends: float  # between the two nothing changes, so that a measure near the border does not ring again and again
    times: int  # so many measures in a row make a beginning
    words: str  # with {who} and {value}


RULES = {
    # D's loss as a share of what it would be if D could not tell at all. Under 2 % it is over 98 % sure of nearly every
    # patch; in healthy runs single steps dip there, five logs in a row do not.
    "d has won": Rule(
        0.02, 0.06, 5,
        "{who} has won: its loss is {value:.1%} of that of a blind guess, and it is so sure of itself that G learns "
        "little from it. Give it fewer clues: augment.policy='[color, translation, cutout]' (DiffAugment), a lower "
        "optimizer.D.lr, or discriminator.spectral_norm=true.",
    ),
    # How much G's outputs differ from one another, relative to how much the real pictures do: 38 % and more from step
    # 200 of facades on, 69 % of horse2zebra; a G that has forgotten its input keeps what noise leaves, 1 or 2 %.
    "g collapsed": Rule(
        0.05, 0.10, 2,
        "{who} has collapsed: it makes nearly the same picture of different inputs (their differences are {value:.1%} "
        "of those of real pictures). Start anew (--fresh) with a lower optimizer.*.lr, with DiffAugment, or from "
        "another train.seed; see with i2i data check that pairs do belong together.",
    ),
    # The same for a generator of latents: how much its samples differ from one another.
    "samples alike": Rule(
        0.05, 0.10, 2,
        "{who} has collapsed: its samples are nearly all alike (their differences are {value:.1%} of those of real "
        "pictures). Start anew (--fresh) with a lower optimizer.*.lr, another method.objective or method.constraint, "
        "DiffAugment, or from another train.seed.",
    ),
    # How much an output differs from its input, relative to how much pictures of the other domain do. 5 % is about
    # three of 256 levels for photographs, which no eye sees; horse2zebra is at 45 % from step 200 on.
    "nothing changed": Rule(
        0.05, 0.10, 2,
        "{who} changes nothing: its outputs differ from their inputs by {value:.1%} of what real pictures of the other "
        "domain do. Lower method.lam_identity (0 leaves the term out), method.lam_cycle_a and method.lam_cycle_b "
        "(10 -> 5), and see that the two domains do differ.",
    ),
    # The correlation of an output with its input, channel by channel. Translations keep light and dark (horse2zebra:
    # +0.85); where two generators invert, each undoing the other, it is near -0.9.
    "colours inverted": Rule(
        -0.5, -0.2, 2,
        "{who} inverts light and dark (correlation with its input {value:.2f}), as two generators may that undo "
        "each other. It seldom mends itself: start anew (--fresh) from another train.seed, or with "
        "method.lam_identity=0.5 or more. (Nothing is wrong if one domain is negatives of the other.)",
    ),
    # (D on training pictures - D on held-out ones) / (D on training pictures - D on G's): 0 where D generalises, 1
    # where unseen real pictures look to it like G's (Karras et al., 2020, "Training Generative Adversarial Networks
    # with Limited Data", equation 1, whose method keeps a like measure at 0.6).
    "d memorises": Rule(
        0.6, 0.4, 2,
        "{who} memorises the training pictures: it believes in held-out real ones {value:.0%} less, where 100% is as "
        "little as in G's. More pictures help, or augment.policy='[color, translation, cutout]' (DiffAugment), or a "
        "shorter run: an earlier sample may be the better model.",
    ),
    # The share of the time in which training waits for its next batch. Over 30 % a faster reader makes the run at least
    # 1.4 times as fast. One slow window (the start of an epoch, another program) is none.
    "data-bound": Rule(
        0.30, 0.15, 2,
        "training waits for pictures {value:.0%} of the time. Raise data.workers, make the files smaller (resize them "
        "once to data.load_size), or put them on a faster disk.",
    ),
}  # fmt: skip

FIRST_STEP = 200  # pictures of a generator that has hardly begun say nothing about it
WINDOW = 2.0  # seconds that a share of waiting is taken over, at least
LOOKS = 16  # pictures of training, and as many held out, for D to judge
LOOK_EVERY = 1000  # steps between two such looks, at least: they cost about 15 of them
SEEN = 2  # epochs before D can have memorised anything
SIDE = 64  # pixels that previews are compared at


class Alarms:
    """Watches one run.

    Args:
        method: trained here; `duels`, `maps`, `exports`, `paired` and `critique` say what to look at.
        data: the data set, for D's opinion of pictures that are trained on and of others.
        path: the run folder.
        step: where the run goes on; what was noted after it is dropped.
        pictures_per_step: training samples of a step.
        say: takes the words.
    """

    def __init__(
        self, method, data, path: Path, step: int, pictures_per_step: int, say: Callable[[str], None],
        clock: Callable[[], float] = time.perf_counter,
    ):  # fmt: skip
        self.method, self.data, self.say, self.clock = method, data, say, clock
        self.pictures_per_step = pictures_per_step
        self.file = path / "alarms.jsonl"
        self.ringing = _ringing(self.file, step)
        self.counts: dict[tuple[str, str], int] = {}
        self.waited, self.since, self.looked = 0.0, None, step
        self.held_out: list[dict[str, Tensor]] | None = None

    def timed(self, batches: Iterator) -> Iterator:
        """The same batches; the time that they take to come is counted."""
        while True:
            start = self.clock()
            batch = next(batches)
            self.waited += self.clock() - start
            yield batch

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """At a log: D's and G's losses against each other, and the time spent waiting since the last one."""
        for critic, duel in self.method.duels.items():
            blind = duel.weight * chance(self.method.objective)
            if blind and {duel.critic, duel.generator} <= scalars.keys():
                lost = saturated(self.method.objective, scalars[duel.generator], RULES["d has won"].ends)
                share = scalars[duel.critic] / blind if lost else float("inf")
                self.measure("d has won", critic, step, share)
        now = self.clock()
        if self.since is None:  # the first window holds the start of the readers
            self.since, self.waited = now, 0.0
        elif now - self.since >= WINDOW:
            self.measure("data-bound", "", step, self.waited / (now - self.since))
            self.since, self.waited = now, 0.0

    def sample(self, step: int, drawn: Mapping[str, list], pictures: Mapping[str, list]) -> None:
        """When samples were drawn: what the generators make of the previews, and now and then what D believes.

        Args:
            drawn: export -> [(pixels that its translator was given, pixels that it made)].
            pictures: key -> the preview pictures.
        """
        if step < FIRST_STEP:
            return
        for export, net in self.method.exports.items():
            source, target = self.method.maps[net]
            if source is None:
                reals = [self._small(target, real) for real in pictures[target]]
                self.look_at_samples(net, step, [self._small(target, out) for _, out in drawn[export]], reals)
                continue
            made = [(given, out) for given, out in drawn[export] if any(given is real for real in pictures[source])]
            inputs = [self._small(source, given) for given, _ in made]
            self.look_at(
                net, step, inputs, [self._small(target, out) for _, out in made],
                [self._small(target, real) for real in pictures[target]],
            )  # fmt: skip
        enough = step * self.pictures_per_step >= SEEN * len(self.data)
        if self.data.held_out and enough and step - self.looked >= LOOK_EVERY:
            self.looked = step
            for critic, share in self.memorised().items():
                self.measure("d memorises", critic, step, share)

    def look_at_samples(self, net: str, step: int, outputs: list[Tensor], reals: list[Tensor]) -> None:
        """Measures a generator of latents: its samples against each other, as real pictures are against each other."""
        real = _spread(reals)
        if real > 0.02:
            self.measure("samples alike", net, step, _spread(outputs) / real)

    def look_at(self, net: str, step: int, inputs: list[Tensor], outputs: list[Tensor], reals: list[Tensor]) -> None:
        """Measures one generator on its previews, (C, SIDE, SIDE) in [-1, 1] each."""
        real, given = _spread(reals), _spread(inputs)
        if min(real, given) > 0.02:  # else the previews are too much alike to say anything
            self.measure("g collapsed", net, step, _spread(outputs) / real)
        if self.method.paired or inputs[0].shape != outputs[0].shape:
            return  # the targets of pairs say themselves what must change
        far = float(np.mean([float((x - y).abs().mean()) for x in inputs for y in reals]))
        change = float(np.mean([float((x - y).abs().mean()) for x, y in zip(inputs, outputs, strict=True)]))
        if far > 0.02:
            self.measure("nothing changed", net, step, change / far)
        kept = [value for x, y in zip(inputs, outputs, strict=True) if (value := _correlation(x, y)) is not None]
        if kept:
            self.measure("colours inverted", net, step, float(np.mean(kept)))

    def memorised(self) -> dict[str, float]:
        """{discriminator: how much less it believes in held-out pictures, see RULES}."""
        if self.held_out is None:
            self.held_out = list(_held_out(self.data))
        length = len(self.data)
        known = [self.data.item(0, index * length // LOOKS)[0] for index in range(min(LOOKS, length))]
        if not self.held_out:
            return {}
        found = {}
        ours, theirs = opinions(self.method, known), opinions(self.method, self.held_out)
        for critic in ours:
            (train, fake), (other, _) = ours[critic], theirs[critic]
            gap, room = train.mean() - other.mean(), train.mean() - fake.mean()
            doubt = (train.var() / len(train) + other.var() / len(other)).sqrt()
            found[critic] = float(gap / room) if room > 0 and gap > 3 * doubt else 0.0  # within the scatter it is none
        return found

    def measure(self, rule: str, who: str, step: int, value: float) -> None:
        """Takes one measure; says what begins, notes what ends."""
        begins, ends, times, words = RULES[rule]
        key, low = (rule, who), begins < ends
        bad, good = (value <= begins, value > ends) if low else (value >= begins, value < ends)
        if key in self.ringing:
            if good:
                self.ringing.discard(key)
                self._note(step, rule, who, "over")
            return
        self.counts[key] = self.counts.get(key, 0) + 1 if bad else 0
        if self.counts[key] >= times:
            self.counts[key] = 0
            self.ringing.add(key)
            text = words.format(who=who, value=value)
            self._note(step, rule, who, "begins", text)
            self.say(f"ALARM at step {step:,}: {text}")

    def _note(self, step: int, rule: str, who: str, state: str, words: str | None = None) -> None:
        line = {"step": step, "alarm": rule, "of": who, "state": state} | ({"words": words} if words else {})
        with open(self.file, "a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")

    def _small(self, key: str, pixels: np.ndarray) -> Tensor:
        x = self.data.domains[key].to_tensor(pixels)
        return torch.nn.functional.adaptive_avg_pool2d(x, tuple(min(SIDE, side) for side in x.shape[-2:]))


def _ringing(file: Path, step: int) -> set[tuple[str, str]]:
    """What rang at `step`; later lines are dropped."""
    ringing = set()
    for line in taken_up(file, step):
        (ringing.add if line["state"] == "begins" else ringing.discard)((line["alarm"], line["of"]))
    return ringing


def _held_out(data) -> Iterator[dict[str, Tensor]]:
    """Pictures that are never trained on, prepared as training prepares its own."""
    for number, row in enumerate(data.previews(LOOKS)):
        pictures = {key: row[key] for key in data.keys}
        label = {"label": torch.tensor(int(row["label"]))} if "label" in row else {}
        parts = [pictures] if data.together else [{key: pixels} for key, pixels in pictures.items()]
        with suppress(ValueError):  # one that is smaller than the crop
            ready = {key: value for part in parts for key, value in data.transform(part, number).items()}
            yield {key: data.domains[key].to_tensor(ready[key]) for key in data.keys} | label


def _spread(pictures: list[Tensor]) -> float:
    """The mean difference between two of them, over pairs; of two sizes, over what both have. 0 for one alone."""
    pairs = [(x, y) for i, x in enumerate(pictures) for y in pictures[i + 1 :] if x.shape == y.shape]
    return float(np.mean([float((x - y).abs().mean()) for x, y in pairs])) if pairs else 0.0


def _correlation(x: Tensor, y: Tensor) -> float | None:
    """Of two pictures (C, H, W), the mean over channels; None where one of them is flat."""
    x, y = (p.flatten(1) - p.flatten(1).mean(1, keepdim=True) for p in (x, y))
    scale = x.norm(dim=1) * y.norm(dim=1)
    ok = scale > 1e-3 * x.shape[1]
    return float(((x * y).sum(1)[ok] / scale[ok]).mean()) if ok.any() else None
