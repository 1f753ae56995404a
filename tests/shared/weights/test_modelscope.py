"""A whole model comes from a server with ModelScope's API, each file held to the hash in its list."""

import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from safetensors.numpy import save_file

from shared import weights
from shared.errors import Unavailable
from shared.weights.hub import Repository
from shared.weights.modelscope import ModelScope, is_modelscope
from tests.support.weights import use_catalogue

COMMIT = "89abcdef0123456789abcdef0123456789abcdef"
PARTS = {"transformer": "WanTransformer3DModel", "tokenizer": ""}


@dataclass
class Server:
    """What a repository holds, how it fails, and which files were asked for from which byte on."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    breaks_after: int | None = None
    lies: bool = False
    asked: list[tuple[str, int]] = field(default_factory=list)

    def listed(self) -> bytes:
        files: list[dict[str, object]] = [{"Name": "transformer", "Path": "transformer", "Type": "tree", "Size": 0}]
        for path, content in self.files.items():
            sha256 = hashlib.sha256(content).hexdigest()
            name = path.rsplit("/", 1)[-1]
            facts = {"Name": name, "Path": path, "Type": "blob", "Size": len(content), "Sha256": sha256}
            files.append({**facts, "Revision": COMMIT})
        return json.dumps({"Code": 200, "Success": True, "Data": {"Files": files}}).encode()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server()
    folder = tmp_path / "published"
    folder.mkdir()
    save_file({"x": np.arange(600_000, dtype=np.float32)}, folder / "w.safetensors")
    server.files = {
        "model_index.json": b"{}",
        "transformer/config.json": b'{"_class_name": "WanTransformer3DModel"}',
        "transformer/diffusion_pytorch_model.safetensors": (folder / "w.safetensors").read_bytes(),
        "tokenizer/tokenizer_config.json": b"{}",
        "README.md": b"not needed",
        "../outside.json": b"{}",
    }

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            if parts.path == "/api/v1/models/toys/whole/repo/files":
                assert query == {"Revision": "master", "Recursive": "true"}
                self.answer(server.listed())
            elif parts.path == "/api/v1/models/toys/whole/repo":
                assert query["Revision"] == COMMIT
                content = server.files[query["FilePath"]]
                begin = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").rstrip("-"))
                server.asked.append((query["FilePath"], begin))
                if server.lies:
                    content = content[:-1] + b"?"
                self.answer(content, begin)
            else:
                self.answer(json.dumps({"Code": 10010205001, "Message": "record not found"}).encode())

        def answer(self, body: bytes, begin: int = 0) -> None:
            self.send_response(206 if begin else 200)
            self.send_header("Content-Length", str(len(body) - begin))
            self.end_headers()
            self.wfile.write(body[begin:][: server.breaks_after])

        def log_message(self, *_arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        server.url = f"modelscope+http://127.0.0.1:{running.server_port}"
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield server
        running.shutdown()


@pytest.fixture(autouse=True)
def entry(monkeypatch: pytest.MonkeyPatch, store: Path) -> None:
    assert store.exists()
    toy = weights.Entry(
        name="toy-model",
        kind="weights",
        purpose="a test",
        licence="MIT",
        origin="this test",
        commercial=True,
        default=False,
        hub=(Repository("toys/whole", "0" * 40, ("", *PARTS)),),
        parts=PARTS,
        about_bytes=200_000,
    )
    use_catalogue(monkeypatch, {"toy-model": toy})


def test_a_model_is_pulled_with_its_commit_written_down(server: Server) -> None:
    weights.pull("toy-model", hub_url=server.url)
    folder = weights.folder("toy-model")
    wanted = {name for name in server.files if name.endswith((".json", ".safetensors")) and ".." not in name}
    assert all((folder / name).read_bytes() == server.files[name] for name in wanted)
    assert not (folder / "README.md").exists()
    assert f"toys/whole@{COMMIT}" in (folder / "model.yaml").read_text()
    assert {name for name, _ in server.asked} == wanted


def test_an_interrupted_pull_goes_on_where_it_stopped(server: Server) -> None:
    server.breaks_after = 1_500_000
    with pytest.raises(Unavailable):
        weights.pull("toy-model", hub_url=server.url)
    server.breaks_after = None
    weights.pull("toy-model", hub_url=server.url)
    assert ("transformer/diffusion_pytorch_model.safetensors", 1 << 20) in server.asked
    assert weights.verify("toy-model") == []


def test_other_bytes_than_those_of_the_list_are_refused(server: Server) -> None:
    server.lies = True
    with pytest.raises(Unavailable, match="not the bytes of its commit"):
        weights.pull("toy-model", hub_url=server.url)
    assert not weights.exists("toy-model")


def test_a_lora_is_one_file_held_to_the_catalogues_hash(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "transformer/diffusion_pytorch_model.safetensors"
    sha256 = hashlib.sha256(server.files[name]).hexdigest()
    whole = weights.entry("toy-model")
    for fixed in (sha256, "0" * 64):
        one = Repository("toys/whole", "main", ("transformer",), {name: fixed}, (name,))
        use_catalogue(monkeypatch, {"toy-lora": replace(whole, name="toy-lora", hub=(one,), parts={})})
        if fixed == sha256:
            weights.pull("toy-lora", hub_url=server.url)
            assert weights.path("toy-lora").read_bytes() == server.files[name]
            continue
        with pytest.raises(Unavailable, match="expected 0000"):
            weights.pull_into(tmp_path / "disk", "toy-lora", hub_url=server.url)
    assert server.asked == [(name, 0)]


def test_a_repository_that_is_not_there_is_told_with_the_way_by_hand(server: Server) -> None:
    with pytest.raises(Unavailable, match=r"record not found.*kinora weights add"):
        ModelScope(server.url).files(Repository("toys/gone", "main", ("",)))


@pytest.mark.parametrize(
    ("url", "answer"),
    [
        ("modelscope", True),
        ("https://www.modelscope.cn/", True),
        ("https://modelscope.ai", True),
        ("modelscope+http://127.0.0.1:1", True),
        ("https://huggingface.co", False),
        ("https://hf-mirror.example/modelscope.cn", False),
        ("https://notmodelscope.cn", False),
    ],
)
def test_the_hub_is_known_by_its_address(url: str, answer: bool) -> None:  # noqa: FBT001  # a column of a table
    assert is_modelscope(url) is answer
