"""Builds i2i; the recipes and the cards of the data sets travel inside the package, as data."""

import re
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent


class BuildWithRecipes(build_py):
    """Copies recipes/*.yaml and datasets/*.yaml to i2i/recipes and i2i/cards of what is built."""

    def run(self):
        super().run()
        if self.editable_mode:
            return  # a checkout reads them where they are
        for source, target in (("recipes", "recipes"), ("datasets", "cards")):
            folder = Path(self.build_lib) / "i2i" / target
            folder.mkdir(parents=True, exist_ok=True)
            for file in sorted((HERE / source).glob("*.yaml")):
                self.copy_file(str(file), str(folder / file.name))


setup(
    name="i2i",
    version=re.search(r'__version__ = "(.+?)"', (HERE / "i2i/__init__.py").read_text()).group(1),
    description="Image-to-image translation: pix2pix, CycleGAN and DiffAugment, exact, fast and kind",
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["i2i", "i2i.*"]),
    python_requires=">=3.11",
    install_requires=[
        "torch>=2.11",
        "torchvision",
        "kornia",
        "albumentations>=2.0.8,<3",
        "timm>=1.0.20",
        "opencv-python",
        "accelerate>=1.10",
        "safetensors>=0.5",
        "torchmetrics",
        "torch-fidelity",
        "matplotlib",
        "numpy",
        "pydantic>=2.9",
        "PyYAML",
        "typer",
        "rich",
        "Pillow>=10.1",
        "tifffile",
        "imagecodecs",
        "psutil",
        "tensorboard",
    ],
    extras_require={
        "dev": [
            "pytest",
            "pytest-timeout",
            "pytest-xdist",
            "ruff>=0.17,<0.18",
            "hypothesis",
            "setuptools>=68",
            "wheel",
            "rasterio",
        ],
        "geo": ["rasterio"],
    },
    entry_points={"console_scripts": ["i2i = i2i.cli:main"]},
    cmdclass={"build_py": BuildWithRecipes},
)
