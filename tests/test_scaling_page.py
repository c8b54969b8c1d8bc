"""The plan on paper in docs/scaling.md: every figure of its tables is worked out again from what it assumes."""

import math
import re
from pathlib import Path

import pytest
import yaml

from i2i import build, config
from i2i.build.paper import on_paper

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "scaling.md").read_text()
PLAN = PAGE[PAGE.index("## A plan on paper for 64 cards") :]
RECIPES = {"pix2pix": "pix2pix_facades", "CycleGAN": "cyclegan_horse2zebra"}
FLOAT = 4  # bytes
PASSES = 6  # over all gradients, around the averaging: joined, divided, put back; each is read and written


def tables() -> dict[str, list[list[str]]]:
    """{what stands in the first cell of the head: rows}."""
    found: dict[str, list[list[str]]] = {}
    for block in re.findall(r"(?:^\|.*\n)+", PLAN, flags=re.M):
        head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()]
        found[head[0]] = rows
    return found


def number(text: str) -> float:
    return float(re.match(r"[\d,.]+", text)[0].replace(",", ""))


@pytest.fixture(scope="module")
def assumed() -> dict[str, list[float]]:
    return {name: [number(part) for part in values.split(" / ")] for name, values, _ in tables()["assumed"]}


@pytest.fixture(scope="module")
def nets():
    """{method: {network: it, on paper}}"""
    return {name: on_paper(build.check(config.read(recipe)))[0] for name, recipe in RECIPES.items()}


def count(net) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def averaged(nets: dict) -> float:
    """MB of the tensors that one step averages: all gradients, and of each update its loss and a mark for each tensor."""
    marks = sum(len(list(net.parameters())) for net in nets.values())
    return FLOAT * (sum(map(count, nets.values())) + marks + 2) / 1e6


def sent(megabytes: float, cards: int) -> float:
    """MB that each card sends in a ring all-reduce, and receives."""
    return 2 * (cards - 1) / cards * megabytes


def averaging(megabytes: float, cards: int, link: float, memory: float) -> float:
    """ms; MB over GB/s are ms."""
    return sent(megabytes, cards) / link + PASSES * megabytes / memory


def computing(assumed, method: str, batch: int) -> float:
    """ms of a step of one card: a straight line through what is assumed of batch 1 and 16."""
    one, sixteen = assumed[f"{method}, a step at batch 1 / 16 a card"]
    return one + (sixteen - one) / 15 * (batch - 1)


def test_what_is_assumed(assumed):
    assert assumed["InfiniBand, each way, a card"] == [400 / 8]
    assert assumed["between two failures of one card"] == [round(16_384 * 54 * 24 / 419, -2)]


def test_bytes_of_a_step(nets):
    rows = tables()["averaged"]
    for (name, weights, megabytes, *by_cards), (method, of) in zip(rows, nets.items(), strict=True):
        millions = [f"{count(net) / 1e6:.2f}" for net in of.values()]
        shown = " + ".join(millions) if len(of) == 2 else f"2 x {millions[0]} + 2 x {millions[2]}"
        assert (name, weights) == (method, shown) and len(set(millions)) == 2
        total = averaged(of)
        assert [megabytes, *by_cards] == [f"{total:.1f}", f"{sent(total, 8):.1f}", f"{sent(total, 64):.1f}"]


def test_time_of_a_step(nets, assumed):
    (nvlink,), (infiniband,), (memory,) = (
        assumed[name] for name in ("NVLink, each way, a card", "InfiniBand, each way, a card", "memory of a card")
    )
    expected = []
    for method, of in nets.items():
        total = averaged(of)
        inside, between = averaging(total, 8, nvlink, memory), averaging(total, 64, infiniband, memory)
        for batch in (1, 4, 16):
            work = computing(assumed, method, batch)
            expected.append(
                [
                    method, str(batch), f"{work:.1f}", f"{inside:.1f}", f"{between:.1f}", f"{work / (work + inside):.0%}",
                    f"{work / (work + between):.0%}", f"{work / max(work, between):.0%}",
                    f"{64e3 * batch / (work + between):,.0f}",
                ]
            )  # fmt: skip
    assert tables()["step"] == expected


def test_the_batch_from_which_averaging_is_a_tenth(nets, assumed):
    links = {8: "NVLink, each way, a card", 64: "InfiniBand, each way, a card"}
    expected = []
    for method, of in nets.items():
        batches = []
        for cards, link in links.items():
            needed = 9 * averaging(averaged(of), cards, assumed[link][0], assumed["memory of a card"][0])
            one, two = computing(assumed, method, 1), computing(assumed, method, 2)
            batches.append(str(max(1, math.ceil(1 + (needed - one) / (two - one)))))
        expected.append([method, *batches])
    assert tables()["averaging is a tenth of a step"] == expected


def test_batch_norm(nets):
    """One exchange for each layer that a forward passes, and one that a backward does: G once, D three times."""
    layers = {
        name: sum(type(module).__name__ == "BatchNorm2d" for module in net.modules())
        for name, net in nets["pix2pix"].items()
    }
    total = 2 * layers["G"] + 2 * 3 * layers["D"]
    assert f"2 x {layers['G']} + 2 x 3 x {layers['D']} = {total} exchanges" in PLAN.replace("\n", " ")
    assert not any(
        type(module).__name__ == "BatchNorm2d" for net in nets["CycleGAN"].values() for module in net.modules()
    )


def test_products_in_the_text():
    found = re.findall(r"(?<!x )\b([\d,]+) x ([\d,]+) = ([\d,]+)", PLAN)
    assert len(found) == 3
    for *factors, product in found:
        assert math.prod(map(number, factors)) == number(product)
    assert f"{44 * 30e-3:.1f} ms, more than the whole step of batch 1" in PLAN
    assert f"At 64 x 16 this is {math.sqrt(64 * 16):.0f} times the rate" in PLAN


def test_published_runs():
    expected = []
    for recipe in ("pix2pix_facades", "pix2pix_edges2shoes", "cyclegan_horse2zebra"):
        train = config.read(recipe).data["train"]
        samples = train["steps"] * train["batch_size"]
        expected.append([recipe, f"{samples:,}", f"{samples / 64:,.0f}", f"{samples / (64 * 16):,.0f}"])
    assert tables()["recipe"] == expected


def test_reading(assumed):
    expected = []
    for method in RECIPES:
        for batch in (1, 16):
            pairs = 1e3 * batch / computing(assumed, method, batch)
            values = pairs * 2 * 3 * 256**2 * FLOAT
            cores = pairs / assumed["read by one core"][0]
            expected.append([method, str(batch), f"{pairs:,.0f}", f"{cores:.1f}", f"{values / 1e9:.2f}"])
    assert tables()["read"] == expected


def test_what_lies_on_each_card():
    expected = []
    for name, recipe in (("facades", "pix2pix_facades"), ("maps", "pix2pix_maps"), ("horse2zebra", "cyclegan_horse2zebra"),
                         ("edges2shoes", "pix2pix_edges2shoes")):  # fmt: skip
        counts = yaml.safe_load((ROOT / "datasets" / f"{name}.yaml").read_text())["counts"]
        side = config.read(recipe).data["data"]["load_size"]
        pictures = 2 * counts["train"] if "train" in counts else counts["trainA"] + counts["trainB"]
        expected.append([name, f"{pictures:,}", str(side), f"{pictures * side**2 * 3 / 1e9:.2f}"])
    assert tables()["set"] == expected
    (pairs,) = re.findall(r"([\d,]+) pairs at 286 px", PLAN)
    assert pairs == f"{40_000_000_000 // (2 * 286**2 * 3):,}"


def test_checkpoints(nets, assumed):
    between = assumed["between two failures of one card"][0] / 64
    assert f"{between:.0f} hours" in PLAN
    expected = []
    for method, of in nets.items():
        size = 3 * FLOAT * sum(map(count, of.values())) / 1e6
        seconds = size / 1e3 / assumed["written to a disk of all machines"][0]
        interval = math.sqrt(2 * seconds * between * 3600)
        lost = seconds / interval + interval / 2 / (between * 3600)
        expected.append([method, f"{size:.0f}", f"{seconds:.2f}", f"{interval / 60:.0f}", f"{lost:.2%}"])
    assert tables()["checkpoint"] == expected
