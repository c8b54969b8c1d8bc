"""GAN: "Generative Adversarial Nets" (Goodfellow et al., 2014)."""

import torch

from i2i.latent import Prior, PriorName
from i2i.methods import METHODS
from i2i.methods.method import Duel, Method


@METHODS.register("gan")
class GAN(Method):
    """The minimax game, equation 1, played by Algorithm 1:

        min_G max_D  V(D, G) = E_x[log D(x)] + E_z[log(1 - D(G(z)))]

    G maps noise z ~ p_z to a sample; D tells how likely a sample came from the data. D is updated `num_critic` times
    (the paper's k), each time on new data and new noise, then G once. The objective says what each of them minimises in
    place of the two log terms, the constraint what keeps D smooth: so DCGAN, LSGAN, WGAN, WGAN-GP and SNGAN are this
    method with other settings and networks. Two time scales (Heusel et al., 2017) are two learning rates.

    Args:
        latent: numbers of a z (100 in most papers).
        prior: p_z, "uniform" in [-1, 1) (the paper's and DCGAN's) or "normal".
    """

    keys = ("image",)
    groups = {"G": ("G",), "D": ("D",)}
    exports = {"generator": "G"}
    maps = {"G": (None, "image")}
    generator_takes = "latents"
    previews = 64
    duels = {"D": Duel("loss/D", "loss/G", weight=1.0)}

    def __init__(self, nets, optimizers, runtime, *, latent: int = 100, prior: PriorName = "uniform", **shared):
        super().__init__(nets, optimizers, runtime, **shared)
        self.prior = Prior(prior, latent)

    @staticmethod
    def wiring(channels, arguments):
        x = channels["image"]
        return {"G": ("generator", arguments["latent"], x), "D": ("discriminator", x, 1)}

    @staticmethod
    def check(arguments, channels):
        words = f"{arguments['latent']} must be at least 1; the papers take 100."
        return [("latent", words)] if arguments["latent"] < 1 else []

    def step(self, batches):
        for batch in batches:
            x = batch["image"]  # (B, C, H, W)
            with torch.no_grad():
                x_fake = self.G(self.noise(x))  # (B, C, H, W)
            with self.only("D"):
                real, fake = self.augment(x), self.augment(x_fake)
                loss_d = self.objective.d_loss(self.D(real), self.D(fake))
                self.descend("D", loss_d + self.constraint.penalty(self.D, real, fake))
                self.constraint.project(self.D)

        with self.only("G"):
            loss_g = self.objective.g_loss(self.D(self.augment(self.G(self.noise(x)))))
            self.descend("G", loss_g)
        loss_d = loss_d.detach()
        return {"loss/D": loss_d, "loss/G": loss_g.detach(), **self.objective.estimates(loss_d)}

    def noise(self, x):
        """z ~ p_z, (B, Z): one for each picture of `x`."""
        return self.prior.draw(len(x), x.device).to(x.dtype)

    def critique(self, batch):
        x = batch["image"]
        return {"D": (self.D(x), self.D(self.G(self.noise(x))))}

    def preview(self, models, pictures):
        return {"samples": models["generator"](len(pictures["image"]))}
