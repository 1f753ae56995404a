"""Which decoder a plan takes, and the pictures that are shown while a clip is made, as files beside the result."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from services.creation.engines.wan import decoding as decoding_module
from services.creation.engines.wan.checkpoints import Checkpoint
from services.creation.engines.wan.decoding import Decoding
from services.creation.engines.wan.draft import DraftGenerator
from services.creation.engines.wan.generation_request import Control, GenerationRequest
from services.creation.engines.wan.generator import VaceGenerator
from services.creation.engines.wan.plans import PLANS
from services.creation.engines.wan.tiny_decoder import NAME, TinyDecoder
from services.creation.model import load
from services.creation.pipeline import create_video
from services.creation.request import CreationRequest
from shared import weights
from shared.arrays import Image
from shared.errors import JobFailed
from shared.networks.compute import Compute
from shared.pipeline.direct_job import DirectJob
from shared.settings import CreationSettings, EncodingSettings, Settings
from tests.support import clips
from tests.support.tiny_decoder import published_state
from tests.support.tiny_wan import build_plain, build_vace

FP32 = Compute(torch.device("cpu"), torch.float32)
REQUEST = GenerationRequest(prompt="海边的猫", negative_prompt="", guidance=5.0, seed=1, size=(64, 48), frame_count=5)
LOW = replace(PLANS["low"], steps=3)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_plain(tmp_path_factory.mktemp("plain") / "model")


@pytest.fixture(scope="module")
def vace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_vace(tmp_path_factory.mktemp("vace") / "model")


@pytest.fixture(scope="module")
def decoder() -> TinyDecoder:
    return TinyDecoder.from_weights(published_state()).eval()


@pytest.fixture
def tiny_is_here(decoder: TinyDecoder, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = weights.exists
    monkeypatch.setattr("shared.weights.exists", lambda name: name == NAME or stored(name))
    monkeypatch.setattr(decoding_module, "load_tiny_decoder", lambda _compute: decoder)


@pytest.fixture
def tiny_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = weights.exists
    monkeypatch.setattr("shared.weights.exists", lambda name: name != NAME and stored(name))


def settings(**creation: Any) -> Settings:
    return Settings(device="cpu", creation=CreationSettings(**creation), encoding=EncodingSettings(preset="ultrafast"))


def draft(folder: Path, **creation: Any) -> DraftGenerator:
    return DraftGenerator(Checkpoint(str(folder), "folder"), PLANS["draft"], settings(**creation))


def full_size(folder: Path, **creation: Any) -> VaceGenerator:
    return VaceGenerator(Checkpoint(str(folder), "folder"), LOW, FP32, settings(**creation))


def made(generator: Callable[..., list[Image]], **changes: Any) -> "np.ndarray[Any, Any]":
    return np.stack(generator(replace(REQUEST, **changes), lambda _progress: None))


# Which decoder


@pytest.mark.usefixtures("tiny_is_here")
def test_the_smallest_plans_take_the_tiny_decoder_and_a_setting_decides_otherwise() -> None:
    taken = {name: Decoding(plan, settings(), FP32).name for name, plan in PLANS.items()}
    assert taken == {"speed": "vae", "balanced": "vae", "low": NAME, "draft": NAME}
    assert {Decoding(plan, settings(decoder="full"), FP32).name for plan in PLANS.values()} == {"vae"}
    assert {Decoding(plan, settings(decoder="tiny"), FP32).name for plan in PLANS.values()} == {NAME}


@pytest.mark.usefixtures("tiny_is_missing")
def test_without_its_weights_the_vae_decodes_unless_the_tiny_one_was_asked_for(plain: Path) -> None:
    assert Decoding(PLANS["draft"], settings(), FP32).name == "vae"
    with pytest.raises(JobFailed, match=rf"kinora weights pull {NAME}"):
        made(draft(plain, decoder="tiny"))


@pytest.mark.usefixtures("tiny_is_here")
def test_a_draft_decodes_with_it_and_loads_no_vae(plain: Path) -> None:
    small, whole = draft(plain), draft(plain, decoder="full")
    frames = made(small)
    assert frames.shape == made(whole).shape == (5, 48, 64, 3)
    assert not np.array_equal(frames, made(whole))
    assert small._pipe is not None
    assert small._pipe.vae is None
    assert (small.details["decoder"], whole.details["decoder"]) == (NAME, "vae")


@pytest.mark.usefixtures("tiny_is_here")
def test_the_plan_low_encodes_with_the_vae_and_decodes_with_the_tiny_one(vace: Path) -> None:
    picture = np.full((48, 64, 3), 200, np.uint8)
    control = Control((picture, *[None] * 4), kept=1)
    assert made(full_size(vace), control=control).shape == (5, 48, 64, 3)


# References


@pytest.mark.parametrize("wanted", ["tiny", "full"])
@pytest.mark.usefixtures("tiny_is_here")
def test_references_act_and_do_not_appear_as_frames(vace: Path, wanted: str) -> None:
    generator = full_size(vace, decoder=wanted)
    across = np.arange(90 * 70 * 3).reshape(90, 70, 3) % 256
    references = (across.astype(np.uint8), np.zeros((20, 30, 3), np.uint8))
    alone, beside = made(generator), made(generator, references=references)
    assert alone.shape == beside.shape
    assert not np.array_equal(alone, beside)
    assert np.array_equal(beside, made(generator, references=references))
    control = Control((across[:48, :64].astype(np.uint8), *[None] * 4), kept=1, motion_strength=1.3)
    assert made(generator, control=control, references=references).shape == (5, 48, 64, 3)


# Pictures on the way


@pytest.mark.usefixtures("tiny_is_here")
def test_every_step_shows_a_picture(plain: Path, vace: Path) -> None:
    for generator in (draft(plain), full_size(vace), full_size(vace, decoder="full")):
        pictures: list[Image] = []
        frames = made(generator, on_picture=pictures.append)
        assert [picture.shape for picture in pictures] == [(48, 64, 3)] * 3
        assert np.array_equal(frames, made(generator)), "they change nothing"
    with_reference: list[Image] = []
    reference = np.full((48, 64, 3), 90, np.uint8)
    made(full_size(vace), references=(reference,), on_picture=with_reference.append)
    assert len(with_reference) == 3
    none: list[Image] = []
    made(draft(plain, previews=False), on_picture=none.append)
    assert none == []


@pytest.mark.usefixtures("tiny_is_missing")
def test_without_the_tiny_decoder_nothing_is_shown(plain: Path) -> None:
    pictures: list[Image] = []
    made(draft(plain), on_picture=pictures.append)
    assert pictures == []


def text(folder: Path, model: Path, create: Callable[..., Any] = create_video) -> DirectJob:
    wanted = settings(draft_model=str(model), plan="draft", pixels=64 * 32)
    fields = {"task_id": 1, "dist_dir": str(folder), "category": 1, "prompt_cn": "海", "fps": 8, "duration": 1}
    job = DirectJob(folder, wanted, service="creation", task_id=1)
    job.run(create, CreationRequest.model_validate(fields), load(wanted))
    return job


@pytest.mark.usefixtures("tiny_is_here")
def test_each_step_leaves_a_jpeg_beside_the_result_that_the_details_name(plain: Path, tmp_path: Path) -> None:
    job = text(tmp_path, plain)
    names = job.details["previews"]
    assert [name.rpartition("_")[2] for name in names] == ["step1.jpg", "step2.jpg", "step3.jpg"]
    for name in names:
        with Pillow.open(tmp_path / name) as picture:
            assert (picture.format, picture.size) == ("JPEG", (64, 32))
            assert b"AIGC" in picture.info["xmp"], "a machine made it"
    assert job.details["decoder"] == NAME


@pytest.mark.usefixtures("tiny_is_here")
def test_references_of_a_request_shape_a_text_and_a_video(vace: Path, tmp_path: Path) -> None:
    reference = tmp_path / "人物.png"
    Pillow.effect_noise((50, 40), 80).convert("RGB").save(reference)
    source = clips.clip(tmp_path / "in.mp4", seconds=0.5, rate="8", size=(64, 32), sound=None)
    wanted = settings(model=str(vace), draft_model="/nowhere", engine="wan", plan="low", steps=2, pixels=64 * 32)
    pool = load(wanted)

    def frames(**fields: Any) -> Any:
        (folder := tmp_path / "out").mkdir(exist_ok=True)
        body = {"task_id": 1, "dist_dir": str(folder), "prompt_cn": "海", "fps": 8, "seed": 3, **fields}
        job = DirectJob(folder, wanted, service="creation", task_id=1)
        result = job.run(create_video, CreationRequest.model_validate(body), pool)
        with av.open(folder / result.video) as container:
            return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])

    for fields in ({"category": 1, "duration": 1}, {"category": 3, "video_url": str(source)}):
        without, beside = frames(**fields), frames(reference_images=[str(reference)], **fields)
        assert without.shape == beside.shape
        assert not np.array_equal(without, beside)


@pytest.mark.usefixtures("tiny_is_here")
def test_a_task_that_fails_leaves_no_pictures_and_names_none(plain: Path, tmp_path: Path) -> None:
    seen: list[int] = []

    def stopped(job: DirectJob, *arguments: Any) -> Any:
        def check() -> None:
            seen.append(len(list(tmp_path.glob("*step*.jpg"))))
            if seen[-1] == 2:
                raise JobFailed("out_of_memory")

        job.check = check  # type: ignore[method-assign]  # what a cancel does
        try:
            return create_video(job, *arguments)
        finally:
            assert "previews" not in job.details

    with pytest.raises(JobFailed):
        text(tmp_path, plain, stopped)
    assert max(seen) == 2
    assert list(tmp_path.iterdir()) == []
