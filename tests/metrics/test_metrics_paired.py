"""Paired metrics against numbers worked by hand and formulas written out."""

import hashlib
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torchmetrics

from i2i.errors import UserError
from i2i.metrics import paired
from i2i.metrics.paired import l1, lpips, psnr, ssim


def picture(*values, dtype=np.uint8):
    """A (1, n, 1) picture."""
    return np.array(values, dtype=dtype).reshape(1, -1, 1)


def test_hand_worked():
    """Differences of 51 and 0 levels (0.1 of the range), then 255 levels (1), then none (0), of different sizes:
    mean 1.1 / 3; deviations -0.26667, 0.63333, -0.36667, sample variance 0.30333."""
    predictions = [picture(100, 20), picture(0), picture(7, 8, 9)]
    targets = [picture(49, 20), picture(255), picture(7, 8, 9)]
    found = l1(predictions, targets)
    assert found["mean"] == pytest.approx(1.1 / 3, abs=1e-12)
    assert found["standard_error"] == pytest.approx(math.sqrt(0.91 / 3 / 3), abs=1e-12)
    assert found["count"] == 3


def test_sixteen_bits():
    found = l1([picture(65535, 0, dtype=np.uint16)], [picture(0, 0, dtype=np.uint16)])
    assert found == {"mean": 0.5, "standard_error": None, "count": 1}


def test_a_narrower_value_range_is_the_unit():
    twelve_bits = [picture(1000, 4095, dtype=np.uint16)], [picture(0, 4095, dtype=np.uint16)]
    assert l1(*twelve_bits, value_range=(95, 4095))["mean"] == pytest.approx(1000 / 4000 / 2)


def test_large_pictures_lose_nothing():
    """In float32 a sum of 3 x 512 x 512 differences of 16-bit values would have lost its last digits."""
    generator = np.random.default_rng(0)
    a, b = generator.integers(0, 65536, (2, 512, 512, 3), dtype=np.uint16)
    exact = int(np.abs(a.astype(np.int64) - b.astype(np.int64)).sum()) / a.size / 65535
    assert l1([a], [b])["mean"] == pytest.approx(exact, rel=1e-13)


def test_pictures_may_come_one_at_a_time():
    found = l1((picture(n) for n in range(4)), iter([picture(0)] * 4))
    assert found["mean"] == pytest.approx(1.5 / 255) and found["count"] == 4


@pytest.mark.parametrize(
    "predictions, targets, value_range, words",
    [
        ([], [], None, "no pictures"),
        ([picture(1)], [], None, "picture 1 is only among the predictions"),
        ([picture(1)], [picture(1), picture(2)], None, "picture 2 is only among the targets"),
        ([picture(1)], [picture(1, 2)], None, r"uint8 \(1, 1, 1\), its target uint8 \(1, 2, 1\)"),
        ([picture(1)], [picture(1, dtype=np.uint16)], None, "its target uint16"),
        ([picture(1, dtype=np.float32)], [picture(1, dtype=np.float32)], None, "must be uint8 or uint16"),
        ([picture(1)], [picture(1)], (3, 3), r"\[3, 3\]"),
    ],
)
def test_what_cannot_be_compared_is_refused(predictions, targets, value_range, words):
    with pytest.raises(UserError, match=words):
        l1(predictions, targets, value_range=value_range)


def test_arrays_of_any_memory_layout():
    target = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    constant = np.broadcast_to(np.uint8([10, 20, 30]), (2, 4, 3))
    plain = l1([np.array(constant)], [target])
    assert l1([constant], [np.asfortranarray(target)]) == plain
    assert l1([constant[:, ::-1]], [target]) == plain


def drawn(seed, shape=(24, 20, 3), dtype=np.uint8):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, shape, dtype=dtype)


def test_psnr_by_hand():
    """Differences of 51 and 0 levels: mean square 0.02 of the range squared, 10 log10 50 dB; of 255 levels: 0 dB."""
    found = psnr([picture(100, 20), picture(0)], [picture(49, 20), picture(255)])
    single = 10 * math.log10(50)
    assert found["mean"] == pytest.approx(single / 2, abs=1e-5)
    assert found["standard_error"] == pytest.approx(single / 2, abs=1e-5)
    assert (found["count"], found["identical"]) == (2, 0)


def test_psnr_leaves_identical_pairs_out_and_counts_them():
    found = psnr([picture(7), picture(0), picture(1)], [picture(7), picture(255), picture(1)])
    assert found == {"mean": pytest.approx(0, abs=1e-12), "standard_error": None, "count": 3, "identical": 2}
    found = psnr([picture(7)], [picture(7)])
    assert found == {"mean": None, "standard_error": None, "count": 1, "identical": 1}
    json.dumps(found, allow_nan=False)


def ssim_by_hand(p, t):
    """The formula, pixel by pixel, on values in [0, 1]."""
    offsets = np.arange(-5, 6)
    line = np.exp(-(offsets**2) / (2 * 1.5**2))
    window = np.outer(line, line) / line.sum() ** 2
    pad = [(5, 5), (5, 5), (0, 0)]
    p, t = (np.pad(values, pad, mode="reflect") for values in (p, t))
    found = []
    for y in range(p.shape[0] - 10):
        for x in range(p.shape[1] - 10):
            for c in range(p.shape[2]):
                a, b = p[y : y + 11, x : x + 11, c], t[y : y + 11, x : x + 11, c]
                ma, mb = (window * a).sum(), (window * b).sum()
                va, vb = (window * (a - ma) ** 2).sum(), (window * (b - mb) ** 2).sum()
                cov = (window * (a - ma) * (b - mb)).sum()
                top = (2 * ma * mb + 1e-4) * (2 * cov + 9e-4)
                found.append(top / ((ma**2 + mb**2 + 1e-4) * (va + vb + 9e-4)))
    return np.mean(found)


def test_ssim_is_its_formula():
    a = drawn(0, (9, 8, 2))
    b = np.clip(a.astype(int) + np.random.default_rng(1).integers(-40, 41, a.shape), 0, 255).astype(np.uint8)
    assert ssim([a], [b])["mean"] == pytest.approx(ssim_by_hand(a / 255, b / 255), abs=1e-6)
    assert ssim([b], [a])["mean"] == pytest.approx(ssim([a], [b])["mean"], abs=1e-12)


def test_ssim_of_equal_and_of_unrelated_pictures():
    found = ssim([drawn(0), drawn(1)], [drawn(0), drawn(1)])
    assert found["mean"] == pytest.approx(1, abs=1e-12) and found["count"] == 2
    assert ssim([drawn(0)], [drawn(1)])["mean"] < 0.2


@pytest.mark.parametrize("metric", [l1, psnr, ssim])
def test_one_picture_in_three_types(metric):
    """The same values as 8 bits, 16 bits and floats of [-1, 1]."""
    a, b = drawn(0), drawn(1)
    plain = metric([a], [b])["mean"]
    wide = metric([a.astype(np.uint16) * 257], [b.astype(np.uint16) * 257])["mean"]
    floats = metric([a / 127.5 - 1], [b / 127.5 - 1], value_range=(-1, 1))["mean"]
    assert wide == pytest.approx(plain, abs=1e-9) and floats == pytest.approx(plain, abs=1e-9)


@pytest.mark.parametrize("metric", [psnr, ssim])
@pytest.mark.parametrize(
    "predictions, targets, value_range, words",
    [
        ([], [], None, "no pictures"),
        ([drawn(0)], [], None, "picture 1 is only among the predictions"),
        ([drawn(0)], [drawn(0)[1:]], None, "they must agree"),
        ([drawn(0) / 255], [drawn(0) / 255], None, "float with a value range"),
        ([drawn(0) / 255], [drawn(0) / 255 * np.nan], (0, 1), "NaN"),
        ([drawn(0)[..., 0]], [drawn(0)[..., 0]], None, r"must be \(H, W, C\)"),
    ],
)
def test_every_metric_refuses_it(metric, predictions, targets, value_range, words):
    with pytest.raises(UserError, match=words):
        metric(predictions, targets, value_range=value_range)


def test_ssim_refuses_pictures_smaller_than_its_window():
    with pytest.raises(UserError, match="picture 2 .* at least 6 pixels"):
        ssim([drawn(0), drawn(0)[:5]], [drawn(1), drawn(1)[:5]])
    assert ssim([drawn(0)[:6]], [drawn(0)[:6]])["count"] == 1


@pytest.fixture
def alexnet(tmp_path, monkeypatch):
    """A folder with weights drawn at random under the real file's name, and the layers they make."""
    from torchvision.models import alexnet

    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = alexnet(weights=None).features
    file = tmp_path / paired.ALEXNET
    torch.save({f"features.{key}": value for key, value in layers.state_dict().items()}, file)
    monkeypatch.setattr(paired, "CHECKSUM", hashlib.sha256(file.read_bytes()).hexdigest()[:8])
    return tmp_path, layers


def lpips_by_hand(layers, a, b):
    """The formula on the activations after each ReLU, with the w that torchmetrics brings."""
    folder = Path(torchmetrics.__file__).parent / "functional/image/lpips_models"
    w = torch.load(folder / "alex.pth", map_location="cpu", weights_only=True)
    shift = torch.tensor([-0.030, -0.088, -0.188])[:, None, None]
    scale = torch.tensor([0.458, 0.448, 0.450])[:, None, None]
    x = torch.stack([torch.from_numpy(values / 127.5 - 1).permute(2, 0, 1) for values in (a, b)])
    x, total, stage = ((x - shift) / scale).float(), 0.0, 0
    for layer in layers[:12]:
        x = layer(x)
        if isinstance(layer, torch.nn.ReLU):
            unit = x / (x.square().sum(dim=1, keepdim=True) + 1e-8).sqrt()
            weight = w[f"lin{stage}.model.1.weight"]
            total += float((weight * (unit[:1] - unit[1:]) ** 2).sum(dim=1).mean())
            stage += 1
    return total


def test_lpips_is_its_formula(alexnet):
    folder, layers = alexnet
    a, b = drawn(0, (40, 36, 3)), drawn(1, (40, 36, 3))
    with torch.no_grad():
        expected = lpips_by_hand(layers, a, b)
    before = torch.random.get_rng_state()
    found = lpips([a, a], [b, a], folder)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert expected > 1e-3 and found["mean"] == pytest.approx(expected / 2, rel=1e-4)
    assert found["count"] == 2 and found["standard_error"] == pytest.approx(expected / 2, rel=1e-4)


def test_lpips_repeats_grey_and_refuses_what_the_net_cannot_take(alexnet):
    folder, _ = alexnet
    a, b = drawn(0, (31, 31, 1)), drawn(1, (31, 31, 1))
    grey = lpips([a], [b], folder)["mean"]
    assert grey == pytest.approx(lpips([a.repeat(3, axis=2)], [b.repeat(3, axis=2)], folder)["mean"], rel=1e-6)
    with pytest.raises(UserError, match="at least 31 pixels"):
        lpips([a[1:]], [b[1:]], folder)
    with pytest.raises(UserError, match="2 channels"):
        lpips([a.repeat(2, axis=2)], [b.repeat(2, axis=2)], folder)


def test_lpips_fetches_nothing_and_takes_no_other_file(tmp_path):
    with pytest.raises(UserError, match="needs alexnet-owt-7be5be79.pth, which is not in"):
        lpips([drawn(0)], [drawn(1)], tmp_path)
    (tmp_path / "alexnet-owt-7be5be79.pth").write_bytes(b"cut short")
    with pytest.raises(UserError, match="damaged: its SHA-256 begins with .*, not 7be5be79"):
        lpips([drawn(0)], [drawn(1)], str(tmp_path))
