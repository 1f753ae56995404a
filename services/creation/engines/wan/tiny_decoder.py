"""TAEHV's decoder for Wan 2.1's latents: a small stand-in for the VAE's (madebyollin/taehv, MIT).

Convolutions over single frames; what a frame needs of the one before it passes through memory blocks, so that a clip
is decoded latent by latent in the memory of one. 42 billion multiplications a latent of 40x24.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, relu

from services.creation.engines.wan.images import to_images
from shared import weights
from shared.arrays import Image
from shared.networks.compute import Compute

NAME = "taew2.1"  # in the weights' catalogue
CHANNELS = 16  # of a latent
STAGES = ((256, 128, 1), (128, 64, 2), (64, 64, 2))  # channels before and after, by how much the frames multiply
BLOCKS = 3  # memory blocks of a stage
SURPLUS = 3  # frames that the first latent gives beside its one: a clip has 4k+1
LIMIT = 3.0  # latents are squashed into this range


class MemoryBlock(nn.Module):
    """A residual block that sees each frame together with the one before it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            _conv(2 * width, width),
            nn.ReLU(inplace=True),
            _conv(width, width),
            nn.ReLU(inplace=True),
            _conv(width, width),
        )

    def forward(self, frames: Tensor, before: Tensor) -> Tensor:
        """Take frames (N, width, height, width) and the one before the first of them."""
        earlier = torch.cat([before, frames[:-1]])
        return relu(self.conv(torch.cat([frames, earlier], dim=1)) + frames)


class Grow(nn.Module):
    """Makes several frames of each, then doubles their sides.

    As published the sides are doubled first; a convolution over single pixels gives the same either way, here with a
    quarter of the work.
    """

    def __init__(self, width: int, factor: int) -> None:
        super().__init__()
        self._factor = factor
        self.conv = nn.Conv2d(width, factor * width, 1, bias=False)

    def forward(self, frames: Tensor) -> Tensor:
        """Take frames (N, width, height, width), return (factor N, width, 2 height, 2 width)."""
        grown = self.conv(frames).unflatten(1, (self._factor, -1)).flatten(0, 1)
        return interpolate(grown, scale_factor=2.0, mode="nearest")


class Squash(nn.Module):
    """Bounds latents smoothly."""

    def forward(self, latents: Tensor) -> Tensor:
        return torch.tanh(latents / LIMIT) * LIMIT


class TinyDecoder(nn.Module):
    """Latents of Wan 2.1, as its transformer makes them, to frames. Its parameters have their published names."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [Squash(), _conv(CHANNELS, STAGES[0][0]), nn.ReLU(inplace=True)]
        for before, after, factor in STAGES:
            layers += [MemoryBlock(before) for _ in range(BLOCKS)]
            layers += [nn.Identity(), Grow(before, factor), _conv(before, after, bias=False)]
        self.decoder = nn.Sequential(*layers, nn.ReLU(inplace=True), _conv(STAGES[-1][1], 3))

    @classmethod
    def from_weights(cls, state: Mapping[str, Tensor]) -> "TinyDecoder":
        """Take the decoder of a published file, which holds an encoder as well. Raises RuntimeError for another one."""
        foreign = [name for name in state if not name.startswith(("encoder.", "decoder."))]
        if foreign:
            raise RuntimeError(f"{foreign[0]} belongs to another network")
        decoder = cls()
        decoder.load_state_dict({name: value for name, value in state.items() if name.startswith("decoder.")})
        return decoder

    @torch.inference_mode()
    def frames(self, latents: Tensor) -> Iterator[Tensor]:
        """Yield the frames (N, 3, height, width), 0-1, of each latent of (1, 16, T, h, w): one, then four at a time."""
        parameter = next(self.parameters())
        remembered: list[Tensor | None] = [None] * len(self.decoder)
        for index, latent in enumerate(latents.to(parameter.device, parameter.dtype)[0].unbind(1)):
            frames = self._decode(latent[None], remembered).clamp(0, 1)
            yield frames[SURPLUS:] if index == 0 else frames

    def images(self, latents: Tensor) -> Iterator[Image]:
        """Yield the pictures of a clip."""
        for frames in self.frames(latents):
            yield from to_images(frames)

    def _decode(self, frames: Tensor, remembered: list[Tensor | None]) -> Tensor:
        """Decode one latent; each memory block remembers the last frame that it has seen."""
        frames = frames.contiguous(memory_format=torch.channels_last)
        for index, layer in enumerate(self.decoder):
            if isinstance(layer, MemoryBlock):
                before = remembered[index]
                remembered[index] = frames[-1:].clone()
                frames = layer(frames, torch.zeros_like(frames[:1]) if before is None else before)
            else:
                frames = layer(frames)
        return frames


def load_tiny_decoder(compute: Compute) -> TinyDecoder:
    """Load the decoder. Raises JobFailed, with the command that pulls its weights, without them."""
    decoder = TinyDecoder.from_weights(weights.load_safetensors(NAME))
    return decoder.to(compute.device, compute.dtype).to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload,no-any-return]  # its stubs lack it


def _conv(before: int, after: int, *, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(before, after, 3, padding=1, bias=bias)
