"""Single layers of the networks of a training: which there are, what they get, which of two ways is faster."""

import itertools
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from i2i.errors import UserError
from i2i.nets.shapes import classes, inputs
from i2i.speed.measure import Work
from i2i.speed.probe import milliseconds

Forward = Callable[[Tensor], Tensor]


class Layer(NamedTuple):
    """A layer, and the shapes of what it gets and gives in a step."""

    name: str  # network.path.in.it
    module: nn.Module
    taken: torch.Size
    given: torch.Size

    @property
    def settings(self) -> tuple:
        """All that its time depends on: networks have many layers of one kind."""
        m = self.module
        return type(m), m.weight.shape, m.stride, m.padding, m.dilation, self.taken


@dataclass
class Contest:
    """What came of trying another way to compute layers."""

    chosen: list[str] = field(default_factory=list)  # names of layers
    kinds: list[Layer] = field(default_factory=list)  # one of each kind among them
    before: float = 0.0  # seconds of a forward and backward of all chosen ones, the plain way
    after: float = 0.0

    @property
    def note(self) -> str:
        return milliseconds(self.before, self.after)


def seen(work: Work, net_name: str, fits: Callable[[nn.Module], bool]) -> list[Layer]:
    """Every layer that `fits` in a forward of a network, which is followed without memory, on the meta device.

    None that an earlier measure has. Of a network that cannot be followed so there are none.
    """
    net, found = work.method.nets[net_name], []

    def note(module: nn.Module, given: tuple[Tensor, ...], out: Tensor, name: str) -> None:
        found.append(Layer(name, module, given[0].shape, out.shape))

    hooks = [
        module.register_forward_hook(lambda m, given, out, name=name: note(m, given, out, f"{net_name}.{name}"))
        for name, module in net.named_modules()
        if fits(module) and f"{net_name}.{name}" not in work.taken
    ]
    state = itertools.chain(net.named_parameters(), net.named_buffers())
    weight = next(net.parameters())
    pictures = torch.empty(inputs(net, work.batch_size, work.crop), device="meta", dtype=weight.dtype)
    try:
        with torch.no_grad():
            on_paper = {name: torch.empty_like(tensor, device="meta") for name, tensor in state}
            functional_call(net, on_paper, (pictures, *classes(net, work.batch_size, "meta")))
    except RuntimeError:  # an operation that needs values
        return []
    finally:
        for hook in hooks:
            hook.remove()
    return found


def contest(probe, layers: Iterable[Layer], others: Mapping[str, Callable[[nn.Module], Forward]]) -> Contest:
    """Which layers are computed fastest by the last of `others`; one layer of each kind is timed."""
    way = list(others)[-1]
    result, answers = Contest(), {}
    for layer in layers:
        if layer.settings not in answers:
            x = torch.rand(layer.taken, device=layer.module.weight.device, dtype=layer.module.weight.dtype)
            all_ways = {"plain": plain, **others}
            ways = {name: passing(layer.module, x, made(layer.module)) for name, made in all_ways.items()}
            answers[layer.settings] = probe.fastest(ways)
            if answers[layer.settings][0] == way:
                result.kinds.append(layer)
        quickest, seconds = answers[layer.settings]
        if quickest == way:
            result.chosen.append(layer.name)
            result.before, result.after = result.before + seconds["plain"], result.after + seconds[way]
    return result


def passing(module: nn.Module, x: Tensor, forward: Forward) -> Callable[[], None]:
    """One forward and backward of a layer, with gradients for its weights and for what it gets."""

    def act() -> None:
        y = forward(x.detach().requires_grad_())
        y.backward(torch.ones_like(y))
        module.zero_grad(set_to_none=True)

    return act


def plain(module: nn.Module) -> Forward:
    """The layer's own forward."""
    return types.MethodType(type(module).forward, module)


def named(work: Work, name: str, fits: Callable[[nn.Module], bool]) -> nn.Module:
    """The layer that a stored choice names; UserError where there is none that `fits`."""
    net, _, path = name.partition(".")
    try:
        layer = work.method.nets[net].get_submodule(path)
    except (KeyError, AttributeError):
        layer = None
    if layer is None or not fits(layer):
        raise UserError(f"this run's choice of speed has a convolution '{name}', which is none here.")
    return layer


def counted(names: Iterable[str]) -> str:
    """'3 convolutions of G and 1 convolutions of D'."""
    nets: dict[str, int] = {}
    for name in names:
        net = name.partition(".")[0]
        nets[net] = nets.get(net, 0) + 1
    return " and ".join(f"{count} convolutions of {net}" for net, count in nets.items())
