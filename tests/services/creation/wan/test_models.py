"""The table of models: held to the catalogue, to the documentation, and to what each row's folder turns out to be."""

import re
from pathlib import Path

import pytest

from services.creation.acceptance import inputs
from services.creation.engine_selection import choose_engine
from services.creation.engines.wan.models import LAST, MODELS, PATHS, REFERENCES, Model, named
from services.creation.engines.wan.plans import FALLBACK_ORDER
from services.creation.model_choice import best_model, fitting
from services.creation.request import PICTURE, TEXT, VIDEO, CreationRequest
from shared import weights
from shared.errors import Rejected
from shared.settings import CreationSettings, Settings

PULLABLE = [model for model in MODELS.values() if not model.is_draft]
BODY = {"task_id": 1, "dist_dir": "/out"}


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Have a GPU of 80 GiB."""
    monkeypatch.setattr("shared.gpu.NVIDIA", tmp_path)
    monkeypatch.setattr("services.creation.model_choice._total", lambda: 79.6)


def pulled(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    monkeypatch.setattr("shared.weights.exists", lambda name: name in names)


@pytest.mark.parametrize("model", MODELS.values(), ids=lambda model: model.name)
def test_a_row_is_an_entry_of_the_catalogue(model: Model) -> None:
    entry = weights.entry(model.name)
    assert entry.licence == model.licence
    assert model.repository in {part.name for part in entry.hub}
    assert set(model.transformers) <= set(entry.parts)
    assert entry.brings == ([model.tiny_decoder] if model.tiny_decoder else ())
    assert set(model.needs) == ({"draft"} if model.is_draft else set(FALLBACK_ORDER))
    assert named(model.repository) == model


def test_ranks_differ_and_have_reasons() -> None:
    assert len({model.rank for model in MODELS.values()}) == len(MODELS)
    assert all(model.because for model in MODELS.values())


def test_every_boundary_comes_with_a_second_guidance_and_loras_in_pairs() -> None:
    for model in MODELS.values():
        assert (model.boundary_ratio is None) == (model.guidance_2 is None) == (len(model.transformers) == 1)
        if model.few_steps and model.boundary_ratio:
            thousandths = [1000 * sigma for sigma in model.few_steps.sigmas]
            high = [time for time in thousandths if time >= 1000 * model.boundary_ratio]
            assert len(high) == 2, "two of the four steps are the first transformer's"
        if model.few_steps:
            assert len(weights.entry(model.few_steps.entry).loras) == len(model.transformers)


def test_the_table_and_the_catalogue_name_the_same_loras() -> None:
    named = {model.name: model.few_steps.entry for model in MODELS.values() if model.few_steps}
    assert set(named) == {"wan-vace-1.3b", "wan-vace-14b", "wan2.2-t2v-a14b", "wan2.2-i2v-a14b"}
    for model in MODELS.values():
        assert weights.entry(model.name).few_steps == named.get(model.name, "")


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(
    ("here", "best"),
    [
        (("wan2.2-ti2v-5b", "wan-vace-14b", "wan-vace-1.3b"), "wan-vace-14b"),
        (("wan2.2-t2v-a14b", "wan-vace-14b", "wan-vace-1.3b", "wan-fast-1.3b"), "wan-vace-1.3b"),
        (("wan2.2-t2v-a14b", "wan-vace-14b", "wan-fast-t2v-a14b", "wan-fast-14b"), "wan2.2-t2v-a14b"),
        (("wan2.2-ti2v-5b",), "wan2.2-ti2v-5b"),
    ],
    ids=["one that has a LoRA", "one whose LoRA is here", "a pair of LoRAs", "the only one, which is refused"],
)
def test_under_the_plan_fast_auto_takes_a_model_for_few_steps(
    here: tuple[str, ...], best: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pulled(monkeypatch, *here)
    settings = Settings(creation=CreationSettings(plan="fast"))
    chosen = best_model(TEXT, frozenset(), settings)
    assert chosen
    assert chosen.name == best
    if any(name.startswith("wan-fast") for name in here):
        assert choose_engine(TEXT, settings).engine == "wan"
        return
    allowed = "wan2.2-t2v-a14b, wan2.2-i2v-a14b, wan-vace-14b, wan-vace-1.3b"
    told = f"no LoRA; these models have one: {allowed}" if "ti2v" in best else "pull wan-fast-14b"
    with pytest.raises(Rejected, match=told):
        choose_engine(TEXT, settings)


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(
    ("category", "fields", "best"),
    [
        (TEXT, set(), "wan2.2-t2v-a14b"),
        (PICTURE, set(), "wan2.2-i2v-a14b"),
        (PICTURE, {LAST}, "wan2.2-i2v-a14b"),
        (PICTURE, {PATHS}, "wan-vace-14b"),
        (TEXT, {REFERENCES}, "wan-vace-14b"),
        (VIDEO, set(), "wan-vace-14b"),
    ],
)
def test_auto_takes_the_best_that_can(
    category: int, fields: set[str], best: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pulled(monkeypatch, *MODELS)
    found = best_model(category, frozenset(fields), Settings())
    assert found
    assert found.name == best
    choice = choose_engine(category, Settings(), frozenset(fields))
    assert (choice.engine, choice.checkpoint and choice.checkpoint.name) == ("wan", best)


@pytest.mark.parametrize(
    ("memory", "plan", "best"),
    [
        (80, "auto", "wan2.2-t2v-a14b"),
        (24, "auto", "wan2.2-t2v-a14b"),
        (16, "auto", "wan2.2-ti2v-5b"),
        (13.5, "auto", "wan-vace-1.3b"),
        (11, "auto", "wan2.2-t2v-a14b"),
        (9.5, "auto", "wan2.2-ti2v-5b"),
        (4, "auto", "wan-vace-1.3b"),
        (None, "auto", "wan-vace-1.3b"),
        (40, "speed", "wan2.2-ti2v-5b"),
        (12, "low", "wan2.2-t2v-a14b"),
    ],
)
def test_the_memory_decides_which_is_best(memory: float | None, plan: str, best: str) -> None:
    assert fitting([model for model in PULLABLE if TEXT in model.categories], plan, memory).name == best


@pytest.mark.usefixtures("gpu")
def test_auto_goes_by_what_is_pulled_and_leaves_the_rest_to_the_classic_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    pulled(monkeypatch, "wan2.2-ti2v-5b", "wan-draft-1.3b")
    settings = Settings()
    chosen = [choose_engine(category, settings) for category in (TEXT, PICTURE, VIDEO)]
    assert [choice.engine for choice in chosen] == ["wan", "wan", "classic"]
    assert {choice.checkpoint.name for choice in chosen if choice.checkpoint} == {"wan2.2-ti2v-5b"}
    assert choose_engine(PICTURE, settings, frozenset({PATHS})).engine == "classic"
    pulled(monkeypatch, "wan-draft-1.3b")
    assert [choose_engine(category, settings).engine for category in (TEXT, PICTURE)] == ["draft", "classic"]


@pytest.mark.usefixtures("gpu")
def test_a_field_that_the_model_cannot_act_on_is_refused_with_those_that_can(monkeypatch: pytest.MonkeyPatch) -> None:
    pulled(monkeypatch, "wan2.2-ti2v-5b")
    picture = BODY | {"category": PICTURE, "image_url": "/a.png"}
    with pytest.raises(Rejected, match=r"last_image_url.*wan2\.2-ti2v-5b.*these can: wan2\.2-i2v-a14b, wan-vace-14b"):
        inputs(CreationRequest.model_validate(picture | {"last_image_url": "/b.png"}), Settings())
    with pytest.raises(Rejected, match=r"reference_images.*these can: wan-vace-14b, wan-vace-1\.3b"):
        inputs(CreationRequest.model_validate(picture | {"reference_images": ["/b.png"]}), Settings())
    pulled(monkeypatch, "wan2.2-ti2v-5b", "wan-vace-1.3b")
    named_fields = inputs(CreationRequest.model_validate(picture | {"last_image_url": "/b.png"}), Settings())
    assert set(named_fields) == {"image_url", "last_image_url"}, "then the other one is taken"


@pytest.mark.usefixtures("gpu")
def test_a_named_model_serves_what_it_can_and_refuses_the_rest_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    pulled(monkeypatch, *MODELS)
    i2v = Settings(creation=CreationSettings(model="wan2.2-i2v-a14b"))
    assert choose_engine(PICTURE, i2v).engine == "wan"
    assert choose_engine(VIDEO, i2v).engine == "classic"
    with pytest.raises(Rejected, match=r"category 1 is not what wan2\.2-i2v-a14b.*wan2\.2-t2v-a14b"):
        choose_engine(TEXT, Settings(creation=CreationSettings(model="wan2.2-i2v-a14b", plan="speed")))
    wan = Settings(creation=CreationSettings(model="wan2.2-i2v-a14b", engine="wan"))
    with pytest.raises(Rejected, match=r"category 3 is not what .*: wan-vace-14b, wan-vace-1\.3b"):
        choose_engine(VIDEO, wan)
    with pytest.raises(Rejected, match="tracking_points is nothing that"):
        choose_engine(PICTURE, wan, frozenset({PATHS}))
    for refusal in ("creation_category_refused", "creation_field_refused"):
        facts = {"category": 1, "field": "x", "model": "m", "allowed": "a"}
        assert Rejected(refusal, **facts).sentence("zh") != Rejected(refusal, **facts).sentence("en")


def test_clips_last_as_long_as_a_run_of_the_models_own_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    pulled(monkeypatch, "wan2.2-ti2v-5b")
    settings = Settings(creation=CreationSettings(model="wan2.2-ti2v-5b"))
    body = BODY | {"category": PICTURE, "image_url": "/a.png"}
    inputs(CreationRequest.model_validate(body | {"duration": 5}), settings)
    with pytest.raises(Rejected, match="more than the 5 s"):
        inputs(CreationRequest.model_validate(body | {"duration": 5.5}), settings)


@pytest.mark.parametrize("page", ["docs/creation.md", "docs/zh/creation.md"])
def test_the_documents_table_is_this_one(page: str) -> None:
    text = Path(page).read_text(encoding="utf-8")
    tables = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("| `")]
    rows = {cells[0].strip("` "): cells for cells in tables}
    for model in MODELS.values():
        told = " ".join(rows[model.name])
        numbers = {float(number) for number in re.findall(r"\d+(?:\.\d+)?", told)}
        wanted = {model.frame_rate, model.guidance, model.steps, *model.needs.values(), model.multiple}
        wanted |= {model.guidance_2 or 0, model.boundary_ratio or 0} - {0}
        assert {float(number) for number in wanted if number} <= numbers, model.name
