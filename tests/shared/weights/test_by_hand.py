"""A file that somebody brought becomes weights by name: checked for being the right network, held to its hash."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from shared import weights
from shared.cli.weights import app
from shared.errors import JobFailed, Rejected
from shared.networks.rife import Rife
from shared.networks.rife_blocks import LAYOUTS
from shared.networks.rrdb import RRDB
from shared.weights import by_hand

pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture
def lite(tmp_path: Path) -> Path:
    """RIFE 4.25-lite as it is published: a pickle with the wrapper of its training, here of random numbers."""
    torch.manual_seed(5)
    state = Rife(LAYOUTS["4.25-lite"]).state_dict() | {"teacher.x": torch.zeros(1)}
    torch.save({f"module.{name}": tensor for name, tensor in state.items()}, tmp_path / "lite.pkl")
    return tmp_path / "lite.pkl"


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """An upscaler of somebody's own."""
    torch.manual_seed(6)
    save_file(RRDB(features=8, growth=4, blocks=1).state_dict(), tmp_path / "4x-film.safetensors")
    return tmp_path / "4x-film.safetensors"


def test_a_file_becomes_an_entry_of_the_catalogue(lite: Path) -> None:
    assert not weights.exists("rife-4.25-lite")
    weights.add("rife-4.25-lite", lite)
    assert weights.exists("rife-4.25-lite")
    assert weights.verify("rife-4.25-lite") == []
    assert Rife.from_weights(weights.load_safetensors("rife-4.25-lite"), "4.25-lite").layout.name == "4.25-lite"


def test_a_file_may_stand_in_for_a_download_and_is_held_to_its_own_hash(tmp_path: Path) -> None:
    torch.save(Rife(LAYOUTS["4.25"]).state_dict(), tmp_path / "resaved.pth")
    stored = weights.add("rife-4.26", tmp_path / "resaved.pth")
    assert weights.verify("rife-4.26") == []
    content = bytearray((stored / "weights.safetensors").read_bytes())
    content[-1] ^= 1
    (stored / "weights.safetensors").write_bytes(content)
    assert weights.verify("rife-4.26") == ["weights.safetensors: another sha256"]
    with pytest.raises(JobFailed, match="damaged"):
        weights.load_safetensors("rife-4.26")


@pytest.mark.parametrize("name", ["rife-4.0", "rife-4.25"])
def test_a_file_of_another_generation_is_refused(lite: Path, name: str) -> None:
    with pytest.raises(Rejected, match=rf"lite.pkl holds the weights of another network than {name}"):
        weights.add(name, lite)
    assert not weights.exists(name)


def test_a_file_that_is_no_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.pkl").write_bytes(b"no pickle")
    with pytest.raises(Rejected, match=r"x.pkl cannot be read as weights"):
        weights.add("rife-4.25", tmp_path / "x.pkl")


def test_a_file_under_a_published_upscaler_s_name_must_be_that_one(film: Path) -> None:
    with pytest.raises(Rejected, match="is not the published file of realesr-general-x4v3"):
        weights.add("realesr-general-x4v3", film)


def test_an_upscaler_of_ones_own_is_stored_and_loaded_by_its_tag_or_path(film: Path) -> None:
    tag = weights.add_own("film", film)
    assert weights.add_own("film", film) == tag
    title, stored = by_hand.load(tag)
    assert title == tag
    assert by_hand.load("film:latest")[0] == tag
    name, brought = by_hand.load(str(film))
    assert name == "4x-film.safetensors"
    assert all(torch.equal(stored[key], brought[key]) for key in stored)
    assert by_hand.is_here(tag)
    assert by_hand.is_here(str(film))
    assert not by_hand.is_here("film:0000")


def test_what_is_not_here_or_not_readable_is_said(tmp_path: Path, film: Path) -> None:
    with pytest.raises(JobFailed, match="there is no stored model film:1"):
        by_hand.load("film:1")
    with pytest.raises(JobFailed, match=r"nowhere.pth cannot be read as weights: No such file"):
        by_hand.load(str(tmp_path / "nowhere.pth"))
    film.write_bytes(b"cut off")
    with pytest.raises(JobFailed, match=r"4x-film.safetensors cannot be read as weights"):
        by_hand.load(str(film))


def test_the_command_line_says_what_to_set(film: Path, lite: Path) -> None:
    run = CliRunner().invoke
    added = run(app, ["add", "film", str(film)])
    assert added.exit_code == 0
    assert "set KINORA_UPSCALE_MODEL=film:" in added.output
    assert run(app, ["add", "rife-4.25-lite", str(lite)]).exit_code == 0
    refused = run(app, ["add", "my-rife", str(lite)])
    assert refused.exit_code == 1
    assert "neither SRVGGNetCompact nor RRDBNet" in refused.output
    assert "rife-4.25-lite" in refused.output
    assert "cannot be the name of a stored model" in run(app, ["add", "My Film", str(film)]).output
