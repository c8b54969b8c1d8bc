"""Conditional GAN: "Conditional Generative Adversarial Nets" (Mirza and Osindero, 2014)."""

from functools import partial

import torch

from i2i.infer.grid import by_class
from i2i.latent import Prior, PriorName
from i2i.methods import METHODS
from i2i.methods.method import Duel, Method
from i2i.methods.wire import Wire


@METHODS.register("cgan")
class ConditionalGAN(Method):
    """The minimax game in which both are told the class y, equation 2:

        min_G max_D  V(D, G) = E_x,y[log D(x|y)] + E_z,y[log(1 - D(G(z|y)|y))]

    The updates are those of the GAN (Goodfellow et al., 2014, Algorithm 1). A batch of pictures comes with its classes,
    and G makes a sample of each of these: D judges real and generated pictures of the same classes, as many of each.
    Objective, constraint and networks may be any that the GAN takes, as far as the networks can be told a class.

    Args:
        latent: numbers of a z (the paper takes 100).
        prior: p_z, "uniform" in [-1, 1) or "normal".
    """

    keys = ("image",)
    groups = {"G": ("G",), "D": ("D",)}
    exports = {"generator": "G"}
    maps = {"G": (None, "image")}
    generator_takes = "latents"
    needs_labels = True
    previews = 64
    duels = {"D": Duel("loss/D", "loss/G", weight=1.0)}

    def __init__(self, nets, optimizers, runtime, *, latent: int = 100, prior: PriorName = "uniform", **shared):
        super().__init__(nets, optimizers, runtime, **shared)
        self.prior = Prior(prior, latent)

    @staticmethod
    def wiring(channels, arguments):
        x, y = channels["image"], channels["label"]
        return {"G": Wire("generator", arguments["latent"], x, y), "D": Wire("discriminator", x, 1, y)}

    @staticmethod
    def check(arguments, channels):
        words = f"{arguments['latent']} must be at least 1; the paper takes 100."
        return [("latent", words)] if arguments["latent"] < 1 else []

    def step(self, batches):
        for batch in batches:
            x, y = batch["image"], batch["label"]  # (B, C, H, W), (B,)
            with torch.no_grad():
                x_fake = self.G(self.noise(x), y)  # (B, C, H, W)
            with self.only("D"):
                real, fake = self.augment(x), self.augment(x_fake)
                loss_d = self.objective.d_loss(self.D(real, y), self.D(fake, y))
                self.descend("D", loss_d + self.constraint.penalty(partial(self.D, y=y), real, fake))
                self.constraint.project(self.D)

        with self.only("G"):
            loss_g = self.objective.g_loss(self.D(self.augment(self.G(self.noise(x), y)), y))
            self.descend("G", loss_g)
        loss_d = loss_d.detach()
        return {"loss/D": loss_d, "loss/G": loss_g.detach(), **self.objective.estimates(loss_d)}

    def noise(self, x):
        """z ~ p_z, (B, Z): one for each picture of `x`."""
        return self.prior.draw(len(x), x.device).to(x.dtype)

    def critique(self, batch):
        x, y = batch["image"], batch["label"]
        return {"D": (self.D(x, y), self.D(self.G(self.noise(x), y), y))}

    def preview(self, models, pictures):
        return by_class(models["generator"](len(pictures["image"])), self.G.classes)
