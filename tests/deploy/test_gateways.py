"""The configurations of deploy/gateway in front of nobody; in front of services: tests/system/test_canary.py."""

from pathlib import Path

import httpx
import pytest

from benchmarks.swaps.gateways import Haproxy, Nginx, Version
from tests.support.asgi_server import serving
from tests.support.fake_upstream import ACCEPTED, Far, refused

pytestmark = pytest.mark.needs_gateways


@pytest.mark.parametrize(("program", "status"), [(Nginx, 502), (Haproxy, 503)])
def test_a_service_that_nobody_runs_is_one_sentence_of_the_contract(
    tmp_path: Path, program: type[Nginx] | type[Haproxy], status: int
) -> None:
    nobody = [Version("127.0.0.1:9", 90), Version("127.0.0.1:10", 10)]
    with program(tmp_path / "gateway", nobody, "127.0.0.1:9") as gateway:
        for path in ("/api/ai/upscale", "/api/ai/interpo"):
            answer = httpx.post(gateway.url + path, json={"task_id": 1}, trust_env=False, timeout=20)
            assert refused(answer, status) == "the service cannot be reached"


@pytest.mark.parametrize("program", [Nginx, Haproxy])
def test_drawn_paths_go_to_creation_under_their_documented_path(
    tmp_path: Path, program: type[Nginx] | type[Haproxy]
) -> None:
    creation = Far("creation", other_paths=("/api/ai/tracking_creation",))
    nobody = [Version("127.0.0.1:9", 90), Version("127.0.0.1:10", 10)]
    with (
        serving(creation.app) as url,
        program(tmp_path / "gateway", nobody, url.removeprefix("http://")) as gateway,
    ):
        for path in ("/api/ai/tracking_creation", "/api/ai/traking_creation/", "/api/ai/creation"):
            answer = httpx.post(gateway.url + path, json={"task_id": 1}, trust_env=False, timeout=20)
            assert answer.json() == ACCEPTED
    targets = [target for target, _, _ in creation.asked]
    assert targets == ["/api/ai/tracking_creation", "/api/ai/tracking_creation", "/api/ai/creation"]
