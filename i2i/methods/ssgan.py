"""Semi-supervised GAN: "Improved Techniques for Training GANs" (Salimans et al., 2016), sections 3.1 and 5."""

import torch
from torch.nn.functional import cross_entropy

from i2i.latent import Prior, PriorName
from i2i.losses.matching import feature_matching
from i2i.methods import METHODS
from i2i.methods.method import Duel, Method


@METHODS.register("ssgan")
class SemiSupervisedGAN(Method):
    """D tells K classes from each other and real pictures from generated ones; few pictures have a class.

    D gives K logits l(x). The generated pictures' class K + 1 has the logit 0, which costs no generality (section 5),
    so that the probability of "real" is that of the first K classes together:

        D(x) = Z(x) / (Z(x) + 1) = sigma(log Z(x)),   Z(x) = sum_k exp l_k(x)

        L_supervised = -E[log p(c | x, c <= K)]                                   x labelled, c its class
        L_unsupervised = -1/2 (E[log D(x)] + E[log(1 - D(G(z)))])                 x any picture
        L_G = || E f(x) - E f(G(z)) ||^2                                          f: the last hidden layer of D

    D descends L_supervised + lam L_unsupervised; the 1/2 is that of the authors' code. L_unsupervised is half the
    objective's loss on logits log Z(x), which is the paper's with minimax; G does not play that game but matches
    features (section 3.1). A constraint is about log Z. Of several processes each matches the means of its own share.

    Args:
        latent: numbers of a z (100 in the authors' code).
        prior: p_z, "uniform" in [-1, 1) or "normal".
        lam_unsupervised: weight of L_unsupervised, 1 in the paper. 0 is the baseline, a classifier of the labelled
            pictures alone: G still matches its features, and it hears nothing of G or of other pictures.
    """

    keys = ("image",)
    groups = {"G": ("G",), "D": ("D",)}
    exports = {"generator": "G"}
    maps = {"G": (None, "image")}
    generator_takes = "latents"
    needs_labels = few_labels = True
    previews = 64
    duels = {"D": Duel("loss/D", "game/G")}

    def __init__(
        self, nets, optimizers, runtime, *,
        latent: int = 100, prior: PriorName = "uniform", lam_unsupervised: float = 1.0, **shared,
    ):  # fmt: skip
        super().__init__(nets, optimizers, runtime, **shared)
        self.prior, self.lam_unsupervised = Prior(prior, latent), lam_unsupervised

    @staticmethod
    def wiring(channels, arguments):
        x, k = channels["image"], channels["label"]
        return {"G": ("generator", arguments["latent"], x), "D": ("discriminator", x, k)}

    @staticmethod
    def check(arguments, channels):
        rules = {
            "latent": (arguments["latent"] >= 1, "must be at least 1; the authors' code takes 100."),
            "lam_unsupervised": (arguments["lam_unsupervised"] >= 0, "must be at least 0; the paper's weight is 1."),
        }
        return [(key, f"{arguments[key]:g} {words}") for key, (right, words) in rules.items() if not right]

    def step(self, batches):
        for batch in batches:
            x, x_labelled, c = batch["image"], batch["labelled"], batch["label"]  # (B, C, H, W) both, (B,)
            with torch.no_grad():
                x_fake = self.G(self.noise(x))  # (B, C, H, W)
            with self.only("D"):
                real, fake = self.augment(x), self.augment(x_fake)
                loss_class = cross_entropy(self.D(self.augment(x_labelled)), c)
                f_real, f_fake = self.log_z(real), self.log_z(fake)
                loss_d = 0.5 * self.objective.d_loss(f_real, f_fake)
                penalty = self.constraint.penalty(self.log_z, real, fake)
                self.descend("D", loss_class + self.lam_unsupervised * loss_d + penalty)
                self.constraint.project(self.D)

        with self.only("G"):
            f_x, f_g = self.features(self.augment(x)), self.features(self.augment(self.G(self.noise(x))))
            loss_g = feature_matching(f_x, f_g)
            self.descend("G", loss_g)
        game = self.objective.g_loss(f_fake)  # nobody descends it: how G would stand, for who looks on
        scalars = {"loss/D": loss_d, "loss/D_class": loss_class, "loss/G": loss_g, "game/G": game}
        return {name: value.detach() for name, value in scalars.items()}

    def log_z(self, x):
        """log Z, the logit of D(x): (B, C, H, W) -> (B, 1)."""
        return self.D(x).logsumexp(1, keepdim=True)

    def features(self, x):
        """f(x), the last hidden layer of D: (B, C, H, W) -> (B, ...)."""
        return self.D(x, features=True)[1][-1]

    def noise(self, x):
        """z ~ p_z, (B, Z): one for each picture of `x`."""
        return self.prior.draw(len(x), x.device).to(x.dtype)

    def critique(self, batch):
        x = batch["image"]
        return {"D": (self.log_z(x), self.log_z(self.G(self.noise(x))))}

    def preview(self, models, pictures):
        return {"samples": models["generator"](len(pictures["image"]))}
