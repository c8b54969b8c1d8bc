"""Feature nets: what they compute is the library's net on pictures brought to it as the protocol says; never fetched."""

import hashlib
import pickle
import socket

import numpy as np
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from i2i.errors import UserError
from i2i.evaluation import features
from i2i.evaluation.classifier import Classifier
from i2i.evaluation.features import feature_net

TINY = "test_resnet"
SMALL = "squeezenet1_1"


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    def refuse(*_):
        raise AssertionError("a feature net asked the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setenv("I2I_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("I2I_CACHE", str(tmp_path / "cache"))


def pictures(count=3, side=40, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, channels), dtype=np.uint8)


def moved(net, seed=7):
    """BatchNorm statistics that are not those of a new net, so that a file that is not loaded shows."""
    torch.manual_seed(seed)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.weight, 0.5, 1)
    return net.eval()


def brought(x, side, mean, std):
    x = torch.from_numpy(x).permute(0, 3, 1, 2).float() / 255
    x = F.interpolate(x, (side, side), mode="bilinear", antialias=True)
    return (x - torch.tensor(mean).reshape(1, -1, 1, 1)) / torch.tensor(std).reshape(1, -1, 1, 1)


@pytest.mark.parametrize("kind", ["safetensors", "pth"])
def test_timm_with_a_file(tmp_path, kind):
    net = moved(timm.create_model(TINY))
    path = tmp_path / f"{TINY}.{kind}"
    save_file(net.state_dict(), path) if kind == "safetensors" else torch.save(net.state_dict(), path)
    found = feature_net(f"timm:{TINY}", random_features=True)  # leave to draw is not used where there is a file
    x = pictures(2, side=400)  # larger than the net's side, so that the antialias shows
    config = timm.data.resolve_model_data_config(net)
    side = config["input_size"][-1]
    with torch.no_grad():
        z = brought(x, side, config["mean"], config["std"])
        logits = net(z)
        inner = net.global_pool(net.forward_features(z))
    assert torch.allclose(found.logits(x), logits, atol=1e-5) and found.has_logits and not found.random
    assert torch.allclose(found.features(x), inner, atol=1e-5) and found.features(x).dtype == torch.float32
    for part in (
        hashlib.sha256(path.read_bytes()).hexdigest(),
        f"{side} x {side}",
        "bilinear, antialiased",
        "mean 0.5",
    ):
        assert part in found.protocol
    assert "RANDOM" not in found.protocol
    named = feature_net(f"timm:{TINY}", weights=path)  # the file itself
    assert named.protocol == found.protocol and torch.equal(named.features(x), found.features(x))


@pytest.mark.parametrize("which", ["squeezenet1_1", "shufflenet_v2_x0_5", "mobilenet_v3_small"])
def test_torchvision_with_a_file(tmp_path, which):
    torch.manual_seed(3)
    net = moved(torchvision.models.get_model(which, weights=None))
    torch.save(net.state_dict(), tmp_path / f"{which}.pth")
    found = feature_net(f"torchvision:{which}")
    x = pictures(2)
    with torch.no_grad():
        z = brought(x, 224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        logits = net(z)
    assert torch.allclose(found.logits(x), logits, atol=1e-4)
    last = [module for module in net.modules() if isinstance(module, nn.Linear | nn.Conv2d)][-1]
    assert found.features(x).shape == (2, last.in_features if isinstance(last, nn.Linear) else last.in_channels)
    if isinstance(last, nn.Linear):
        assert torch.allclose(found.logits(x), last(found.features(x)), atol=1e-4)
    assert "224 x 224" in found.protocol and "0.485 0.456 0.406" in found.protocol


def test_random_features_say_so_and_repeat_themselves():
    x = pictures()
    torch.manual_seed(0)
    before = torch.get_rng_state()
    found = feature_net(f"timm:{TINY}", random_features=True, size=32)
    again = feature_net(f"timm:{TINY}", random_features=True, size=32)
    other = feature_net(f"timm:{TINY}", random_features=True, size=32, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert "RANDOM FEATURES, seed 0" in found.protocol and "32 x 32" in found.protocol and found.random
    assert "RANDOM FEATURES, seed 1" in other.protocol
    assert torch.equal(found.features(x), again.features(x))
    assert not torch.allclose(found.features(x), other.features(x))


def test_floats_arrays_and_grey_come_to_the_same_features():
    found = feature_net(f"timm:{TINY}", random_features=True, size=32)
    grey = pictures(channels=1)
    floats = torch.from_numpy(grey).permute(0, 3, 1, 2).float() / 255 * 2 - 1
    rgb = np.repeat(grey, 3, axis=-1)
    for same in (rgb, floats, floats.expand(-1, 3, -1, -1), floats + 1e-4 * (floats < 0.9)):  # rounded to levels
        # their memory is laid out otherwise, and so other kernels may add in another order
        assert torch.allclose(found.features(same), found.features(grey), rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="2 channels"):
        found.features(pictures(channels=2))


@pytest.mark.parametrize(
    "name, args, words",
    [
        ("inception", {}, r"pt_inception-2015-12-05-6726825d\.pth.*Fetch it once from .*set I2I_WEIGHTS"),
        ("inception", {"random_features": True}, "not drawn at random"),
        (f"timm:{TINY}", {}, f"{TINY}.safetensors or {TINY}.pth .*none in .*I2I_WEIGHTS"),
        (f"torchvision:{SMALL}", {}, f"{SMALL}.safetensors"),
        ("timm:test_resent", {}, "Did you mean 'test_resnet'"),
        ("torchvision:squeezenet1_2", {"random_features": True}, "Did you mean 'squeezenet1_[01]'"),
        ("torchvision:fcn_resnet50", {"random_features": True}, "no feature net"),
        ("timm:resnet18.no_such_tag", {"random_features": True}, "no feature net"),
        ("timm:", {}, "Known: inception"),
        ("inceptoin", {}, "Did you mean 'inception'"),
        ("classifier", {}, "Hand it in"),
        (f"timm:{TINY}", {"random_features": True, "size": 0}, "size is 0"),
    ],
)
def test_what_is_not_there_is_refused_in_a_sentence(name, args, words):
    with pytest.raises(UserError, match=words) as told:
        feature_net(name, **args)
    assert "\n" not in str(told.value)


def test_an_unset_folder_is_said(monkeypatch):
    monkeypatch.delenv("I2I_WEIGHTS")
    with pytest.raises(UserError, match="I2I_WEIGHTS is not set"):
        feature_net("inception")


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was run",))


@pytest.mark.parametrize("harm", ["bomb", "another", "torn", "nan", "wrapped", "text"])
def test_a_file_of_something_else_is_refused(tmp_path, harm):
    net = timm.create_model(TINY)
    state, path = net.state_dict(), tmp_path / f"{TINY}.pth"
    if harm == "bomb":
        path.write_bytes(pickle.dumps({"conv1.weight": Bomb()}, protocol=2))
    elif harm == "another":
        del state["fc.bias"]
        torch.save(state, path)
    elif harm == "torn":
        torch.save(state, path)
        path.write_bytes(path.read_bytes()[:-100])
    elif harm == "nan":
        state["fc.bias"][0] = torch.nan
        torch.save(state, path)
    elif harm == "wrapped":
        torch.save({"epoch": 3, "state": state}, path)
    else:
        path.write_text("not found")
    with pytest.raises(UserError, match=r"does not hold the weights of .*Give the file") as told:
        feature_net(f"timm:{TINY}", random_features=True)
    assert len(str(told.value)) < 500


def test_a_classifier_is_handed_in():
    x = pictures(12, side=16, channels=1)
    fitted = Classifier.fit(x, np.arange(12) % 2, seed=0, steps=2, say=lambda text: None)
    found = feature_net("classifier", classifier=fitted)
    assert torch.equal(found.features(x), fitted.features(x)) and torch.equal(found.logits(x), fitted.logits(x))
    assert fitted.hash in found.protocol and "16 x 16" in found.protocol and "not resized" in found.protocol


def test_a_net_without_logits_says_so():
    found = features.FeatureNet("flat", "pixels", lambda x: (x.flatten(1), None), has_logits=False)
    assert found.features(torch.zeros(2, 1, 2, 2)).shape == (2, 4)
    with pytest.raises(UserError, match="no logits"):
        found.logits(torch.zeros(2, 1, 2, 2))


@pytest.fixture(scope="module")
def inception_file(tmp_path_factory):
    """Random weights of the right shapes, in a file of the right name."""
    from torch_fidelity import feature_extractor_inceptionv3 as theirs

    class Bare(theirs.FeatureExtractorInceptionV3):
        def load_state_dict(self, *args, **kwargs):
            """Keeps what was drawn."""

    torch.manual_seed(0)
    original, theirs.load_state_dict_from_url = theirs.load_state_dict_from_url, lambda *_, **__: {}
    try:
        net = moved(Bare("bare", ["2048"], verbose=False))
    finally:
        theirs.load_state_dict_from_url = original
    path = tmp_path_factory.mktemp("inception") / features.INCEPTION_FILES[0]
    torch.save(net.state_dict(), path)
    return path


def test_inception_is_torch_fidelitys(inception_file, monkeypatch):
    from torch_fidelity import feature_extractor_inceptionv3 as theirs

    sha256 = hashlib.sha256(inception_file.read_bytes()).hexdigest()
    monkeypatch.setattr(features, "INCEPTION_SHA256", sha256[:8])
    monkeypatch.setenv("I2I_WEIGHTS", str(inception_file.parent))
    found = feature_net("inception")
    x = pictures(2)
    reference = theirs.FeatureExtractorInceptionV3(
        "reference", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(inception_file)
    )
    inner, logits = reference(torch.from_numpy(x).permute(0, 3, 1, 2))
    assert torch.equal(found.features(x), inner) and torch.equal(found.logits(x), logits)
    assert inner.shape == (2, 2048) and inner.std() > 0
    assert sha256 in found.protocol and "299 x 299" in found.protocol
    assert theirs.load_state_dict_from_url is torch.hub.load_state_dict_from_url  # theirs is as it was


def test_another_file_under_inceptions_name_is_refused_unopened(inception_file, monkeypatch):
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was opened"))
    with pytest.raises(UserError, match="not 6726825d. Fetch it again"):
        feature_net("inception", weights=inception_file)
