"""The four files of MNIST, small and made up."""

import gzip
import struct

import numpy as np


def idx_bytes(values: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape) + values.tobytes()


def numbered(count: int, size=(8, 8), start: int = 0) -> np.ndarray:
    """(N, H, W) whose first pixel says which picture it is, the others where they are."""
    y, x = np.mgrid[0 : size[0], 0 : size[1]]
    pictures = np.tile((16 * y + x).astype(np.uint8), (count, 1, 1))
    pictures[:, 0, 0] = np.arange(start, start + count)
    return pictures


def lay_idx(root, train=20, test=10, size=(8, 8), zipped=False, **labels):
    """The four files; picture n has the label n % 10, unless `train` or `test` labels are given."""
    root.mkdir(exist_ok=True)
    for name, count, start in (("train", train, 0), ("t10k", test, 100)):
        told = labels.get(f"{name}_labels", np.arange(count) % 10)
        for kind, values in (("images-idx3", numbered(count, size, start)), ("labels-idx1", np.uint8(told))):
            data = idx_bytes(values)
            (root / f"{name}-{kind}-ubyte{'.gz' if zipped else ''}").write_bytes(
                gzip.compress(data) if zipped else data
            )
    return root
