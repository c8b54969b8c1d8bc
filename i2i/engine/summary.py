"""The table of networks that a run prints when it starts: layers, output shapes, parameters."""

import torch
from torch import nn
from torch.nn.utils import parametrize

from i2i.nets.shapes import classes, inputs, parts


def summary(method, crop: int, batch_size: int) -> str:
    """One line per layer that has weights, for each network of `method` at its training size."""
    lines = []
    for name, net in method.nets.items():
        total = sum(parameter.numel() for parameter in net.parameters())
        lines += [f"{name}: {type(net).__name__}, {total / 1e6:.3f} M parameters", *_layers(net, crop, batch_size), ""]
    return "\n".join(lines).rstrip()


def _layers(net: nn.Module, crop: int, batch_size: int) -> list[str]:
    rows, hooks = [], []
    for name, module in net.named_modules():
        own = [module, *(module.parametrizations.values() if parametrize.is_parametrized(module) else ())]
        count = sum(parameter.numel() for part in own for parameter in part.parameters(recurse=part is not module))
        if count:
            hooks.append(
                module.register_forward_hook(
                    lambda m, i, out, name=name, count=count: rows.append((name, m, out, count))
                )
            )
    shape = inputs(net, 1, crop)  # one picture tells as much as a batch: on a CPU, a large one would take a minute
    was_training = net.training
    try:
        with torch.no_grad():
            net.eval()
            device = next(net.parameters()).device
            net(torch.zeros(shape, device=device), *classes(net, 1, device))
    finally:
        net.train(was_training)
        for hook in hooks:
            hook.remove()
    kinds = [type(module).__name__.removeprefix("Parametrized") for _, module, _, _ in rows]
    shapes = [(batch_size, *parts(out)[0].shape[1:]) for _, _, out, _ in rows]
    return [
        f"  {name:<28} {kind:<16} {' x '.join(map(str, shape)):<22} {count:>12,}"
        for (name, _, _, count), kind, shape in zip(rows, kinds, shapes, strict=True)
    ]
