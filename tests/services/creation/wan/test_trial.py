"""Published layouts load through the code that loads the large models; one that cannot work is found at once."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from services.creation.check import main
from services.creation.engines.wan.checkpoints import INDEX, Checkpoint, find_any
from services.creation.engines.wan.loading import load_encoder
from services.creation.engines.wan.trial import Trial, try_model
from shared import weights
from shared.cli.weights import app
from shared.errors import JobFailed
from shared.settings import Settings
from shared.weights.diffusers_layout import missing_of
from tests.support.published_layout import build_published

VACE, PLAIN = "wan-vace-1.3b", "wan-draft-1.3b"
NAMES = [name for name, entry in weights.entries().items() if entry.is_model]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("published")
    return {name: build_published(folder / name, name) for name in NAMES}


@pytest.fixture
def model(published: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(published[PLAIN], tmp_path / "model"))


def tried(folder: Path, *, draft: bool) -> Trial:
    return try_model(Checkpoint(str(folder), "folder"), Settings(device="cpu"), draft=draft)


def shards(folder: Path, part: str = "transformer") -> list[Path]:
    return sorted((folder / part).glob("*.safetensors"))


def change(folder: Path, part: str, tensor: str, factor: float) -> None:
    """Multiply a tensor of a component in its file."""
    for shard in shards(folder, part):
        tensors = load_file(shard)
        if tensor in tensors:
            tensors[tensor] *= factor
            save_file(tensors, shard, metadata={"format": "pt"})
            return
    raise AssertionError(tensor)


@pytest.mark.parametrize("name", NAMES)
def test_the_published_layout_of_every_model_loads_and_makes_a_step(published: dict[str, Path], name: str) -> None:
    folder = published[name]
    assert missing_of(folder, weights.entry(name).parts) == []
    found = find_any(str(folder), Settings())
    assert found
    assert found.model.name == name, "a folder is recognised by its files"
    trial = tried(folder, draft=found.model.is_draft)
    assert trial.problems == []
    assert list(trial.seconds) == ["text encoder", "loading", "one step", "decoding"]
    assert trial.figures.startswith("works on cpu with plan ")


def test_a_second_transformer_that_makes_no_numbers_is_told(published: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(published["wan2.2-t2v-a14b"], tmp_path / "pair"))
    change(folder, "transformer_2", "proj_out.bias", float("nan"))
    told = tried(folder, draft=False).problems
    assert "transformer_2: values that are not numbers (NaN or infinite)" in told
    assert not [problem for problem in told if problem.startswith("transformer:")]


def test_an_encoder_whose_config_denies_it_still_shares_its_embeddings(published: dict[str, Path]) -> None:
    folder = published[VACE]
    encoder = load_encoder(Checkpoint(str(folder), "folder"), torch.device("cpu")).text_encoder
    stored = next(
        tensors["shared.weight"]
        for tensors in map(load_file, shards(folder, "text_encoder"))
        if "shared.weight" in tensors
    )
    assert stored.any()
    assert torch.equal(encoder.encoder.embed_tokens.weight.float(), stored.bfloat16().float())


def test_a_shard_that_is_missing_half_renamed_or_another_is_named_before_anything_is_loaded(model: Path) -> None:
    first, second, *_ = shards(model)
    content = second.read_bytes()
    checkpoint = Checkpoint(str(model), "folder")

    def refusal() -> str:
        with pytest.raises(JobFailed) as failed:
            checkpoint.location()
        assert failed.value.sentence("zh")
        return failed.value.sentence("en")

    second.write_bytes(content[: len(content) // 2])
    assert f"transformer/{second.name} is cut off" in refusal()
    second.unlink()
    assert f"transformer/{second.name} is missing" in refusal()
    (second.parent / "renamed.safetensors").write_bytes(content)
    assert f"transformer/{second.name} is missing" in refusal()
    shutil.copyfile(first, second)
    assert f"transformer/{second.name} is another file" in refusal()
    second.write_bytes(content)
    (model / "transformer" / "diffusion_pytorch_model.safetensors.index.json").unlink()
    assert f"transformer has no index that names {first.name}" in refusal()
    index = json.loads((model / INDEX).read_text())
    index["vae"] = ["diffusers", "AutoencoderKL"]
    (model / INDEX).write_text(json.dumps(index))
    assert "vae is AutoencoderKLWan, not AutoencoderKL" in refusal()


def test_values_that_are_not_numbers_are_told_with_the_part_that_makes_them(model: Path) -> None:
    change(model, "transformer", "proj_out.bias", float("nan"))
    assert "transformer: values that are not numbers (NaN or infinite)" in tried(model, draft=True).problems


def test_a_picture_of_one_colour_is_told(model: Path) -> None:
    for tensor in ("decoder.conv_out.weight", "decoder.conv_out.bias"):
        change(model, "vae", tensor, 0)
    assert tried(model, draft=True).problems == ["VAE: it decodes a picture of one colour"]


def test_an_encoder_without_embeddings_is_told(model: Path) -> None:
    change(model, "text_encoder", "shared.weight", 0)
    assert any("no word embeddings" in problem for problem in tried(model, draft=True).problems)


def test_the_command_tells_the_figures_and_fails_for_what_does_not_work(
    published: dict[str, Path], model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(str(published[PLAIN])) == 0
    assert "one step" in capsys.readouterr().out
    shards(model)[0].unlink()
    assert main(str(model)) == 1
    assert "is missing" in capsys.readouterr().err
    assert main("rife-4.0") == 1
    assert main("no-such-model") == 1
    assert CliRunner().invoke(app, ["check", str(model)]).exit_code == 1
    assert "wan-draft-1.3b" in capsys.readouterr().err
