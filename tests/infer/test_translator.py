"""Pictures of any size and kind through real small networks, under both policies."""

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from i2i.data import pictures
from i2i.data.domain import Domain
from i2i.errors import UserError
from i2i.infer import translator as module
from i2i.infer.translator import Translator

ROOT = Path(__file__).parents[2]


def picture(height: int, width: int, channels: int = 3, dtype=np.uint8, seed: int = 0) -> np.ndarray:
    top = np.iinfo(dtype).max
    return np.random.default_rng(seed).integers(0, top, (height, width, channels), dtype=dtype, endpoint=True)


class Pass(nn.Module):
    """The identity, to see what is done around a network; refuses what a network would."""

    def __init__(self, multiple=4, minimum=8, outs=None):
        super().__init__()
        self.multiple, self.minimum, self.outs, self.seen = multiple, minimum, outs, []

    def forward(self, x):
        self.seen.append(x)
        height, width = x.shape[-2:]
        if height % self.multiple or width % self.multiple or min(height, width) < self.minimum:
            raise ValueError(f"{height} x {width}")
        return x if self.outs is None else x[:, :1].expand(-1, self.outs, -1, -1)


@pytest.fixture
def identity(made):
    """`identity(ins, outs, depths, **meta)` is a translator that changes nothing but the domain."""

    def make(ins: int = 3, outs: int | None = None, depths=(8, 8), **changes) -> Translator:
        _, meta = made(ins=ins, outs=outs or ins, depths=depths, **changes)
        return Translator(Pass(outs=outs), meta | {"multiple": 4, "minimum": 8})

    return make


@pytest.fixture
def translator(made):
    return lambda *args, **kwargs: Translator(*made(*args, **kwargs))


class TestSizes:
    @pytest.mark.parametrize("name", ["unet", "resnet"])
    def test_any_size_down_to_one_pixel_comes_out_as_it_went_in(self, translator, name):
        translate = translator(name)
        for height, width in [(1, 1), (1, 9), (7, 1), (2, 3), (8, 8), (13, 40), (33, 17)]:
            out = translate.pixels(picture(height, width))
            assert out.shape == (height, width, 3) and out.dtype == np.uint8

    def test_a_size_that_fits_goes_in_unpadded(self, made):
        net, meta = made()
        x = picture(24, 16)
        expected = net.eval()(Domain(**meta["input"]).to_tensor(x)[None])[0]
        assert np.array_equal(Translator(net, meta).pixels(x), Domain(**meta["output"]).to_pixels(expected))

    def test_padding_is_taken_off_where_it_was_put_on(self, identity):
        for height, width in [(1, 1), (3, 11), (8, 12), (9, 9)]:
            x = picture(height, width)
            assert np.array_equal(identity().pixels(x), x)

    def test_output_has_contrast(self, translator):
        for name in ("unet", "noisy", "resnet"):
            assert translator(name).pixels(picture(32, 32)).std() > 10  # else the other tests would show nothing


class TestScale:
    def test_size_goes_through_the_network_and_the_output_has_the_input_s_size(self, identity):
        translate = identity()
        for (height, width), size, inside in [((40, 60), 8, (8, 12)), ((10, 7), 14, (20, 14)), ((8, 8), 8, (8, 8))]:
            translate.net.seen.clear()
            out = translate.pixels(picture(height, width), size=size)
            assert out.shape == (height, width, 3)
            assert tuple(translate.net.seen[0].shape[-2:]) == tuple(-(-side // 4) * 4 for side in inside)

    def test_the_shorter_side_gets_the_size_exactly(self):
        for height in (5, 49, 286, 1000):
            for size in range(1, 300, 7):
                assert min(module._scaled((height, height + 13), size, "x")) == size

    def test_resizing_averages_down_and_stays_in_range_up(self, identity):
        x = np.zeros((16, 16, 1), np.uint8)
        x[:, ::2] = 200
        small = module._resized(torch.from_numpy(x[:, :, 0].astype(np.float32))[None] / 255, (8, 8))
        assert torch.allclose(small, torch.full((1, 8, 8), 100 / 255))
        large = module._resized(torch.tensor([[[-1.0, 1, -1, 1]] * 4]), (9, 9))
        assert large.min() == -1 and large.max() == 1  # cubic overshoot is cut off

    def test_is_the_resize_of_training(self, identity):
        x = picture(40, 60)
        translate = identity()
        translate.pixels(x, size=16)
        whole = cv2.resize(x.astype(np.float32), (24, 16), interpolation=cv2.INTER_AREA)
        assert np.allclose(translate.net.seen[0][0].permute(1, 2, 0), whole / 127.5 - 1, atol=1e-5)

    @pytest.mark.parametrize("size", [0, -3, 2.5])
    def test_impossible_sizes_are_refused(self, identity, size):
        with pytest.raises(UserError, match="not a side"):
            identity().pixels(picture(8, 8), size=size)

    def test_a_size_that_would_fill_the_memory_is_refused(self, identity):
        with pytest.raises(UserError, match="over the cap"):
            identity().pixels(picture(1, 5000), size=1000)

    def test_hint_and_preview_size_begin_over_one_and_a_half_times_the_training_scale(self, identity):
        translate = identity(load_size=32)
        for shorter, large in [(20, False), (48, False), (49, True)]:
            x = picture(shorter, 200)
            assert (translate.hint(x) is not None) == large
            assert translate.preview_size(x) == (32 if large else None)
        assert "--size 32" in translate.hint(x) and "200 x 49" in translate.hint(x)
        native = identity(load_size=None)
        assert native.hint(x) is None and native.preview_size(x) is None


class TestPolicy:
    def test_batch_takes_the_picture_s_own_statistics(self, made):
        net, meta = made(norm="batch")
        x = picture(16, 24)
        reference = made()[0].train()
        expected = reference(Domain(**meta["input"]).to_tensor(x)[None])[0]
        assert np.array_equal(Translator(net, meta).pixels(x), Domain(**meta["output"]).to_pixels(expected))

    def test_running_takes_the_stored_ones(self, made):
        net, meta = made(norm="running")
        x = picture(16, 24)
        expected = made()[0].eval()(Domain(**meta["input"]).to_tensor(x)[None])[0]
        assert np.array_equal(Translator(net, meta).pixels(x), Domain(**meta["output"]).to_pixels(expected))
        assert not np.array_equal(Translator(*made(norm="batch")).pixels(x), Translator(net, meta).pixels(x))

    @pytest.mark.parametrize("norm", ["batch", "running"])
    @pytest.mark.parametrize("dropout", [True, False])
    def test_no_weight_and_no_statistic_is_touched_by_a_bit(self, made, norm, dropout):
        net, meta = made("noisy", norm=norm, dropout=dropout)
        before = {key: value.clone() for key, value in net.state_dict().items()}
        Translator(net, meta).pixels(picture(64, 70))
        after = net.state_dict()
        assert list(before) == list(after) and all(torch.equal(before[key], after[key]) for key in before)

    def test_an_unknown_policy_is_refused(self, made):
        with pytest.raises(UserError, match="'mean' is not a policy"):
            made_net, meta = made(norm="mean")
            Translator(made_net, meta)

    def test_metadata_that_lack_something_are_refused(self, made):
        net, meta = made()
        with pytest.raises(UserError, match="not complete"):
            Translator(net, {key: value for key, value in meta.items() if key != "input"})
        with pytest.raises(UserError, match="not complete"):
            Translator(net, meta | {"output": {"channels": 3}})


class TestNoise:
    @pytest.fixture
    def noisy(self, made):
        return lambda **kwargs: Translator(*made("noisy", **{"norm": "batch", "dropout": True} | kwargs))

    def test_the_same_picture_gives_the_same_output_in_any_order_and_company(self, noisy):
        a, b, c = (picture(20, 30, seed=seed) for seed in range(3))
        translate = noisy()
        first = {name: translate.pixels(x) for name, x in (("a", a), ("b", b), ("c", c))}
        torch.manual_seed(99)
        again = noisy()
        for name, x in (("c", c), ("a", a), ("a", a), ("b", b)):
            assert np.array_equal(again.pixels(x), first[name])

    def test_samples_differ_and_each_can_be_had_again(self, noisy):
        x = picture(20, 30)
        made = [noisy().pixels(x, sample=sample) for sample in range(4)]
        assert all(not np.array_equal(made[i], made[j]) for i in range(4) for j in range(i))
        assert np.array_equal(made[2], noisy().pixels(x, sample=2))

    def test_other_pixels_and_another_seed_draw_other_noise(self, noisy, monkeypatch):
        seeds = []
        monkeypatch.setattr(module, "derive", lambda *parts: seeds.append(parts) or 5)
        x = picture(20, 30)
        y = x.copy()
        y[3, 3, 0] ^= 1
        noisy().pixels(x)
        noisy().pixels(y)
        noisy(translate={"norm": "batch", "dropout": True, "seed": 1}).pixels(x)
        assert len({parts[1] for parts in seeds}) == 2 and [parts[0] for parts in seeds] == [0, 0, 1]

    def test_the_seed_is_that_of_the_pixels_before_padding_and_after_replication(self, noisy, monkeypatch):
        seeds = []
        monkeypatch.setattr(module, "derive", lambda *parts: seeds.append(parts) or 5)
        grey = picture(20, 30, channels=1)
        noisy().pixels(grey, sample=3)
        noisy().pixels(np.repeat(grey, 3, axis=2), sample=3)
        x = Domain(3, (0, 255), 8).to_tensor(np.repeat(grey, 3, axis=2))
        assert seeds == [(0, x.numpy().tobytes(), 3)] * 2

    def test_pytorch_s_own_random_state_is_left_as_it_was(self, noisy):
        torch.manual_seed(1)
        before = torch.get_rng_state()
        noisy().pixels(picture(20, 30))
        assert torch.equal(before, torch.get_rng_state())

    def test_nor_are_other_devices_seeded(self, noisy, monkeypatch):
        def forbidden(seed):
            raise AssertionError("torch.manual_seed moves the generators of every device")

        monkeypatch.setattr(torch, "manual_seed", forbidden)
        noisy().pixels(picture(20, 30))

    def test_it_is_dropout_as_it_is_in_training(self, made):
        """With every picture's statistics and dropout on, one picture is what the training network would make."""
        net, meta = made("noisy", norm="batch", dropout=True)
        x = Domain(**meta["input"]).to_tensor(picture(64, 64))
        reference = made("noisy")[0].train()
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(module.derive(0, x.numpy().tobytes(), 0))
            expected = reference(x[None])[0]
        assert torch.equal(Translator(net, meta)(x), expected)

    def test_draws_says_whether_there_is_noise(self, noisy, translator):
        assert noisy().draws
        assert not noisy(dropout=False).draws
        assert not translator("unet", dropout=True).draws  # its network has no dropout


class TestDomains:
    @pytest.mark.parametrize("depths", [(8, 8), (8, 16), (16, 8), (16, 16)])
    def test_out_comes_the_output_s_depth(self, identity, depths):
        given, wanted = (np.uint8 if depth == 8 else np.uint16 for depth in depths)
        x = picture(9, 12, 1, given)
        out = identity(ins=1, depths=depths).pixels(x)
        assert out.dtype == wanted and out.shape == x.shape
        exact = x.astype(np.float64) / np.iinfo(given).max * np.iinfo(wanted).max
        assert np.abs(out - exact).max() <= 0.51

    def test_sixteen_bits_pass_unharmed(self, identity):
        x = picture(16, 16, 3, np.uint16)
        assert np.array_equal(identity(depths=(16, 16)).pixels(x), x)

    def test_grey_is_replicated_for_a_network_of_three_channels(self, identity):
        x = picture(8, 9, 1)
        assert np.array_equal(identity().pixels(x), np.repeat(x, 3, axis=2))

    def test_one_channel_out_of_three(self, identity):
        x = picture(8, 9)
        assert np.array_equal(identity(outs=1).pixels(x), x[:, :, :1])

    @pytest.mark.parametrize(
        "x, word",
        [
            (picture(8, 8, 3, np.uint16), "16 bits a channel, and this model was trained on 8"),
            (picture(8, 8).astype(np.float32), "has float values, and this model was trained on 8 bits a channel"),
            (picture(8, 8).astype(np.float64), "holds float64; give uint8 levels"),
            (picture(8, 8) > 9, "holds bool"),
            (picture(8, 8, 5), "5 channels"),
            (picture(8, 8).astype(np.int32), "holds int32; give uint8 levels in 0..255"),
            (np.zeros((0, 8), np.uint8), r"pixels are \(H, W\) or \(H, W, C\), and this model takes 3 channels"),
            (np.zeros((0, 8, 3), np.uint8), "shape"),
            (np.zeros((1, 8, 8, 3), np.uint8), "shape"),
        ],
    )
    def test_other_pictures_are_refused_in_words(self, identity, x, word):
        with pytest.raises(UserError, match=word):
            identity()(x)

    def test_colour_for_a_grey_network_and_shallow_for_a_deep_one(self, identity):
        with pytest.raises(UserError, match="3 channels and 1"):
            identity(ins=1)(picture(8, 8))
        with pytest.raises(UserError, match="8 bits a channel, and this model was trained on 16"):
            identity(depths=(16, 16))(picture(8, 8))

    def test_outputs_that_are_not_finite_are_refused(self, made):
        class Broken(nn.Module):
            def forward(self, x):
                return x * float("nan")

        with pytest.raises(UserError, match="not finite"):
            Translator(Broken(), made()[1]).pixels(picture(8, 8))


class TestDoors:
    """What `Translator.__call__` takes and gives."""

    def test_arrays_give_arrays(self, identity):
        x = picture(9, 10)
        assert np.array_equal(identity()(x), x)
        grey = picture(9, 10, 1)
        one = identity(ins=1)
        assert np.array_equal(one(grey), grey)
        assert np.array_equal(one(grey[:, :, 0]), grey[:, :, 0])  # flat in, flat out
        assert identity()(grey[:, :, 0]).shape == (9, 10, 3)  # where the output has one channel

    def test_alpha_of_an_array_is_set_aside_and_put_back(self, identity):
        x = picture(9, 10, 4)
        assert np.array_equal(identity()(x), x)
        assert np.array_equal(identity(outs=1)(x), x[:, :, [0, 3]])
        grey = picture(9, 10, 2)
        assert np.array_equal(identity(ins=1)(grey), grey)
        assert np.array_equal(identity()(grey), grey[:, :, [0, 0, 0, 1]])

    def test_alpha_takes_the_depth_of_the_output_and_back(self, identity):
        x = picture(16, 16, 2)
        deep = identity(ins=1, depths=(8, 16))(x)
        assert np.array_equal(deep[:, :, 1], x[:, :, 1].astype(np.uint16) * 257)
        assert np.array_equal(identity(ins=1, depths=(16, 8))(deep), x)
        assert identity(ins=1, depths=(16, 8))(np.array([[[0, 65535], [0, 0]]], np.uint16))[0, :, 1].tolist() == [
            255,
            0,
        ]

    def test_an_array_of_as_many_channels_as_the_network_has_no_alpha(self, identity):
        x = picture(9, 10, 4)
        translate = identity(ins=4)
        assert np.array_equal(translate(x), x) and translate.net.seen[0].shape[1] == 4

    @pytest.mark.parametrize(
        "mode, ins, depths, wanted",
        [
            ("RGB", 3, (8, 8), "RGB"),
            ("RGBA", 3, (8, 8), "RGBA"),
            ("L", 1, (8, 8), "L"),
            ("LA", 1, (8, 8), "LA"),
            ("I;16", 1, (16, 16), "I;16"),
        ],
    )
    def test_pillow_gives_pillow(self, identity, mode, ins, depths, wanted):
        channels = len(mode) if mode.isalpha() else 1
        x = picture(9, 10, channels, np.uint8 if depths[0] == 8 else np.uint16)
        image = Image.fromarray(x[:, :, 0] if channels == 1 else x)
        assert image.mode == mode
        out = identity(ins=ins, depths=depths)(image)
        assert isinstance(out, Image.Image) and out.mode == wanted
        assert np.array_equal(np.array(out), np.array(image))

    def test_what_pillow_cannot_hold_is_an_array(self, identity):
        image = Image.fromarray(picture(9, 10))
        out = identity(depths=(8, 16))(image)
        assert isinstance(out, np.ndarray) and out.shape == (9, 10, 3) and out.dtype == np.uint16
        grey = Image.fromarray(picture(9, 10, 2), "LA")
        assert identity(ins=1, depths=(8, 16))(grey).shape == (9, 10, 2)

    def test_pillow_s_other_modes_become_rgb(self, identity):
        image = Image.fromarray(picture(9, 10))
        for mode in ("CMYK", "YCbCr", "P", "RGBX", "1"):
            other = image.convert(mode)
            expected = other.convert("L").convert("RGB") if mode == "1" else other.convert("RGB")
            assert np.array_equal(np.array(identity()(other)), np.array(expected)), mode
        with pytest.raises(UserError, match="the Pillow image has float values, and this model was trained on 8 bits"):
            identity()(Image.new("F", (8, 8)))
        for mode in ("LAB", "HSV"):
            strange = Image.new(mode, (8, 8))
            with pytest.raises(UserError, match=f"mode {mode}"):
                identity()(strange)

    def test_pillow_s_thirty_two_bits_are_taken_where_sixteen_hold_them(self, identity):
        x = np.array([[0, 65535], [7, 8]], np.int32)
        assert np.array_equal(np.array(identity(ins=1, depths=(16, 16))(Image.fromarray(x))), x)
        with pytest.raises(UserError, match="from -1 to 5"):
            identity(ins=1, depths=(16, 16))(Image.fromarray(np.array([[-1, 5]], np.int32)))

    def test_transparent_palettes_and_exif_orientation(self, identity, tmp_path):
        image = Image.new("P", (8, 8))
        image.putpalette([255, 0, 0, 0, 255, 0])
        image.info["transparency"] = 0
        assert identity()(image).mode == "RGBA"
        sideways = Image.fromarray(picture(4, 6))
        sideways.getexif()[0x0112] = 6
        assert identity()(sideways).size == (4, 6)
        sideways.save(tmp_path / "s.png", exif=sideways.getexif())
        by_path, by_image = identity()(tmp_path / "s.png"), identity()(Image.open(tmp_path / "s.png"))
        assert by_path.size == (4, 6) and np.array_equal(np.array(by_path), np.array(by_image))

    def test_a_path_gives_pillow(self, identity, tmp_path):
        x = picture(9, 10, 4)
        pictures.write(tmp_path / "a.png", x[:, :, :3], x[:, :, 3])
        for path in (tmp_path / "a.png", str(tmp_path / "a.png")):
            out = identity()(path)
            assert out.mode == "RGBA" and np.array_equal(np.array(out), x)

    def test_broken_files_are_refused_by_name(self, identity, tmp_path):
        (tmp_path / "a.png").write_bytes(b"<html>")
        with pytest.raises(UserError, match=r"a\.png"):
            identity()(tmp_path / "a.png")
        pictures.write(tmp_path / "b.png", picture(50, 50))
        (tmp_path / "b.png").write_bytes((tmp_path / "b.png").read_bytes()[:2000])
        with pytest.raises(UserError, match="cannot be read"):
            identity()(Image.open(tmp_path / "b.png"))

    def test_tensors_give_tensors(self, identity, translator):
        x = torch.rand(2, 3, 9, 10) * 2 - 1
        out = identity()(x)
        assert torch.equal(out, x) and out.dtype == torch.float32
        assert torch.equal(identity()(x[0]), x[0])
        assert torch.equal(identity()(x[0].double()), x[0])
        assert torch.equal(identity()(x[:, :1]), x[:, :1].expand(-1, 3, -1, -1))
        assert identity()(x, size=20).shape == x.shape
        batch = translator("noisy", norm="batch", dropout=True)
        assert torch.equal(batch(x)[1], batch(x[1]))  # a picture does not see its company
        assert not batch(x.requires_grad_()).requires_grad

    @pytest.mark.parametrize(
        "x, word",
        [
            (torch.zeros(3, 8), "no picture for this model"),
            (torch.zeros(2, 8, 8), "no picture for this model"),
            (torch.zeros(0, 3, 8, 8), "no picture for this model"),
            (torch.zeros(3, 8, 8, dtype=torch.uint8), r"a torch\.uint8 tensor"),
            (torch.full((3, 8, 8), 1.5), "from 1.5 to 1.5"),
            (torch.full((3, 8, 8), float("nan")), "from nan"),
        ],
    )
    def test_tensors_that_are_no_pictures_are_refused(self, identity, x, word):
        with pytest.raises(UserError, match=word):
            identity()(x)

    def test_anything_else_is_refused(self, identity):
        with pytest.raises(UserError, match="list is not a picture"):
            identity()([1, 2])

    def test_all_doors_lead_to_one_output(self, translator, tmp_path):
        x = picture(21, 33)
        pictures.write(tmp_path / "a.png", x)
        translate = translator("noisy", norm="batch", dropout=True)
        expected = translate.pixels(x)
        assert np.array_equal(translate(x), expected)
        assert np.array_equal(np.array(translate(tmp_path / "a.png")), expected)
        assert np.array_equal(np.array(translate(Image.fromarray(x))), expected)
        out = translate(translate.input.to_tensor(x))
        assert np.array_equal(translate.output.to_pixels(out), expected)


class TestMachine:
    def test_an_outer_autocast_does_not_reach_the_network(self, made):
        translate = Translator(*made("resnet"))
        x = picture(16, 16)
        expected = translate.pixels(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert np.array_equal(translate.pixels(x), expected)

    def test_too_little_memory_is_a_sentence(self, made):
        class Hungry(nn.Module):
            def forward(self, x):
                raise torch.OutOfMemoryError("CUDA out of memory")

        with pytest.raises(UserError, match="8 x 9, does not fit into the memory of cpu"):
            Translator(Hungry(), made()[1]).pixels(picture(9, 8))

    def test_other_errors_of_a_network_are_not_hidden(self, made):
        class Wrong(nn.Module):
            def forward(self, x):
                raise RuntimeError("a bug")

        with pytest.raises(RuntimeError, match="a bug"):
            Translator(Wrong(), made()[1]).pixels(picture(9, 8))

    @pytest.mark.gpu
    def test_a_gpu_gives_the_cpu_s_picture_within_a_level(self, made):
        x = picture(50, 70)
        for name in ("unet", "resnet"):
            out = [Translator(*made(name), device).pixels(x).astype(int) for device in ("cpu", "cuda", "cuda")]
            assert np.abs(out[0] - out[1]).max() <= 1 and np.array_equal(out[1], out[2])

    @pytest.mark.gpu
    def test_noise_on_a_gpu_is_its_own_and_leaves_the_state(self, made):
        states = torch.get_rng_state(), torch.cuda.get_rng_state()
        translate = Translator(*made("noisy", norm="batch", dropout=True), "cuda")
        x = picture(50, 70)
        assert np.array_equal(translate.pixels(x), translate.pixels(x))
        assert not np.array_equal(translate.pixels(x), translate.pixels(x, sample=1))
        assert torch.equal(states[0], torch.get_rng_state()) and torch.equal(states[1], torch.cuda.get_rng_state())

    def test_translating_imports_no_training_code(self):
        code = (
            "import sys, i2i.infer.folder, i2i.infer.grid, i2i.infer.models; from i2i.nets import GENERATORS; "
            "GENERATORS.names(); "
            "print({'albumentations', 'torchvision', 'accelerate', 'kornia', 'pydantic'} & set(sys.modules), "
            "[m for m in sys.modules if m.startswith(('i2i.engine', 'i2i.methods', 'i2i.losses', 'i2i.build'))])"
        )
        out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
        assert out.stdout == "set() []\n"
