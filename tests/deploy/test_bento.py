"""The bento of every service: what is in it, what its image would be, and that it works there with nothing else."""

import os
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from benchmarks.clips import write_clip
from shared import weights
from shared.testing.callback_receiver import Receiver
from shared.testing.processes import command
from shared.vocabulary import SERVICES
from shared.weights.interpolators import INTERPOLATORS
from shared.weights.upscalers import UPSCALERS
from tests.support.checkout import SECRET_LOOKING, checkout_in_use
from tests.support.container import Container
from tests.support.image import Image, UnpackedImage, fresh_environment, unpack

ROOT = Path(__file__).parents[2]
IMAGES = ("router", *SERVICES, "kinora")
TOKEN = "a-token-of-the-operator"
# Runners step aside for every other session: on a machine that is busy with other things, torch alone takes minutes.
TASK_SECONDS = 600
pytestmark = [pytest.mark.slow, pytest.mark.timeout(TASK_SECONDS + 120)]
Running = dict[str, Container[UnpackedImage]]
AUTHORISED = {"authorization": f"Bearer {TOKEN}"}
# What BentoML itself writes into every bento, and the metadata that says which version it is.
ALWAYS = {"bentofile.yaml", "kinora.egg-info/PKG-INFO", "services/__init__.py"}
MODEL_LIBRARIES = {"torch", "onnxruntime", "onnx", "opencv-python-headless", "av", "diffusers", "transformers"}


def bentofile(image: str) -> dict[str, Any]:
    folder = ROOT if image == "kinora" else ROOT / "deploy" / image
    content: dict[str, Any] = yaml.safe_load((folder / "bentofile.yaml").read_text(encoding="utf-8"))
    return content


def requirements_of(image: str) -> str:
    name = "personal" if image == "kinora" else image
    return (ROOT / "deploy" / name / "requirements.txt").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout in use: with secrets, tests, state and media lying about in it."""
    return checkout_in_use(tmp_path_factory.mktemp("bento") / "checkout")


@pytest.fixture(scope="module")
def images(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Image]:
    """Every bento, built by `make bento` into a store of its own and laid out as its image."""
    store = tmp_path_factory.mktemp("store")
    (store / "models").symlink_to(Path(weights.path("yunet")).parents[2])
    make = ["make", "--old-file=weights", "--old-file=setup", "bento", f"BIN={Path(sys.executable).parent}"]
    environment = os.environ | {"BENTOML_HOME": str(store), "PIP_NO_INDEX": "1", "UV_OFFLINE": "1"}
    built = subprocess.run(
        make, cwd=checkout, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert built.returncode == 0, built.stdout + built.stderr
    release = version("kinora")
    folder = tmp_path_factory.mktemp("images")
    return {name: unpack(store / "bentos" / name / release, folder / name) for name in IMAGES}


@pytest.mark.parametrize("name", IMAGES)
def test_a_bento_carries_its_own_code_and_nothing_else(images: dict[str, Image], name: str) -> None:
    image = images[name]
    own = set(SERVICES) | {"router"} if name == "kinora" else {name}
    carried = image.files - ALWAYS
    assert image.files >= ALWAYS
    assert {file.split("/")[0] for file in carried} == {"shared", "services"}
    assert {file.split("/")[1] for file in carried if file.startswith("services/")} == own
    code = {str(file.relative_to(ROOT)) for service in own for file in (ROOT / "services" / service).rglob("*.py")}
    assert code <= carried
    assert not [file for file in carried if any(part.startswith((".", "test")) for part in file.split("/"))]
    everything = (
        file for file in image.home.joinpath("bento").rglob("*") if file.is_file() and "models" not in file.parts
    )
    assert not [file for file in everything if SECRET_LOOKING.encode() in file.read_bytes()]


@pytest.mark.parametrize("name", IMAGES)
def test_the_models_of_a_service_are_baked_in(images: dict[str, Image], name: str) -> None:
    """Everything of the defaults that its code names and that it can load, under the tag that the catalogue has."""
    own = SERVICES if name == "kinora" else (name,)
    code = "".join(path.read_text("utf-8") for service in own for path in (ROOT / "services" / service).rglob("*.py"))
    for setting, stored in UPSCALERS.items():  # upscaling names the table, drafts of creation one of its rows
        if "UPSCALERS[chosen]" in code or f'UPSCALERS["{setting}"]' in code:
            code += f'"{stored.name}"'
    if "INTERPOLATORS[" in code:
        code += "".join(f'"{stored}"' for stored in INTERPOLATORS.values())
    torch = "torch" in images[name].distributions
    wanted = {
        entry.tag
        for entry in weights.entries().values()
        if entry.default and f'"{entry.name}"' in code and (torch or not entry.convert)
    }
    assert set(bentofile(name).get("models", [])) == wanted
    store = images[name].home / "models"
    assert {f"{found.parent.name}:{found.name}" for found in store.glob("*/*") if found.is_dir()} == wanted


def test_no_image_installs_what_its_service_does_not_need(images: dict[str, Image]) -> None:
    assert not MODEL_LIBRARIES & images["router"].distributions
    assert not {"torch", "diffusers", "transformers"} & images["facefusion"].distributions
    for name in ("interpo", "upscale"):
        assert not {"onnxruntime", "diffusers", "transformers"} & images[name].distributions
    for name in IMAGES:
        assert not {"pytest", "ruff", "mypy", "hypothesis"} & images[name].distributions


@pytest.mark.parametrize("name", IMAGES)
def test_the_dockerfile_runs_an_unprivileged_service_that_is_watched_and_stopped_in_order(
    images: dict[str, Image], name: str
) -> None:
    lines = [line for line in images[name].dockerfile.splitlines() if line and not line.startswith("#")]
    assert lines[0] == f"FROM {bentofile(name)['docker']['base_image']}"
    assert ("nvidia/cuda:" in lines[0]) == (name != "router")
    users = [line for line in lines if line.startswith("USER ")]
    assert users[-1] == "USER bentoml"
    assert lines[-1] == 'ENTRYPOINT [ "tini", "--", "/home/bentoml/bento/env/docker/entrypoint.sh" ]'
    assert lines.index(users[-1]) > max(index for index, line in enumerate(lines) if line.startswith("RUN "))
    assert any(line.startswith("HEALTHCHECK ") for line in lines)
    assert "/readyz" in next(line for line in lines if line.strip().startswith("CMD "))
    text = images[name].dockerfile
    assert "from=astral/uv:" in text  # CUDA images bring neither uv nor Python
    assert "COPY --from=" not in text  # uv is lent to one step and stays in no layer
    assert ("gcc" in text) == ("torch" in images[name].distributions)  # Triton's
    assert "UV_PYTHON=3.11" in text
    assert " \\\n\n" not in text
    assert not [word for word in ("TOKEN", "SECRET", "PASSWORD", "DATABASE_URL", "KEY=") if word in text]
    assert "libgl1" not in text  # nor anything else of a screen: OpenCV is the one without windows
    assert (
        images[name].environment["KINORA_VERSION"]
        == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    )


def test_an_open_image_does_not_start_without_a_token(images: dict[str, Image], tmp_path: Path) -> None:
    commands = fresh_environment(tmp_path / "venv", requirements_of("router"))
    container = Container(UnpackedImage(images["router"], commands), tmp_path / "at", {})
    assert container.start().process
    assert container.process
    assert container.process.wait(120) != 0
    assert "set KINORA_TOKEN" in container.log.read_text()


@pytest.fixture(scope="module")
def backend() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def deployment(
    images: dict[str, Image], tmp_path_factory: pytest.TempPathFactory, backend: Receiver
) -> Iterator[Running]:
    """The five images side by side: the router, and the services that its settings name, around one database."""
    folder = tmp_path_factory.mktemp("deployment")
    (folder / "media").mkdir()
    settings = {
        "KINORA_TOKEN": TOKEN,
        "KINORA_MEDIA_ROOTS": str(folder / "media"),
        "KINORA_STATE_DIR": str(folder / "state"),
        "KINORA_CALLBACK_URL": backend.url,
        "KINORA_PRESET": "ultrafast",
        "OMP_NUM_THREADS": "1",
    }

    def container(name: str, more: dict[str, str]) -> Container[UnpackedImage]:
        commands = fresh_environment(folder / f"venv-{name}", requirements_of(name))
        return Container(UnpackedImage(images[name], commands), folder / "at" / name, settings | more)

    with ThreadPoolExecutor(2) as pool:
        services = dict(zip(SERVICES, pool.map(lambda name: container(name, {}), SERVICES), strict=True))
    router = container("router", {f"KINORA_{name.upper()}_URL": service.url for name, service in services.items()})
    everything = services | {"router": router}
    try:
        for one in everything.values():
            one.start()
        for one in everything.values():
            one.wait_ready()
        yield everything
    finally:
        for one in everything.values():
            one.kill()


@pytest.fixture(scope="module")
def media(deployment: Running) -> Path:
    """The shared media folder, with material for all four services."""
    folder = Path(deployment["router"].settings["KINORA_MEDIA_ROOTS"])
    write_clip(folder / "clip.mp4", size=(48, 32), frames=12, sound=True)
    shutil.copyfile(weights.path("picture-single-face"), folder / "face.jpg")
    return folder


TASKS: dict[str, dict[str, object]] = {
    "upscale": {"video_url": "clip.mp4", "ratio": 2},
    "interpo": {"video_url": "clip.mp4", "rate": 2},
    "facefusion": {"programe": 1, "source_file": "face.jpg", "target_file": "face.jpg"},
    "creation": {"category": 3, "video_url": "clip.mp4", "fps": 8},
}


@pytest.mark.parametrize("service", TASKS)
def test_a_task_posted_to_the_router_image_is_done_by_the_image_of_its_service(
    deployment: Running, media: Path, backend: Receiver, service: str
) -> None:
    task_id = 100 + list(TASKS).index(service)
    paths = {name: str(media / str(value)) for name, value in TASKS[service].items() if name.endswith(("url", "file"))}
    body = {"task_id": task_id, "dist_dir": str(media / f"out-{service}")} | TASKS[service] | paths
    answer = httpx.post(
        f"{deployment['router'].url}/api/ai/{service}", json=body, headers=AUTHORISED, trust_env=False, timeout=30
    )
    assert answer.json() == {"err_code": 0, "err_msg": ""}
    callback = backend.wait_for(task_id, timeout_seconds=TASK_SECONDS).payload
    assert (callback["err_code"], callback["err_msg"]) == (0, "")
    assert (media / f"out-{service}" / callback["video_url"]).stat().st_size > 0


def test_every_version_is_known_though_no_image_installs_the_project(deployment: Running) -> None:
    for name, container in deployment.items():
        document = httpx.get(f"{container.url}/docs.json", headers=AUTHORISED, trust_env=False, timeout=10).json()
        assert document["info"]["version"] == version("kinora"), name


def test_nothing_of_the_checkout_or_of_its_environment_is_in_use(deployment: Running) -> None:
    for name, container in deployment.items():
        found = container.processes()
        assert len(found) >= (2 if name == "router" else 3)  # BentoML's master, its worker, the runners
        for process in found:
            mapped = [library.path for library in process.memory_maps()]
            assert not [path for path in mapped if path.startswith(f"{ROOT}/")], f"{name}: {command(process)}"
            assert not Path(process.cwd()).is_relative_to(ROOT)


def test_the_router_image_starts_no_service_and_names_those_whose_url_is_missing(
    deployment: Running, tmp_path: Path
) -> None:
    full = deployment["router"]
    assert not [process for process in full.processes() if "runner" in command(process)]
    settings = {name: value for name, value in full.settings.items() if name != "KINORA_CREATION_URL"}
    router = Container(full.image, tmp_path / "at", settings).start()
    try:
        router.wait_ready()
        answer = httpx.post(f"{router.url}/api/ai/creation", json={}, headers=AUTHORISED, trust_env=False)
        assert (answer.status_code, answer.json()["err_code"]) == (503, -1)
        assert "KINORA_CREATION_URL" in answer.json()["err_msg"]
        assert httpx.post(f"{router.url}/api/ai/upscale", json={}, headers=AUTHORISED, trust_env=False).is_success
        errors = [line for line in router.log.read_text().splitlines() if "ERROR" in line]
        assert len(errors) == 1
        assert "KINORA_CREATION_URL" in errors[0]
    finally:
        router.kill()


def test_a_face_and_a_runner_of_the_manifests_are_the_same_image(
    deployment: Running, images: dict[str, Image], media: Path, tmp_path: Path
) -> None:
    """The command and the folder that the pod of a runner has, which only the image can tell to be right."""
    [pod, _] = yaml.safe_load_all((ROOT / "deploy/k8s/service/pool/pool.yaml").read_text(encoding="utf-8"))
    [run] = pod["spec"]["template"]["spec"]["containers"]
    arguments = tuple(word.replace("services.service", "services.upscale") for word in run["args"])
    image = deployment["upscale"].image
    workdir = images["upscale"].home / Path(run["workingDir"]).relative_to("/home/bentoml")
    settings = {**deployment["upscale"].settings, "KINORA_VERSION": "two-deployments"}
    face = Container(image, tmp_path / "face", settings | {"KINORA_OWN_RUNNERS": "false"}).start()
    runner = Container(image, tmp_path / "runner", settings, arguments=arguments, workdir=workdir)
    try:
        face.wait_ready()
        assert not [process for process in face.processes() if "runner" in command(process)]
        body = {"task_id": 150, "video_url": str(media / "clip.mp4"), "ratio": 2, "dist_dir": str(media / "out-two")}
        with httpx.Client(base_url=face.url, headers=AUTHORISED, trust_env=False, timeout=30) as client:
            assert client.post("/api/ai/upscale", json=body).json()["err_code"] == 0
            assert client.get("/api/ai/tasks/150").json()["tasks"][0]["state"] == "queued"
            runner.start()
            deadline = time.monotonic() + TASK_SECONDS
            while not client.get("/api/ai/tasks/150").json()["tasks"][0]["attempt"]:  # what is made is another test's
                assert time.monotonic() < deadline, runner.log.read_text()
                time.sleep(0.2)
    finally:
        runner.kill()
        face.kill()


@pytest.fixture
def as_pid_1(deployment: Running, images: dict[str, Image], tmp_path: Path) -> Iterator[Container[UnpackedImage]]:
    """The upscale image as in a container: tini is process 1, and all ends with it."""
    upscale = deployment["upscale"]
    namespace = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "tini", "--")
    settings = {**upscale.settings, "KINORA_STATE_DIR": str(tmp_path / "state")}
    image = UnpackedImage(images["upscale"], upscale.image.commands, wrapper=namespace)
    container = Container(image, tmp_path / "at", settings)
    try:
        yield container.start().wait_ready()
    finally:
        container.kill()


@pytest.mark.needs_tini
def test_a_stopped_container_finishes_its_running_task_first(
    as_pid_1: Container[UnpackedImage], media: Path, backend: Receiver
) -> None:
    clip = write_clip(media / "longer.mp4", size=(96, 64), frames=60)
    body = {"task_id": 200, "video_url": str(clip), "ratio": 2, "dist_dir": str(media / "out-stopped")}
    with httpx.Client(base_url=as_pid_1.url, headers=AUTHORISED, trust_env=False, timeout=30) as client:
        assert client.post("/api/ai/upscale", json=body).json()["err_code"] == 0
        while not (progress := client.get("/api/ai/tasks/200").json()["tasks"][0]["progress"]):
            time.sleep(0.05)
    assert progress < 1
    assert as_pid_1.stop() == 0
    assert [delivery.payload["err_code"] for delivery in backend.of(200)] == [0]


@pytest.mark.needs_tini
def test_a_container_whose_service_is_killed_ends_as_failed_and_leaves_no_process(
    as_pid_1: Container[UnpackedImage],
) -> None:
    """So that its orchestrator starts another one; BentoML itself starts no new worker in a container."""
    assert as_pid_1.process
    [worker] = [found for found in as_pid_1.processes() if "_bentoml_impl.worker" in command(found)]
    worker.kill()
    assert as_pid_1.process.wait(240) != 0
    assert as_pid_1.processes() == []


def test_the_personal_edition_is_all_of_it_in_one_container(
    images: dict[str, Image], backend: Receiver, tmp_path: Path
) -> None:
    media = tmp_path / "media"
    media.mkdir()
    shutil.copyfile(weights.path("picture-single-face"), media / "face.jpg")
    settings = {
        "KINORA_TOKEN": TOKEN,
        "KINORA_MEDIA_ROOTS": str(media),
        "KINORA_STATE_DIR": str(tmp_path / "state"),
        "KINORA_CALLBACK_URL": backend.url,
    }
    commands = fresh_environment(tmp_path / "venv", requirements_of("kinora"))
    personal = Container(UnpackedImage(images["kinora"], commands), tmp_path / "at", settings).start()
    try:
        personal.wait_ready()
        working = " ".join(command(process) for process in personal.processes())
        assert all(f"services.{service}.runner" in working for service in SERVICES)
        with httpx.Client(base_url=personal.url, headers=AUTHORISED, trust_env=False, timeout=30) as client:
            face = str(media / "face.jpg")
            body = {
                "task_id": 300,
                "programe": 1,
                "source_file": face,
                "target_file": face,
                "dist_dir": str(media / "out"),
            }
            assert client.post("/api/ai/facefusion", json=body).json() == {"err_code": 0, "err_msg": ""}
        assert backend.wait_for(300, timeout_seconds=TASK_SECONDS).payload["err_msg"] == ""
        assert personal.stop() == 0
        assert personal.processes() == []
    finally:
        personal.kill()


def test_sigterm_ends_every_image_in_order(deployment: Running) -> None:
    """The last of the module: an engine's stop, which the entrypoint passes on to BentoML."""
    with ThreadPoolExecutor(len(deployment)) as pool:
        statuses = dict(zip(deployment, pool.map(Container.stop, deployment.values()), strict=True))
    assert statuses == dict.fromkeys(deployment, 0)
    assert [command(process) for one in deployment.values() for process in one.processes()] == []
