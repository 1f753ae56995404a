"""What the services declare to BentoML: what the manifests request, and nothing that keeps one from starting."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.vocabulary import SERVICES

ROOT = Path(__file__).parents[2]
CLASSES = {"creation": "Creation", "facefusion": "FaceFusion", "interpo": "Interpo", "upscale": "Upscale"}
SCRIPT = """
import importlib, json, os
declared = {}
for name, kind in json.loads(%r).items():
    service = getattr(importlib.import_module(f"services.{name}.service"), kind)
    envs = {env.name: env.value for env in service.envs}
    declared[name] = {"resources": service.config["resources"], "labels": service.labels, "envs": envs}
declared["allocation"] = os.environ["BENTOML_DISABLE_GPU_ALLOCATION"]
print(json.dumps(declared))
"""


@pytest.fixture(scope="module")
def declared() -> dict[str, Any]:
    script = SCRIPT % json.dumps(CLASSES | {"router": "Router"})
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def requested(manifest: str) -> dict[str, Any]:
    """Return what the deployment of a manifest has as its container's resources."""
    documents = yaml.safe_load_all((ROOT / "deploy" / "k8s" / manifest).read_text(encoding="utf-8"))
    deployment = next(document for document in documents if document["kind"] == "Deployment")
    resources: dict[str, Any] = deployment["spec"]["template"]["spec"]["containers"][0]["resources"]
    return resources


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_declares_what_its_runner_requests(declared: dict[str, Any], service: str) -> None:
    pod = requested("service/pool/pool.yaml")
    assert declared[service]["resources"] == pod["requests"] | {"gpu": pod["limits"]["nvidia.com/gpu"]}
    assert declared[service]["labels"] == {"part-of": "kinora", "component": "service"}


def test_the_router_declares_what_its_pod_requests(declared: dict[str, Any]) -> None:
    assert declared["router"]["resources"] == requested("base/router.yaml")["requests"]
    assert declared["router"]["labels"] == {"part-of": "kinora", "component": "router"}


def test_no_declared_variable_replaces_a_setting(declared: dict[str, Any]) -> None:
    """BentoML would prefer its value to the operator's, for services that start with the router."""
    assert [declared[service]["envs"] for service in SERVICES] == [{}] * len(SERVICES)


def test_the_one_gpu_of_a_machine_stays_visible_to_every_service_that_declares_one(declared: dict[str, Any]) -> None:
    assert declared["allocation"] == "1"
