import pytest
import torch
from torch import nn

from i2i.nets.patchgan import PatchGAN
from i2i.nets.reference import from_reference
from i2i.nets.resnet import ResNet
from i2i.nets.unet import UNet


@pytest.fixture
def patchgan(parity):
    """A network and the reference's weights for it."""
    recorded, _ = parity("patchgan_3_batch_6ch")
    weights = {key.removeprefix("weights."): value for key, value in recorded.items() if key.startswith("weights.")}
    return PatchGAN(6, width=4), weights


def test_names_are_ours_and_tensors_the_same(patchgan):
    net, weights = patchgan
    renamed = from_reference(net, weights)
    assert list(renamed) == list(net.state_dict())
    assert renamed["blocks.0.conv.weight"] is weights["model.0.weight"]
    assert renamed["blocks.3.norm.running_var"] is weights["model.9.running_var"]
    assert renamed["head.bias"] is weights["model.11.bias"]
    assert len(weights) == len(renamed)


def test_leftovers_gaps_and_shapes_are_refused_in_words(patchgan):
    net, weights = patchgan
    with pytest.raises(
        ValueError, match=r"1 of the reference's weights have no place in our PatchGAN \(model.12.weight\)"
    ):
        from_reference(net, {**weights, "model.12.weight": torch.zeros(1)})
    with pytest.raises(ValueError, match=r"have no model.5.weight for our blocks.2.conv.weight"):
        from_reference(net, {key: value for key, value in weights.items() if key != "model.5.weight"})
    with pytest.raises(ValueError, match=r"model.0.weight has shape \(4, 6, 4, 4\), but our .* \(4, 3, 4, 4\)"):
        from_reference(PatchGAN(3, width=4), weights)
    with pytest.raises(ValueError, match="build the network with the arguments"):
        from_reference(PatchGAN(6, width=4, norm="instance"), weights)
    with pytest.raises(ValueError, match="build the network with the arguments"):
        from_reference(PatchGAN(6, width=4, num_layers=2), weights)


def test_what_the_reference_does_not_have_is_refused_in_words():
    with pytest.raises(ValueError, match="no weights for a Linear; it has them for UNet, ResNet, PatchGAN, PixelGAN"):
        from_reference(nn.Linear(1, 1), {})
    with pytest.raises(ValueError, match="PatchGAN has no spectral norm"):
        from_reference(PatchGAN(3, width=1, spectral_norm=True), {})
    with pytest.raises(
        ValueError, match=r"UNet has upsample deconv and padding zero, but .* deconv and padding reflect"
    ):
        from_reference(UNet(3, 3, num_downs=5, width=1, padding="reflect"), {})
    with pytest.raises(ValueError, match=r"ResNet has upsample deconv and padding reflect, but .* upsample subpixel"):
        from_reference(ResNet(3, 3, width=1, upsample="subpixel"), {})


def test_files_from_before_pytorch_0_4(patchgan, parity):
    """They have statistics of InstanceNorm, which nothing uses, and no count of batches."""
    net, weights = patchgan
    old = {key: value for key, value in weights.items() if not key.endswith("num_batches_tracked")}
    renamed = from_reference(net, old)
    assert renamed["blocks.1.norm.num_batches_tracked"] == 0
    net.load_state_dict(renamed)

    recorded, _ = parity("resnet_9_instance")
    weights = {key.removeprefix("weights."): value for key, value in recorded.items() if key.startswith("weights.")}
    old = {**weights, "model.2.running_mean": torch.zeros(4), "model.10.conv_block.6.running_var": torch.ones(16)}
    net = ResNet(3, 3, width=4)
    net.load_state_dict(from_reference(net, old))
    with pytest.raises(ValueError, match="no place"):
        from_reference(net, {**weights, "model.3.running_mean": torch.zeros(4)})


def test_dropout_moves_the_second_convolution_of_a_block(parity):
    recorded, _ = parity("resnet_9_instance")
    weights = {key.removeprefix("weights."): value for key, value in recorded.items() if key.startswith("weights.")}
    with_dropout = {key.replace("conv_block.5", "conv_block.6"): value for key, value in weights.items()}
    net = ResNet(3, 3, width=4, dropout=True).eval()
    net.load_state_dict(from_reference(net, with_dropout))
    with torch.no_grad():
        assert (net(recorded["input"]) - recorded["output_eval"]).abs().max() < 1e-5
    with pytest.raises(ValueError, match=r"have no model.10.conv_block.6.weight"):
        from_reference(net, weights)
