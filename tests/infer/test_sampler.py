"""A sample is a function of (seed, number) and the weights alone, whatever is drawn beside it."""

import numpy as np
import pytest
import torch
from PIL import Image
from sampled import sampler, weights

from i2i.errors import UserError
from i2i.infer.sampler import CHUNK, Sampler
from i2i.latent import Prior
from i2i.seeds import derive


class TestAlone:
    def test_any_count_and_start_give_the_same_bits(self):
        model = sampler(size=12)
        whole = model.tensors(3 * CHUNK + 5)
        assert model.tensors(3).equal(whole[:3])
        assert model.tensors(1, start=2).equal(whole[2:3])
        assert model.tensors(100, start=50).equal(whole[50:150])
        assert model.tensors(5, start=3 * CHUNK).equal(whole[3 * CHUNK :])
        assert len({x.numpy().tobytes() for x in whole}) == len(whole)

    def test_sums_that_a_batch_of_another_size_would_split_otherwise(self):
        model = sampler(size=28, width=600)
        with torch.no_grad():
            if model.net(model.latents(1)).equal(model.net(model.latents(64))[:1]):
                pytest.skip("this machine sums batches of 1 and of 64 in one way")
        assert model.tensors(1).equal(model.tensors(64)[:1])

    def test_latents_are_drawn_one_by_one_from_seed_and_number(self):
        model = sampler()
        expected = Prior("uniform", 5).draw(1, generator=torch.Generator().manual_seed(derive(9, "z", 17)))
        assert model.latents(1, start=17, seed=9).equal(expected)
        assert model.latents(20, start=5, seed=9)[12:13].equal(expected)

    def test_another_seed_is_another_sequence_and_the_weights_own_is_the_default(self):
        model = sampler()
        assert model.tensors(2).equal(model.tensors(2, seed=0))
        assert not model.tensors(2).equal(model.tensors(2, seed=1))
        net, meta = weights()
        other = Sampler(net, {**meta, "translate": {"seed": 1}})
        assert other.tensors(2).equal(model.tensors(2, seed=1))

    def test_what_was_drawn_before_and_autocast_change_nothing(self):
        model = sampler()
        expected = model.tensors(4)
        torch.rand(3)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert model.tensors(4).equal(expected)

    def test_no_random_state_is_moved(self):
        before = torch.get_rng_state()
        sampler().tensors(4)
        assert torch.get_rng_state().equal(before)


class TestOutputs:
    def test_they_are_what_the_network_makes_of_the_latents(self):
        net, meta = weights(channels=3)
        model = Sampler(net, meta)
        with torch.no_grad():
            expected = net(model.latents(3))
        assert torch.allclose(model.tensors(3), expected, atol=1e-6)
        assert expected.std() > 0.3

    def test_norms_run_with_their_running_statistics(self):
        net, meta = weights()
        net.blocks[0].norm = torch.nn.BatchNorm1d(16)
        net.train()
        model = Sampler(net, meta)
        before = {key: value.clone() for key, value in net.state_dict().items()}
        assert model.tensors(2).equal(model.tensors(9)[:2])
        assert all(value.equal(before[key]) for key, value in net.state_dict().items())

    def test_eight_bits_are_pillow_images(self):
        model = sampler(channels=3)
        images = model(2, start=4)
        assert [type(image) for image in images] == [Image.Image] * 2 and images[0].mode == "RGB"
        assert np.array_equal(np.array(images[1]), model.pixels(6)[5])

    def test_floats_are_arrays_in_their_own_units(self):
        (pixels,) = sampler(channels=2, depth=32, span=(-4.0, 4.0))(1)
        assert pixels.shape == (8, 8, 2) and pixels.dtype == np.float32
        assert np.abs(pixels).max() > 1 and np.abs(pixels).max() <= 4

    def test_decode_takes_any_number_at_once(self):
        model = sampler()
        z = model.latents(CHUNK + 3)
        assert model.decode(z).equal(model.tensors(CHUNK + 3))


class TestRefusals:
    @pytest.mark.parametrize("count, start", [(0, 0), (-1, 0), (1, -1)])
    def test_counts(self, count, start):
        with pytest.raises(UserError, match=f"count {count}, start {start}"):
            sampler().tensors(count, start=start)

    @pytest.mark.parametrize("z", [torch.zeros(5), torch.zeros(2, 4), torch.zeros(0, 5)])
    def test_latents_of_another_shape(self, z):
        with pytest.raises(UserError, match="takes \\(N, 5\\)"):
            sampler().decode(z)

    @pytest.mark.parametrize("key", ["output", "prior", "translate"])
    def test_metadata_that_lack_something(self, key):
        net, meta = weights()
        del meta[key]
        with pytest.raises(UserError, match="not complete"):
            Sampler(net, meta)
