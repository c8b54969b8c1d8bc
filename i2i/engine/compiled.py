"""torch.compile of the networks, tried out before training begins, so that a run never ends where a compiler does."""

import re
import time
from collections.abc import Callable

import torch

from i2i.nets.shapes import classes, inputs
from i2i.speed.trial import forward_backward, untouched

GRAPHS = 32  # of one function at most, beyond which it runs uncompiled; under bf16 all networks share one


def compile_nets(method, crop: int, batch_size: int, say: Callable[[str], None]) -> bool:
    """Compiles each network of `method` in place, for pictures of `crop` px; whether all of them are compiled.

    Each is run forward and backward as a step does, discriminators also frozen with a gradient for their input; what a
    step asks beside that is compiled in the first one. Weights, buffers and the random state are as before. Where it
    fails, as without a C++ compiler, one sentence says so and all networks stay as they were: what they compute is the
    same but for rounding.
    """
    start, device = time.monotonic(), method.runtime.device
    torch._dynamo.config.recompile_limit = GRAPHS
    for name, net in method.nets.items():
        net.compile(dynamic=False)  # sizes do not change in training; a guess that they might costs a compilation
        pictures, labels = torch.zeros(inputs(net, batch_size, crop), device=device), classes(net, batch_size, device)
        try:
            with untouched(net):
                forward_backward(net, pictures, *labels)
                if name in method.duels:
                    forward_backward(net, pictures, *labels, trained=False)
        except Exception as error:  # whatever a compiler raises
            plain(method)
            say(
                f"train.compile: {name} could not be compiled ({_reason(error)}). All networks run as they are: the "
                "results are the same but for rounding, and no faster. train.compile=false leaves the attempt out."
            )
            return False
    say(f"train.compile: {', '.join(method.nets)} compiled in {time.monotonic() - start:.0f} s")
    return True


def plain(method) -> None:
    """Takes compilation back."""
    for net in method.nets.values():
        net._compiled_call_impl = None


def _reason(error: Exception) -> str:
    """The line of an error that says most: compilers put theirs behind pages of code."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and not line.rstrip().endswith("raised:")]
    telling = next((line for line in lines if re.match(r"[\w.]+: \S", line)), None)
    text = telling or (lines[0] if lines else type(error).__name__)
    return text if len(text) <= 160 else text[:157] + "..."
