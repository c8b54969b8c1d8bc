"""CycleGAN: "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks" (Zhu et al., 2017)."""

import torch
from torch.nn.functional import l1_loss

from i2i.methods import METHODS
from i2i.methods.method import Duel, Method
from i2i.methods.pool import ImagePool


@METHODS.register("cyclegan")
class CycleGAN(Method):
    """Two generators, two discriminators and cycle consistency, equation 3:

        L = L_GAN(G_ab, D_b) + L_GAN(G_ba, D_a) + lam E[|G_ba(G_ab(a)) - a|] + lam E[|G_ab(G_ba(b)) - b|]

    with the identity term of section 5.2, E[|G_ab(b) - b|] + E[|G_ba(a) - a|], weighted lam_identity x lam of its side.
    G_ab maps domain A to B and D_b judges pictures of B (the paper's G, D_Y; F = G_ba, D_X = D_a). Both generators are
    updated together; then both discriminators, their losses halved, on pictures from a pool of earlier ones (sec. 4).

    Args:
        lam_cycle_a, lam_cycle_b: weight of the cycle A -> B -> A and of B -> A -> B (the paper's lambda, 10).
        lam_identity: weight of the identity term relative to the cycle term of its side; 0 leaves it out.
        pool_size: pictures kept for each discriminator (50 in the paper); 0 shows it only the newest.
    """

    keys = ("a", "b")
    groups = {"G": ("G_ab", "G_ba"), "D": ("D_a", "D_b")}
    exports = {"generator_ab": "G_ab", "generator_ba": "G_ba"}
    maps = {"G_ab": ("a", "b"), "G_ba": ("b", "a")}
    paired = False
    duels = {"D_a": Duel("loss/D_a", "loss/G_ba"), "D_b": Duel("loss/D_b", "loss/G_ab")}
    foresees = ("G_ab", "G_ba", "D_a", "D_b")

    def __init__(
        self, nets, optimizers, runtime, *,
        lam_cycle_a: float = 10.0, lam_cycle_b: float = 10.0, lam_identity: float = 0.5, pool_size: int = 50, **shared,
    ):  # fmt: skip
        super().__init__(nets, optimizers, runtime, **shared)
        self.lam_cycle_a, self.lam_cycle_b, self.lam_identity = lam_cycle_a, lam_cycle_b, lam_identity
        self.pools = {"a": ImagePool(pool_size), "b": ImagePool(pool_size)}

    @staticmethod
    def wiring(channels, arguments):
        a, b = channels["a"], channels["b"]
        nets = {"G_ab": ("generator", a, b), "G_ba": ("generator", b, a)}
        return nets | {"D_a": ("discriminator", a, 1), "D_b": ("discriminator", b, 1)}

    @staticmethod
    def check(arguments, channels):
        faults = []
        if arguments["lam_identity"] and channels["a"] != channels["b"]:
            rule = "needs domains of equally many channels, since the identity term feeds B to the A -> B generator"
            have = f"these have {channels['a']} and {channels['b']}. Set it to 0"
            faults.append(("lam_identity", f"{arguments['lam_identity']:g} {rule}; {have}."))
        if arguments["pool_size"] < 0:
            faults.append(("pool_size", f"{arguments['pool_size']} must be at least 0; 0 turns the pool off."))
        return faults

    def step(self, batches):
        batch = next(batches)
        a, b = batch["a"], batch["b"]  # (B, Ca, H, W), (B, Cb, H, W)
        both = ((self.G_ab, a, b), (self.G_ba, b, a)) if self.lam_identity else ()
        with self.only("G"), self.runtime.foreseen(*both):
            b_fake = self.G_ab(a)
            a_cycled = self.G_ba(b_fake)
            a_fake = self.G_ba(b)
            b_cycled = self.G_ab(a_fake)
            losses = {}
            if self.lam_identity:
                losses["loss/identity_b"] = self.lam_identity * self.lam_cycle_b * l1_loss(self.G_ab(b), b)
                losses["loss/identity_a"] = self.lam_identity * self.lam_cycle_a * l1_loss(self.G_ba(a), a)
            losses["loss/G_ab"] = self.objective.g_loss(self.D_b(self.augment(b_fake)))
            losses["loss/G_ba"] = self.objective.g_loss(self.D_a(self.augment(a_fake)))
            losses["loss/cycle_a"] = self.lam_cycle_a * l1_loss(a_cycled, a)
            losses["loss/cycle_b"] = self.lam_cycle_b * l1_loss(b_cycled, b)
            self.descend("G", sum(losses.values()))

        losses |= self.critics(a, b, a_fake.detach(), b_fake.detach())
        for batch in batches:  # further critic updates, on fresh pictures of the updated generators
            with torch.no_grad():
                b_fake, a_fake = self.G_ab(batch["a"]), self.G_ba(batch["b"])
            losses |= self.critics(batch["a"], batch["b"], a_fake, b_fake)
        return {name: loss.detach() for name, loss in losses.items()}

    def critics(self, a, b, a_fake, b_fake):
        """One update of both discriminators; the fakes pass through the pools, un-augmented."""
        total, losses = 0.0, {}
        sides = (("a", self.D_a, a, a_fake), ("b", self.D_b, b, b_fake))
        shown = [(side, D, self.augment(x), self.augment(self.pools[side](x_fake))) for side, D, x, x_fake in sides]
        with self.only("D"), self.runtime.foreseen(*((D, real, fake) for _, D, real, fake in shown)):
            for side, D, real, fake in shown:
                losses[f"loss/D_{side}"] = 0.5 * self.objective.d_loss(D(real), D(fake))
                total = total + losses[f"loss/D_{side}"] + self.constraint.penalty(D, real, fake)
            self.descend("D", total)
            self.constraint.project(self.D_a)
            self.constraint.project(self.D_b)
        return losses

    def critique(self, batch):
        a, b = batch["a"], batch["b"]
        return {"D_a": (self.D_a(a), self.D_a(self.G_ba(b))), "D_b": (self.D_b(b), self.D_b(self.G_ab(a)))}

    def preview(self, models, pictures):
        ab, ba = models["generator_ab"], models["generator_ba"]
        a, b = pictures["a"], pictures["b"]
        b_fake, a_fake = [ab(x) for x in a], [ba(x) for x in b]
        return {
            "A": a, "B' = G_ab(A)": b_fake, "A'' = G_ba(B')": [ba(x) for x in b_fake],
            "B": b, "A' = G_ba(B)": a_fake, "B'' = G_ab(A')": [ab(x) for x in a_fake],
        }  # fmt: skip

    def state(self):
        return {f"pool.{side}.{key}": value for side, pool in self.pools.items() for key, value in pool.state().items()}

    def load_state(self, state):
        for side, pool in self.pools.items():
            prefix = f"pool.{side}."
            pool.load_state({key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)})
