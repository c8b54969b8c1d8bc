"""A watch over what makes a host wait for its device."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
READS = (aten._local_scalar_dense, aten.item, aten.equal, aten.is_nonzero, aten.nonzero, aten.masked_select)


class NoHostReads(TorchDispatchMode):
    """Inside, an operation that reads a value back to the host is refused; `count` counts the others."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket in READS:
            raise AssertionError(f"{func} reads a value back to the host")
        self.count += 1
        return func(*args, **(kwargs or {}))
