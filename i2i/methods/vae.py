"""VAE: "Auto-Encoding Variational Bayes" (Kingma and Welling, 2014), the likelihood-based contrast to the GAN."""

from typing import Literal

import torch

from i2i.latent import Prior
from i2i.losses.likelihood import bernoulli, gaussian, kl
from i2i.methods import METHODS
from i2i.methods.method import Method


@METHODS.register("vae")
class VAE(Method):
    """Maximises the variational lower bound of log p(x), equation 10 with one sample of z for each x:

        L(x) = E_q(z|x)[log p(x|z)] - KL(q(z|x) || p(z)),   z = mu + exp(log_var / 2) eps,   eps ~ N(0, I)

    E (the recipe's encoder) gives mu and log_var of q(z|x), G (its generator) the mean of p(x|z), and p(z) is N(0, I).
    Both are updated together; the loss is minus the bound, in nats a picture, averaged over the batch.

    Args:
        latent: numbers of a z.
        likelihood: p(x|z): "bernoulli", every value of a picture in [0, 1] being a probability, as the paper does for
            MNIST; or "gaussian", of standard deviation `sigma` around G's picture.
        sigma: of the Gaussian likelihood, for pictures in [0, 1].
        beta: weight of the KL term; 1 is the bound (other values: Higgins et al., 2017).
    """

    keys = ("image",)
    groups = {"G": ("E", "G")}
    exports = {"generator": "G"}
    maps = {"G": (None, "image")}
    sections = ("generator", "encoder")
    generator_takes = "latents"
    adversarial = False
    previews = 64

    def __init__(
        self, nets, optimizers, runtime, *,
        latent: int = 20, likelihood: Literal["bernoulli", "gaussian"] = "bernoulli", sigma: float = 0.1,
        beta: float = 1.0, **shared,
    ):  # fmt: skip
        super().__init__(nets, optimizers, runtime, **shared)
        self.prior, self.likelihood, self.sigma, self.beta = Prior("normal", latent), likelihood, sigma, beta

    @staticmethod
    def wiring(channels, arguments):
        x, z = channels["image"], arguments["latent"]
        return {"E": ("encoder", x, z), "G": ("generator", z, x)}

    @staticmethod
    def check(arguments, channels):
        rules = {
            "latent": (arguments["latent"] >= 1, "must be at least 1; 20 is usual for MNIST."),
            "sigma": (arguments["sigma"] > 0, "must be above 0; 0.1 is 25 of 255 levels."),
            "beta": (arguments["beta"] >= 0, "must be at least 0; 1 is the paper's bound."),
        }
        return [(key, f"{arguments[key]:g} {words}") for key, (right, words) in rules.items() if not right]

    def step(self, batches):
        x = next(batches)["image"]  # (B, C, H, W)
        with self.only("G"):
            mu, log_var = self.E(x)  # (B, Z) each
            z = mu + torch.exp(0.5 * log_var) * torch.randn_like(mu)
            y = self.G(z)  # (B, C, H, W): the mean of p(x|z)
            loss_reconstruction = -self.log_likelihood(x, y).mean()
            loss_kl = self.beta * kl(mu, log_var).mean()
            self.descend("G", loss_reconstruction + loss_kl)
        return {"loss/reconstruction": loss_reconstruction.detach(), "loss/kl": loss_kl.detach()}

    def log_likelihood(self, x, y):
        """log p(x|z) of pictures x where y = G(z): (B, C, H, W) -> (B,), in nats."""
        return bernoulli(x, y) if self.likelihood == "bernoulli" else gaussian(x, y, self.sigma)

    def preview(self, models, pictures):
        return {"samples": models["generator"](len(pictures["image"]))}
