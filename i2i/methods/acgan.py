"""AC-GAN: "Conditional Image Synthesis with Auxiliary Classifier GANs" (Odena et al., 2017)."""

import torch
from torch.nn.functional import cross_entropy

from i2i.infer.grid import by_class
from i2i.latent import Prior, PriorName
from i2i.methods import METHODS
from i2i.methods.method import Duel, Method
from i2i.methods.wire import Wire


@METHODS.register("acgan")
class ACGAN(Method):
    """G is told the class c; D is not, and names it beside its judgement of the source, equations 2 and 3:

        L_S = E[log P(S = real | X_real)] + E[log P(S = fake | X_fake)]
        L_C = E[log P(C = c | X_real)] + E[log P(C = c | X_fake)],    X_fake = G(c, z)

    D maximises L_S + L_C, G maximises L_C - L_S. The objective says what each of them minimises in place of its part of
    L_S; the class terms are cross-entropies, as the paper has them. G has no part in the first term of L_C. The classes
    of G's pictures are those of the batch: draws from the classes of the data, p_c.

    A row of D's logits is the one of the source, then one for each of K classes: D is a discriminator of 1 + K outputs
    that is told no class, its two heads being the rows of one last layer. A constraint is about the source alone.

    Args:
        latent: numbers of a z (100 in most papers).
        prior: p_z, "uniform" in [-1, 1) or "normal".
        lam_class: weight of the class terms; the paper's is 1.
    """

    keys = ("image",)
    groups = {"G": ("G",), "D": ("D",)}
    exports = {"generator": "G"}
    maps = {"G": (None, "image")}
    generator_takes = "latents"
    needs_labels = True
    previews = 64
    duels = {"D": Duel("loss/D", "loss/G", weight=1.0)}

    def __init__(
        self, nets, optimizers, runtime, *,
        latent: int = 100, prior: PriorName = "uniform", lam_class: float = 1.0, **shared,
    ):  # fmt: skip
        super().__init__(nets, optimizers, runtime, **shared)
        self.prior, self.lam_class = Prior(prior, latent), lam_class

    @staticmethod
    def wiring(channels, arguments):
        x, c = channels["image"], channels["label"]
        return {"G": Wire("generator", arguments["latent"], x, c), "D": Wire("discriminator", x, 1 + c)}

    @staticmethod
    def check(arguments, channels):
        rules = {
            "latent": (arguments["latent"] >= 1, "must be at least 1; most papers take 100."),
            "lam_class": (arguments["lam_class"] >= 0, "must be at least 0; the paper's weight is 1."),
        }
        return [(key, f"{arguments[key]:g} {words}") for key, (right, words) in rules.items() if not right]

    def step(self, batches):
        for batch in batches:
            x, c = batch["image"], batch["label"]  # (B, C, H, W), (B,)
            with torch.no_grad():
                x_fake = self.G(self.noise(x), c)  # (B, C, H, W)
            with self.only("D"):
                real, fake = self.augment(x), self.augment(x_fake)
                (s_real, c_real), (s_fake, c_fake) = self.judged(real), self.judged(fake)
                loss_d = self.objective.d_loss(s_real, s_fake)
                loss_d_class = cross_entropy(c_real, c) + cross_entropy(c_fake, c)  # -L_C
                penalty = self.constraint.penalty(lambda x: self.judged(x)[0], real, fake)
                self.descend("D", loss_d + self.lam_class * loss_d_class + penalty)
                self.constraint.project(self.D)

        with self.only("G"):
            s_fake, c_fake = self.judged(self.augment(self.G(self.noise(x), c)))
            loss_g, loss_g_class = self.objective.g_loss(s_fake), cross_entropy(c_fake, c)
            self.descend("G", loss_g + self.lam_class * loss_g_class)
        scalars = {"loss/D": loss_d, "loss/D_class": loss_d_class, "loss/G": loss_g, "loss/G_class": loss_g_class}
        return {name: value.detach() for name, value in (scalars | self.objective.estimates(loss_d)).items()}

    def judged(self, x):
        """What D says of pictures (B, C, H, W): the logit of the source (B, 1), and those of the classes (B, K)."""
        logits = self.D(x)
        return logits[:, :1], logits[:, 1:]

    def noise(self, x):
        """z ~ p_z, (B, Z): one for each picture of `x`."""
        return self.prior.draw(len(x), x.device).to(x.dtype)

    def critique(self, batch):
        x, c = batch["image"], batch["label"]
        return {"D": (self.judged(x)[0], self.judged(self.G(self.noise(x), c))[0])}

    def preview(self, models, pictures):
        return by_class(models["generator"](len(pictures["image"])), self.G.classes)
