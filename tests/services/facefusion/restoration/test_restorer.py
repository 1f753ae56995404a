"""A network with the interface of the published restorers."""

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from services.facefusion.restoration.restorer import Interface, Restorer
from services.facefusion.restoration.restorers import RESTORERS
from shared.errors import JobFailed
from tests.support.restorers import EVEN, GFPGAN, lighter, same, write

CHIP = np.random.default_rng(5).uniform(20, 200, (512, 512, 3)).astype(np.float32)


def test_values_go_in_and_come_out_from_minus_one_to_one(tmp_path: Path) -> None:
    assert np.abs(same(tmp_path)(CHIP) - CHIP).max() < 1e-3
    assert np.abs(lighter(tmp_path)(CHIP) - CHIP - EVEN * 127.5).max() < 1e-3


def test_what_leaves_the_range_is_cut_off(tmp_path: Path) -> None:
    white = np.full((512, 512, 3), 250, np.float32)
    assert lighter(tmp_path)(white).max() == 255


@pytest.mark.parametrize("kind", [TensorProto.DOUBLE, TensorProto.FLOAT])
def test_another_input_gets_the_tables_value_in_its_own_type(tmp_path: Path, kind: int) -> None:
    """CodeFormer's weight, which this network adds to every pixel."""
    nodes = [
        helper.make_node("Cast", ["weight"], ["small"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["input", "small"], ["output"]),
    ]
    path = write(tmp_path / "weighted.onnx", nodes, {}, weight=kind)
    dark = np.zeros((512, 512, 3), np.float32)
    restored = Restorer("codeformer", path, RESTORERS["codeformer"])(dark)
    assert np.abs(restored - 0.5 * 127.5).max() < 1e-3


def test_planes_are_red_green_and_blue(tmp_path: Path) -> None:
    nodes = [helper.make_node("Mul", ["input", "red"], ["output"])]
    path = write(tmp_path / "red.onnx", nodes, {"red": np.reshape([1, 0, 0], (1, 3, 1, 1))})
    found = Restorer("red", path, GFPGAN)(CHIP)
    assert np.abs(found[..., 0] - CHIP[..., 0]).max() < 1e-3
    assert np.abs(found[..., 1:] - 127.5).max() < 1e-3


def test_numbers_that_are_none_leave_the_face_as_it_is(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Div", ["input", "nothing"], ["large"]),
        helper.make_node("Sub", ["large", "large"], ["output"]),
    ]
    path = write(tmp_path / "broken.onnx", nodes, {"nothing": 0})
    assert np.array_equal(Restorer("broken", path, GFPGAN)(CHIP), CHIP)


@pytest.mark.parametrize(
    ("side", "extra", "interface"),
    [
        (256, {}, GFPGAN),
        (512, {}, RESTORERS["gpen-bfr-256"]),
        (512, {"weight": TensorProto.FLOAT}, GFPGAN),
    ],
)
def test_a_file_of_another_interface_is_refused_with_its_name(
    tmp_path: Path, side: int, extra: dict[str, int], interface: Interface
) -> None:
    last = ["input", "weight"] if extra else ["input", "input"]
    path = write(tmp_path / "other.onnx", [helper.make_node("Add", last, ["output"])], {}, side, **extra)
    with pytest.raises(JobFailed, match=rf"other\.onnx.* {interface.side} x {interface.side}, and takes input"):
        Restorer("other", path, interface)
