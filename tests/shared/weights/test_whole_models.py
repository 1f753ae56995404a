"""A whole model comes from the hub or by hand, complete, and every byte of it is held to a hash."""

import hashlib
import http.server
import json
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
from safetensors.numpy import save_file
from typer.testing import CliRunner

from shared import weights
from shared.cli.weights import app
from shared.errors import JobFailed, Rejected, Unavailable
from shared.weights.hub import Hub, HubFile, Repository
from tests.support.weights import use_catalogue

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
PARTS = {"transformer": "WanTransformer3DModel", "text_encoder": "UMT5EncoderModel", "tokenizer": ""}


@dataclass
class HubServer:
    """A hub on loopback: what its repositories hold, how it fails, and what it was asked."""

    url: str = ""
    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    breaks_after: int | None = None  # bytes of a file
    lies_about: str = ""  # a path whose bytes are others than the tree says
    fetched: list[str] = field(default_factory=list)
    asked_with: list[dict[str, str]] = field(default_factory=list)  # the headers

    def siblings(self, name: str) -> list[dict[str, object]]:
        lines: list[dict[str, object]] = []
        for path, content in self.repositories[name].items():
            oid = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            line: dict[str, object] = {"rfilename": path, "blobId": oid, "size": len(content)}
            if path.endswith(".safetensors"):
                sha256 = hashlib.sha256(content).hexdigest()
                line["lfs"] = {"sha256": sha256, "size": len(content), "pointerSize": 134}
            lines.append(line)
        return lines


@pytest.fixture
def hub() -> Iterator[HubServer]:
    hub = HubServer()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, query = unquote(urlsplit(self.path).path), urlsplit(self.path).query
            if path.startswith("/api/models/"):
                name = "/".join(path.split("/")[3:5])
                if name not in hub.repositories:
                    self.send_error(404)
                else:
                    assert query == "blobs=true"
                    hub.asked_with.append({name.lower(): value for name, value in self.headers.items()})
                    self.answer(json.dumps({"id": name, "sha": COMMIT, "siblings": hub.siblings(name)}).encode())
                return
            name, _, rest = path[1:].partition("/resolve/")
            commit, _, file = rest.partition("/")
            assert commit == COMMIT
            content = hub.repositories[name][file]
            hub.fetched.append(file)
            begin = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").rstrip("-"))
            if file == hub.lies_about:
                content = content[:-1] + bytes([content[-1] ^ 1])
            self.send_response(206 if begin else 200)
            self.send_header("Content-Length", str(len(content) - begin))
            self.end_headers()
            self.wfile.write(content[begin:][: hub.breaks_after])

        def answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hub.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield hub
        server.shutdown()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A tiny model in diffusers layout, its transformer in two shards, with things beside it that do not belong."""
    folder = tmp_path / "model"
    for part, kind in PARTS.items():
        (folder / part).mkdir(parents=True)
        named = "_class_name" if part == "transformer" else "architectures"
        config = {named: kind if part == "transformer" else [kind]}
        (folder / part / ("config.json" if kind else "tokenizer_config.json")).write_text(json.dumps(config))
    for shard in SHARDS:
        save_file({shard[:11]: np.arange(20_000, dtype=np.float32)}, folder / "transformer" / shard)
    index = {"weight_map": {shard[:11]: shard for shard in SHARDS}}
    (folder / "transformer" / "model.safetensors.index.json").write_text(json.dumps(index))
    save_file({"shared": np.ones(3, np.float32)}, folder / "text_encoder" / "model.safetensors")
    (folder / "model_index.json").write_text("{}")
    (folder / "transformer" / "pytorch_model.bin").write_bytes(b"a pickle")
    (folder / "assets").mkdir()
    (folder / "assets" / "notes.json").write_text("{}")
    return folder


def published(folder: Path, *parts: str) -> dict[str, bytes]:
    """What a repository with these folders of the model holds; all of it without any."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    named = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
    return {name: content for name, content in named.items() if not parts or name.split("/")[0] in parts}


@pytest.fixture(autouse=True)
def entry(monkeypatch: pytest.MonkeyPatch) -> weights.Entry:
    """The one entry of the catalogue: the transformer from one repository, the rest from another."""
    toy = weights.Entry(
        name="toy-model",
        kind="weights",
        purpose="a test",
        licence="MIT",
        origin="this test",
        commercial=True,
        default=False,
        hub=(
            Repository("toys/fast", "main", ("transformer",)),
            Repository("toys/whole", COMMIT, ("", "text_encoder", "tokenizer")),
        ),
        parts=PARTS,
        about_bytes=200_000,
    )
    use_catalogue(monkeypatch, {"toy-model": toy})
    return toy


def fill(hub: HubServer, model: Path) -> None:
    hub.repositories = {
        "toys/fast": published(model, "transformer"),
        "toys/whole": published(model),
    }


# From the hub


def test_a_model_is_put_together_from_the_folders_of_its_repositories(hub: HubServer, store: Path, model: Path) -> None:
    fill(hub, model)
    assert not weights.exists("toy-model")
    seen: dict[str, int] = {}
    weights.pull("toy-model", on_file=lambda file, done: seen.update({file.name: done}), hub_url=hub.url)
    assert weights.exists("toy-model")
    folder = weights.folder("toy-model")
    assert folder.is_relative_to(store)
    stored = {name: content for name, content in published(folder).items() if name not in {"model.yaml", "kinora.json"}}
    wanted = {name: content for name, content in published(model).items() if not name.startswith("assets")}
    del wanted["transformer/pytorch_model.bin"]
    assert stored == wanted
    assert seen == {name: len(content) for name, content in wanted.items()}
    assert weights.verify("toy-model") == []
    assert COMMIT in (folder / "model.yaml").read_text()


def test_a_second_pull_of_a_model_asks_nobody(hub: HubServer, store: Path, model: Path) -> None:
    fill(hub, model)
    weights.pull("toy-model", hub_url=hub.url)
    fetched = len(hub.fetched)
    assert weights.pull("toy-model", hub_url="http://127.0.0.1:9") == weights.folder("toy-model")
    assert len(hub.fetched) == fetched
    assert [path.name for path in (store / "kinora-downloads" / "toy-model").iterdir() if path.is_file()] == ["lock"]


def test_an_interrupted_pull_of_a_model_goes_on_where_it_stopped(hub: HubServer, store: Path, model: Path) -> None:
    fill(hub, model)
    hub.breaks_after = 50_000
    with pytest.raises(Unavailable):
        weights.pull("toy-model", hub_url=hub.url)
    assert not weights.exists("toy-model")
    assert store.exists()
    hub.breaks_after = None
    weights.pull("toy-model", hub_url=hub.url)
    assert weights.verify("toy-model") == []
    whole = [name for name in published(model, "transformer") if name.endswith(".json")]
    assert all(hub.fetched.count(name) == 1 for name in whole)
    assert hub.fetched.count(f"transformer/{SHARDS[0]}") == 2


@pytest.mark.parametrize("file", [f"transformer/{SHARDS[1]}", "transformer/config.json"])
def test_bytes_that_are_not_those_of_the_commit_are_refused(
    hub: HubServer, store: Path, model: Path, file: str
) -> None:
    fill(hub, model)
    hub.lies_about = file
    with pytest.raises(Unavailable, match="not the bytes of its commit"):
        weights.pull("toy-model", hub_url=hub.url)
    assert store.exists()
    assert not weights.exists("toy-model")


def test_a_repository_that_is_another_model_is_known_before_its_weights_are_fetched(
    hub: HubServer, store: Path, model: Path
) -> None:
    (model / "transformer" / "config.json").write_text('{"_class_name": "OtherTransformer"}')
    fill(hub, model)
    with pytest.raises(Unavailable, match="transformer is OtherTransformer, not WanTransformer3DModel"):
        weights.pull("toy-model", hub_url=hub.url)
    assert store.exists()
    assert not weights.exists("toy-model")
    assert not [name for name in hub.fetched if name.endswith(".safetensors")]


def test_a_repository_that_lacks_a_shard_is_not_stored(hub: HubServer, store: Path, model: Path) -> None:
    (model / "transformer" / SHARDS[1]).unlink()
    fill(hub, model)
    with pytest.raises(Unavailable, match=f"{SHARDS[1]} is missing"):
        weights.pull("toy-model", hub_url=hub.url)
    assert store.exists()
    assert not weights.exists("toy-model")


def test_without_internet_the_way_by_hand_is_named(store: Path) -> None:
    assert store.exists()
    with pytest.raises(Unavailable, match=r"http://127.0.0.1:9 did not answer for toys/fast.*kinora weights add"):
        weights.pull("toy-model", hub_url="http://127.0.0.1:9")


def test_a_repository_that_is_gone_is_said_to_be_so(hub: HubServer, store: Path) -> None:
    assert store.exists()
    with pytest.raises(Unavailable, match="404"):
        weights.pull("toy-model", hub_url=hub.url)


def test_the_hub_hears_neither_who_asks_nor_what_is_installed(
    hub: HubServer, store: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert store.exists()
    fill(hub, model)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    weights.pull("toy-model", hub_url=hub.url)
    assert [headers["user-agent"] for headers in hub.asked_with] == ["kinora", "kinora"]
    assert not [headers for headers in hub.asked_with if "authorization" in headers]


def test_where_the_library_of_the_hub_is_not_installed_the_ways_out_are_named(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert store.exists()
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(Unavailable, match=r"install kinora\[creation\].*kinora weights add"):
        weights.pull("toy-model")


def test_a_hub_that_answers_for_another_commit_is_not_believed(hub: HubServer) -> None:
    hub.repositories = {"toys/whole": {}}
    with pytest.raises(Unavailable, match=f"it answered for {COMMIT}"):
        Hub(hub.url).files(Repository("toys/whole", "f" * 40, ("",)))


def test_a_disk_that_is_too_small_is_found_before_anything_is_fetched(
    hub: HubServer, store: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(hub, model)
    lines, lfs = hub.siblings("toys/fast"), {"sha256": "0" * 64, "size": 10**18, "pointerSize": 134}

    def huge(_name: str) -> list[dict[str, object]]:
        return [{**line, **({"lfs": lfs} if "lfs" in line else {})} for line in lines]

    monkeypatch.setattr(hub, "siblings", huge)
    with pytest.raises(Unavailable, match=r"2000000000\.0 GB are needed"):
        weights.pull("toy-model", hub_url=hub.url)
    assert store.exists()
    assert hub.fetched == []


def test_a_path_that_leads_out_of_the_folder_is_passed_over(hub: HubServer) -> None:
    hub.repositories = {
        "toys/evil": {"../evil.json": b"{}", "transformer/../../evil.json": b"{}", "a/fine.json": b"{}"}
    }
    found = Hub(hub.url).files(Repository("toys/evil", COMMIT, ("..", "transformer/../..", "a")))
    assert [file.path for file in found] == ["a/fine.json"]


def test_a_small_file_is_held_to_the_hash_that_git_gives_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"hello\n")
    # `printf 'hello\n' | git hash-object --stdin`
    file = HubFile("toys/one", COMMIT, "file", 6, git_hash="ce013625030ba8dba906f756967f9e9ca394464a")
    assert file.is_at(tmp_path / "file")
    (tmp_path / "file").write_bytes(b"jello\n")
    assert not file.is_at(tmp_path / "file")


def test_a_file_whose_hash_is_fixed_must_be_listed_with_it(
    hub: HubServer, store: Path, model: Path, entry: weights.Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(hub, model)
    shard = f"transformer/{SHARDS[0]}"
    right = hashlib.sha256((model / shard).read_bytes()).hexdigest()

    def fix(hashes: dict[str, str]) -> None:
        fast, whole = entry.hub
        fixed = replace(entry, hub=(replace(fast, sha256=hashes), whole))
        use_catalogue(monkeypatch, {"toy-model": fixed})
        assert fixed.tag == entry.tag

    for wrong in ({shard: "0" * 64}, {"transformer/elsewhere.safetensors": right}):
        fix(wrong)
        with pytest.raises(Unavailable, match=r"what the hub delivered is not toy-model: transformer/.*: sha256 is"):
            weights.pull("toy-model", hub_url=hub.url)
    assert hub.fetched == []
    fix({shard: right})
    weights.pull("toy-model", hub_url=hub.url)
    assert store.exists()


def test_a_model_is_pulled_into_a_folder_goes_on_there_and_the_store_stays_empty(
    hub: HubServer, store: Path, model: Path, tmp_path: Path
) -> None:
    fill(hub, model)
    folder = tmp_path / "disk" / "toy"
    hub.breaks_after = 50_000
    with pytest.raises(Unavailable):
        weights.pull_into(folder, "toy-model", hub_url=hub.url)
    hub.breaks_after = None
    assert weights.pull_into(folder, "toy-model", hub_url=hub.url) == folder
    assert hub.fetched.count("transformer/config.json") == 1
    wanted = {name: content for name, content in published(model).items() if not name.startswith("assets")}
    del wanted["transformer/pytorch_model.bin"]
    assert {name: content for name, content in published(folder).items() if name != ".kinora-lock"} == wanted
    assert not weights.exists("toy-model")
    fetched = len(hub.fetched)
    weights.pull_into(folder, "toy-model", hub_url=hub.url)
    assert len(hub.fetched) == fetched
    assert store.exists()


def test_the_command_puts_one_name_into_a_folder_and_brings_its_companions_to_the_store(
    hub: HubServer, store: Path, model: Path, entry: weights.Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(hub, model)
    tmp_path = model.parent
    companion = replace(entry, name="toy-companion")
    use_catalogue(monkeypatch, {"toy-companion": companion, "toy-model": replace(entry, brings=["toy-companion"])})
    monkeypatch.setenv("KINORA_HUB_URL", hub.url)
    ran = CliRunner().invoke(app, ["pull", "toy-model", "--into", str(tmp_path / "toy")])
    assert ran.exit_code == 0, ran.output
    assert (tmp_path / "toy" / "model_index.json").exists()
    assert weights.exists("toy-companion")
    assert not weights.exists("toy-model")
    assert store.exists()
    assert CliRunner().invoke(app, ["pull", "toy-model", "toy-companion", "--into", str(tmp_path)]).exit_code == 2


def test_a_model_is_pulled_without_a_companion_that_no_source_delivers(
    hub: HubServer, store: Path, model: Path, entry: weights.Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(hub, model)
    companion = replace(entry, name="toy-companion", hub=(Repository("toys/nowhere", COMMIT, ("",)),))
    use_catalogue(monkeypatch, {"toy-companion": companion, "toy-model": replace(entry, brings=["toy-companion"])})
    monkeypatch.setenv("KINORA_HUB_URL", hub.url)
    ran = CliRunner().invoke(app, ["pull", "toy-model"])
    assert ran.exit_code == 0, ran.output
    assert "toys/nowhere" in ran.output
    assert weights.exists("toy-model")
    assert store.exists()
    assert CliRunner().invoke(app, ["pull", "toy-companion"]).exit_code == 1


# A LoRA


@pytest.fixture
def lora(hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One file of a repository that has two, the only entry of the catalogue: `toy-lora`."""
    file = tmp_path / "published" / "a.safetensors"
    file.parent.mkdir()
    save_file({"x": np.arange(600_000, dtype=np.float32)}, file)
    hub.repositories["toys/loras"] = {"a.safetensors": file.read_bytes(), "other.safetensors": b"", "README.md": b"#"}
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    repository = Repository("toys/loras", "main", ("",), {file.name: sha256}, (file.name,))
    toy = weights.Entry(
        name="toy-lora",
        kind="weights",
        purpose="a test",
        licence="CC-BY-NC-SA-4.0",
        origin="this test",
        commercial=False,
        default=False,
        hub=(repository,),
        about_bytes=2_400_000,
    )
    use_catalogue(monkeypatch, {"toy-lora": toy})
    return file


def test_a_lora_is_one_file_of_its_repository_and_goes_on_after_an_interruption(
    hub: HubServer, store: Path, lora: Path
) -> None:
    with pytest.raises(Rejected, match=r"--accept-licence CC-BY-NC-SA-4\.0"):
        weights.pull("toy-lora", hub_url=hub.url)
    consent = {"accepted_licences": ("CC-BY-NC-SA-4.0",), "hub_url": hub.url}
    hub.breaks_after = 1_500_000
    with pytest.raises(Unavailable):
        weights.pull("toy-lora", **consent)  # type: ignore[arg-type]  # both of them
    hub.breaks_after = None
    weights.pull("toy-lora", **consent)  # type: ignore[arg-type]  # likewise
    assert hub.fetched == ["a.safetensors", "a.safetensors"]
    stored = weights.path("toy-lora")
    assert stored.is_relative_to(store)
    assert stored.read_bytes() == lora.read_bytes()
    assert weights.verify("toy-lora") == []
    stored.write_bytes(b"?" + lora.read_bytes()[1:])
    with pytest.raises(JobFailed, match=r"a\.safetensors .* damaged"):
        weights.path("toy-lora")


def test_a_lora_whose_bytes_are_not_the_published_ones_is_refused(
    hub: HubServer, store: Path, lora: Path, tmp_path: Path
) -> None:
    hub.repositories["toys/loras"][lora.name] = lora.read_bytes()[:-1] + b"!"
    with pytest.raises(Unavailable, match=r"what the hub delivered is not toy-lora: a\.safetensors: sha256 is"):
        weights.pull_into(tmp_path / "x", "toy-lora", accepted_licences=("CC-BY-NC-SA-4.0",), hub_url=hub.url)
    assert store.exists()
    assert hub.fetched == []


def test_a_lora_is_added_by_hand_as_a_file_or_its_folder(store: Path, lora: Path, tmp_path: Path) -> None:
    for source in (lora, lora.parent):
        weights.add("toy-lora", source)
        assert weights.path("toy-lora").read_bytes() == lora.read_bytes()
    other = tmp_path / "b.safetensors"
    other.write_bytes(b"another")
    for wrong in (other, tmp_path):
        with pytest.raises(Rejected, match="is not the published LoRA toy-lora"):
            weights.add("toy-lora", wrong)
    assert store.exists()


def test_a_pair_of_loras_is_pulled_by_its_commit_and_added_by_hand_as_a_folder(
    hub: HubServer, store: Path, lora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("pair/high.safetensors", "pair/low.safetensors")
    contents = {}
    for seed, name in enumerate(names):
        save_file({"x": np.full(4, seed, np.float32)}, tmp_path / Path(name).name)
        contents[name] = (tmp_path / Path(name).name).read_bytes()
    hub.repositories["toys/loras"] |= {**contents, "pair/workflow.json": b"{}"}
    pair = replace(weights.entry("toy-lora"), name="toy-pair", commercial=True)
    pair = replace(pair, hub=(Repository("toys/loras", "main", ("pair",), {}, names),))
    use_catalogue(monkeypatch, {"toy-pair": pair})
    weights.pull("toy-pair", hub_url=hub.url)
    assert {name: weights.path("toy-pair", name).read_bytes() for name in pair.loras} == contents
    assert hub.fetched == list(names)
    (tmp_path / "copy" / "pair").mkdir(parents=True)
    for folder in (tmp_path, tmp_path / "copy"):
        for name in names:
            place = folder / name if folder.name == "copy" else folder / Path(name).name
            place.write_bytes(contents[name])
        weights.add("toy-pair", folder)
        assert {name: weights.path("toy-pair", name).read_bytes() for name in pair.loras} == contents
    with pytest.raises(Rejected, match=r"more than one file: give the folder that holds pair/high"):
        weights.add("toy-pair", tmp_path / "high.safetensors")
    (tmp_path / "low.safetensors").write_bytes(contents[names[1]][:-1])
    with pytest.raises(Rejected, match=r"low\.safetensors is not the published LoRA"):
        weights.add("toy-pair", tmp_path)
    assert lora.exists()
    assert store.exists()


# By hand


def test_a_folder_is_added_by_hand_with_an_adapter_and_without_pickles(store: Path, model: Path) -> None:
    save_file({"a": np.ones(2, np.float32)}, model / "lora.safetensors")
    stored = weights.add("toy-model", model)
    assert stored.is_relative_to(store)
    assert weights.exists("toy-model")
    assert weights.folder("toy-model") == stored
    assert (stored / "lora.safetensors").exists()
    assert not (stored / "transformer" / "pytorch_model.bin").exists()
    assert not (stored / "assets").exists()
    assert (model / "transformer" / SHARDS[0]).exists()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda folder: (folder / "transformer" / SHARDS[1]).unlink(), f"transformer/{SHARDS[1]} is missing"),
        (lambda folder: (folder / "tokenizer" / "tokenizer_config.json").unlink(), "tokenizer is empty"),
        (lambda folder: (folder / "text_encoder" / "config.json").unlink(), "text_encoder is nothing"),
        (lambda folder: (folder / "text_encoder" / "model.safetensors").unlink(), "text_encoder holds no .safetensors"),
        (lambda folder: (folder / "transformer").rename(folder / "unet"), "no folder transformer"),
        (
            lambda folder: (folder / "text_encoder" / "model.safetensors").write_bytes(b"\x10\0\0"),
            "text_encoder/model.safetensors is cut off",
        ),
        (
            lambda folder: (folder / "transformer" / SHARDS[0]).write_bytes(
                (folder / "transformer" / SHARDS[0]).read_bytes()[:-4]
            ),
            f"transformer/{SHARDS[0]} is cut off",
        ),
    ],
)
def test_a_folder_that_is_not_the_whole_model_is_refused_with_the_reason(
    store: Path, model: Path, damage: object, reason: str
) -> None:
    assert callable(damage)
    damage(model)
    with pytest.raises(Rejected) as raised:
        weights.add("toy-model", model)
    assert reason in str(raised.value.facts["reasons"])
    assert store.exists()
    assert not weights.exists("toy-model")


def test_what_was_stored_is_what_it_is_held_to(store: Path, model: Path) -> None:
    assert store.exists()
    with pytest.raises(JobFailed, match="kinora weights pull toy-model"):
        weights.folder("toy-model")
    stored = weights.add("toy-model", model)
    damaged = stored / "text_encoder" / "model.safetensors"
    content = damaged.read_bytes()
    damaged.write_bytes(content[:-1] + b"!")
    with pytest.raises(JobFailed, match=r"text_encoder/model.safetensors .* damaged"):
        weights.folder("toy-model")
    assert weights.verify("toy-model") == ["text_encoder/model.safetensors: another sha256"]
    damaged.write_bytes(content)
    assert weights.folder("toy-model") == stored
    damaged.unlink()
    assert not weights.exists("toy-model")


def test_adding_again_replaces_what_was_there(store: Path, model: Path) -> None:
    assert store.exists()
    weights.add("toy-model", model)
    save_file({"shared": np.zeros(3, np.float32)}, model / "text_encoder" / "model.safetensors")
    stored = weights.add("toy-model", model)
    part = Path("text_encoder/model.safetensors")
    assert (stored / part).read_bytes() == (model / part).read_bytes()


def test_files_of_the_catalogue_cannot_be_added(
    store: Path, model: Path, entry: weights.Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert store.exists()
    files = weights.Entry("files", "weights", "a test", "MIT", "this test", commercial=True, default=False)
    use_catalogue(monkeypatch, {"files": files, entry.name: entry})
    with pytest.raises(Rejected, match="files is not a whole model; `kinora weights add` takes: toy-model"):
        weights.add("files", model)


# The command line


def test_the_command_line_pulls_by_name_only_and_adds(
    hub: HubServer, store: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert store.exists()
    fill(hub, model)
    monkeypatch.setenv("KINORA_HUB_URL", hub.url)
    run = CliRunner().invoke
    assert run(app, ["pull"]).exit_code == 0
    assert run(app, ["pull", "--all"]).exit_code == 0
    assert hub.fetched == []
    assert run(app, ["pull", "toy-model"]).exit_code == 0
    assert "toy-model: ok" in run(app, ["verify"]).output
    assert run(app, ["add", "toy-model", str(model)]).exit_code == 0
    refused = run(app, ["add", "toy-model", str(model / "tokenizer")])
    assert refused.exit_code == 1
    assert "no folder transformer" in refused.output
