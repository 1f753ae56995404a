"""Images that are really built and run, as an operator deploys them: by buildah, from stand-ins of their bases."""

import json
import os
import signal
import stat
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from services.router.split import ranked
from shared.testing import processes
from shared.testing.callback_receiver import Receiver
from shared.testing.external_postgres import served_postgres
from shared.testing.stack import free_port
from shared.upstreams import WeightedUpstream
from shared.vocabulary import SERVICES
from tests.support.checkout import ROOT, SECRET_LOOKING
from tests.support.container import Container
from tests.support.deployment import TASK_SECONDS, TOKEN, USER, Deployment
from tests.support.engine import BUILD_SECONDS, Layer
from tests.support.image import pinned
from tests.support.workshop import Workshop, open_workshop

IMAGES = ("router", *SERVICES, "kinora")
FIRST, SECOND = version("kinora"), "9.0.0-rc1"
PASSWORD = "a-password-of-the-database"
MEGABYTE = 1_000_000
PACKAGES = "app/.venv"
BENTO = "home/bentoml/bento"
pytestmark = [pytest.mark.needs_buildah, pytest.mark.slow, pytest.mark.timeout(BUILD_SECONDS + 2 * TASK_SECONDS)]


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    """All six images of this version, and one of the next version after a change of the code."""
    with open_workshop(tmp_path_factory.mktemp("images")) as workshop:
        workshop.make("containerize", IMAGES, FIRST)
        with (workshop.checkout / "services" / "upscale" / "pipeline.py").open("a") as code:
            code.write("# changed\n")
        workshop.make("containerize", ("upscale",), SECOND)
        for name in IMAGES:
            print_sizes(f"{name}:{FIRST}", workshop.engine.layers(f"{name}:{FIRST}"))
        yield workshop


def print_sizes(image: str, layers: list[Layer]) -> None:
    """Leave the sizes in the output of the test, in megabytes without compression."""
    sizes = [round(layer.size / MEGABYTE, 1) for layer in layers]
    print(f"{image}: {sum(sizes):.0f} MB, layers from the base on: {[size for size in sizes if size >= 0.1]}")  # noqa: T201


def own_layers(workshop: Workshop, image: str) -> list[Layer]:
    """Return what an image adds to its base, which is one layer."""
    return workshop.engine.layers(f"{image}:{FIRST}")[1:]


def files(layer: Layer) -> set[str]:
    """Return the paths of what a layer adds, from the root of the image; a removed file is a character device in it."""
    paths = (Path(folder) / name for folder, _, names in os.walk(layer.files) for name in names)
    return {str(path.relative_to(layer.files)) for path in paths if not stat.S_ISCHR(path.lstat().st_mode)}


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_starts_as_its_user_under_an_init_and_is_watched(workshop: Workshop, name: str) -> None:
    config = workshop.engine.config(f"{name}:{FIRST}")
    assert config["User"] == "bentoml"
    assert config["Entrypoint"] == ["tini", "--", f"/{BENTO}/env/docker/entrypoint.sh"]
    assert config["Healthcheck"]["Test"][:2] == ["CMD", "python"]
    port = 5000 if name in {"router", "kinora"} else 3000
    assert config["ExposedPorts"] == {f"{port}/tcp": {}}
    settings = dict(entry.partition("=")[::2] for entry in config["Env"])
    assert settings["KINORA_VERSION"] == FIRST
    assert not [key for key in settings if any(word in key for word in ("TOKEN", "SECRET", "PASSWORD", "DATABASE"))]
    assert not [key for key in settings if key.startswith(("UV_", "PIP_", "SSL_"))]  # of the machine that built it


@pytest.mark.parametrize("name", IMAGES)
def test_no_layer_has_a_secret_a_test_a_cache_or_what_only_builds(workshop: Workshop, name: str) -> None:
    layers = own_layers(workshop, name)
    found = set().union(*map(files, layers))
    carried = [path.removeprefix(f"{BENTO}/src/") for path in found if path.startswith(f"{BENTO}/src/")]
    assert not [path for path in carried if any(part.startswith((".", "test")) for part in path.split("/"))]
    assert not [
        path
        for path in found
        if path.startswith(("root/", "mnt/", "srv/", "tmp/", "var/lib/apt/lists/", "var/cache/apt/"))
    ]
    assert not [path for path in found if path.endswith((".deb", ".whl", "/uv", "/pip"))]
    has_torch = any("/site-packages/torch/" in path for path in found)  # scipy has a folder of that name, too
    assert ("usr/bin/gcc" in found) == has_torch
    grep = ["grep", "--recursive", "--files-with-matches", "--fixed-strings", "--exclude-dir=site-packages"]
    places = [str(layer.files) for layer in layers]
    leaked = subprocess.run([*grep, SECRET_LOOKING, *places], capture_output=True, text=True, check=False)
    assert (leaked.returncode, leaked.stdout) == (1, "")


@pytest.mark.parametrize("name", IMAGES)
def test_no_file_lies_in_two_layers(workshop: Workshop, name: str) -> None:
    """Else the lower one takes room for nothing. The lists of dpkg, of users and of libraries grow step by step."""
    seen: set[str] = set()
    for layer in own_layers(workshop, name):
        here = {path for path in files(layer) if not path.startswith(("etc/", "var/"))}
        assert not here & seen
        seen |= here
    compiled = [path for path in seen if path.endswith(".pyc")]
    assert all(path.startswith((PACKAGES, "usr/")) for path in compiled)


def test_images_share_what_they_have_in_common(workshop: Workshop) -> None:
    upscale, interpo, creation = (own_layers(workshop, name) for name in ("upscale", "interpo", "creation"))
    largest = max(upscale, key=lambda layer: layer.size)
    assert any(path.startswith(f"{PACKAGES}/") for path in files(largest))
    assert largest in interpo  # both install the same
    assert {layer.id for layer in upscale[:2]} <= {layer.id for layer in creation}  # system packages, compiler


def test_a_change_of_code_and_version_makes_megabytes_anew_not_gigabytes(workshop: Workshop) -> None:
    before = {layer.id for layer in workshop.engine.layers(f"upscale:{FIRST}")}
    after = workshop.engine.layers(f"upscale:{SECOND}")
    print_sizes("new in the next version of upscale", [layer for layer in after if layer.id not in before])
    assert sum(layer.size for layer in after if layer.id not in before) < 10 * MEGABYTE


def test_a_bill_of_materials_names_everything_that_an_image_contains(workshop: Workshop) -> None:
    workshop.make("sbom", IMAGES, FIRST)
    for name in IMAGES:
        written = json.loads((workshop.checkout / "build" / "sbom" / f"{name}.cdx.json").read_text(encoding="utf-8"))
        components = {component["bom-ref"]: component for component in written["components"]}
        folder = "personal" if name == "kinora" else name
        lines = pinned((ROOT / "deploy" / folder / "requirements.txt").read_text(encoding="utf-8"))
        wanted: set[str] = {canonicalize_name(Requirement(line).name) for line in lines}
        if name in {"facefusion", "kinora"}:  # gpu.sh
            wanted = wanted - {"onnxruntime"} | {"onnxruntime-gpu", "insightface"}
        assert wanted <= {canonicalize_name(component["name"]) for component in components.values()}
        assert {"system/tini", "system/libc6"} <= set(components)
        licences = {
            inside["name"]: inside["licenses"][0]["expression"]
            for component in components.values()
            if component["name"] == "av"
            for inside in component["components"]
        }
        encoders = {"x264": "GPL-2.0-or-later", "x265": "GPL-2.0-or-later"}
        assert (licences | encoders == licences) == (name != "router")


@pytest.fixture(scope="module")
def backend() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def deployment(workshop: Workshop, backend: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """The images of router and services side by side, around one database and one folder of media."""
    with ExitStack() as undo:
        url, own = undo.enter_context(served_postgres("127.0.0.1", PASSWORD, port=free_port(), clients="127.0.0.1/32"))
        settings = {
            "KINORA_TOKEN": TOKEN,
            "KINORA_CALLBACK_URL": backend.url,
            "KINORA_DATABASE_URL": url,
            "KINORA_PRESET": "ultrafast",
            "OMP_NUM_THREADS": "1",
        }
        deployed = Deployment(workshop.engine, tmp_path_factory.mktemp("deployment"), settings, own)
        undo.callback(deployed.kill)
        addresses = {f"KINORA_{name.upper()}_URL": deployed.start(name, FIRST).url for name in SERVICES}
        deployed.start("router", FIRST, addresses)
        for container in deployed.containers.values():
            container.wait_ready()
        yield deployed


TASKS: dict[str, dict[str, object]] = {
    "upscale": {"video_url": "/media/clip.mp4", "ratio": 2},
    "interpo": {"video_url": "/media/clip.mp4", "rate": 2},
    "facefusion": {"programe": 1, "source_file": "/media/face.jpg", "target_file": "/media/face.jpg"},
    "creation": {"category": 3, "video_url": "/media/clip.mp4", "fps": 8},
}


def result_of(deployment: Deployment, backend: Receiver, task_id: int) -> Path:
    """Wait for the callback of a task that succeeds once; return its result."""
    callback = backend.wait_for(task_id, timeout_seconds=TASK_SECONDS).payload
    assert (callback["err_code"], callback["err_msg"]) == (0, "")
    result = deployment.media / "out" / str(task_id) / str(callback["video_url"])
    assert result.stat().st_size > 0
    assert len(backend.of(task_id)) == 1
    return result


@pytest.mark.parametrize("service", TASKS)
def test_a_task_posted_to_the_router_is_done_by_the_image_of_its_service(
    deployment: Deployment, backend: Receiver, service: str
) -> None:
    task_id = 100 + list(TASKS).index(service)
    deployment.post(service, task_id, **TASKS[service])
    result = result_of(deployment, backend, task_id)
    made = [result, result.parent, *result.parent.iterdir()]
    assert {(path.stat().st_uid, path.stat().st_gid) for path in made} == {(USER, USER)}


def test_every_process_of_every_image_runs_as_its_user(deployment: Deployment) -> None:
    for name, container in deployment.containers.items():
        running = container.processes()
        assert len(running) >= (3 if name.startswith("router") else 4), name  # tini, master, worker, runners
        assert {process.uids().real for process in running} == {USER}
        assert {process.gids().real for process in running} == {USER}


def test_the_health_check_of_an_image_tells_a_service_that_is_ready_from_one_that_is_not(
    deployment: Deployment, workshop: Workshop
) -> None:
    upscale = f"upscale:{FIRST}"
    check = workshop.engine.config(upscale)["Healthcheck"]["Test"][1:]
    container = workshop.engine.call("from", "--pull-never", upscale).strip()
    workshop.engine.call("run", "--env", f"BENTOML_PORT={deployment.containers[upscale].port}", container, "--", *check)
    with pytest.raises(AssertionError, match="refused"):
        workshop.engine.call("run", "--env", f"BENTOML_PORT={free_port()}", container, "--", *check)


def test_a_task_of_a_killed_container_is_taken_up_by_the_next_one(deployment: Deployment, backend: Receiver) -> None:
    killed = deployment.containers[f"upscale:{FIRST}"]
    deployment.post("upscale", 200, video_url="/media/longer.mp4", ratio=4)
    deployment.wait_until_in_progress(200)
    for process in killed.processes():
        processes.send(process, signal.SIGKILL)
    assert killed.process
    assert killed.process.wait(60) != 0
    assert killed.processes() == []
    deployment.start("upscale", FIRST, port=killed.port).wait_ready()
    result_of(deployment, backend, 200)
    assert deployment.row(200)["attempt"] == 2


def test_two_versions_share_the_tasks_and_the_old_one_leaves_when_it_is_done(
    deployment: Deployment, backend: Receiver
) -> None:
    old = deployment.containers[f"upscale:{FIRST}"]
    new = deployment.start("upscale", SECOND).wait_ready()
    router = deployment.containers[f"router:{FIRST}"]
    assert router.stop() == 0
    address = {**router.settings, "KINORA_UPSCALE_URL": f"{old.url}=50,{new.url}=50"}
    deployment.start("router", FIRST, address).wait_ready()

    shares = [WeightedUpstream(old.url, 50), WeightedUpstream(new.url, 50)]
    first = {task_id: ranked("upscale", str(task_id), shares)[0].url for task_id in range(300, 400)}
    olds = [task_id for task_id, url in first.items() if url == old.url]
    of_old, of_new, later = olds[0], next(task_id for task_id, url in first.items() if url == new.url), olds[1]
    deployment.post("upscale", of_old, video_url="/media/longer.mp4", ratio=4)
    deployment.post("upscale", of_new, **TASKS["upscale"])
    deployment.wait_until_in_progress(of_old)
    assert old.stop() == 0
    deployment.post("upscale", later, **TASKS["upscale"])
    for task_id, release in ((of_old, FIRST), (of_new, SECOND), (later, SECOND)):
        result_of(deployment, backend, task_id)
        assert (deployment.row(task_id)["version"], deployment.row(task_id)["attempt"]) == (release, 1)


def test_sigterm_ends_every_container_in_order(deployment: Deployment) -> None:
    """The last that looks at this deployment."""
    running = [container for container in deployment.containers.values() if container.processes()]
    assert len(running) == 1 + len(SERVICES)
    with ThreadPoolExecutor(len(running)) as pool:
        assert list(pool.map(Container.stop, running)) == [0] * len(running)
    assert [process for container in running for process in container.processes()] == []


def test_the_personal_edition_does_a_task_and_stops_alone(
    workshop: Workshop, backend: Receiver, tmp_path: Path
) -> None:
    """With its own PostgreSQL in the state folder."""
    settings = {"KINORA_TOKEN": TOKEN, "KINORA_CALLBACK_URL": backend.url, "OMP_NUM_THREADS": "1"}
    deployed = Deployment(workshop.engine, tmp_path, settings)
    try:
        personal = deployed.start("kinora", FIRST).wait_ready()
        deployed.post("facefusion", 400, **TASKS["facefusion"])
        result = result_of(deployed, backend, 400)
        assert result.stat().st_uid == USER
        assert {process.uids().real for process in personal.processes()} == {USER}
        assert personal.stop() == 0
        assert personal.processes() == []
    finally:
        deployed.kill()
