"""A neural swap of one face: what the networks get, and what becomes of the frame."""

from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import helper

from benchmarks.occluders.composites import composite
from services.facefusion.embed import normalised
from services.facefusion.neural.analysis import ArcFace
from services.facefusion.neural.boost import Setting
from services.facefusion.neural.paste import box_mask
from services.facefusion.neural.render import EMAP, Converter, InSwapper, Network, SwapSession
from services.facefusion.neural.swap import NeuralSwapper
from services.facefusion.neural.swappers import SwapperRow, swappers
from services.facefusion.swapper import paste
from shared.arrays import Image
from shared.errors import JobFailed
from tests.support import neural_files
from tests.support.faces import difference, largest, man, woman

INSWAPPER = swappers()["inswapper-128"]


@pytest.fixture
def embed(tmp_path: Path) -> ArcFace:
    return ArcFace(neural_files.arcface(tmp_path / "w600k_r50.onnx"))


def network_of(folder: Path, row: SwapperRow, **file: bool) -> Network:
    path = neural_files.swapper(folder / f"{row.name}.onnx", row, **file)  # type: ignore[arg-type]
    return InSwapper(path) if row.identity == "emap" else SwapSession(path, row)


def swapped(swapper: NeuralSwapper) -> Image:
    patch = swapper.prepare(woman(), largest(woman())).renderer()(man(), largest(man()))
    assert patch is not None
    frame = man().copy()
    paste(frame, patch)
    return frame


def test_the_face_is_replaced_in_its_region_and_nothing_else(tmp_path: Path, embed: ArcFace) -> None:
    view = largest(man())
    swapper = NeuralSwapper(INSWAPPER, network_of(tmp_path, INSWAPPER), embed)
    patch = swapper.prepare(woman(), largest(woman())).renderer()(man(), view)
    assert patch is not None
    result = man().copy()
    paste(result, patch)
    x, y = view.face.landmarks5[2].round().astype(int)
    assert np.abs(result[y, x].astype(int) - (255 - man()[y, x].astype(int))).max() < 40
    far = np.ones(man().shape[:2], bool)
    far[patch.y : patch.y + patch.mask.shape[0], patch.x : patch.x + patch.mask.shape[1]] = False
    assert difference(result, man())[far].max() == 0
    assert patch.mask.shape[0] < 300


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("name", [EMAP, "anything"])
def test_the_emap_is_found_wherever_it_stands_in_the_file(
    tmp_path: Path, embed: ArcFace, name: str, *, last: bool
) -> None:
    """By its name, else by its shape; insightface itself takes the last initializer."""
    network = InSwapper(neural_files.swapper(tmp_path / "inswapper.onnx", INSWAPPER, emap=name, last=last))
    assert np.array_equal(np.asarray(network.emap), neural_files.EMAP)
    assert np.array_equal(network._model.emap, neural_files.EMAP)
    landmarks5 = largest(man()).face.landmarks5
    source = NeuralSwapper(INSWAPPER, network, embed).prepare(man(), largest(man()))
    assert source.identity == pytest.approx(normalised(embed(man(), landmarks5) @ neural_files.EMAP), abs=1e-5)


def test_a_file_without_an_emap_is_refused_with_its_name(tmp_path: Path) -> None:
    nodes = [helper.make_node("Identity", ["target"], ["output"])]
    shape: list[int | str] = [1, 3, 128, 128]
    path = neural_files.write(tmp_path / "other.onnx", nodes, {"target": shape}, {"output": [1, 3, 128, 128]})
    with pytest.raises(JobFailed, match=r"other\.onnx"):
        InSwapper(path)


@pytest.mark.parametrize("name", swappers())
def test_each_network_gets_the_identity_that_it_was_trained_with(tmp_path: Path, embed: ArcFace, name: str) -> None:
    row = swappers()[name]
    convert = Converter(neural_files.converter(tmp_path / "crossface.onnx")) if "converted" in row.identity else None
    raw = embed.raw(woman(), largest(woman()).face.landmarks5)
    identity = NeuralSwapper(row, network_of(tmp_path, row), embed, convert).identity(raw)
    expected = {
        "unit": normalised(raw),
        "emap": normalised(normalised(raw) @ neural_files.EMAP),
        "converted": raw[::-1] * 2,
        "converted unit": normalised(raw[::-1]),
    }[row.identity]
    assert identity == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("name", swappers())
def test_each_network_gives_back_the_colours_that_it_got(tmp_path: Path, embed: ArcFace, name: str) -> None:
    """Mean, deviation and range of the row fit together: a network that changes nothing changes nothing."""
    row = swappers()[name]
    swapper = NeuralSwapper(row, network_of(tmp_path, row, inverted=False), embed, lambda embedding: embedding)
    chip = np.random.default_rng(2).integers(0, 256, (row.side, row.side, 3)).astype(np.uint8)
    rendered = swapper.render(chip, np.zeros(512, np.float32))
    assert rendered.dtype == np.float32
    assert np.abs(rendered - chip).max() < 0.01


def test_a_template_lies_in_its_chip_as_the_published_ones_do() -> None:
    assert INSWAPPER.template == pytest.approx(
        np.array([[46.2946, 51.6963], [81.5318, 51.5014], [64.0252, 71.7366], [49.5493, 92.3655], [78.7299, 92.2041]]),
        abs=1e-3,
    )
    for row in swappers().values():
        eyes, mouth = row.template[:2].mean(0), row.template[3:].mean(0)
        assert row.template.shape == (5, 2)
        assert abs(eyes[0] - row.side / 2) < 0.01 * row.side
        assert 0.3 * row.side < eyes[1] < mouth[1] < 0.8 * row.side


def test_a_network_of_another_size_is_refused_with_its_name(tmp_path: Path) -> None:
    path = neural_files.swapper(tmp_path / "ghost.onnx", swappers()["ghost-1-256"])
    with pytest.raises(JobFailed, match=r"ghost\.onnx is another network than simswap-unofficial-512"):
        SwapSession(path, swappers()["simswap-unofficial-512"])


@pytest.mark.parametrize("boost", ["1", "2", "4"])
def test_with_a_network_that_changes_nothing_pixel_boost_changes_nothing(
    tmp_path: Path, embed: ArcFace, boost: Setting
) -> None:
    swapper = NeuralSwapper(INSWAPPER, network_of(tmp_path, INSWAPPER, inverted=False), embed, pixel_boost=boost)
    factor = int(boost)
    chip = np.random.default_rng(4).integers(0, 256, (128 * factor, 128 * factor, 3)).astype(np.uint8)
    assert np.abs(swapper.render(chip, np.zeros(512, np.float32), factor) - chip).max() < 0.01
    # The frame is sampled into the chip and back.
    assert difference(swapped(swapper), man()).mean() < 0.6 / factor


def test_pixel_boost_keeps_the_detail_of_a_face_that_is_larger_than_the_network(tmp_path: Path, embed: ArcFace) -> None:
    """The man four times as large: his face has 400 pixels and more."""
    large = np.kron(man(), np.ones((4, 4, 1), np.uint8))
    large = (
        (large.astype(np.int16) + np.random.default_rng(8).integers(-12, 13, large.shape)).clip(0, 255).astype(np.uint8)
    )
    view = largest(large)
    left = {}
    for boost in ("1", "4", "auto"):
        swapper = NeuralSwapper(INSWAPPER, network_of(tmp_path, INSWAPPER, inverted=False), embed, pixel_boost=boost)
        renderer = swapper.prepare(woman(), largest(woman())).renderer()
        patch = renderer(large, view)
        assert patch is not None
        frame = large.copy()
        paste(frame, patch)
        left[boost] = float(difference(frame, large).mean())
        assert boost != "auto" or renderer.remembered.factor in {2, 4}
    assert left["4"] < 0.85 * left["1"]
    assert left["auto"] < 0.9 * left["1"]


def test_a_renderer_goes_on_with_the_factor_of_the_one_before(tmp_path: Path, embed: ArcFace) -> None:
    swapper = NeuralSwapper(INSWAPPER, network_of(tmp_path, INSWAPPER), embed, pixel_boost="auto")
    source = swapper.prepare(woman(), largest(woman()))
    first = source.renderer()
    first(man(), largest(man()))
    assert first.remembered.factor in {1, 2, 4}
    assert source.renderer(first.remembered).remembered.factor == first.remembered.factor


def test_what_is_in_front_of_the_face_stays_and_the_face_beside_it_is_swapped(tmp_path: Path, embed: ArcFace) -> None:
    """A hand that is there in the first frame; the network inverts all colours."""
    [made] = composite("hand", [man()], [largest(man()).landmarks], enters=False)
    swapper = NeuralSwapper(INSWAPPER, network_of(tmp_path, INSWAPPER), embed)
    patch = swapper.prepare(woman(), largest(woman())).renderer()(made.image, largest(made.image))
    assert patch is not None
    result = made.image.copy()
    paste(result, patch)
    change = difference(result, made.image)
    middle = np.zeros(change.shape, bool)  # of the chip, where its own mask is open
    x, y = largest(man()).landmarks[:, :2].mean(0).astype(int)
    middle[y - 40 : y + 50, x - 35 : x + 35] = True
    hand = cv2.erode((made.covered > 0.9).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    face = cv2.dilate((made.covered > 0.1).astype(np.uint8), np.ones((25, 25), np.uint8)) == 0
    assert (hand & middle).sum() > 800
    assert (face & middle).sum() > 800
    assert np.median(change[hand & middle]) < 10
    assert np.median(change[face & middle]) > 30


def test_the_mask_is_open_in_the_middle_and_shut_at_the_border() -> None:
    mask = box_mask(128)
    assert mask[64, 64] == pytest.approx(1, abs=1e-3)
    assert mask[0].max() < 0.05
    assert mask[:, -1].max() < 0.05
    assert (np.diff(mask[64, :64]) >= -1e-6).all()


def test_the_files_of_these_tests_are_whole(tmp_path: Path) -> None:
    for row in swappers().values():
        onnx.checker.check_model(onnx.load(neural_files.swapper(tmp_path / "row.onnx", row)))
