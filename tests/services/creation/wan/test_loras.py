"""LoRAs change exactly the layers that they name, by exactly what they hold; one for another model is refused whole."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import WanPipeline, WanTransformer3DModel
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from pydantic import ValidationError
from safetensors.torch import save_file
from torch import Tensor

from services.creation.engines.wan.checkpoints import Checkpoint
from services.creation.engines.wan.draft import DraftGenerator
from services.creation.engines.wan.generation_request import GenerationRequest
from services.creation.engines.wan.generator import VaceGenerator
from services.creation.engines.wan.loras import fuse_loras
from services.creation.engines.wan.plans import PLANS
from shared.errors import JobFailed
from shared.networks.compute import Compute
from shared.settings import CreationSettings, Settings
from tests.support.tiny_wan import build_plain, build_vace

RANK, WIDTH = 2, 24
TO_Q = "blocks.0.attn1.to_q"
REQUEST = GenerationRequest(prompt="猫", negative_prompt="", guidance=5.0, seed=7, size=(32, 16), frame_count=5)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_plain(tmp_path_factory.mktemp("plain") / "model")


@pytest.fixture
def transformer(plain: Path) -> WanTransformer3DModel:
    return WanTransformer3DModel.from_pretrained(plain, subfolder="transformer")


def matrices(seed: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(RANK, WIDTH, generator=generator), torch.randn(WIDTH, RANK, generator=generator)


def saved(path: Path, state: Mapping[str, Tensor]) -> Path:
    save_file({name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in state.items()}, path)
    return path


def plain_lora(path: Path, seed: int = 1, layer: str = TO_Q) -> Path:
    down, up = matrices(seed)
    return saved(path, {f"transformer.{layer}.lora_A.weight": down, f"transformer.{layer}.lora_B.weight": up})


def changes(before: Mapping[str, Tensor], after: WanTransformer3DModel) -> dict[str, Tensor]:
    """The parameters that differ, by name, and by how much."""
    found = {name: value - before[name] for name, value in after.state_dict().items()}
    return {name: change for name, change in found.items() if change.any()}


def state_of(transformer: WanTransformer3DModel) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in transformer.state_dict().items()}


def test_several_are_added_each_times_its_weight(transformer: WanTransformer3DModel, tmp_path: Path) -> None:
    before = state_of(transformer)
    first, second = plain_lora(tmp_path / "a.safetensors", 1), plain_lora(tmp_path / "b.safetensors", 2)
    fuse_loras(transformer, [(first, 0.5), (second, -1.5)])
    (down, up), (other_down, other_up) = matrices(1), matrices(2)
    changed = changes(before, transformer)
    assert set(changed) == {f"{TO_Q}.weight"}
    assert torch.allclose(changed[f"{TO_Q}.weight"], 0.5 * up @ down - 1.5 * other_up @ other_down, atol=1e-5)


def test_the_names_of_wans_own_code_mean_the_same_layers(transformer: WanTransformer3DModel, tmp_path: Path) -> None:
    before, (down, up) = state_of(transformer), matrices()
    bias = torch.linspace(0, 1, WIDTH)
    own = {
        "diffusion_model.blocks.0.self_attn.q.lora_down.weight": down,
        "diffusion_model.blocks.0.self_attn.q.lora_up.weight": up,
        "diffusion_model.blocks.0.self_attn.q.alpha": torch.tensor(2.0 * RANK),
        "diffusion_model.blocks.0.self_attn.q.diff_b": bias,
    }
    fuse_loras(transformer, [(saved(tmp_path / "own.safetensors", own), 1.0)])
    changed = changes(before, transformer)
    assert set(changed) == {f"{TO_Q}.weight", f"{TO_Q}.bias"}
    assert torch.allclose(changed[f"{TO_Q}.weight"], 2 * up @ down, atol=1e-4)
    assert torch.allclose(changed[f"{TO_Q}.bias"], bias, atol=1e-6)


def test_one_that_diffusers_saved_acts_as_diffusers_fuses_it(
    plain: Path, transformer: WanTransformer3DModel, tmp_path: Path
) -> None:
    trained = WanTransformer3DModel.from_pretrained(plain, subfolder="transformer")
    torch.manual_seed(3)
    config = LoraConfig(r=RANK, lora_alpha=6, target_modules=["to_q", "to_v"], init_lora_weights=False)
    trained.add_adapter(config)
    WanPipeline.save_lora_weights(
        tmp_path,
        transformer_lora_layers=get_peft_model_state_dict(trained),
        weight_name="saved.safetensors",
        transformer_lora_adapter_metadata=config.to_dict(),  # type: ignore[no-untyped-call]  # peft's
    )
    fuse_loras(transformer, [(tmp_path / "saved.safetensors", 1.0)])
    trained.fuse_lora()
    wanted = {name.replace("base_layer.", ""): value for name, value in trained.state_dict().items()}
    for name, value in transformer.state_dict().items():
        assert torch.allclose(value, wanted[name], atol=1e-5), name


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda a, b: {"transformer.blocks.7.proj.lora_A.weight": a, "transformer.blocks.7.proj.lora_B.weight": b},
         "the model has no layer blocks.7.proj"),
        (lambda a, b: {f"transformer.{TO_Q}.lora_A.weight": a[:, 1:], f"transformer.{TO_Q}.lora_B.weight": b},
         f"{TO_Q} has another size: it was made for another model"),
        (lambda a, _b: {f"transformer.{TO_Q}.lora_A.weight": a}, f"{TO_Q} has one of its two matrices only"),
        (lambda a, b: {f"transformer.{TO_Q}.lora_A.weight": a, f"transformer.{TO_Q}.lora_B.weight": b, "text.extra": a},
         "text.extra is nothing that can be fused"),
        (lambda a, _b: {"diffusion_model.blocks.0.self_attn.q.unheard_of": a}, ""),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_name_and_changes_nothing(
    transformer: WanTransformer3DModel, tmp_path: Path, change: Any, reason: str
) -> None:
    before = state_of(transformer)
    path = saved(tmp_path / "风格.safetensors", change(*matrices()))
    with pytest.raises(JobFailed) as refused:
        fuse_loras(transformer, [(path, 1.0)])
    sentence = refused.value.sentence("en")
    assert sentence.startswith("KINORA_CREATION_LORAS: 风格.safetensors cannot be used: ")
    assert reason in sentence
    assert refused.value.sentence("zh")
    assert changes(before, transformer) == {}


def test_a_file_that_is_missing_or_no_safetensors_is_said_to_be_so(
    transformer: WanTransformer3DModel, tmp_path: Path
) -> None:
    with pytest.raises(JobFailed, match=r"gone\.safetensors cannot be used: there is no such file"):
        fuse_loras(transformer, [(tmp_path / "gone.safetensors", 1.0)])
    (tmp_path / "odd.safetensors").write_bytes(b"a pickle")
    with pytest.raises(JobFailed, match=r"odd\.safetensors cannot be used"):
        fuse_loras(transformer, [(tmp_path / "odd.safetensors", 1.0)])


def test_they_act_in_both_generators_and_are_named(plain: Path, tmp_path: Path) -> None:
    lora = plain_lora(tmp_path / "ink.safetensors")
    compute = Compute(torch.device("cpu"), torch.float32)
    vace = Checkpoint(str(build_vace(tmp_path / "vace")), "folder")

    def frames(loras: str) -> tuple[list[Any], list[Any]]:
        settings = Settings(device="cpu", creation=CreationSettings(loras=loras, decoder="full"))
        generators = (
            DraftGenerator(Checkpoint(str(plain), "folder"), PLANS["draft"], settings),
            VaceGenerator(vace, replace(PLANS["low"], steps=2), compute, settings),
        )
        assert [generator.details.get("loras") for generator in generators] == (
            [["ink.safetensors 0.7"]] * 2 if loras else [None] * 2
        )
        draft, full = (generator(REQUEST, lambda _progress: None) for generator in generators)
        return draft, full

    for without, within in zip(frames(""), frames(f"{lora}=0.7"), strict=True):
        assert any((one != other).any() for one, other in zip(without, within, strict=True))


def test_the_setting_is_files_with_weights() -> None:
    read = CreationSettings(loras="/a/b.safetensors=0.8, ./c.safetensors").loras
    assert read == ((Path("/a/b.safetensors"), 0.8), (Path("c.safetensors"), 1.0))
    for wrong in ("a.safetensors", "/a.pt=1", "/a.safetensors=much", "/a.safetensors=nan"):
        with pytest.raises(ValidationError):
            CreationSettings(loras=wrong)
