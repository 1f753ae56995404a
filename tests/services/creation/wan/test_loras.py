"""LoRAs change exactly the layers that they name, by exactly what they hold; one for another model is refused whole."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKLWan, WanPipeline, WanTransformer3DModel, WanVACETransformer3DModel
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from pydantic import ValidationError
from safetensors.torch import save_file
from torch import Tensor

from services.creation.engines.wan.checkpoints import Checkpoint
from services.creation.engines.wan.draft import DraftGenerator
from services.creation.engines.wan.draft_loading import load_denoiser
from services.creation.engines.wan.generation_request import GenerationRequest
from services.creation.engines.wan.generator import VaceGenerator
from services.creation.engines.wan.loras import fuse_loras
from services.creation.engines.wan.plans import PLANS
from shared.errors import JobFailed
from shared.networks.compute import Compute
from shared.settings import CreationSettings, Settings
from tests.support.tiny_loras import published_lora
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


def test_the_names_of_musubi_tuner_mean_the_same_layers(transformer: WanTransformer3DModel, tmp_path: Path) -> None:
    before, (down, up) = state_of(transformer), matrices()
    own = {
        "lora_unet_blocks_1_cross_attn_o.lora_down.weight": down,
        "lora_unet_blocks_1_cross_attn_o.lora_up.weight": up,
        "lora_unet_blocks_1_cross_attn_o.alpha": torch.tensor(0.5 * RANK),
    }
    fuse_loras(transformer, [(saved(tmp_path / "musubi.safetensors", own), 1.0)])
    changed = changes(before, transformer)
    assert set(changed) == {"blocks.1.attn2.to_out.0.weight"}
    assert torch.allclose(changed["blocks.1.attn2.to_out.0.weight"], 0.5 * up @ down, atol=1e-5)


def test_every_tensor_of_a_step_distillation_acts_and_the_blocks_of_vace_are_not_in_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = build_vace(tmp_path / "vace")
    transformer = WanVACETransformer3DModel.from_pretrained(folder, subfolder="transformer")
    before, state = state_of(transformer), published_lora(blocks=4)
    with caplog.at_level(logging.INFO):
        fuse_loras(transformer, [(saved(tmp_path / "fast.safetensors", state), 1.0)])
    assert "fast.safetensors changes 67 layers; 0 of 2 VACE blocks" in caplog.text
    changed = changes(before, transformer)
    covered = {name for name in before if not name.startswith("vace_") and not name.endswith("scale_shift_table")}
    assert set(changed) == covered

    def held(name: str) -> Tensor:
        return state[f"diffusion_model.{name}"].float()

    def product(name: str) -> Tensor:
        return held(f"{name}.lora_up.weight") @ held(f"{name}.lora_down.weight")

    for layer, name in {
        "blocks.0.attn1.to_q": "blocks.0.self_attn.q",
        "blocks.3.attn2.to_out.0": "blocks.3.cross_attn.o",
        "blocks.2.ffn.net.0.proj": "blocks.2.ffn.0",
        "blocks.1.ffn.net.2": "blocks.1.ffn.2",
        "condition_embedder.text_embedder.linear_1": "text_embedding.0",
        "condition_embedder.time_embedder.linear_2": "time_embedding.2",
        "condition_embedder.time_proj": "time_projection.1",
        "proj_out": "head.head",
    }.items():
        assert torch.allclose(changed[f"{layer}.weight"], product(name), atol=1e-5), layer
        assert torch.allclose(changed[f"{layer}.bias"], held(f"{name}.diff_b"), atol=1e-5), layer
    for parameter, name in {
        "blocks.1.norm2.weight": "blocks.1.norm3.diff",
        "blocks.1.norm2.bias": "blocks.1.norm3.diff_b",
        "blocks.0.attn1.norm_q.weight": "blocks.0.self_attn.norm_q.diff",
        "blocks.3.attn2.norm_k.weight": "blocks.3.cross_attn.norm_k.diff",
        "patch_embedding.weight": "patch_embedding.diff",
    }.items():
        assert torch.allclose(changed[parameter], held(name), atol=1e-5), parameter


def test_a_table_of_modulations_and_a_bias_alone_can_be_changed(
    transformer: WanTransformer3DModel, tmp_path: Path
) -> None:
    before = state_of(transformer)
    shift, bias = torch.ones(1, 6, WIDTH), torch.ones(6 * WIDTH)
    own = {"blocks.1.modulation.diff": shift, "time_projection.1.diff_b": bias, "head.modulation.diff": shift[:, :2]}
    path = saved(tmp_path / "own.safetensors", {f"diffusion_model.{name}": tensor for name, tensor in own.items()})
    fuse_loras(transformer, [(path, 0.5)])
    changed = changes(before, transformer)
    assert set(changed) == {"blocks.1.scale_shift_table", "condition_embedder.time_proj.bias", "scale_shift_table"}
    assert all(torch.allclose(change, torch.full_like(change, 0.5), atol=1e-5) for change in changed.values())


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
        (lambda a, _b: {"diffusion_model.blocks.0.self_attn.q.unheard_of": a},
         "diffusion_model.blocks.0.self_attn.q.unheard_of is nothing that can be fused"),
        (lambda a, b: {"diffusion_model.vace_blocks.0.self_attn.q.lora_down.weight": a,
                       "diffusion_model.vace_blocks.0.self_attn.q.lora_up.weight": b},
         "the model has no layer vace_blocks.0.self_attn.q"),
        (lambda a, b: {f"transformer.{TO_Q}.lora_A.weight": a, f"transformer.{TO_Q}.lora_B.weight": b / 0},
         f"{TO_Q} has values that are not numbers"),
        (lambda _a, _b: {"diffusion_model.blocks.0.norm3.diff": torch.ones(WIDTH + 1)},
         "blocks.0.norm2 has another size"),
        (lambda _a, _b: {"diffusion_model.blocks.0.self_attn.q.alpha": torch.tensor(1.0)},
         f"{TO_Q} has a scale only"),
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
    with pytest.raises(JobFailed, match=r"odd\.safetensors cannot be used: it is cut off, or no safetensors file"):
        fuse_loras(transformer, [(tmp_path / "odd.safetensors", 1.0)])


def test_a_file_that_is_cut_off_is_named_before_any_model_is_loaded(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lora = plain_lora(tmp_path / "half.safetensors")
    lora.write_bytes(lora.read_bytes()[:-7])
    settings = Settings(device="cpu", creation=CreationSettings(loras=str(lora), decoder="full"))
    monkeypatch.setattr(AutoencoderKLWan, "from_pretrained", lambda *_args, **_kwargs: pytest.fail("loaded"))
    vace = Checkpoint(str(build_vace(tmp_path / "vace")), "folder")
    compute = Compute(torch.device("cpu"), torch.float32)
    with pytest.raises(JobFailed, match=r"half\.safetensors cannot be used: it is cut off"):
        VaceGenerator(vace, PLANS["low"], compute, settings)(REQUEST, lambda _progress: None)
    with pytest.raises(JobFailed, match=r"half\.safetensors cannot be used: it is cut off"):
        load_denoiser(plain, compute, loras=settings.creation.loras)


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
