"""What is taken from the frame before is exactly what would have been computed, wherever the change is."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from shared import weights
from shared.arrays import Picture
from shared.networks.changes import ChangedParts
from shared.networks.compute import Compute
from shared.networks.engines import Engine, natural_picture
from shared.networks.rrdb import RRDB
from shared.networks.srvgg import SRVGG
from shared.networks.upscaler import Upscaler

CPU = Compute(torch.device("cpu"), torch.float32)
REACH = 3
SIZE = (48, 64)  # height, width


def compact() -> SRVGG:
    """A small network that sees three pixels far, and answers strongly to what it sees there."""
    torch.manual_seed(4)
    shapes = {"0": (8, 3, 3, 3), "2": (8, 8, 3, 3), "4": (48, 8, 3, 3)}
    state = {f"body.{index}.weight": torch.randn(shape) for index, shape in shapes.items()}
    state |= {f"body.{index}.bias": torch.randn(shape[0]) for index, shape in shapes.items()}
    return SRVGG.from_weights(state | {f"body.{index}.weight": torch.rand(8) for index in ("1", "3")})


class Counting(Upscaler):
    """An upscaler that notes the sizes of the frames that it was given."""

    def __init__(self, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **options)  # type: ignore[arg-type]
        self.given: list[tuple[int, int]] = []

    def __call__(
        self, frame: Picture, ratio: int, between_windows: Callable[[float], None] = lambda _done: None
    ) -> Picture:
        self.given.append((frame.shape[0], frame.shape[1]))
        return super().__call__(frame, ratio, between_windows)


@pytest.fixture(scope="module")
def still() -> Picture:
    return np.random.default_rng(5).integers(0, 255, (*SIZE, 3), np.uint8)


def with_change(picture: Picture, *places: tuple[int, int]) -> Picture:
    changed = picture.copy()
    for row, column in places:
        changed[row, column] ^= 255
    return changed


def differing(one: Picture, other: Picture) -> int:
    """How many values differ by more than what rounding on the very edge may do."""
    return int((np.abs(one.astype(int) - other) > 1).sum())


@pytest.mark.parametrize("ratio", [1, 2, 4])
def test_a_change_at_any_distance_from_the_edges_gives_what_the_whole_frame_gives(still: Picture, ratio: int) -> None:
    whole, parts = Upscaler(compact(), CPU), ChangedParts(Upscaler(compact(), CPU), ratio)
    parts(still)
    height, width = SIZE
    around = range(3 * REACH)  # from the edge itself to beyond where it is in sight
    places = [(row, column) for row in around for column in (0, 20)] + [(20, column) for column in around]
    for row, column in [*places, *((height - 1 - row, width - 1 - column) for row, column in places)]:
        changed = with_change(still, (row, column))
        assert differing(parts(changed), whole(changed, ratio)) == 0
        assert differing(parts(still), whole(still, ratio)) == 0


@pytest.mark.parametrize("distance", range(1, 4 * REACH + 2))
def test_two_changes_at_any_distance_do_not_disturb_each_other(still: Picture, distance: int) -> None:
    whole, parts = Upscaler(compact(), CPU), ChangedParts(Upscaler(compact(), CPU), 4)
    parts(still)
    for other in ((20, 20 + distance), (20 + distance, 20), (20 + distance, 20 + distance)):
        changed = with_change(still, (20, 20), other)
        assert differing(parts(changed), whole(changed, 4)) == 0


def test_a_pixel_less_than_the_reach_would_show(still: Picture, monkeypatch: pytest.MonkeyPatch) -> None:
    """That the tests above would find a margin that is too small."""
    whole, upscaler = Upscaler(compact(), CPU), Upscaler(compact(), CPU)
    monkeypatch.setattr(Upscaler, "reach", REACH - 1)
    upscaler.overlap = REACH
    parts = ChangedParts(upscaler, 4)
    parts(still)
    changed = with_change(still, (20, 20))
    assert differing(parts(changed), whole(changed, 4)) > 0


def test_only_what_changed_is_computed(still: Picture) -> None:
    upscaler = Counting(compact(), CPU)
    parts = ChangedParts(upscaler, 2)
    parts(still)
    first = parts(still.copy())
    assert upscaler.given == [SIZE]
    parts(with_change(still, (20, 30)))
    assert upscaler.given[1:] == [(1 + 4 * REACH, 1 + 4 * REACH)]
    upscaler.given.clear()
    parts(with_change(still, (2, 3), (40, 60)))  # the change before is undone, too
    assert sorted(upscaler.given) == [(3 + 2 * REACH, 4 + 2 * REACH), (13, 10), (13, 13)]
    assert np.array_equal(parts(still), first)


def test_a_part_begins_on_the_grid_of_the_engine(still: Picture) -> None:
    upscaler = Counting(compact(), CPU, engine=Engine(CPU, is_ncnn=True))
    parts = ChangedParts(upscaler, 2)
    parts(still)
    changed = with_change(still, (40, 60))
    assert differing(parts(changed), upscaler(changed, 2)) == 0
    assert upscaler.given[1] == (47 - 24, 64 - 48)  # from 40 - 6 to 41 + 6 and from 60 - 6, begun on 24 and 48


def test_ncnn_in_bfloat16_computes_a_part_as_it_does_the_frame() -> None:
    """Its Winograd rounds by where its tiles begin, which bf16 would show in 3 of 100 values."""
    half = Compute(torch.device("cpu"), torch.bfloat16)
    network = SRVGG.from_weights(weights.load_safetensors("realesr-animevideov3")).anchored()
    upscaler = Upscaler(network, half, engine=Engine(half, is_ncnn=True))
    picture = (natural_picture(120, 160)[0].permute(1, 2, 0) * 255).to(torch.uint8).numpy()
    parts = ChangedParts(upscaler, 4)
    parts(picture)
    changed = with_change(picture, (75, 100))
    computed = parts(changed)
    assert differing(computed, upscaler(changed, 4)) == 0
    assert (computed != upscaler(changed, 4)).mean() < 1e-3


def test_where_everything_moves_the_whole_frame_is_computed_at_once(still: Picture) -> None:
    upscaler = Counting(compact(), CPU)
    parts = ChangedParts(upscaler, 2)
    for shift in range(4):
        moved = np.roll(still, shift, 1)
        assert np.array_equal(parts(moved), Upscaler(compact(), CPU)(moved, 2))
    assert upscaler.given == [SIZE] * 4


def test_a_network_whose_windows_do_not_see_everything_keeps_the_windows_that_are_the_same(still: Picture) -> None:
    torch.manual_seed(6)
    network = RRDB(features=8, growth=4, blocks=1)
    upscaler = Counting(network, CPU, overlap=4, window_pixels=24 * 24)
    whole = Upscaler(network, CPU, overlap=4, window_pixels=24 * 24)
    parts = ChangedParts(upscaler, 4)
    parts(still)
    for place in [(0, 0), (11, 14), (12, 15), (15, 16), (16, 17), (20, 31), (47, 63)]:
        changed = with_change(still, place)
        upscaler.given.clear()
        assert np.array_equal(parts(changed), whole(changed, 4))
        assert 0 < sum(height * width for height, width in upscaler.given) < SIZE[0] * SIZE[1]
        assert np.array_equal(parts(still), whole(still, 4))


def test_another_size_or_depth_begins_anew(still: Picture) -> None:
    upscaler = Counting(compact(), CPU)
    small = np.ascontiguousarray(still[:-1])
    parts = ChangedParts(upscaler, 4)
    for frame in (still, small, small.astype(np.uint16)):
        assert np.array_equal(parts(frame), Upscaler(compact(), CPU)(frame, 4))
    assert upscaler.given == [SIZE, (47, 64), (47, 64)]


def test_after_a_stop_nothing_is_taken_from_before(still: Picture) -> None:
    upscaler = Counting(compact(), CPU)
    parts = ChangedParts(upscaler, 2)
    parts(still)

    def stop(_done: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        parts(with_change(still, (3, 3)), stop)
    upscaler.given.clear()
    parts(still)
    assert upscaler.given == [SIZE]


def test_windows_that_shrank_for_want_of_memory_are_computed_anew(
    still: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    upscaler = Counting(compact(), CPU)
    parts = ChangedParts(upscaler, 2)
    parts(still)
    monkeypatch.setattr(Upscaler, "_upscale", run_out_once(Upscaler._upscale))
    changed = with_change(still, (3, 3))
    assert np.array_equal(parts(changed), upscaler(changed, 2))
    assert upscaler.given[1:3] == [(10, 10), SIZE]


def run_out_once(upscale: Callable[..., Picture]) -> Callable[..., Picture]:
    failures = iter([RuntimeError("not enough memory")])

    def run_out(*arguments: object) -> Picture:
        if failure := next(failures, None):
            raise failure
        return upscale(*arguments)

    return run_out


def test_an_identical_frame_is_not_computed_on_any_device(still: Picture) -> None:
    upscaler = Counting(compact(), CPU)
    parts = ChangedParts(upscaler, 2)
    first = parts(still)
    assert parts(still.copy()) is first
    assert len(upscaler.given) == 1


def test_frames_that_are_computed_side_by_side_are_those_computed_in_turn(still: Picture) -> None:
    frames = [still, with_change(still, (3, 3)), with_change(still, (3, 3), (20, 30)), still[::-1].copy(), still]
    in_turn = ChangedParts(Upscaler(compact(), CPU), 2)
    expected = [in_turn(frame) for frame in frames]
    parts = ChangedParts(Upscaler(compact(), CPU), 2)
    steps = [parts.plan(frame) for frame in frames]
    pieces = [parts.compute(step) for step in reversed(steps)][::-1]
    for step, made, wanted in zip(steps, pieces, expected, strict=True):
        assert np.array_equal(parts.assemble(step, made), wanted)
