"""The tiny decoder: its published layout, and frames that stream through it as if a clip were decoded at once."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import UniPCMultistepScheduler
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import conv2d, interpolate, pad

from services.creation.engines.wan.dmd_scheduler import FAST_WAN, DMDScheduler
from services.creation.engines.wan.preview import AREA, MOST, is_due, picture_of, predicted
from services.creation.engines.wan.tiny_decoder import NAME, TinyDecoder
from shared import weights
from tests.support.tiny_decoder import published_state


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return published_state()


@pytest.fixture(scope="module")
def decoder(state: dict[str, Tensor]) -> TinyDecoder:
    return TinyDecoder.from_weights(state)


def latents(frames: int = 4, height: int = 3, width: int = 5) -> Tensor:
    return torch.randn(1, 16, frames, height, width, generator=torch.Generator().manual_seed(frames))


def whole_clip(state: dict[str, Tensor], clip: Tensor) -> Tensor:
    """The published definition, over all frames at once: (frames, 3, height, width)."""

    def conv(frames: Tensor, name: str) -> Tensor:
        weight = state[f"decoder.{name}.weight"].float()
        bias = state.get(f"decoder.{name}.bias")
        return conv2d(frames, weight, None if bias is None else bias.float(), padding=weight.shape[2] // 2)

    frames = conv(torch.tanh(clip[0].transpose(0, 1) / 3) * 3, "1").relu()
    for first in (3, 9, 15):
        for block in range(first, first + 3):
            both = torch.cat([frames, pad(frames, (0, 0, 0, 0, 0, 0, 1, 0))[:-1]], dim=1)
            for layer in (0, 2):
                both = conv(both, f"{block}.conv.{layer}").relu()
            frames = (conv(both, f"{block}.conv.4") + frames).relu()
        channels = frames.shape[1]
        doubled = interpolate(frames, scale_factor=2.0, mode="nearest")
        frames = conv(doubled, f"{first + 4}.conv")
        frames = conv(frames.reshape(-1, channels, *frames.shape[2:]), str(first + 5))
    return conv(frames.relu(), "22").clamp(0, 1)[3:]


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_frames_that_stream_through_are_those_of_the_whole_clip(
    decoder: TinyDecoder, state: dict[str, Tensor], frames: int
) -> None:
    clip = latents(frames)
    chunks = list(decoder.frames(clip))
    assert [len(chunk) for chunk in chunks] == [1, *[4] * (frames - 1)]
    assert torch.allclose(torch.cat(chunks), whole_clip(state, clip), atol=1e-5)


def test_images_are_pictures_of_eight_times_the_size(decoder: TinyDecoder) -> None:
    images = list(decoder.images(latents(3)))
    assert len(images) == 9
    assert {(image.shape, image.dtype) for image in images} == {((24, 40, 3), np.dtype(np.uint8))}


def test_no_more_than_one_latent_is_decoded_before_its_frames_are_taken(decoder: TinyDecoder) -> None:
    seen: list[int] = []
    handle = decoder.decoder[22].register_forward_hook(lambda _layer, _given, made: seen.append(len(made)))
    frames = decoder.frames(latents(4))
    next(frames)
    handle.remove()
    assert seen == [4]


def test_the_layout_is_that_of_the_published_file_to_the_byte(state: dict[str, Tensor], tmp_path: Path) -> None:
    save_file({name: tensor.half() for name, tensor in state.items()}, tmp_path / "taew2_1.safetensors")
    [file] = weights.entry(NAME).files
    assert (tmp_path / "taew2_1.safetensors").stat().st_size == file.size
    assert sum(tensor.numel() for tensor in state.values()) == 11_315_539


@pytest.mark.parametrize("change", ["missing", "foreign", "spare"])
def test_another_layout_is_refused(state: dict[str, Tensor], change: str) -> None:
    changed = dict(state)
    if change == "missing":
        del changed["decoder.22.bias"]
    else:
        changed["decoder.23.bias" if change == "spare" else "vae.bias"] = torch.zeros(3)
    with pytest.raises(RuntimeError):
        TinyDecoder.from_weights(changed)


# Previews


def test_a_preview_is_the_middle_of_the_clip_made_small(decoder: TinyDecoder) -> None:
    clip = latents(5, height=60, width=104)
    picture = picture_of(decoder, clip)
    height, width = picture.shape[:2]
    assert height * width <= AREA * 64
    assert abs(width / height - 104 / 60) < 0.1
    clip[:, :, 3:] = 0  # what comes behind does not matter
    assert np.array_equal(picture, picture_of(decoder, clip))
    clip[:, :, 2] = 0
    assert not np.array_equal(picture, picture_of(decoder, clip))


def test_every_step_of_few_is_shown_and_some_of_many() -> None:
    assert [is_due(index, 4) for index in range(4)] == [True] * 4
    for steps in (12, 13, 30, 50):
        shown = [index for index in range(steps) if is_due(index, steps)]
        assert MOST / 2 <= len(shown) <= MOST
        assert len(set(np.diff(shown))) == 1


def steps_of(scheduler: Any, picture: Tensor, steps: int) -> list[Tensor]:
    """Let a model that knows the picture denoise; return what was predicted at each step."""
    scheduler.set_timesteps(steps)
    scheduler.set_begin_index(0)
    noisy, seen = torch.randn(picture.shape, generator=torch.Generator().manual_seed(1)), []
    for index, time in enumerate(scheduler.timesteps):
        velocity = (noisy - picture) / float(scheduler.sigmas[index])
        noisy = scheduler.step(velocity, time, noisy, return_dict=False)[0]
        found = predicted(scheduler)
        assert found is not None
        seen.append(found)
    return seen


def test_what_a_step_predicts_is_the_picture_without_its_noise() -> None:
    picture = torch.linspace(-1, 1, 60).reshape(1, 3, 1, 4, 5)
    multistep = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)
    assert predicted(DMDScheduler(FAST_WAN)) is None
    for scheduler, steps in ((DMDScheduler(FAST_WAN), 3), (multistep, 6)):
        for found in steps_of(scheduler, picture, steps):
            assert torch.allclose(found, picture, atol=1e-4)
