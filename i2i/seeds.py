"""Random seeds as a function of where we are, never of what was drawn before.

Order, crops, flips, augmentation, dropout and the image pool all seed themselves with `derive(seed, ...)`.
A run that was killed and continued therefore draws exactly what the unbroken run would have drawn.
"""

import hashlib


def derive(*parts: int | str | bytes) -> int:
    """A seed in [0, 2**63), the same on every machine: BLAKE2b of the parts, their types and their borders."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        kind = type(part).__name__
        # a file name may be no text
        data = part if isinstance(part, bytes) else str(part).encode("utf-8", "surrogateescape")
        digest.update(f"{kind}:{len(data)}:".encode() + data)
    return int.from_bytes(digest.digest(), "little") >> 1
