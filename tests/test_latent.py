"""Priors by their moments and support; ways between latents against cases worked by hand."""

import math

import pytest
import torch

from i2i.errors import UserError
from i2i.latent import Prior, linear, spherical

COUNT = 40_000


def drawn(name: str, size: int = 5, seed: int = 0) -> torch.Tensor:
    return Prior(name, size).draw(COUNT, generator=torch.Generator().manual_seed(seed)).double()


class TestPriors:
    def test_uniform_fills_minus_one_to_one(self):
        z = drawn("uniform")
        assert z.shape == (COUNT, 5) and z.min() >= -1 and z.max() < 1
        assert z.min() < -0.999 and z.max() > 0.999
        # mean 0, variance 1/3, fourth moment 1/5; four standard errors of the mean of 200,000 numbers
        for power, moment, spread in ((1, 0, 1 / 3), (2, 1 / 3, 1 / 5 - 1 / 9), (4, 1 / 5, 1 / 9 - 1 / 25)):
            assert abs(z.pow(power).mean() - moment) < 4 * math.sqrt(spread / z.numel())

    def test_normal_has_mean_0_variance_1_and_fourth_moment_3(self):
        z = drawn("normal")
        for power, moment, spread in ((1, 0, 1), (2, 1, 2), (4, 3, 96)):
            assert abs(z.pow(power).mean() - moment) < 4 * math.sqrt(spread / z.numel())
        assert z.abs().max() > 3.5

    @pytest.mark.parametrize("name", ["normal", "uniform"])
    def test_numbers_of_a_latent_are_independent(self, name):
        z = drawn(name)
        correlations = torch.corrcoef(z.T) - torch.eye(5)
        assert correlations.abs().max() < 4.5 / math.sqrt(COUNT)

    def test_a_generator_of_its_own_leaves_the_global_one_alone(self):
        before = torch.get_rng_state()
        assert drawn("normal", seed=3).equal(drawn("normal", seed=3))
        assert not drawn("normal", seed=3).equal(drawn("normal", seed=4))
        assert torch.get_rng_state().equal(before)

    @pytest.mark.parametrize("name, size, word", [("gauss", 3, "'gauss'"), ("normal", 0, "0"), ("normal", 2.0, "2.0")])
    def test_what_it_refuses(self, name, size, word):
        with pytest.raises(UserError, match=word):
            Prior(name, size)


class TestWays:
    share = torch.tensor([0.0, 1 / 3, 0.5, 2 / 3, 1.0], dtype=torch.float64)

    def test_orthogonal_unit_vectors_by_hand(self):
        a, b = torch.tensor([1.0, 0, 0], dtype=torch.float64), torch.tensor([0, 1.0, 0], dtype=torch.float64)
        # a quarter of a circle: at a third of it 30 degrees, at half 45
        expected = [[1, 0], [math.sqrt(3) / 2, 1 / 2], [math.sqrt(1 / 2)] * 2, [1 / 2, math.sqrt(3) / 2], [0, 1]]
        found = spherical(a, b, self.share)
        assert torch.allclose(found[:, :2], torch.tensor(expected, dtype=torch.float64), atol=1e-15)
        assert not found[:, 2].any()
        assert torch.allclose(linear(a, b, self.share)[1], torch.tensor([2 / 3, 1 / 3, 0], dtype=torch.float64))

    def test_a_third_of_120_degrees_is_40(self):
        a = torch.tensor([2.0, 0], dtype=torch.float64)
        b = 2 * torch.tensor([math.cos(2 * math.pi / 3), math.sin(2 * math.pi / 3)], dtype=torch.float64)
        degrees = torch.rad2deg(torch.atan2(*spherical(a, b, self.share).T.flip(0)))
        assert torch.allclose(degrees, torch.tensor([0.0, 40, 60, 80, 120], dtype=torch.float64))

    def test_equal_norms_are_kept_on_the_way(self):
        draw = torch.Generator().manual_seed(0)
        a, b = (torch.randn(100, generator=draw, dtype=torch.float64) for _ in range(2))
        b *= a.norm() / b.norm()
        found = spherical(a, b, torch.linspace(0, 1, 11))
        assert torch.allclose(found.norm(dim=1), a.norm().expand(11), rtol=1e-12)
        assert linear(a, b, torch.tensor([0.5])).norm() < 0.8 * a.norm()  # the straight way leaves the sphere

    @pytest.mark.parametrize("sign", [1, -1])
    def test_where_no_great_circle_is_told_the_way_is_straight(self, sign):
        a = torch.tensor([3.0, 4.0])
        found = spherical(a, sign * a, self.share)
        assert torch.isfinite(found).all() and found.equal(linear(a, sign * a, self.share))

    def test_a_latent_of_zeros_is_no_division_by_zero(self):
        found = spherical(torch.zeros(2), torch.tensor([1.0, 0]), torch.tensor([0.0, 1.0]))
        assert torch.allclose(found, torch.tensor([[0.0, 0], [1, 0]]), atol=1e-7)

    @pytest.mark.parametrize("way", [linear, spherical])
    def test_both_begin_and_end_where_they_should(self, way):
        draw = torch.Generator().manual_seed(1)
        a, b = (torch.randn(8, generator=draw) for _ in range(2))
        found = way(a, b, torch.tensor([0.0, 1.0]))
        assert found.shape == (2, 8) and found.dtype == torch.float32
        assert torch.allclose(found, torch.stack([a, b]), atol=1e-6)

    def test_linear_by_hand(self):
        found = linear(torch.tensor([0.0, 8.0]), torch.tensor([4.0, 0.0]), torch.tensor([0.0, 0.25, 1.0]))
        assert found.tolist() == [[0, 8], [1, 6], [4, 0]]
