"""The compose file and the Kubernetes manifests: valid by the published schemas, and in line with the code."""

import copy
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from jsonschema import Draft202012Validator
from kubernetes_validate import SchemaNotFoundError, ValidationError, validate

from deploy.crds import SCHEMAS, file_name, write
from shared.database.database import Database
from shared.serving.runner_supervisor import STOP_MARGIN_SECONDS
from shared.settings import Settings
from shared.vocabulary import SERVICES
from tests.deploy.test_bento import bentofile

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "deploy" / "compose.yaml"
KUBERNETES = ROOT / "deploy" / "k8s"
VERSION = "1.34"  # of Kubernetes
TRACKS = ("stable", "canary")
POOLS: dict[str, dict[str, str]] = {service: {"generate": "runners"} for service in SERVICES}  # by kind of task
POOLS["facefusion"]["preview"] = "preview-runners"
LAST_CALLBACKS_SECONDS = 3.0  # after the runner, before the service ends
SECRETS = {"KINORA_DATABASE_URL", "KINORA_TOKEN", "KINORA_WEBHOOK_SECRET"}
Manifest = dict[str, Any]


def kustomize(folder: Path) -> list[Manifest]:
    built = subprocess.run(
        ["kubectl", "kustomize", str(folder)], capture_output=True, text=True, timeout=60, check=True
    )
    return list(yaml.safe_load_all(built.stdout))


@pytest.fixture(scope="module")
def manifests() -> list[Manifest]:
    return kustomize(KUBERNETES)


def of(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    [found] = [one for one in manifests if one["kind"] == kind and one["metadata"]["name"] == name]
    return found


def complaints(manifest: Manifest) -> list[str]:
    """What the published schema of its kind says against a manifest, fields that it does not know included."""
    try:
        validate(manifest, VERSION, strict=True)
    except SchemaNotFoundError:  # not Kubernetes' own: Gateway API's or KEDA's
        schema = json.loads((SCHEMAS / file_name(manifest["kind"], manifest["apiVersion"])).read_text())
        return [error.message for error in Draft202012Validator(schema).iter_errors(manifest)]
    except ValidationError as error:
        return [error.message]
    return []


def container(deployment: Manifest) -> Manifest:
    [found] = deployment["spec"]["template"]["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def environment(deployment: Manifest) -> dict[str, Manifest]:
    return {entry["name"]: entry for entry in container(deployment)["env"]}


def labels_of(deployment: Manifest) -> dict[str, str]:
    labels: dict[str, str] = deployment["spec"]["template"]["metadata"]["labels"]
    return labels


def is_runner(deployment: Manifest) -> bool:
    return labels_of(deployment).get("app.kubernetes.io/component") == "runner"


def deployments(manifests: list[Manifest]) -> Iterator[Manifest]:
    return (one for one in manifests if one["kind"] == "Deployment")


def seconds(text: str) -> int:
    return int(text.removesuffix("s"))


def stop_seconds(drain_seconds: float) -> float:
    """How long a service may take from SIGTERM to its end."""
    return drain_seconds + STOP_MARGIN_SECONDS + LAST_CALLBACKS_SECONDS


# Compose


@pytest.fixture(scope="module")
def compose() -> Manifest:
    content: Manifest = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
    return content


def compose_check(path: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_compose_file_is_valid_by_the_compose_specification(compose: Manifest, tmp_path: Path) -> None:
    assert compose_check(COMPOSE).returncode == 0
    compose["services"]["router"] = {**compose["services"]["router"], "restart_policy": "always"}
    wrong = tmp_path / "compose.yaml"
    wrong.write_text(yaml.dump(compose))
    assert "restart_policy" in compose_check(wrong).stdout


@pytest.mark.parametrize("name", SERVICES)
def test_a_composed_service_has_a_gpu_the_media_and_the_time_to_drain(compose: Manifest, name: str) -> None:
    service = compose["services"][name]
    [device] = service["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]
    assert "media:/media" in service["volumes"]
    assert service["depends_on"]["database"]["condition"] == "service_healthy"
    assert seconds(service["stop_grace_period"]) >= stop_seconds(float(service["environment"]["KINORA_DRAIN_SECONDS"]))
    port = bentofile(name)["docker"]["env"]["BENTOML_PORT"]
    assert compose["services"]["router"]["environment"][f"KINORA_{name.upper()}_URL"] == f"http://{name}:{port}"
    assert name in service["environment"]["KINORA_ALLOWED_HOSTS"].split(",")


def test_everything_composed_restarts_and_its_secrets_come_from_the_operator(compose: Manifest) -> None:
    for name, service in compose["services"].items():
        assert service["restart"] == "unless-stopped", name
        secrets = {
            key: value for key, value in service["environment"].items() if key in {*SECRETS, "POSTGRES_PASSWORD"}
        }
        assert all(re.search(r"\$\{\w+:\?", value) for value in secrets.values()), name
    assert compose["services"]["database"]["healthcheck"]["test"][1] == "pg_isready"


def test_the_settings_of_the_compose_file_exist_and_can_be_read(
    compose: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"KINORA_HOST": "0.0.0.0"}
    for service in (*SERVICES, "router"):
        given |= compose["services"][service]["environment"]
    passed_on = {name for name in given if name.startswith("AWS_")}  # read by the library that uses the bucket
    assert passed_on
    assert {given.pop(name) for name in passed_on} == {None}  # no value stands in the file
    for name, value in given.items():
        assert name in Settings.variables()
        default = re.fullmatch(r"(.*)\$\{\w+(?::-([^}]*)|:\?[^}]*)\}(.*)", value)
        filled = (
            f"{default[1]}{'whsec_c2VjcmV0' if default[2] is None else default[2]}{default[3]}" if default else value
        )
        monkeypatch.setenv(name, filled)
    settings = Settings.load()
    assert settings.gpu_exclusive
    assert [share.url for share in settings.upstreams.of("upscale")] == ["http://upscale:3000"]


# Kubernetes


def test_the_schemas_of_the_extensions_say_what_is_wrong(tmp_path: Path) -> None:
    """Were they empty, every manifest would be valid."""
    crd = {
        "spec": {
            "group": "example.com",
            "names": {"kind": "Thing"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}},
                        }
                    },
                }
            ],
        }
    }
    [written] = write(crd, tmp_path)
    schema = Draft202012Validator(json.loads(written.read_text()))
    assert schema.is_valid({"metadata": {"name": "a"}, "spec": {"size": 1}})
    assert not schema.is_valid({"metadata": {"name": "a"}, "spec": {"size": "1"}})
    assert not schema.is_valid({"metadata": {"name": "a"}, "spec": {"sise": 1}})


@pytest.mark.needs_kubectl
def test_every_manifest_is_valid_by_its_published_schema(manifests: list[Manifest]) -> None:
    assert {one["kind"] for one in manifests} >= {
        "ConfigMap", "Deployment", "Gateway", "HTTPRoute", "NetworkPolicy", "PersistentVolumeClaim",
        "PodDisruptionBudget", "ScaledObject", "Service", "TriggerAuthentication",
    }  # fmt: skip
    assert {(one["kind"], one["metadata"]["name"]): said for one in manifests if (said := complaints(one))} == {}


@pytest.mark.needs_kubectl
@pytest.mark.parametrize(
    ("kind", "name", "path"),
    [
        ("Deployment", "upscale-face-stable", ("spec", "template", "spec")),
        ("HTTPRoute", "upscale-submissions", ("spec",)),
        ("ScaledObject", "upscale-runners-canary", ("spec", "scaleTargetRef")),
    ],
)
def test_a_misspelt_field_is_found(manifests: list[Manifest], kind: str, name: str, path: tuple[str, ...]) -> None:
    wrong = copy.deepcopy(of(manifests, kind, name))
    place = wrong
    for step in path:
        place = place[step]
    place["misspelt"] = True
    assert "misspelt" in " ".join(complaints(wrong))


@pytest.mark.needs_kubectl
@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("track", TRACKS)
def test_a_version_of_a_service_has_faces_without_a_gpu_and_runners_with_one(
    manifests: list[Manifest], service: str, track: str
) -> None:
    face = of(manifests, "Deployment", f"{service}-face-{track}")
    pools = [of(manifests, "Deployment", f"{service}-{pool}-{track}") for pool in POOLS[service].values()]
    assert face["spec"]["replicas"] == (2 if track == "stable" else 0)
    assert "nvidia.com/gpu" not in container(face)["resources"]["limits"]
    assert environment(face)["KINORA_OWN_RUNNERS"]["value"] == "false"
    release = of(manifests, "ConfigMap", f"{service}-release")["data"][track]
    selectors = []
    for deployment in (face, *pools):
        assert environment(deployment)["KINORA_VERSION"]["value"] == release
        assert container(deployment)["image"] == f"kinora/{service}:{release}"
        budget = of(manifests, "PodDisruptionBudget", deployment["metadata"]["name"])["spec"]
        assert budget["selector"] == deployment["spec"]["selector"]
        assert budget["selector"]["matchLabels"] not in selectors  # nobody counts another's pods
        selectors.append(budget["selector"]["matchLabels"])
    for kind, deployment in zip(POOLS[service], pools, strict=True):
        assert "replicas" not in deployment["spec"]
        assert container(deployment)["resources"]["limits"]["nvidia.com/gpu"] == 1
        assert container(deployment)["args"] == ["python", "-m", f"services.{service}.runner", "--kind", kind]


@pytest.mark.needs_kubectl
def test_every_pod_has_the_time_to_stop_in_order(manifests: list[Manifest]) -> None:
    drain = float(of(manifests, "ConfigMap", "settings")["data"]["KINORA_DRAIN_SECONDS"])
    for deployment in deployments(manifests):
        pod = deployment["spec"]["template"]["spec"]
        if is_runner(deployment):
            assert pod["terminationGracePeriodSeconds"] >= drain + STOP_MARGIN_SECONDS
        else:
            before = int(container(deployment)["lifecycle"]["preStop"]["exec"]["command"][1])
            assert pod["terminationGracePeriodSeconds"] >= before + STOP_MARGIN_SECONDS + LAST_CALLBACKS_SECONDS


@pytest.mark.needs_kubectl
@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("track", TRACKS)
def test_runners_are_scaled_from_none_and_previews_in_a_small_pool_of_their_own(
    manifests: list[Manifest], service: str, track: str
) -> None:
    scaled = [one for one in manifests if one["kind"] == "ScaledObject" and one["metadata"]["name"].endswith(track)]
    targets = {one["spec"]["scaleTargetRef"]["name"]: one["spec"] for one in scaled}
    ours = {kind: targets[f"{service}-{pool}-{track}"] for kind, pool in POOLS[service].items()}
    assert {f"{service}-{pool}-{track}" for pool in POOLS[service].values()} == {
        name for name in targets if name.startswith(service)
    }
    version = of(manifests, "ConfigMap", f"{service}-release")["data"][track]
    for kind, spec in ours.items():
        assert spec["minReplicaCount"] == 0
        assert spec["cooldownPeriod"] >= 60
        [trigger] = spec["triggers"]
        assert re.findall(r"= '([^']*)'", trigger["metadata"]["query"]) == [version, service, kind]
        assert trigger["metadata"]["targetQueryValue"] == "1"
    if "preview" in ours:
        assert ours["preview"]["maxReplicaCount"] < ours["generate"]["maxReplicaCount"]


@pytest.mark.needs_kubectl
def test_every_pod_is_unprivileged_and_gets_its_secrets_by_reference_and_those_that_answer_are_probed(
    manifests: list[Manifest],
) -> None:
    for deployment in deployments(manifests):
        pod, run = deployment["spec"]["template"]["spec"], container(deployment)
        assert pod["securityContext"]["runAsNonRoot"]
        assert not pod["enableServiceLinks"]
        assert run["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        if is_runner(deployment):
            assert not {"ports", "readinessProbe", "livenessProbe", "startupProbe"} & run.keys()
        else:
            assert run["startupProbe"]["httpGet"]["path"] == run["livenessProbe"]["httpGet"]["path"] == "/livez"
            assert run["readinessProbe"]["httpGet"]["path"] == "/readyz"
        given = {entry["name"]: entry for entry in run["env"] if entry["name"] in SECRETS}
        assert "KINORA_TOKEN" in given
        assert all(entry["valueFrom"]["secretKeyRef"]["name"] == "kinora-secrets" for entry in given.values())
    assert not [one for one in manifests if one["kind"] == "Secret"]
    assert not SECRETS & of(manifests, "ConfigMap", "settings")["data"].keys()


@pytest.mark.needs_kubectl
def test_the_settings_of_the_manifests_exist_and_lead_to_services_that_exist(
    manifests: list[Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = of(manifests, "ConfigMap", "settings")["data"]
    for name, value in data.items():
        assert name in Settings.variables()
        monkeypatch.setenv(name, value)
    settings = Settings.load()
    for service in SERVICES:
        [share] = settings.upstreams.of(service)
        host, port = share.url.removeprefix("http://").split(":")
        assert {"*", host} & set(settings.access.allowed_hosts)
        target = of(manifests, "Service", host)["spec"]
        assert [entry["port"] for entry in target["ports"]] == [int(port)]
        for track in TRACKS:
            labels = labels_of(of(manifests, "Deployment", f"{service}-face-{track}"))
            assert target["selector"].items() <= labels.items()
            own = of(manifests, "Service", f"{service}-face-{track}")["spec"]["selector"]
            assert own.items() <= labels.items()
            for pool in POOLS[service].values():  # which answer nobody
                runner = labels_of(of(manifests, "Deployment", f"{service}-{pool}-{track}"))
                assert not target["selector"].items() <= runner.items()
                assert not own.items() <= runner.items()
    for deployment in deployments(manifests):
        for name in {entry["name"] for entry in container(deployment)["env"]} - {"KINORA_WEBHOOK_SECRET"}:
            assert name in Settings.variables()


@pytest.mark.needs_kubectl
@pytest.mark.parametrize("service", SERVICES)
def test_the_submissions_of_each_path_are_shared_by_weight(manifests: list[Manifest], service: str) -> None:
    route = of(manifests, "HTTPRoute", f"{service}-submissions")["spec"]
    paths = [match["path"]["value"] for rule in route["rules"] for match in rule["matches"]]
    others = {"upscale": ["upcale"], "creation": ["tracking_creation", "traking_creation"]}.get(service, [])
    assert paths == [f"/api/ai/{name}" for name in (service, *others)]
    release = of(manifests, "ConfigMap", f"{service}-release")["data"]
    for rule in route["rules"]:
        shares = {backend["name"]: backend["weight"] for backend in rule["backendRefs"]}
        assert shares == {f"{service}-face-{track}": int(release[f"{track}-weight"]) for track in TRACKS}
        for backend in rule["backendRefs"]:
            of(manifests, "Service", backend["name"])


@pytest.mark.needs_kubectl
def test_a_canary_is_an_edit_of_one_file(tmp_path: Path) -> None:
    shutil.copytree(KUBERNETES, tmp_path / "k8s")
    release = tmp_path / "k8s" / "upscale" / "release.yaml"
    content = yaml.safe_load(release.read_text())
    content["data"] |= {"canary": "0.2.0", "stable-weight": "90", "canary-weight": "10", "canary-faces": "2"}
    release.write_text(yaml.dump(content))
    manifests = kustomize(tmp_path / "k8s")
    for name in ("upscale-face-canary", "upscale-runners-canary"):
        run = container(of(manifests, "Deployment", name))
        assert (run["image"], run["env"][0]["value"]) == ("kinora/upscale:0.2.0", "0.2.0")
    assert of(manifests, "Deployment", "upscale-face-canary")["spec"]["replicas"] == 2
    assert container(of(manifests, "Deployment", "upscale-runners-stable"))["image"] == "kinora/upscale:0.1.0"
    scaled = of(manifests, "ScaledObject", "upscale-runners-canary")["spec"]
    assert "'0.2.0'" in scaled["triggers"][0]["metadata"]["query"]
    rules = of(manifests, "HTTPRoute", "upscale-submissions")["spec"]["rules"]
    assert [[backend["weight"] for backend in rule["backendRefs"]] for rule in rules] == [[90, 10], [90, 10]]
    assert container(of(manifests, "Deployment", "interpo-face-canary"))["image"] == "kinora/interpo:none"
    assert [complaints(one) for one in manifests if complaints(one)] == []


@pytest.mark.needs_kubectl
def test_the_queries_that_scale_count_what_waits_and_runs_of_one_service_version_and_kind(
    manifests: list[Manifest], tmp_path: Path
) -> None:
    queries = {
        (service, kind): of(manifests, "ScaledObject", f"{service}-{pool}-stable")["spec"]["triggers"][0]["metadata"][
            "query"
        ]
        for service, pools in POOLS.items()
        for kind, pool in pools.items()
    }
    database = Database(Settings(state_dir=tmp_path / "state")).start()
    try:
        with psycopg.connect(database.uri, autocommit=True) as connection:

            def counts() -> dict[tuple[str, str], int]:
                return {which: connection.execute(query).fetchall()[0][0] for which, query in queries.items()}

            assert set(counts().values()) == {0}
            connection.execute(
                "INSERT INTO kinora_tasks (id, service, kind, task_id, fingerprint, request, version, state)"
                " SELECT gen_random_uuid(), service, kind, number, '', '{}', version, state"
                " FROM (VALUES ('upscale', 'generate'), ('facefusion', 'generate'), ('facefusion', 'preview'))"
                " lane(service, kind),"
                " unnest(ARRAY['0.1.0', '9']) WITH ORDINALITY v(version, n),"
                " unnest(ARRAY['queued', 'running', 'failed']) WITH ORDINALITY s(state, m),"
                " generate_series(n * 100 + m * 10, n * 100 + m * 10 + 1) number"
            )
            busy = {("upscale", "generate"), ("facefusion", "generate"), ("facefusion", "preview")}
            assert counts() == {which: 4 if which in busy else 0 for which in queries}
            connection.execute("UPDATE kinora_tasks SET runs_on = '9' WHERE service = 'upscale' AND state = 'queued'")
            assert counts()["upscale", "generate"] == 2  # another version has taken them over
            connection.execute("UPDATE kinora_tasks SET state = 'succeeded'")
            assert set(counts().values()) == {0}
    finally:
        database.stop()
