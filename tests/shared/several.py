"""What two processes do together, written down for tests/engine/test_distributed.py: torchrun several.py OUT."""

import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import torch
from making import batches, small_recipe
from torch import nn

from i2i import build
from i2i.engine import agreement, checkpoint
from i2i.engine.ema import EMA
from i2i.engine.liveness import Everywhere
from i2i.engine.loop import step_seed
from i2i.engine.processes import joined
from i2i.engine.runtime import NotFinite, Runtime
from i2i.infer.weights import write_tensors

BATCH = 4
CASES = {
    "pix2pix": ("pix2pix", []),
    "cyclegan": ("cyclegan", ["method.pool_size=0"]),
    "pix2pix, gp": ("pix2pix", ["method.constraint={name: gp}"]),
    "cyclegan, gp": ("cyclegan", ["method.constraint={name: gp}", "method.pool_size=0"]),
    "cgan, gp": ("cgan", ["method.constraint={name: gp}"]),
    "cgan, norms and projection": (
        "cgan",
        [
            "generator={name: dcgan, condition: norm, width: 2, norm: instance, spectral_norm: true}",
            "discriminator={name: resnet_gan, condition: projection, width: 2}",
        ],
    ),
    "acgan": ("acgan", []),
    "pix2pix, norm none": ("pix2pix", ["generator={name: unet, num_downs: 4, width: 4, norm: none, dropout: false}"]),
}
EVERYTHING = [
    "generator={name: unet, num_downs: 4, width: 4, norm: batch, dropout: true}",
    "discriminator={name: patchgan, num_layers: 1, width: 4, norm: batch, spectral_norm: true}",
    "augment.policy=[color, translation, cutout]", "train.clip_grad=0.5", "train.ema=0.9",
]  # fmt: skip


def draws_of(ranks):
    """A stand-in for torch.rand: each process's part of a batch from a generator of its own."""
    generators = [torch.Generator().manual_seed(100 + rank) for rank in ranks]
    real = torch.rand

    def rand(count, *shape, **kwargs):
        share = count // len(generators)
        return torch.cat([real(share, *shape, generator=generator) for generator in generators])

    return rand


def gradients(case: str, runtime: Runtime, ranks) -> dict[str, torch.Tensor]:
    """What the optimizers are given in one step in float64, by `ranks` of two processes: {"G.0": gradient, ...}."""
    name, overrides = CASES[case]
    method = build.method(small_recipe(name, *overrides), runtime)
    for net in method.nets.values():
        net.double()
    found = {}
    for group, optimizer in method.optimizers.items():

        def step(group=group, optimizer=optimizer):
            members = [p for place in optimizer.param_groups for p in place["params"]]
            found.update({f"{group}.{index}": p.grad.clone() for index, p in enumerate(members)})

        optimizer.step = step
    joint = batches(method, 1, batch_size=BATCH, dtype=torch.float64)[0]
    share = BATCH // 2
    batch = {key: torch.cat([x[rank * share : (rank + 1) * share] for rank in ranks]) for key, x in joint.items()}
    real, torch.rand = torch.rand, draws_of(ranks)
    try:
        method.step(iter([batch]))
    finally:
        torch.rand = real
    runtime.check_finite(method)
    return found


def replicas(name: str, branch: bool, processes) -> dict:
    """Three steps with everything in play: where the processes were equal, and whether their draws were not."""
    recipe = small_recipe(name, *(EVERYTHING if name == "pix2pix" else EVERYTHING[1:]))
    runtime = Runtime("cpu", "fp32", recipe.train.clip_grad, branch, processes=processes)
    method = build.method(recipe, runtime)
    runtime.ema = EMA({net: method.nets[net] for net in method.exports.values()}, 0.9)
    equal, start = [], checkpoint.sums(method, runtime.ema)
    for step in range(3):
        torch.manual_seed(step_seed(0, step, processes.rank))
        runtime.step = step + 1
        method.step(iter(batches(method, 1, seed=10 * step + processes.rank)))
        runtime.settle(method)
        runtime.check_finite(method)
        sums = processes.gather(checkpoint.sums(method, runtime.ema))
        equal.append(sums[0] == sums[1])
    pools = processes.gather({key: float(value.sum()) for key, value in method.state().items()})
    return {"equal": equal, "moved": sums[0] != start, "tensors": len(sums[0]), "pools": pools}


def toy(processes, branch, **nets):
    """A method of one group without an algorithm, with plain SGD of rate 1."""
    optimizer = torch.optim.SGD([p for net in nets.values() for p in net.parameters()], lr=1.0, momentum=0.5)
    runtime = Runtime("cpu", branch=branch, processes=processes)
    method = SimpleNamespace(nets=nets, groups={"G": tuple(nets)}, optimizers={"G": optimizer}, state=dict)
    return method, runtime, optimizer


def missing_gradients(branch: bool, processes) -> dict:
    """`some` has a gradient in process 0 alone, `nobody` in none, `all` in both."""
    weights = {name: nn.Linear(1, 1, bias=False) for name in ("some", "nobody", "all")}
    for net in weights.values():
        nn.init.ones_(net.weight)
    method, runtime, optimizer = toy(processes, branch, **weights)
    x = torch.ones(1, 1)
    loss = weights["all"](x).sum() * (1 + processes.rank)
    if processes.rank == 0:
        loss = loss + 3 * weights["some"](x).sum()
    runtime.descend(method, "G", loss)
    return {
        "weights": processes.gather({name: net.weight.item() for name, net in weights.items()}),
        "states": processes.gather(sorted(n for n, net in weights.items() if optimizer.state.get(net.weight))),
    }


def poisoned(branch: bool, processes) -> dict:
    """The loss of process 1 is NaN at step 2: what each of them does."""
    method, runtime, _ = toy(processes, branch, net=nn.Linear(1, 1, bias=False))
    nn.init.ones_(method.nets["net"].weight)
    x = torch.ones(1, 1)
    for step in (1, 2, 3):
        runtime.step = step
        bad = float("nan") if step == 2 and processes.rank == 1 else 1.0
        runtime.descend(method, "G", bad * method.nets["net"](x).sum())
    try:
        runtime.check_finite(method)
        words = "nothing"
    except NotFinite as error:
        words = str(error)
    return {"weights": processes.gather(method.nets["net"].weight.item()), "words": processes.gather(words)}


def running_statistics(processes) -> dict:
    """Process r normalises pictures whose mean is 4 r and whose variance is 1: running statistics, and the EMA's."""
    net = nn.BatchNorm2d(1)
    method, runtime, _ = toy(processes, True, net=net)
    runtime.ema = EMA({"net": net}, 0.9)
    x = 4.0 * processes.rank + torch.tensor([-1.0, 1.0] * 8).reshape(1, 1, 4, 4)
    runtime.descend(method, "G", net(x).square().sum())
    runtime.settle(method)
    averages = [*net.buffers(), *runtime.ema.nets["net"].buffers()]
    return processes.gather([float(value) for value in averages])


def exchanged(processes) -> dict:
    """What goes from process to process arrives as it was."""
    mine = {"x": torch.arange(3.0) + processes.rank, "flag": torch.tensor(processes.rank == 1), "n": torch.tensor(7)}
    at_first = processes.collect({"state": torch.full((2, 2), processes.rank), **mine})
    sent = (
        ({"w": torch.arange(6).reshape(2, 3).half(), "s": torch.tensor(2.5)}, {"step": 4}) if processes.leads else None
    )
    tensors, meta = processes.spread(sent)
    alone = nn.Linear(2, 2)
    nn.init.constant_(alone.weight, processes.rank)
    processes.copy_first_(list(alone.state_dict().values()))
    return {
        "highest": processes.highest(processes.rank, 5 - processes.rank),
        "mean": processes.mean({"b": float(processes.rank), "a": 3.0}),
        "gathered": processes.gather({"rank": processes.rank, "words": "ä" * (1 + 9 * processes.rank)}),
        "collected": {name: value.tolist() for name, value in at_first.items()},
        "spread": processes.gather([{name: value.tolist() for name, value in sorted(tensors.items())}, meta]),
        "half": processes.gather(str(tensors["w"].dtype)),
        "nothing": processes.gather(processes.spread(None)),
        "first": processes.gather(alone.weight.sum().item()),
    }


def broken_files(processes) -> dict:
    """Both find the same broken file, and process 1 one more: reported once each, to both."""
    told = []
    loader = SimpleNamespace(found=[("a.png", "torn")] + [("b.png", "empty")] * processes.rank, report=told.append)
    stops = [agreement.stopping(processes, loader, [15] if processes.rank else []) for _ in range(2)]
    return processes.gather({"told": told, "stops": stops, "left": loader.found})


def diverged(processes) -> dict:
    """One bit of one weight is another in process 1: what a save is told, and before it."""
    net = nn.Linear(2, 2)
    nn.init.ones_(net.weight)
    method, _, _ = toy(processes, True, net=net)
    said = []
    for weight in (1.0, 1.0 + 2**-23 * processes.rank):
        nn.init.constant_(net.weight, weight)
        nn.init.zeros_(net.bias)
        try:
            agreement.check_replicas(processes, method, None, 7)
            said.append(None)
        except Everywhere as error:
            said.append(str(error))
    return processes.gather(said)


def cost(processes) -> float:
    """Microseconds of one agreement: the fastest of some rows of it."""
    rows = []
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(200):
            processes.highest(0, 0)
        rows.append((time.perf_counter() - start) / 200)
    return min(rows) * 1e6


def main(out: Path) -> None:
    with joined("cpu") as processes:
        for case in CASES:
            for branch in (True, False):
                runtime = Runtime("cpu", branch=branch, processes=processes)
                found = gradients(case, runtime, [processes.rank])
                kind = "branch" if branch else "device"
                write_tensors(out / f"{case}, {kind}, {processes.rank}.safetensors", found, {})
        forms = {"branch": True, "device": False}
        facts = {
            "replicas": {f"{name}, {kind}": replicas(name, form, processes)
                         for name in ("pix2pix", "cyclegan") for kind, form in forms.items()},
            "missing": {kind: missing_gradients(form, processes) for kind, form in forms.items()},
            "poisoned": {kind: poisoned(form, processes) for kind, form in forms.items()},
            "statistics": running_statistics(processes),
            "exchanged": exchanged(processes),
            "broken": broken_files(processes),
            "diverged": diverged(processes),
            "microseconds": cost(processes),
        }  # fmt: skip
    if processes.leads:
        threads = [Path(f"/proc/self/task/{task}/comm").read_text().strip() for task in os.listdir("/proc/self/task")]
        write_tensors(out / "facts.safetensors", {}, {**facts, "threads": threads})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
