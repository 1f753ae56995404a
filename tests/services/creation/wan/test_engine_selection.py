"""Which engine makes what: by the settings, and by the weights that are here. No model is loaded for the answer."""

import json
from pathlib import Path

import pytest

from services.creation.acceptance import inputs
from services.creation.engine_selection import choose_engine
from services.creation.engines.wan.checkpoints import PLAIN, VACE, find
from services.creation.request import PICTURE, TEXT, VIDEO, CreationRequest
from shared.errors import Rejected
from shared.settings import CreationSettings, Settings


def model(folder: Path, pipeline: str, *, heads: int = 12) -> Path:
    """Lay out what acceptance looks at: an index and its parts, without a weight in them."""
    parts = {"transformer": ["diffusers", "x"], "vae": ["diffusers", "x"], "transformer_2": [None, None]}
    for part in ("transformer", "vae"):
        (folder / part).mkdir(parents=True)
    (folder / "model_index.json").write_text(json.dumps({"_class_name": pipeline, **parts}))
    (folder / "transformer/config.json").write_text(
        json.dumps({"num_attention_heads": heads, "attention_head_dim": 128})
    )
    return folder


@pytest.fixture
def vace(tmp_path: Path) -> str:
    return str(model(tmp_path / "vace", VACE))


@pytest.fixture
def plain(tmp_path: Path) -> str:
    return str(model(tmp_path / "plain", PLAIN))


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("shared.gpu.NVIDIA", tmp_path)


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("shared.gpu.NVIDIA", tmp_path / "nowhere")


def engines(settings: Settings) -> list[str]:
    return [choose_engine(category, settings).engine for category in (TEXT, PICTURE, VIDEO)]


def test_auto_takes_the_generative_engine_where_its_weights_are(vace: str) -> None:
    assert engines(Settings(creation=CreationSettings(model=vace))) == ["wan", "wan", "wan"]


def test_without_weights_pictures_and_videos_are_the_classic_engines_and_texts_are_refused() -> None:
    settings = Settings(creation=CreationSettings(model="/nowhere", draft_model="/nowhere"))
    assert [choose_engine(category, settings).engine for category in (PICTURE, VIDEO)] == ["classic", "classic"]
    with pytest.raises(Rejected, match="/nowhere"):
        choose_engine(TEXT, settings)


def test_the_refusal_of_a_text_names_the_one_command_for_its_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("shared.weights.exists", lambda _name: False)
    request = CreationRequest.model_validate({"task_id": 1, "dist_dir": "/m", "category": 1, "prompt_cn": "猫"})
    with pytest.raises(Rejected, match=r"run `kinora weights pull wan-draft-1\.3b`"):
        inputs(request, Settings())
    with pytest.raises(Rejected, match=r"run `kinora weights pull wan-vace-14b`"):
        inputs(request, Settings(creation=CreationSettings(plan="low", model="wan-vace-14b")))
    monkeypatch.setattr("shared.gpu.NVIDIA", tmp_path)
    with pytest.raises(Rejected, match=r"run `kinora weights pull wan-vace-1\.3b`"):
        inputs(request, Settings())


def test_texts_are_drafts_on_a_cpu_and_full_size_on_a_gpu(
    vace: str, plain: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = Settings(creation=CreationSettings(model=vace, draft_model=plain))
    assert engines(settings) == ["draft", "wan", "wan"]
    assert engines(Settings(creation=CreationSettings(model="/nowhere", draft_model=plain))) == [
        "draft",
        "classic",
        "classic",
    ]
    monkeypatch.setattr("shared.gpu.NVIDIA", tmp_path)
    assert engines(settings) == ["wan", "wan", "wan"]


def test_the_draft_plan_makes_texts_and_leaves_the_rest_to_the_classic_engine(vace: str, plain: str) -> None:
    for engine in ("auto", "wan"):
        settings = Settings(creation=CreationSettings(engine=engine, plan="draft", model=vace, draft_model=plain))
        assert engines(settings) == ["draft", "classic", "classic"]


def test_an_engine_that_is_named_is_used_or_none(vace: str) -> None:
    assert choose_engine(VIDEO, Settings(creation=CreationSettings(engine="classic", model=vace))).engine == "classic"
    with pytest.raises(Rejected, match="KINORA_CREATION_ENGINE=classic"):
        choose_engine(TEXT, Settings(creation=CreationSettings(engine="classic", model=vace)))
    with pytest.raises(Rejected, match="no suitable model"):
        choose_engine(PICTURE, Settings(creation=CreationSettings(engine="wan", model="/nowhere")))


def test_a_folder_counts_only_when_it_is_whole_and_of_the_right_kind(vace: str, plain: str, tmp_path: Path) -> None:
    settings = Settings()
    assert find(vace, VACE, settings)
    assert find(plain, VACE, settings) is None
    assert find(str(tmp_path), VACE, settings) is None
    (Path(vace) / "vae").rmdir()
    assert find(vace, VACE, settings) is None


def test_a_folders_size_is_that_of_its_transformer(tmp_path: Path) -> None:
    for heads, name in ((12, "wan-vace-1.3b"), (40, "wan-vace-14b")):
        found = find(str(model(tmp_path / name, VACE, heads=heads)), VACE, Settings())
        assert found
        assert found.model.name == name


def test_a_repository_of_the_hub_is_offered_only_where_it_is_cached_or_may_be_fetched() -> None:
    name = "Nobody-At-All/Wan2.1-VACE-14B-diffusers"
    assert find(name, VACE, Settings()) is None
    assert find("no such/name/at all", VACE, Settings()) is None
    found = find(name, VACE, Settings(creation=CreationSettings(download=True)))
    assert found
    assert (found.where, found.model.name, found.may_download) == ("hub", "wan-vace-14b", True)


@pytest.mark.parametrize(("plan", "limit"), [("auto", 5), ("speed", 5), ("balanced", 5), ("low", 3)])
def test_a_clip_longer_than_a_run_of_the_model_is_refused(vace: str, plan: str, limit: int) -> None:
    settings = Settings(creation=CreationSettings(model=vace, plan=plan))
    body = {"task_id": 1, "dist_dir": "/out", "category": PICTURE, "image_url": "/a.png"}
    inputs(CreationRequest.model_validate(body | {"duration": limit}), settings)
    longer = CreationRequest.model_validate(body | {"duration": limit + 0.5})
    with pytest.raises(Rejected, match=f"more than the {limit} s that the model makes"):
        inputs(longer, settings)
    classic = Settings(creation=CreationSettings(engine="classic"))
    inputs(longer, classic)


def test_a_draft_of_more_than_three_seconds_is_refused(plain: str) -> None:
    settings = Settings(creation=CreationSettings(model="/nowhere", draft_model=plain))
    body = {"task_id": 1, "dist_dir": "/out", "category": TEXT, "prompt_cn": "猫"}
    inputs(CreationRequest.model_validate(body), settings)
    with pytest.raises(Rejected, match=r"more than the 3 s.*plan draft"):
        inputs(CreationRequest.model_validate(body | {"duration": 4}), settings)


def test_a_last_picture_needs_a_generative_model(vace: str) -> None:
    body = {"task_id": 1, "dist_dir": "/out", "category": PICTURE, "image_url": "/a.png", "last_image_url": "/b.png"}
    request = CreationRequest.model_validate(body)
    wanted = {"image_url": "image", "last_image_url": "image"}
    assert inputs(request, Settings(creation=CreationSettings(model=vace))) == wanted
    with pytest.raises(Rejected, match="last_image_url needs a generative model"):
        inputs(request, Settings(creation=CreationSettings(engine="classic")))
    assert "last_image_url" not in CreationRequest.model_validate(body | {"last_image_url": ""}).model_dump()


def test_references_need_a_vace_model(vace: str, plain: str) -> None:
    body = {"task_id": 1, "dist_dir": "/out", "prompt_cn": "猫", "reference_images": ["/a.png", "/b.png"]}
    media = {TEXT: {}, PICTURE: {"image_url": "/c.png"}, VIDEO: {"video_url": "/c.mp4"}}
    for category, fields in media.items():
        request = CreationRequest.model_validate(body | fields | {"category": category})
        assert request.reference_images == ("/a.png", "/b.png")
        named = inputs(request, Settings(creation=CreationSettings(model=vace)))
        assert named["reference_images"] == "image"
        assert set(named) == {*fields, "reference_images"}
        for settings in (
            CreationSettings(engine="classic" if category != TEXT else "auto", model="/nowhere", draft_model=plain),
            CreationSettings(plan="draft", draft_model=plain),
        ):
            with pytest.raises(Rejected, match="reference_images need a VACE model"):
                inputs(request, Settings(creation=settings))
    without = CreationRequest.model_validate(body | {"category": TEXT, "reference_images": []})
    assert "reference_images" not in without.model_dump()
