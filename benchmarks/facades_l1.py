"""L1 on the facades' test split: of a trained model, and of the constant mean photograph of the training split.

    python benchmarks/facades_l1.py runs/pix2pix_facades ../data/facades

L1 is the mean absolute difference in parts of the value range (0 equal, 1 from black to white), averaged over pictures.
"""

import argparse
import time
from pathlib import Path

import numpy as np

import i2i
from i2i.data.paired import Paired
from i2i.infer.weights import read_meta
from i2i.metrics.paired import l1


def pairs_of(data: Paired, split: str, count: int | None = None) -> list[tuple[np.ndarray, np.ndarray]]:
    """(input, target) of a split's first `count` pairs, as training reads them, whole."""
    files = data.splits[split]
    pairs = (data.pair(files, index) for index in range(len(files.a))[:count])
    return [(pair["input"], pair["target"]) for pair in pairs]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("facades", type=Path)
    parser.add_argument("--count", type=int, default=None, help="only so many test pictures")
    arguments = parser.parse_args()

    model = i2i.load(arguments.run, device="cpu")
    meta = read_meta(arguments.run / "generator.safetensors")
    auto = {"channels": "auto", "range": "auto"}
    data = Paired(
        path=arguments.facades, direction=meta["direction"], a=auto, b=auto, seed=0,
        load_size=None, crop_size=1, flip=False, transform=None,
    )  # fmt: skip
    mean = np.mean([target.astype(np.float64) for _, target in pairs_of(data, "train")], axis=0)
    mean_picture = np.floor(mean + 0.5).astype(np.uint8)
    mean_colour = np.broadcast_to(np.floor(mean.mean((0, 1)) + 0.5).astype(np.uint8), mean_picture.shape)
    pairs = pairs_of(data, "test", arguments.count)
    targets = [target for _, target in pairs]
    began = time.perf_counter()
    outputs = [model(source) for source, _ in pairs]
    seconds = time.perf_counter() - began

    print(f"{arguments.run}, step {meta['step']:,}; {len(pairs)} test pictures; {seconds / len(pairs):.2f} s a picture")
    rows = {
        "model": outputs,
        "constant mean picture of train": [mean_picture] * len(pairs),
        "constant mean colour of train": [mean_colour] * len(pairs),
    }
    for name, predictions in rows.items():
        result = l1(predictions, targets)
        print(f"{name:<32} L1 {result['mean']:.4f} +- {result['standard_error'] or 0:.4f}")


if __name__ == "__main__":
    main()
