"""Every row of the table, from the setting to a swapped picture; licences and missing weights."""

from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from services.facefusion import model as models
from services.facefusion.attributes import AttributeReader
from services.facefusion.neural.analysis import GenderAge
from services.facefusion.neural.swappers import swappers
from services.facefusion.pipeline import swap_faces
from services.facefusion.request import FaceFusionRequest
from shared import weights
from shared.doctor import weights as doctor
from shared.errors import JobFailed, Rejected
from shared.pipeline.direct_job import DirectJob
from shared.settings import EncodingSettings, FaceFusionSettings, Settings
from shared.weights.swappers import ALIASES, GENDER_AGE, RECOGNISER, SWAPPERS, needed_by
from tests.support import neural_files
from tests.support.faces import difference, largest, man, portrait, read, save

Pulled = dict[tuple[str, str | None], Path]


@pytest.fixture
def pulled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pulled:
    """What a pull would have left, as small files: entry and file -> path. Other entries are the real ones."""
    folder = tmp_path / "pulled"
    folder.mkdir()
    face = largest(man()).face  # in a picture of 640 pixels, as the detector sees it
    files: Pulled = {
        (RECOGNISER, "det_10g.onnx"): neural_files.scrfd(folder / "det_10g.onnx", face.bbox, face.landmarks5),
        (RECOGNISER, "w600k_r50.onnx"): neural_files.arcface(folder / "w600k_r50.onnx"),
        ("crossface-ghost", None): neural_files.converter(folder / "crossface_ghost.onnx"),
        ("crossface-simswap", None): neural_files.converter(folder / "crossface_simswap.onnx"),
    }
    path, exists = weights.path, weights.exists

    def neural(name: str) -> bool:
        return name in SWAPPERS or name in {RECOGNISER, GENDER_AGE} or name.startswith("crossface")

    def path_here(name: str, file: str | None = None) -> Path:
        if (name, file) in files:
            return files[name, file]
        if neural(name):
            raise JobFailed("weights_missing", name=name)
        return path(name, file)

    monkeypatch.setattr(weights, "path", path_here)
    monkeypatch.setattr(
        weights, "exists", lambda name: any(name == entry for entry, _ in files) if neural(name) else exists(name)
    )
    return files


def settings(swapper: str, **chosen: str) -> Settings:
    return Settings(
        encoding=EncodingSettings(preset="ultrafast"),
        facefusion=FaceFusionSettings(swapper=swapper, nsfw_check=False, **chosen),
    )


@pytest.mark.parametrize("name", [*swappers(), *ALIASES])
def test_a_picture_is_swapped_by_every_network_of_the_table(name: str, pulled: Pulled, tmp_path: Path) -> None:
    row = swappers()[ALIASES.get(name, name)]
    pulled[row.name, None] = neural_files.swapper(tmp_path / "swapper.onnx", row)
    chosen = settings(name, pixel_boost="2" if row.side == 128 else "1")
    loaded = models.load(chosen)
    request = FaceFusionRequest.model_validate({
        "task_id": 7, "dist_dir": str(tmp_path / "out"), "source_file": str(portrait(tmp_path)), "programe": 1,
        "target_file": str(save(tmp_path / "target.png", man())), "face_selector_mode": "many",
    })  # fmt: skip
    (tmp_path / "out").mkdir()
    job = DirectJob(tmp_path / "out", chosen, service="facefusion")
    result = job.run(swap_faces, request, loaded)
    assert job.details["swapper"] == ("inswapper" if row.name == "inswapper-128" else row.name)
    assert loaded.embedder == "arcface-w600k-r50"
    made = read(tmp_path / "out" / str(result.video))
    x, y = largest(man()).face.landmarks5[2].round().astype(int)
    assert np.abs(made[y, x].astype(int) - (255 - man()[y, x].astype(int))).max() < 60
    assert difference(made, man())[:20].max() < 12  # the top of the picture is only encoded anew


def test_ages_are_insightfaces_where_its_network_was_pulled(pulled: Pulled, tmp_path: Path) -> None:
    pulled["inswapper-128", None] = neural_files.swapper(tmp_path / "swapper.onnx", swappers()["inswapper-128"])
    assert isinstance(models.load(settings("inswapper")).attributes, AttributeReader)
    pulled[GENDER_AGE, None] = neural_files.genderage(tmp_path / "genderage.onnx", male=True, years=41)
    loaded = models.load(settings("inswapper"))
    assert isinstance(loaded.attributes, GenderAge)
    assert loaded.attributes(man(), largest(man()).face.landmarks5).years == 41


def test_weights_that_were_not_pulled_are_named(pulled: Pulled) -> None:
    with pytest.raises(JobFailed, match="hyperswap-1a-256"):
        models.load(settings("hyperswap-1a-256"))
    del pulled[RECOGNISER, "w600k_r50.onnx"]
    with pytest.raises(JobFailed, match=RECOGNISER):
        models.load(settings("inswapper"))


def test_a_network_is_never_chosen_by_itself_without_a_gpu(pulled: Pulled, tmp_path: Path) -> None:
    chosen = settings("auto")
    assert models.neural_swapper(chosen, cuda=True) == ""
    pulled["inswapper-128", None] = neural_files.swapper(tmp_path / "swapper.onnx", swappers()["inswapper-128"])
    assert models.neural_swapper(chosen, cuda=True) == "inswapper-128"
    assert models.neural_swapper(chosen, cuda=False) == ""
    assert models.neural_swapper(settings("classic"), cuda=True) == ""
    assert models.neural_swapper(settings("ghost-1-256"), cuda=False) == "ghost-1-256"


def test_without_insightface_auto_is_the_classic_swapper(
    pulled: Pulled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pulled["inswapper-128", None] = neural_files.swapper(tmp_path / "swapper.onnx", swappers()["inswapper-128"])
    monkeypatch.setattr(models, "find_spec", lambda _name: None)
    assert models.neural_swapper(settings("auto"), cuda=True) == ""


def test_the_setting_the_table_and_the_catalogue_know_the_same_names() -> None:
    asked = set(get_args(FaceFusionSettings.model_fields["swapper"].annotation)) - {"auto", "classic", *ALIASES}
    assert asked == set(swappers()) == set(SWAPPERS)
    assert set(ALIASES.values()) <= set(swappers())
    for name, row in swappers().items():
        assert set(needed_by(name)) <= set(weights.entries())
        assert bool(SWAPPERS[name]) == ("converted" in row.identity)
        assert weights.entry(name).main_file == f"{name.replace('-', '_')}.onnx"


@pytest.mark.parametrize("name", [name for name in SWAPPERS if not name.startswith("ghost")])
def test_weights_that_are_not_for_commercial_use_are_pulled_only_for_who_names_their_licence(name: str) -> None:
    with pytest.raises(Rejected, match=weights.entry(name).licence):
        weights.pull(name)


def test_the_doctor_names_all_that_a_swapper_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "exists", lambda name: name not in needed_by("simswap-unofficial-512"))
    monkeypatch.setattr(weights, "verify", lambda _name: [])
    monkeypatch.setattr(doctor, "find_spec", lambda _name: None)
    sentences = "\n".join(finding.sentence for finding in doctor.weights_here(settings("simswap-unofficial-512")))
    for name in ("simswap-unofficial-512", "crossface-simswap", RECOGNISER):
        assert f"kinora weights pull {name} --accept-licence" in sentences
    assert "pip install --no-deps insightface" in sentences
