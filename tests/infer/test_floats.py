"""Floats, many channels and pages by every door of the translator."""

import warnings

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from torch import nn

from i2i.data import pictures
from i2i.errors import UserError
from i2i.infer.convert import alpha_like
from i2i.infer.translator import Translator

SPAN = [-3.0, 8.0]


class Pass(nn.Module):
    """The identity; of another number of channels, the first over and over."""

    def __init__(self, outs=None):
        super().__init__()
        self.outs, self.seen = outs, []

    def forward(self, x):
        self.seen.append(x)
        return x if self.outs is None else x[:, :1].expand(-1, self.outs, -1, -1)


def picture(height: int, width: int, channels: int = 3, dtype=np.uint8, seed: int = 0) -> np.ndarray:
    top = np.iinfo(dtype).max
    return np.random.default_rng(seed).integers(0, top, (height, width, channels), dtype=dtype, endpoint=True)


def floats(channels: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(*SPAN, (9, 10, channels)).astype(np.float32)


@pytest.fixture
def identity(made):
    """`identity(input channels and depth, output ...)`: changes nothing but the domain; a float's range is SPAN."""

    def domain(channels: int, depth: int) -> dict:
        return {"channels": channels, "depth": depth, "range": SPAN if depth == 32 else [0, 2**depth - 1]}

    def make(ins=(1, 32), outs=None, **changes) -> Translator:
        _, meta = made()
        meta |= {"input": domain(*ins) | changes, "output": domain(*(outs or ins)), "multiple": 4, "minimum": 8}
        return Translator(Pass(outs and outs[0]), meta)

    return make


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
def test_float_arrays_pass_unharmed_and_are_never_pillow(identity, channels):
    x = floats(channels)
    out = identity((channels, 32))(x)
    assert out.dtype == np.float32 and np.abs(out.astype(np.float64) - x).max() <= 1e-6 * 11
    assert identity((1, 32))(floats()[:, :, 0]).shape == (9, 10)


def test_what_lies_outside_the_range_is_clipped_and_its_share_told(identity):
    x = np.linspace(-14, 19, 100, dtype=np.float32).reshape(10, 10, 1)
    translate = identity()
    with pytest.warns(UserWarning, match=r"the array: 66% of its values are outside .* \[-3, 8\], and are clipped"):
        assert np.allclose(translate(x), x.clip(-3, 8), atol=1e-5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        translate(floats())
    assert translate.outside(pictures.Picture(x)) == pytest.approx(0.66, abs=0.02)
    assert translate.outside(pictures.Picture(floats())) == 0
    mask = (x < -3)[:, :, 0]
    carried = pictures.Carried(nodata="-14", mask=mask)
    share = ((x > 8).sum()) / (~mask).sum()
    assert translate.outside(pictures.Picture(x, None, carried)) == pytest.approx(share)
    assert identity((3, 8)).outside(pictures.Picture(picture(8, 8))) == 0
    narrow = identity((1, 16), range=[0, 4095])
    assert narrow.outside(pictures.Picture(np.array([[[4095], [4096], [0], [65535]]], np.uint16))) == 0.5


def test_what_a_file_marks_as_empty_is_the_low_end_to_the_network(identity):
    x = floats()
    mask = np.zeros((9, 10), bool)
    mask[2, 3] = True
    x[mask] = 5  # what it holds means nothing
    translate = identity()
    made = translate.picture(pictures.Picture(x, None, pictures.Carried(nodata="5", mask=mask)))
    assert translate.net.seen[0].min() == -1 and made.pixels[2, 3, 0] == pytest.approx(-3) and made.carried is not None


@pytest.mark.parametrize(
    "x, word",
    [
        (picture(8, 8, 1), "has 8 bits a channel, and this model was trained on float values"),
        (picture(8, 8, 1, np.uint16), "has 16 bits a channel, and this model was trained on float values"),
        (floats().astype(np.float64), r"holds float64; give float32 values in -3\.\.8"),
        (np.full((8, 8, 1), np.nan, np.float32), "not finite"),
        (np.full((8, 8, 1), np.inf, np.float32), "not finite"),
        (floats(7), "7 channels"),
        (np.float32(1), "shape"),
    ],
)
def test_other_arrays_are_refused_in_words(identity, x, word):
    with pytest.raises(UserError, match=word):
        identity()(np.asarray(x))


def test_grey_is_replicated_to_three_channels_and_to_no_other_number(identity):
    assert identity((3, 32))(floats()).shape == (9, 10, 3)
    with pytest.raises(UserError, match="the array: it has 1 channel"):
        identity((7, 8))(picture(8, 8, 1))
    with pytest.raises(UserError, match="no picture for this model"):
        identity((7, 8))(torch.zeros(1, 8, 8))
    x = torch.rand(2, 7, 9, 10) * 2 - 1
    assert torch.equal(identity((7, 32))(x), x)


def test_alpha_of_an_array_beside_two_and_four_channels(identity):
    for channels, given in ((1, 2), (3, 4)):
        x = picture(8, 8, given)
        assert np.array_equal(identity((channels, 8))(x), x)
    for channels in (2, 4):  # as many channels as the network has: no alpha
        x = picture(8, 8, channels)
        assert np.array_equal(identity((channels, 8))(x), x)
    with pytest.raises(UserError, match="has 4 channels and 7"):
        identity((7, 8))(picture(8, 8, 4))


def test_two_and_four_channels_of_eight_bits_are_no_pillow_image(identity):
    for channels in (2, 4):
        out = identity((3, 8), (channels, 8))(Image.fromarray(picture(8, 9)))
        assert isinstance(out, np.ndarray) and out.shape == (8, 9, channels)
    assert identity((3, 8))(Image.fromarray(picture(8, 9, 4))).mode == "RGBA"


def test_pillow_s_floats(identity):
    x = floats()[:, :, 0]
    out = identity()(Image.fromarray(x))
    assert isinstance(out, np.ndarray) and out.shape == (9, 10, 1) and np.abs(out[:, :, 0] - x).max() < 1.1e-5
    strange = np.array(x)
    strange[0, 0] = np.nan
    with pytest.raises(UserError, match="the Pillow image has values that are not finite"):
        identity()(Image.fromarray(strange))


def test_alpha_in_every_type_and_back():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    deep = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    for alpha, wide in ((levels, np.uint16), (levels, np.float32), (deep, np.float32)):
        there = alpha_like(alpha, np.zeros(1, wide))
        full = 1 if wide == np.float32 else 65535
        assert there.dtype == wide and there.flat[0] == 0 and there.flat[-1] == full
        assert np.array_equal(alpha_like(there, alpha), alpha)
    assert alpha_like(np.array([[-1, 2]], np.float32), levels).tolist() == [[0, 255]]
    assert alpha_like(None, levels) is None


class TestPages:
    @pytest.fixture
    def pages(self, tmp_path):
        first, second = picture(8, 9, 1), picture(8, 9, 1, seed=1)
        tifffile.imwrite(tmp_path / "a.tif", np.stack([first, second])[..., 0], photometric="minisblack", metadata=None)
        return tmp_path / "a.tif", first[:, :, 0], second[:, :, 0]

    def test_the_argument_then_the_model_then_none(self, identity, pages):
        path, first, second = pages
        for model, argument, wanted in ((None, 0, first), (None, 1, second), (1, None, second), (1, 0, first)):
            out = identity((1, 8), page=model)(path, page=argument)
            assert np.array_equal(np.array(out), wanted)
        with pytest.raises(UserError, match="page"):
            identity((1, 8))(path)
        for absent, word in ((2, "pages 0 to 1, and page 2"), (-1, "page -1 is not"), ("1", "page '1' is not")):
            with pytest.raises(UserError, match=word):
                identity((1, 8))(path, page=absent)

    def test_only_files_have_pages(self, identity):
        for given in (picture(8, 8, 1), Image.fromarray(picture(8, 8)), torch.zeros(1, 8, 8)):
            with pytest.raises(UserError, match="page 0: only files have pages"):
                identity((1, 8))(given, page=0)
