"""A trained generator as a function of pictures. Previews, `i2i translate` and Python all call `Translator.pixels`."""

import contextlib
import os
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from i2i.data.domain import Domain
from i2i.data.pictures import Picture, filled, pixel_cap, read, to_channels
from i2i.errors import UserError
from i2i.infer.convert import alpha_like, from_image, join_alpha, split_alpha, to_image
from i2i.infer.deep import as_products
from i2i.infer.exactly import exactly
from i2i.infer.padding import crop, pad
from i2i.infer.winograd import by_winograd
from i2i.seeds import derive

KINDS = {8: "8 bits a channel", 16: "16 bits a channel", 32: "float values"}  # depth -> words
DEPTHS = {np.dtype(np.uint8): 8, np.dtype(np.uint16): 16, np.dtype(np.float32): 32}
CLIPPED = 0.01  # a picture with a larger share of its values outside the model's range is told about
LARGE = 1.5  # times the training scale: beyond this a picture shows the network things of a size it never saw


class Translator:
    """Translates one picture at a time, in fp32, under the inference policy that travels with the weights.

    - norm "batch": BatchNorm takes the statistics of that picture; the running ones are neither used nor touched.
      "running": the reverse.
    - dropout true: it stays on, as the noise z, drawn from (seed, the input as the network gets it before padding,
      sample). So the same picture gives the same output in any order and company, and N samples differ. PyTorch's own
      random state is left as it was.

    Args:
        net: the generator; it becomes the translator's and is set to the policy.
        meta: its metadata; `input`, `output`, `multiple`, `minimum` and `translate` are needed, `load_size` and `side`
            (the half of a side-by-side file that is the input) are used where they are.
        device: where to compute.
        winograd: on a CPU, convolutions of residual blocks by Winograd's form, which is faster and rounds more.

    Raises:
        UserError: metadata that say something impossible, or too little; `winograd` where it cannot be.
    """

    def __init__(
        self, net: nn.Module, meta: Mapping[str, Any], device: str | torch.device = "cpu", winograd: bool = False
    ):
        try:
            self.input, self.output = Domain(**meta["input"]), Domain(**meta["output"])
            self.multiple, self.minimum = int(meta["multiple"]), int(meta["minimum"])
            policy = meta["translate"]
            norm, dropout, self.seed = policy["norm"], policy["dropout"], policy["seed"]
        except (KeyError, TypeError) as error:
            raise UserError(f"the weights' metadata are not complete ({error}); export them again.") from None
        if norm not in ("batch", "running"):
            raise UserError(f"translate.norm '{norm}' is not a policy; it is batch or running.")
        self.meta = dict(meta)
        self.training_scale: int | None = meta.get("load_size")  # the shorter side of training pictures; None: native
        self.device = torch.device(device)
        self.weights: str | None = None  # the digest of the file that they came from
        self.net = _under_policy(net, norm, dropout).to(self.device, torch.float32)
        self.by_winograd = 0  # so many convolutions
        if self.device.type == "cpu":
            self.net = as_products(self.net)
            self.by_winograd = by_winograd(self.net, winograd)
        elif winograd:
            raise UserError(
                f"Winograd's form is for a CPU, and this is {self.device}; leave winograd out, or compute on cpu."
            )
        self.draws = any(isinstance(module, _DropoutNd) and module.training for module in net.modules())

    def __call__(self, picture, size: int | None = None, sample: int = 0, page: int | None = None):
        """Translates a picture; what comes back is of the kind that was given.

        Args:
            picture: a path or a Pillow image (gives a Pillow image where Pillow can hold the output: 8 bits of 1 or 3
                channels, with or without alpha, or 16-bit grey; else an array (H, W, C)); an array (H, W), (H, W, C) of
                the input's type (uint8, uint16, or float32 in the range that the model was trained on), alpha as a last
                channel if any (gives an array); or a tensor (C, H, W), (B, C, H, W) in [-1, 1] (gives a float32 tensor
                on the same device).
            size: translate with the shorter side at this size, then resize back; None keeps every pixel as it is.
            sample: which of the possible outputs, where the policy draws noise.
            page: which page of a TIFF file that holds several, 0 the first; None takes the page that the model was
                trained on, if its recipe names one. Paths only.

        Raises:
            UserError: a broken file; a depth, channels or values that the model does not take.

        Warns:
            UserWarning: more than 1 % of the values lie outside the input's range, to which they are clipped.
        """
        if page is not None and not isinstance(picture, str | os.PathLike):
            raise UserError(f"page {page}: only files have pages; leave it out for {type(picture).__name__}.")
        if isinstance(picture, Tensor):
            return self._tensors(picture, size, sample)
        if isinstance(picture, np.ndarray):
            whole = picture[:, :, None] if picture.ndim == 2 else picture
            found, name = self._split(whole), "the array"
        elif isinstance(picture, Image.Image):
            found, name = from_image(picture), "the Pillow image"
        elif isinstance(picture, str | os.PathLike):
            found, name = read(picture, page=self.page(page)), str(picture)
        else:
            kind = type(picture).__name__
            raise UserError(f"{kind} is not a picture; give a path, a Pillow image, a NumPy array or a tensor.")
        pixels, alpha, _ = self.picture(found, size=size, sample=sample, name=name)
        if (share := self.outside(found)) > CLIPPED:
            low, high = self.input.range
            where = f"outside the range that the model was trained on, [{low:g}, {high:g}], and are clipped to it"
            warnings.warn(f"{name}: {share:.0%} of its values are {where}.", stacklevel=2)
        if not isinstance(picture, np.ndarray):
            return to_image(pixels, alpha)
        flat = picture.ndim == 2 and pixels.shape[2] == 1
        return pixels[:, :, 0] if flat else join_alpha(pixels, alpha)

    def pixels(
        self, pixels: np.ndarray, *, size: int | None = None, sample: int = 0, name: str = "the picture"
    ) -> np.ndarray:
        """Levels (H, W, C) of the input domain -> levels (H, W, C') of the output domain, H and W as they were.

        Grey (H, W, 1) is replicated for a network of 3 channels. Values outside the input's range are clipped to it.
        `name` is what a message calls the picture.
        """
        self._check(pixels, name)
        x = self.input.to_tensor(to_channels(pixels, self.input.channels, name))
        return self.output.to_pixels(self._translate(x, size, sample, name))

    def picture(
        self, picture: Picture, *, size: int | None = None, sample: int = 0, name: str = "the picture"
    ) -> Picture:
        """`pixels` of a decoded picture, its alpha put back in the type of the output, and what it carried with it.

        What its file marks as empty (nodata) is shown to the network as the low end of the input's range.
        """
        pixels = self.pixels(filled(picture, self.input.range[0]), size=size, sample=sample, name=name)
        return picture._replace(pixels=pixels, alpha=alpha_like(picture.alpha, pixels))

    def page(self, asked: int | None) -> int | None:
        """The page of a file that is read: the one asked for, else the one of the training pictures, else None."""
        if asked is None:
            return self.input.page
        if not isinstance(asked, int) or asked < 0:
            raise UserError(f"page {asked!r} is not a page of a file; pages count from 0, the first.")
        return asked

    def outside(self, picture: Picture) -> float:
        """The share of a picture's values that lie outside the input's range, to which they are clipped; pixels that
        its file marks as empty (nodata) count for nothing."""
        low, high = self.input.range
        if self.input.depth != 32 and (low, high) == (0, self.input.top):
            return 0.0
        pixels, carried = picture.pixels, picture.carried
        if carried is not None and carried.mask is not None:
            pixels = pixels[~carried.mask]
        return np.count_nonzero((pixels < low) | (pixels > high)) / max(1, pixels.size)

    def is_large(self, pixels: np.ndarray) -> bool:
        """Whether (H, W, C) is over 1.5 times the size that the network was trained at."""
        return self.training_scale is not None and min(pixels.shape[:2]) > LARGE * self.training_scale

    def preview_size(self, pixels: np.ndarray) -> int | None:
        """The `size` that a preview of (H, W, C) is translated at: the training scale if it is large, else its own."""
        return self.training_scale if self.is_large(pixels) else None

    def hint(self, pixels: np.ndarray) -> str | None:
        """Advice on a large picture (H, W, C); None for others."""
        if not self.is_large(pixels):
            return None
        height, width = pixels.shape[:2]
        return (
            f"{width} x {height} is over {LARGE} times the scale of the training pictures ({self.training_scale}): "
            f"--size {self.training_scale} translates at that scale and resizes back, which often looks better"
        )

    def _check(self, pixels: np.ndarray, name: str) -> None:
        if pixels.ndim != 3 or not pixels.size:
            raise UserError(
                f"{name} has the shape {pixels.shape}; pixels are (H, W) or (H, W, C), and this model takes "
                f"{self.input.channels} channel{'s' * (self.input.channels != 1)}."
            )
        if pixels.dtype not in DEPTHS:
            low, high = self.input.range
            values = f"values in {low:g}..{high:g}" if self.input.depth == 32 else f"levels in 0..{self.input.top}"
            raise UserError(
                f"{name} holds {pixels.dtype}; give {np.dtype(self.input.dtype)} {values}, "
                "or a torch tensor in [-1, 1]."
            )
        if DEPTHS[pixels.dtype] != self.input.depth:
            raise UserError(
                f"{name} has {KINDS[DEPTHS[pixels.dtype]]}, and this model was trained on {KINDS[self.input.depth]}; "
                "levels are not rescaled silently, convert it yourself if they mean the same."
            )
        if self.input.depth == 32 and not np.isfinite(pixels).all():
            raise UserError(f"{name} has values that are not finite; replace them by a value in the model's range.")

    def _split(self, whole: np.ndarray) -> Picture:
        """An array (H, W, 2) or (H, W, 4) has alpha last, unless the network takes that many channels."""
        alpha_is_last = whole.ndim == 3 and whole.shape[2] in (2, 4) and not self._takes(whole.shape[2])
        return split_alpha(whole) if alpha_is_last and self._takes(whole.shape[2] - 1) else Picture(whole)

    def _takes(self, channels: int) -> bool:
        """Whether pictures of so many channels can go in: as many as the network's, or grey for colour."""
        return channels == self.input.channels or (channels, self.input.channels) == (1, 3)

    def _tensors(self, x: Tensor, size: int | None, sample: int) -> Tensor:
        channels = self.input.channels
        if x.ndim not in (3, 4) or x.numel() == 0 or not self._takes(x.shape[-3]):
            raise UserError(
                f"a tensor of shape {tuple(x.shape)} is no picture for this model; give ({channels}, H, W) or "
                f"(B, {channels}, H, W)."
            )
        if not x.is_floating_point():
            raise UserError(f"a {x.dtype} tensor; give floating point in [-1, 1], or the levels of a file as an array.")
        if not x.abs().amax() <= 1 + 1e-4:  # NaN compares false
            raise UserError(f"a tensor with values from {x.min():.4g} to {x.max():.4g}; the model takes [-1, 1].")
        pictures = x.detach().to("cpu", torch.float32).reshape(-1, *x.shape[-3:])
        if x.shape[-3] != channels:
            pictures = pictures.expand(-1, channels, -1, -1)
        y = torch.stack([self._translate(picture.contiguous(), size, sample, "the tensor") for picture in pictures])
        return y.reshape(*x.shape[:-3], *y.shape[1:]).to(x.device)

    def _translate(self, x: Tensor, size: int | None, sample: int, name: str) -> Tensor:
        """(C, H, W) -> (C', H, W), both float32 in [-1, 1] on the CPU."""
        native = x.shape[-2:]
        if size is not None:
            x = _resized(x, _scaled(native, size, name))
        padded, corner = pad(x[None], self.multiple, self.minimum)
        seed = derive(self.seed, x.numpy().tobytes(), sample) if self.draws else None
        with torch.inference_mode(), exactly(self.device, seed), _enough_memory(name, native, self.device):
            y = self.net(padded.to(self.device)).to("cpu", torch.float32)
        y = crop(y, corner, x.shape[-2:])[0].contiguous()
        return y if y.shape[-2:] == native else _resized(y, native)


def _under_policy(net: nn.Module, norm: str, dropout: bool) -> nn.Module:
    net.eval()
    for module in net.modules():
        if isinstance(module, _BatchNorm) and norm == "batch":
            module.train()
            module.track_running_stats = False  # the buffers are then not even handed to the kernel
        if isinstance(module, _DropoutNd) and dropout:
            module.train()
    return net


@contextlib.contextmanager
def _enough_memory(name: str, sides: tuple[int, int], device: torch.device) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error):
            remedy = "--size N, a smaller picture" + ("" if device.type == "cpu" else " or --device cpu")
            raise UserError(
                f"{name}, {sides[1]} x {sides[0]}, does not fit into the memory of {device}; use {remedy}."
            ) from None
        raise


def _scaled(sides: tuple[int, int], size: int, name: str) -> tuple[int, int]:
    """The sides when the shorter one is `size`."""
    if not isinstance(size, int) or size < 1:
        raise UserError(f"size {size!r} is not a side of a picture; give a whole number of pixels.")
    factor = size / min(sides)
    scaled = tuple(round(side * factor) for side in sides)
    if scaled[0] * scaled[1] > pixel_cap():
        raise UserError(f"{name} would be {scaled[1]} x {scaled[0]} at size {size}, over the cap on pixels; take less.")
    return scaled


def _resized(x: Tensor, sides: tuple[int, int]) -> Tensor:
    """(C, H, W) -> (C, *sides), as training resizes: areas are averaged on the way down, cubic on the way up."""
    if x.shape[-2:] == sides:
        return x
    height, width = sides
    method = cv2.INTER_AREA if height * width < x.shape[-2] * x.shape[-1] else cv2.INTER_CUBIC
    planes = [torch.from_numpy(cv2.resize(plane.numpy(), (width, height), interpolation=method)) for plane in x]
    return torch.stack(planes).clamp_(-1, 1)
