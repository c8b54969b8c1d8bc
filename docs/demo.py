"""`make demo`: trains a small pix2pix on made-up buildings, translates a folder, leaves demo/picture.png."""

import time
from pathlib import Path

import i2i
from i2i.data.pictures import read
from i2i.data.synthetic import write_folder
from i2i.infer.grid import grid

HERE = Path(__file__).resolve().parent.parent
DEMO = HERE / "demo"
ROWS = 4


def main():
    began = time.perf_counter()
    run = i2i.train(HERE / "recipes" / "pix2pix_synthetic.yaml", run=DEMO / "run", device="cpu")
    trained = time.perf_counter()
    labels = write_folder(DEMO / "labels", ROWS, size=128, half="labels")
    photos = write_folder(DEMO / "photos", ROWS, size=128, half="photo")
    i2i.translate([DEMO / "labels"], model=run, out=DEMO / "translated", device="cpu")
    columns = {
        "label map": [read(path).pixels for path in labels],
        "pix2pix": [read(DEMO / "translated" / "labels" / path.name).pixels for path in labels],
        "photograph": [read(path).pixels for path in photos],
    }
    grid(columns, DEMO / "picture.png")
    print(f"training took {trained - began:.0f} s. The picture to look at: {DEMO / 'picture.png'}")


if __name__ == "__main__":
    main()
