"""Published networks for what is in front of a face, with small ONNX files of their interfaces."""

from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from services.facefusion.classic import ClassicSwapper
from services.facefusion.model import parser_of
from services.facefusion.occlusion import ATLAS_SIDE, oval
from services.facefusion.parsers import PARSERS, FaceParser
from services.facefusion.swapper import View
from shared.arrays import Image
from shared.errors import JobFailed
from shared.settings import FaceFusionSettings, Settings
from tests.support.faces import largest, man, woman

RED = (255, 0, 0)


def write(path: Path, nodes: list[onnx.NodeProto], shape: list[int], **constants: object) -> Path:
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def xseg_file(folder: Path) -> Path:
    """[1,256,256,3] BGR 0-1 to [1,256,256,1]: no face where it is red, which is the last channel."""
    weigh = np.array([[0.0], [1.0], [-1.0]], np.float32)
    nodes = [
        helper.make_node("MatMul", ["input", "weigh"], ["green_over_red"]),
        helper.make_node("Add", ["green_over_red", "one"], ["output"]),  # the file's own values need not end at 1
    ]
    return write(folder / "xseg.onnx", nodes, [1, 256, 256, 3], weigh=weigh, one=np.float32(1))


def bisenet_file(folder: Path) -> Path:
    """[1,3,512,512] RGB, normalised, to [1,19,512,512]: glasses (6) where it is red, else skin (1)."""
    weight = np.zeros((19, 3, 1, 1), np.float32)
    bias = np.full(19, -100, np.float32)
    weight[6, :, 0, 0], bias[6] = [0.229, -0.224, 0], 0.485 - 0.456  # red minus green, the normalisation undone
    bias[1] = 0.5
    nodes = [helper.make_node("Conv", ["input", "weight", "bias"], ["output"], kernel_shape=[1, 1])]
    return write(folder / "bisenet.onnx", nodes, [1, 3, 512, 512], weight=weight, bias=bias)


def with_red_cheek() -> tuple[Image, View]:
    """The man with a red disc over the cheek on the left of the picture."""
    view, image = largest(man()), man().copy()
    cv2.circle(image, np.rint(view.landmarks[50, :2]).astype(int).tolist(), 14, RED, -1)
    return image, view


@pytest.mark.parametrize(("name", "file"), [("xseg-1", xseg_file), ("xseg-3", xseg_file), ("bisenet-34", bisenet_file)])
def test_what_a_published_network_finds_lies_where_it_is(name: str, file: object, tmp_path: Path) -> None:
    assert callable(file)
    image, view = with_red_cheek()

    covered = FaceParser(PARSERS[name], file(tmp_path))(image, view)

    assert covered.shape == (ATLAS_SIDE, ATLAS_SIDE)
    x, y = np.argwhere(covered.T > 0.9).mean(0)
    assert x < 50  # the left cheek, below the eyes
    assert 55 < y < 95
    assert 0.005 < (covered[oval()] > 0.5).mean() < 0.12


def test_it_is_added_to_what_our_own_finds(tmp_path: Path) -> None:
    image, view = with_red_cheek()
    spot = np.rint(view.landmarks[50, :2]).astype(int)
    alone, both = (
        ClassicSwapper(parser).prepare(woman(), largest(woman())).renderer()(man(), view)
        for parser in (None, lambda _image, _view: FaceParser(PARSERS["xseg-2"], xseg_file(tmp_path))(image, view))
    )

    assert alone is not None
    assert both is not None
    assert alone.mask[spot[1] - alone.y, spot[0] - alone.x] > 0.6
    assert both.mask[spot[1] - both.y, spot[0] - both.x] < 0.1
    assert (both.mask <= alone.mask + 1e-6).all()


def test_none_is_used_unless_it_is_asked_for_and_a_missing_one_is_named() -> None:
    def settings(name: str) -> Settings:
        return Settings(facefusion=FaceFusionSettings.model_validate({"occluder": name}))

    assert parser_of(settings("none"), cuda=False) is None
    with pytest.raises(JobFailed, match="xseg-3"):
        parser_of(settings("xseg-3"), cuda=False)
