"""On a CUDA device: the next batch is copied there while the current step computes."""

from collections.abc import Iterator

import torch
from torch import Tensor

Batch = dict[str, Tensor]


class Ahead:
    """The same batches, on the device; each is there, or on its way, before it is asked for.

    The copy runs on a stream of its own, from pinned memory, which a device reads without the host. The step's stream
    waits for it, and not for the one after it, which is begun only then. What the reader raises is raised when the
    batch that it concerns is asked for, and not a step too early.

    Args:
        batches: {key: tensor on the host, pinned}.
        device: a CUDA device.
    """

    def __init__(self, batches: Iterator[Batch], device: torch.device):
        self.batches, self.device = batches, device
        self.side = torch.cuda.Stream(device)
        self.coming: tuple[Batch, Exception | None] | None = None

    def __iter__(self) -> "Ahead":
        return self

    def __next__(self) -> Batch:
        batch, error = self.coming or self._copied()
        self.coming = None
        if error is not None:
            raise error
        now = torch.cuda.current_stream(self.device)
        now.wait_stream(self.side)
        for value in batch.values():
            value.record_stream(now)  # or its memory, which is the side stream's, could be given away too early
        self.coming = self._copied()
        return batch

    def _copied(self) -> tuple[Batch, Exception | None]:
        """The next batch on its way, and what kept it from coming."""
        try:
            batch = next(self.batches)
        except Exception as error:
            return {}, error
        with torch.cuda.stream(self.side):
            return {key: value.to(self.device, non_blocking=True) for key, value in batch.items()}, None
