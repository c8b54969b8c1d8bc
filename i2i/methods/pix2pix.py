"""pix2pix: "Image-to-Image Translation with Conditional Adversarial Networks" (Isola et al., 2017)."""

import torch
from torch.nn.functional import l1_loss

from i2i.methods import METHODS
from i2i.methods.method import Duel, Method


@METHODS.register("pix2pix")
class Pix2Pix(Method):
    """A conditional GAN plus L1, equation 4:  G* = arg min_G max_D  L_cGAN(G, D) + lam L_L1(G).

    G maps the input x to the target y; the noise z is the dropout inside G (section 3.2). D judges pairs: x and a
    picture, joined along their channels. D's loss is halved, which slows D relative to G (section 3.3); G is judged by
    the D that was just updated, as in the authors' code.

    Args:
        lam_l1: weight of L1 between G(x) and y (the paper's lambda, 100).
    """

    keys = ("input", "target")
    groups = {"G": ("G",), "D": ("D",)}
    exports = {"generator": "G"}
    maps = {"G": ("input", "target")}
    duels = {"D": Duel("loss/D", "loss/G_gan")}

    def __init__(self, nets, optimizers, runtime, *, lam_l1: float = 100.0, **shared):
        super().__init__(nets, optimizers, runtime, **shared)
        self.lam_l1 = lam_l1

    @staticmethod
    def wiring(channels, arguments):
        x, y = channels["input"], channels["target"]
        return {"G": ("generator", x, y), "D": ("discriminator", x + y, 1)}

    def step(self, batches):
        for batch in batches:
            x, y = batch["input"], batch["target"]  # (B, Cx, H, W), (B, Cy, H, W)
            y_fake = self.G(x)  # before only("D"): this picture carries G's gradient to G's own update below
            with self.only("D"):
                real, fake = self.pair(x, y), self.pair(x, y_fake.detach())
                loss_d = 0.5 * self.objective.d_loss(self.D(real), self.D(fake))
                self.descend("D", loss_d + self.constraint.penalty(self.D, real, fake))
                self.constraint.project(self.D)

        with self.only("G"):
            loss_gan = self.objective.g_loss(self.D(self.pair(x, y_fake)))
            loss_l1 = self.lam_l1 * l1_loss(y_fake, y)
            self.descend("G", loss_gan + loss_l1)
        return {"loss/D": loss_d.detach(), "loss/G_gan": loss_gan.detach(), "loss/G_l1": loss_l1.detach()}

    def pair(self, x, y):
        """(B, Cx + Cy, H, W): what D sees; both pictures of a pair under the same drawn augmentation."""
        return torch.cat(self.augment(x, y), dim=1)

    def critique(self, batch):
        x, y = batch["input"], batch["target"]
        return {"D": (self.D(torch.cat((x, y), dim=1)), self.D(torch.cat((x, self.G(x)), dim=1)))}

    def preview(self, models, pictures):
        return {
            "input": pictures["input"],
            "output": [models["generator"](x) for x in pictures["input"]],
            "target": pictures["target"],
        }
