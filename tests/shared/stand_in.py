"""A checkout with the doors of the reference implementation and our own networks behind them, for `compare.py`."""

from pathlib import Path

OPTIONS = """
import argparse


class TrainOptions:
    def parse(self):
        parser = argparse.ArgumentParser()
        parser.add_argument("--model")
        parser.add_argument("--netG")
        parser.add_argument("--ngf", type=int)
        return parser.parse_known_args()[0]
"""

MODELS = '''
import torch
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from i2i.nets import DISCRIMINATORS, GENERATORS
from i2i.nets.reference import _PLACES


class Renamed:
    """A network whose weights are saved under the reference's names."""

    def __init__(self, net):
        self.net, self.places = net, _PLACES[type(net)](net)

    def state_dict(self):
        found = {}
        for key, value in self.net.state_dict().items():
            module, _, leaf = key.rpartition(".")
            found[f"{self.places[module]}.{leaf}"] = value
        return found


def create_model(options):
    return Pix2Pix(options)


class Pix2Pix:
    """G and D as they are, with the losses of the paper; ERROR is added to one of them."""

    def __init__(self, options):
        assert options.model == "pix2pix" and options.netG == "unet_128" and options.device.type == "cpu"
        self.G = GENERATORS.build("unet", 3, 3, num_downs=7, width=options.ngf, norm="batch", dropout=True)
        self.D = DISCRIMINATORS.build("patchgan", 6, num_layers=3, width=options.ngf, norm="batch")
        self.netG, self.netD = Renamed(self.G), Renamed(self.D)
        self.optimizers = [torch.optim.Adam(net.parameters(), lr=2e-4, betas=(0.5, 0.999)) for net in (self.G, self.D)]

    def setup(self, options):
        print("what it prints must not get between the answers")

    def set_input(self, given):
        self.x, self.y = given["A"], given["B"]

    def optimize_parameters(self):
        fake = self.G(self.x)
        judged = [self.D(torch.cat((self.x, picture), 1)) for picture in (fake.detach(), self.y)]
        self.D_fake, self.D_real = (cross_entropy(one, torch.full_like(one, to)) for one, to in zip(judged, (0.0, 1.0)))
        self.D.zero_grad()
        ((self.D_fake + self.D_real) / 2).backward()
        self.optimizers[1].step()
        logits = self.D(torch.cat((self.x, fake), 1))
        self.G_GAN, self.G_L1 = cross_entropy(logits, torch.ones_like(logits)), 100 * (fake - self.y).abs().mean()
        self.G.zero_grad()
        (self.G_GAN + self.G_L1).backward()
        self.optimizers[0].step()

    def get_current_losses(self):
        return {name: float(getattr(self, name).detach()) + ERROR for name in ("G_GAN", "G_L1", "D_real", "D_fake")}
'''


def checkout(folder: Path, error: float = 0.0) -> Path:
    """Writes one; its losses are off by `error`."""
    for name, text in (
        ("options/train_options.py", OPTIONS),
        ("models/__init__.py", MODELS + f"\n\nERROR = {error}\n"),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder
