"""A recorder of a step for the CPU: what a CUDA graph does, in slow motion.

Every operation below autograd is written down with the very tensors that it got and gave, and playing back runs them in
that order on the same memory. Python does not run again: a branch, a number or a tensor bound to a new name stays what
it was when the step was recorded, as in a graph. Random operations draw anew from the global generator.
"""

import torch
from making import small_method
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from i2i.engine import checkpoint
from i2i.engine.ema import EMA
from i2i.engine.loop import set_rate
from i2i.speed.graph import PLAIN_STEPS

STEPS = PLAIN_STEPS + 5
GAME = ["augment.policy=[color, translation, cutout]", "method.num_critic=2"]
CREATES = torch.ops.aten.empty, torch.ops.aten.empty_like, torch.ops.aten.new_empty, torch.ops.aten.empty_strided


class Tape(TorchDispatchMode):
    """Writes down what is computed."""

    def __init__(self):
        super().__init__()
        self.lines = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.lines.append((func, args, kwargs or {}, out))
        return out

    def play(self):
        for func, args, kwargs, out in self.lines:
            if func.is_view or func.overloadpacket in CREATES:
                continue  # the memory is there already
            again = func(*args, **kwargs)
            given = {id(part) for part in tree_flatten((args, kwargs))[0]}
            for old, new in zip(tree_flatten(out)[0], tree_flatten(again)[0], strict=True):
                if isinstance(old, torch.Tensor) and id(old) not in given and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


class TapeRecorder:
    """A `Recorder` whose graph is a tape. To record without computing, what was computed is taken back.

    Args:
        held: gives every tensor that a step changes.
        fails: refuse to record, as a graph does with an operation that it cannot hold.
    """

    def __init__(self, held, fails: bool = False):
        self.held, self.fails = held, fails

    def plainly(self, act):
        return act()

    @torch.no_grad()
    def _kept(self):
        return [(tensor, tensor.clone()) for tensor in self.held()]

    def recorded(self, act):
        if self.fails:
            raise RuntimeError("operation not permitted when stream is capturing\nand more")
        kept, random = self._kept(), torch.random.get_rng_state()
        with Tape() as tape:
            found = act()
        with torch.no_grad():
            for tensor, value in kept:
                tensor.copy_(value)
        torch.random.set_rng_state(random)

        def replay():
            with torch.no_grad():
                tape.play()

        return replay, found


def made(name, *overrides, device="cpu"):
    """A method in its device form, with averages, clipping and rates on the device in play."""
    method, _ = small_method(name, "train.ema=0.9", "train.clip_grad=1.0", *overrides, branch=False, device=device)
    method.runtime.ema = EMA({net: method.nets[net] for net in method.exports.values()}, 0.9)
    method.runtime.rates_on_device(method)
    return method


def held(method):
    runtime = method.runtime
    tensors = [*checkpoint.shared(method, runtime.ema).values(), runtime._bad, runtime._record, runtime._now]
    for pool in getattr(method, "pools", {}).values():
        tensors += [pool.pictures, pool.count]
    return tensors


def trained(method, data, advance, steps=STEPS, poisoned=None):
    """[the scalars of each step]; rates fall and the seed is set as in the loop."""
    seen, k = [], method.batches_per_step
    for step in range(steps):
        for optimizer in method.optimizers.values():
            for place in optimizer.param_groups:
                set_rate(place, 1e-3 * (1 - step / steps))
        method.runtime.reseed(step)
        method.runtime.step = step + 1
        given = data[step * k : (step + 1) * k]
        if step == poisoned:
            given = [{key: x * torch.inf if x.is_floating_point() else x for key, x in each.items()} for each in given]
        seen.append({name: float(value) for name, value in advance(iter(given)).items()})
    return seen
