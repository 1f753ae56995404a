"""RIFE: the same pictures as the published formulation, whatever the weights' generation, number and precision."""

import av
import pytest
import torch
from torch import Tensor

from benchmarks.textbook_rife import textbook_rife
from shared import weights
from shared.networks.rife import LARGE_MOTION, Rife
from shared.networks.rife_blocks import LAYOUTS, FlowBlock, Layout

TINY = Layout("tiny", (16, 12, 8, 8), (8, 4, 2, 1), 0, 0, False, True, True, True)
TINY_RESIDUAL = Layout("tiny residual", (16, 12, 8, 8, 8), (16, 8, 4, 2, 1), 4, 8, True, False, False, False)
TINY_LITE = Layout("tiny lite", (16, 12, 8, 8, 8), (32, 16, 8, 4, 1), 4, 8, True, False, False, False)
HALF = torch.tensor([0.5])


@pytest.fixture(scope="module")
def published() -> Rife:
    """The real weights."""
    return Rife.from_weights(weights.load_safetensors("rife-4.0")).eval()


@pytest.fixture(scope="module")
def triplet() -> tuple[Tensor, Tensor, Tensor]:
    """Three neighbouring frames of Big Buck Bunny at 256x128, (1, 3, 128, 256) RGB 0-1."""
    frames = []
    with av.open(weights.path("clip-bigbuckbunny")) as container:
        for _, frame in zip(range(43), container.decode(video=0), strict=False):
            frames.append(frame.reformat(256, 128, "rgb24").to_ndarray())
    return tuple(torch.from_numpy(frame).permute(2, 0, 1)[None] / 255 for frame in frames[40:])  # type: ignore[return-value]  # three


def ramps(height: int, width: int) -> tuple[Tensor, Tensor]:
    """Two evenly rising frames: sampling the centre of a cell and averaging its pixels are the same there."""
    rows, columns = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    first = torch.stack((rows, columns, (rows + columns) / 2))[None]
    return first, first.flip(1) * 0.8


def between(network: Rife, first: Tensor, second: Tensor, timesteps: Tensor, *, refine: bool = False) -> Tensor:
    pair = (network.features(frame, refine=refine) for frame in (first, second))
    return network(*pair, timesteps, flow_scale=1.0, refine=refine)  # type: ignore[no-any-return]  # a module's answer


def decibels(picture: Tensor, truth: Tensor) -> float:
    return float(-10 * torch.log10((picture.clamp(0, 1) - truth).square().mean()))


@pytest.mark.parametrize("refine", [False, True], ids=["plain", "refined"])
@torch.inference_mode()
def test_the_published_weights_give_the_published_picture(
    published: Rife, triplet: tuple[Tensor, Tensor, Tensor], *, refine: bool
) -> None:
    first, truth, second = triplet
    ours = between(published, first, second, HALF, refine=refine)
    theirs = textbook_rife(published, first, second, 0.5, refine=refine)
    assert (ours - theirs).abs().mean() * 255 < 0.05
    assert decibels(ours, truth) > decibels(theirs, truth) - 0.01


@pytest.mark.parametrize("layout", [TINY, TINY_RESIDUAL, TINY_LITE], ids=lambda layout: layout.name)
@torch.inference_mode()
def test_every_layout_agrees_with_the_formulation_at_full_size(layout: Layout) -> None:
    torch.manual_seed(7)
    network = Rife(layout).eval()
    first, second = ramps(128, 192)
    ours = between(network, first, second, torch.tensor([0.3]))
    theirs = textbook_rife(network, first, second, 0.3, refine=False)
    assert (ours - theirs).abs().mean() < 1e-4


@torch.inference_mode()
def test_a_batch_of_instants_gives_what_each_gives_alone(
    published: Rife, triplet: tuple[Tensor, Tensor, Tensor]
) -> None:
    first, _, second = triplet
    instants = torch.tensor([1 / 6, 0.5, 5 / 6])
    together = between(published, first, second, instants, refine=True)
    alone = torch.cat([between(published, first, second, instant[None], refine=True) for instant in instants])
    assert (together - alone).abs().max() * 255 < 0.1


@torch.inference_mode()
def test_large_motion_is_searched_again_at_half_the_scale() -> None:
    network = Rife(TINY).eval()
    seen: list[tuple[int, ...]] = []
    network.block0.register_forward_pre_hook(lambda _block, inputs: seen.append(tuple(inputs[0].shape[-2:])))  # type: ignore[union-attr]  # a module
    first, second = ramps(96, 160)
    between(network, first, second, HALF)
    assert seen == [(12, 20)]
    network.block1.lastconv.bias.data[:4] = LARGE_MOTION  # type: ignore[union-attr,operator]  # a module
    picture = between(network, first, second, HALF)
    assert seen[1:] == [(12, 20), (6, 10)]
    assert picture.shape == (1, 3, 96, 160)


@torch.inference_mode()
def test_motion_to_one_side_alone_is_not_searched_again() -> None:
    network = Rife(TINY).eval()
    calls: list[object] = []
    network.block0.register_forward_pre_hook(lambda *_: calls.append(_))  # type: ignore[union-attr]  # a module
    network.block1.lastconv.bias.data[:2] = LARGE_MOTION  # type: ignore[union-attr,operator]  # a module
    between(network, *ramps(96, 160), HALF)
    assert len(calls) == 1


@pytest.mark.parametrize(("height", "width"), [(6, 10), (4, 7), (1, 1)])
@torch.inference_mode()
def test_a_block_takes_sides_that_are_no_multiple_of_four(height: int, width: int) -> None:
    block = FlowBlock(TINY, 7, 16)
    answer = block(torch.zeros(1, 7, height, width))
    assert answer.shape == (1, 5, height // 2, width // 2)


@torch.inference_mode()
def test_bfloat16_weights_keep_the_picture(published: Rife, triplet: tuple[Tensor, Tensor, Tensor]) -> None:
    first, second = (triplet[side][..., 32:96, 96:160] for side in (0, 2))  # without such a CPU it is emulated
    narrow = Rife.from_weights(published.state_dict()).eval().to(torch.bfloat16)
    exact = between(published, first, second, HALF, refine=True)
    picture = between(narrow, first, second, HALF, refine=True)
    assert picture.dtype == torch.float32
    assert decibels(picture, exact) > 45


@pytest.mark.parametrize("name", LAYOUTS)
def test_weights_find_their_own_layout(name: str) -> None:
    network = Rife(LAYOUTS[name])
    trained_with = ("block_tea.conv0.0.0.weight", "teacher.conv0.0.0.weight", "caltime.0.weight", "some_loss.weight")
    stored = network.state_dict() | {part: torch.zeros(1) for part in trained_with}
    assert Rife.from_weights(stored).layout == LAYOUTS[name]


def test_a_generation_s_name_decides_where_two_are_built_alike() -> None:
    stored = Rife(LAYOUTS["4.25"]).state_dict()
    assert Rife.from_weights(stored, "4.26").layout.name == "4.26"
    assert Rife.from_weights(stored, "4.25").layout == LAYOUTS["4.25"]
    for other in ("4.0", "4.25-lite"):
        with pytest.raises(RuntimeError):
            Rife.from_weights(stored, other)
    with pytest.raises(RuntimeError, match="block5"):
        Rife.from_weights(stored | {"block5.conv0.0.0.weight": torch.zeros(1)}, "4.25")


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(RuntimeError, match="Missing key"):
        Rife.from_weights({"body.0.weight": torch.zeros(1)})


@torch.inference_mode()
def test_an_answer_without_waiting_says_when_it_missed_large_motion() -> None:
    torch.manual_seed(5)
    network = Rife(LAYOUTS["4.0"]).eval()
    first, second = (network.features(torch.rand(1, 3, 64, 128), refine=False) for _ in range(2))
    middle = torch.tensor([0.5])
    for moved, misses in ((0, False), (LARGE_MOTION, True)):
        network.block1.lastconv.bias.data[:4] = moved  # type: ignore[union-attr,operator]  # a module
        near, missed = network.without_waiting(first, second, middle, far=False)
        far, again = network.without_waiting(first, second, middle, far=True)
        assert (bool(missed), bool(again)) == (misses, False)
        torch.testing.assert_close(network(first, second, middle), far if misses else near)
