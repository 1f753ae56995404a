"""The neural path end to end, with small ONNX files of the real ones' interfaces."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from services.facefusion import inswapper
from services.facefusion.inswapper import ArcFace, InSwapper, box_mask
from services.facefusion.model import FaceModel
from services.facefusion.scrfd import ScrfdDetector
from services.facefusion.swapper import paste
from shared.errors import JobFailed
from tests.support.faces import difference, largest, man, model, woman

EMAP = np.random.default_rng(3).normal(size=(512, 512)).astype(np.float32)


def write(
    path: Path, nodes: list[onnx.NodeProto], inputs: dict[str, list[int]], outputs: list[str], **weights: object
) -> Path:
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


@pytest.fixture
def arcface(tmp_path: Path) -> ArcFace:
    """[1,3,112,112] to [1,512]: the picture's own average, spread out."""
    pattern = np.random.default_rng(1).normal(size=(3, 512)).astype(np.float32)
    nodes = [
        helper.make_node("ReduceMean", ["input.1"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["mean", "pattern"], ["683"]),
    ]
    return ArcFace(write(tmp_path / "arc.onnx", nodes, {"input.1": [1, 3, 112, 112]}, ["683"], pattern=pattern))


def swapper_file(folder: Path, emap_name: str = inswapper.EMAP) -> Path:
    """`target` [1,3,128,128] and `source` [1,512] to the inverted picture; the emap is the last initializer."""
    nodes = [
        helper.make_node("Sub", ["one", "target"], ["inverted"]),
        helper.make_node("ReduceMean", ["source"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "nothing"], ["zero"]),
        helper.make_node("Add", ["inverted", "zero"], ["output"]),
    ]
    one, nothing = np.float32(1), np.float32(0)
    shapes = {"target": [1, 3, 128, 128], "source": [1, 512]}
    return write(folder / "swap.onnx", nodes, shapes, ["output"], one=one, nothing=nothing, **{emap_name: EMAP})


def test_the_face_is_replaced_in_its_region_and_nothing_else(tmp_path: Path, arcface: ArcFace) -> None:
    swapper = InSwapper(swapper_file(tmp_path), arcface)
    view = largest(man())

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


def test_the_emap_is_found_by_name_and_the_latent_has_length_one(tmp_path: Path, arcface: ArcFace) -> None:
    swapper = InSwapper(swapper_file(tmp_path), arcface)
    assert np.array_equal(swapper.emap, EMAP)

    embedding = arcface(man(), largest(man()).face.landmarks5)
    source = swapper.prepare(man(), largest(man()))

    expected = embedding @ EMAP
    assert np.allclose(source.latent, expected / np.linalg.norm(expected), atol=1e-5)


def test_an_unnamed_emap_is_found_by_its_shape(tmp_path: Path, arcface: ArcFace) -> None:
    assert np.array_equal(InSwapper(swapper_file(tmp_path, "anything"), arcface).emap, EMAP)


def test_a_file_without_an_emap_is_refused_with_its_name(tmp_path: Path, arcface: ArcFace) -> None:
    nodes = [helper.make_node("Identity", ["target"], ["output"])]
    path = write(tmp_path / "other.onnx", nodes, {"target": [1, 3, 128, 128]}, ["output"])

    with pytest.raises(JobFailed, match=r"other\.onnx"):
        InSwapper(path, arcface)


def test_the_mask_is_open_in_the_middle_and_shut_at_the_border() -> None:
    mask = box_mask(128)

    assert mask[64, 64] == pytest.approx(1, abs=1e-3)
    assert mask[0].max() < 0.05
    assert mask[:, -1].max() < 0.05
    assert (np.diff(mask[64, :64]) >= -1e-6).all()


@pytest.mark.parametrize("confidence", [0.9, 0.55])  # 0.5 is the least; YuNet's limit does not count here
def test_scrfds_boxes_and_points_are_read_from_its_nine_outputs(tmp_path: Path, confidence: float) -> None:
    """One confident cell at the middle scale: its box reaches 2 cells each way, its points lie at its corner."""
    weights: dict[str, object] = {}
    for stride in (8, 16, 32):
        cells = (640 // stride) ** 2 * 2
        score = np.zeros((cells, 1), np.float32)
        if stride == 16:
            score[(10 * 40 + 20) * 2] = confidence  # row 10, column 20, first anchor
        weights |= {
            f"s{stride}": score,
            f"b{stride}": np.full((cells, 4), 2, np.float32),
            f"k{stride}": np.zeros((cells, 10), np.float32),
        }
    names = [f"{kind}{stride}" for kind in "sbk" for stride in (8, 16, 32)]
    nodes = [
        helper.make_node("ReduceMean", ["input.1"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "nothing"], ["zero"]),
        *(helper.make_node("Add", [name, "zero"], [f"out_{name}"]) for name in names),
    ]
    path = write(
        tmp_path / "det.onnx", nodes, {"input.1": [1, 3, 640, 640]}, [f"out_{name}" for name in names],
        nothing=np.float32(0), **weights,
    )  # fmt: skip

    (face,) = ScrfdDetector(path)(np.zeros((640, 1280, 3), np.uint8))

    assert face.score == pytest.approx(confidence)
    assert face.bbox == pytest.approx(np.array([320 - 32, 160 - 32, 320 + 32, 160 + 32]) * 2)
    assert face.landmarks5 == pytest.approx(np.array([[640, 320]] * 5))


def test_the_neural_swapper_works_in_the_place_of_the_classic_one(tmp_path: Path, arcface: ArcFace) -> None:
    classic = model()
    neural = FaceModel(
        detect=classic.detect,
        embed=arcface,
        embedder="tiny",
        landmarks=classic.landmarks,
        attributes=classic.attributes,
        nsfw=None,
        swapper=InSwapper(swapper_file(tmp_path), arcface),
    )
    face = neural.largest(man())
    assert face is not None

    patch = neural.swapper.prepare(woman(), largest(woman())).renderer()(man(), neural.view(man(), face))

    assert patch is not None
    assert patch.mask.max() > 0.9
