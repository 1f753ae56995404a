"""The gates of a distilled transformer act as published: compared with loops over tokens, and with no gates at all."""

import math
import shutil
from itertools import product
from pathlib import Path

import pytest
import torch
from diffusers import WanTransformer3DModel
from safetensors.torch import load_file, save_file
from torch import Tensor

from services.creation.engines.wan import tile_attention
from services.creation.engines.wan.draft_loading import load_denoiser
from services.creation.engines.wan.gates import add_gates
from services.creation.engines.wan.tile_attention import Tiles, gated_attention, selected_count
from shared.errors import JobFailed
from shared.networks.compute import Compute
from tests.support.tiny_wan import build_plain

FP32 = Compute(torch.device("cpu"), torch.float32)
HEADS, FEATURES = 2, 12
GRIDS = [(1, 3, 5), (4, 4, 4), (5, 6, 9), (9, 4, 8)]  # with ragged edges along every side


def naive(tokens_of_one_head: list[Tensor], grid: tuple[int, int, int], count: int) -> Tensor:
    """The definition, token by token: query, key, value and gate are (tokens, features)."""
    query, key, value, gate = tokens_of_one_head
    places = list(product(*(range(length) for length in grid)))
    tile = [tuple(place // 4 for place in where) for where in places]
    tiles = sorted(set(tile))
    members = {one: [index for index, its in enumerate(tile) if its == one] for one in tiles}
    means = [torch.stack([tokens[members[one]].mean(0) for one in tiles]) for tokens in (query, key, value)]
    scores = means[0] @ means[1].T / math.sqrt(query.shape[1])
    coarse = scores.softmax(1) @ means[2]
    output = torch.empty_like(query)
    for index, its in enumerate(tile):
        row = tiles.index(its)
        chosen = sorted(range(len(tiles)), key=lambda other: -float(scores[row, other]))[:count]
        seen = [token for other in chosen for token in members[tiles[other]]]
        weights = (query[index] @ key[seen].T / math.sqrt(query.shape[1])).softmax(0)
        output[index] = weights @ value[seen] + gate[index] * coarse[row]
    return output


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("count", [1, 2, 73])
def test_attention_through_tiles_is_what_the_definition_gives(
    grid: tuple[int, int, int], count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(count)
    tiles = Tiles.of(grid, torch.device("cpu"))
    count = min(count, len(tiles))
    monkeypatch.setattr(tile_attention, "selected_count", lambda _tiles: count)
    query, key, value, gate = torch.randn(4, 2, math.prod(grid), HEADS, FEATURES)
    found = gated_attention(query, key, value, gate, tiles)
    for batch, head in product(range(2), range(HEADS)):
        one = [tokens[batch, :, head] for tokens in (query, key, value, gate)]
        assert torch.allclose(found[batch, :, head], naive(one, grid, count), atol=1e-5)


def test_a_clip_selects_a_fifth_of_its_tiles_but_no_fewer_than_in_training() -> None:
    assert selected_count(60) == 60, "the draft's 49 frames at 320x192: all of them"
    assert selected_count(364) == 73, "61 frames at 832x448, as it was trained"
    assert selected_count(1000) == 200


# A transformer


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_plain(tmp_path_factory.mktemp("plain") / "model")


def with_gates(plain: Path, folder: Path, *, weight: float = 1.0, but: tuple[str, ...] = (), side: int = 24) -> Path:
    """Copy the model and add random gates, `weight` times, to its transformer's file, under their published names."""
    shutil.copytree(plain, folder)
    [file] = (folder / "transformer").glob("*.safetensors")
    torch.manual_seed(5)
    shapes = {"weight": (side, side), "bias": (side,)}
    gates = {
        f"blocks.{index}.to_gate_compress.{part}": weight * torch.randn(shape)
        for index in range(2)
        for part, shape in shapes.items()
    }
    kept = {name: gate for name, gate in gates.items() if name not in but}
    save_file(load_file(file) | kept, file, metadata={"format": "pt"})
    return folder


def output(transformer: WanTransformer3DModel, *, frames: int = 5, rows: int = 6, columns: int = 18) -> Tensor:
    torch.manual_seed(0)
    with torch.inference_mode():
        made: Tensor = transformer(
            hidden_states=torch.randn(1, 16, frames, rows, columns),
            timestep=torch.tensor([757.0]),
            encoder_hidden_states=torch.randn(1, 512, 32),
            return_dict=False,
        )[0]
    return made


def loaded(folder: Path) -> WanTransformer3DModel:
    transformer: WanTransformer3DModel = load_denoiser(folder, FP32).transformer
    return transformer


def test_a_checkpoint_without_gates_keeps_the_attention_that_it_had(plain: Path) -> None:
    transformer = WanTransformer3DModel.from_pretrained(plain, subfolder="transformer")
    before = output(transformer)
    processors = [block.attn1.processor for block in transformer.blocks]
    assert not add_gates(transformer, plain / "transformer")
    assert [block.attn1.processor for block in transformer.blocks] == processors
    assert torch.equal(before, output(transformer))


def test_gates_act_and_closed_ones_change_nothing(plain: Path, tmp_path: Path) -> None:
    ungated = output(loaded(plain))
    closed = output(loaded(with_gates(plain, tmp_path / "closed", weight=0)))
    assert torch.allclose(ungated, closed, atol=1e-5 * float(ungated.abs().max()))
    opened = output(loaded(with_gates(plain, tmp_path / "open")))
    assert float((opened - ungated).norm() / ungated.norm()) > 0.01


def test_clips_of_other_shapes_follow_each_other(plain: Path, tmp_path: Path) -> None:
    folder = with_gates(plain, tmp_path / "model")
    transformer = loaded(folder)
    output(transformer)
    assert torch.equal(output(transformer, frames=2, rows=10), output(loaded(folder), frames=2, rows=10))


def test_gates_are_stored_as_the_other_weights_of_their_blocks(plain: Path, tmp_path: Path) -> None:
    transformer = loaded(with_gates(plain, tmp_path / "model"))
    gates = [block.attn1.to_gate_compress for block in transformer.blocks]
    assert {gate.weight.dtype for gate in gates} == {torch.bfloat16}
    assert output(transformer).dtype == torch.float32


def test_gates_that_are_not_whole_are_refused_by_name(plain: Path, tmp_path: Path) -> None:
    missing = with_gates(plain, tmp_path / "missing", but=("blocks.1.to_gate_compress.bias",))
    with pytest.raises(JobFailed, match=r"missing cannot be loaded: .*blocks\.1\.to_gate_compress\.bias"):
        loaded(missing)
    with pytest.raises(JobFailed, match=r"blocks\.0\.to_gate_compress has another size"):
        loaded(with_gates(plain, tmp_path / "narrow", side=23))
