"""Inference as it is written: in fp32, by fixed kernels, with noise from a seed of its own."""

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def exactly(device: torch.device, seed: int | None = None) -> Iterator[None]:
    """fp32 as it is written: no autocast, no TF32, no kernel chosen by a stopwatch; noise from `seed` alone."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.autocast(device.type, enabled=False))
        if device.type == "cuda":
            stack.enter_context(torch.cuda.device(device))
            stack.enter_context(torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False))
        if seed is None:
            yield
            return
        # only this device's generator: torch.manual_seed would also move those of all others
        random = torch.random if device.type == "cpu" else torch.get_device_module(device)
        state = random.get_rng_state()
        stack.callback(random.set_rng_state, state)
        (torch.default_generator if device.type == "cpu" else random).manual_seed(seed)
        yield
