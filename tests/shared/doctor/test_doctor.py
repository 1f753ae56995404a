"""The doctor finds what is wrong and says what to do about it."""

import errno
import json
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import typer
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from typer.testing import CliRunner

from shared.cli.doctor import doctor as command
from shared.database.database import Database
from shared.doctor import codecs, database, examination, folders, machine, network, weights
from shared.doctor.finding import Finding, ask_aside
from shared.doctor.machine import Driver
from shared.settings import (
    AccessSettings,
    CallbackSettings,
    CreationSettings,
    EncodingSettings,
    FaceFusionSettings,
    InterpoSettings,
    Settings,
    UpscaleSettings,
)
from shared.testing.callback_receiver import Receiver
from shared.testing.stack import free_port
from shared.weights import entries, entry
from tests.support.asgi_server import serving


def test_a_sound_installation_is_told_so(tmp_path: Path) -> None:
    with Receiver() as receiver:
        settings = Settings(
            media_roots=(tmp_path,), state_dir=tmp_path / "state", callbacks=CallbackSettings(url=receiver.url)
        )
        findings = list(examination.examine(settings))
    assert {finding.subject for finding in findings if finding.level == "broken"} == set()
    assert receiver.deliveries == [], "the doctor only knocks"


def test_a_root_that_does_not_exist_is_named_with_its_setting(tmp_path: Path) -> None:
    [finding] = folders.roots(Settings(media_roots=(tmp_path / "nowhere",)))
    assert finding.level == "broken"
    assert "KINORA_MEDIA_ROOTS" in finding.sentence
    assert "nowhere" in finding.sentence


def test_the_root_that_serve_makes_by_itself_is_not_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    [finding] = folders.roots(Settings())
    assert finding.level == "ok"


def test_a_root_without_hard_links_is_told_of_and_left_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    findings = list(folders.roots(Settings(media_roots=(tmp_path,))))
    assert any("no hard links" in finding.sentence for finding in findings)
    monkeypatch.undo()
    assert all("no hard links" not in finding.sentence for finding in folders.roots(Settings(media_roots=(tmp_path,))))
    assert list(tmp_path.iterdir()) == []


def test_a_state_folder_inside_a_root_is_a_warning(tmp_path: Path) -> None:
    findings = folders.roots(Settings(media_roots=(tmp_path,), state_dir=tmp_path / "state"))
    assert any(finding.level == "warning" and "database" in finding.sentence for finding in findings)


@pytest.mark.needs_root
def test_a_full_disk_and_a_read_only_disk_have_different_findings(tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "kinora-test", str(tmp_path)], check=True)
    try:
        [small] = [f for f in folders.roots(Settings(media_roots=(tmp_path,))) if "free" in f.sentence]
        assert small.level == "warning"
        assert "free some space" in small.sentence
        subprocess.run(["mount", "-o", "remount,ro", str(tmp_path)], check=True)
        [fixed] = folders.roots(Settings(media_roots=(tmp_path,)))
        assert (fixed.level, "read-only" in fixed.sentence) == ("warning", True)
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_state_folder_that_cannot_be_made_is_named_with_its_setting(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    [finding] = folders.state(Settings(state_dir=tmp_path / "file" / "state"))
    assert (finding.level, "KINORA_STATE_DIR" in finding.sentence) == ("broken", True)


def test_a_database_that_does_not_answer_is_named_with_its_setting() -> None:
    url = f"postgresql://nobody@127.0.0.1:{free_port()}/none"
    [finding] = database.database(Settings(database_url=url))
    assert (finding.level, "KINORA_DATABASE_URL" in finding.sentence) == ("broken", True)


def test_an_external_database_is_read_and_not_changed(tmp_path: Path) -> None:
    home = Database(Settings(state_dir=tmp_path / "state")).start()
    try:
        with psycopg.connect(home.uri, autocommit=True) as connection:
            connection.execute("CREATE DATABASE bare")
        bare = home.uri.replace("/postgres?", "/bare?")
        findings = list(database.database(Settings(database_url=bare)))
        assert {finding.level for finding in findings} == {"ok"}
        assert any("the next start applies them" in finding.sentence for finding in findings)
        with psycopg.connect(bare, autocommit=True) as connection:
            assert connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (0,)
            connection.execute("CREATE TABLE kinora_migrations (number integer, name text)")
            connection.execute("INSERT INTO kinora_migrations SELECT n, '' FROM generate_series(1, 99) n")
        newer = database.database(Settings(database_url=bare))
        assert any(finding.level == "warning" and "newer" in finding.sentence for finding in newer)
        with psycopg.connect(home.uri, autocommit=True) as connection:
            connection.execute("CREATE ROLE guest LOGIN")
        guest = home.uri.replace("postgres:@/", "guest:@/")
        [finding] = [f for f in database.database(Settings(database_url=guest)) if f.level == "broken"]
        assert "GRANT" in finding.sentence
    finally:
        home.stop()


def test_who_uses_the_embedded_database_is_named(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path / "state")
    assert database.users_of(settings.state_dir) == []
    user = Database(settings).start()
    try:
        [used] = [f for f in database.database(settings) if "in use by" in f.sentence]
        assert str(os.getpid()) in used.sentence
    finally:
        user.stop()


@pytest.mark.parametrize(("skew", "level", "word"), [(0.1, "ok", "agree"), (30, "warning", "behind"),
                                                     (-30, "warning", "ahead")])  # fmt: skip
def test_clocks_that_disagree_are_told_of(skew: float, level: str, word: str) -> None:
    finding = database.judge_clock(skew)
    assert finding.level == level
    assert word in finding.sentence


def test_a_silent_backend_is_a_warning_because_callbacks_wait() -> None:
    [finding] = network.callback(
        Settings(callbacks=CallbackSettings(url=f"http://127.0.0.1:{free_port()}/api/ai/notify"))
    )
    assert finding.level == "warning"


def test_what_answered_where_callbacks_go_is_said_without_the_password_in_the_url() -> None:
    with Receiver() as receiver:
        url = receiver.url.replace("http://", "http://user:secret-word@")
        [finding] = network.callback(Settings(callbacks=CallbackSettings(url=url)))
    assert finding.level == "ok"
    assert "HTTP 501" in finding.sentence
    assert "secret-word" not in finding.sentence


@pytest.mark.parametrize(("status", "level"), [(200, "ok"), (405, "ok"), (404, "ok"), (502, "warning"),
                                               (302, "warning"), (401, "warning")])  # fmt: skip
def test_a_proxy_without_its_backend_and_a_redirect_are_warnings(status: int, level: str) -> None:
    async def answer(_request: Request) -> Response:
        return Response(status_code=status, headers={"location": "/elsewhere"} if status == 302 else None)

    with serving(Starlette(routes=[Route("/notify", answer)])) as url:
        [finding] = network.callback(Settings(callbacks=CallbackSettings(url=f"{url}/notify")))
    assert finding.level == level
    assert str(status) in finding.sentence


def test_a_port_that_somebody_else_has_is_broken_and_our_own_is_not() -> None:
    async def ready(_request: Request) -> Response:
        return Response()

    with socket.create_server(("127.0.0.1", 0)) as other:
        [finding] = network.port(Settings(access=AccessSettings(port=other.getsockname()[1])))
        assert (finding.level, "KINORA_PORT" in finding.sentence) == ("broken", True)
        assert f"({os.getpid()})" in finding.sentence
    with serving(Starlette(routes=[Route("/readyz", ready)])) as url:
        [finding] = network.port(Settings(access=AccessSettings(port=int(url.rpartition(":")[2]))))
        assert finding.level == "ok"
    [finding] = network.port(Settings(access=AccessSettings(port=free_port())))
    assert finding.level == "ok"


@pytest.mark.parametrize(("secret", "level"), [
    (None, "ok"), ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "ok"), ("whsec_!!", "broken"), (" ", "broken"),
])  # fmt: skip
def test_a_secret_that_cannot_sign_is_found_before_the_first_callback(secret: str | None, level: str) -> None:
    [finding] = network.signature(
        Settings(callbacks=CallbackSettings(webhook_secret=SecretStr(secret) if secret else None))
    )
    assert finding.level == level
    assert (secret or "whsec_MfK").strip() not in finding.sentence or secret == " "


@pytest.mark.parametrize(("host", "token", "level"), [
    ("127.0.0.1", None, "ok"), ("localhost", None, "ok"), ("::1", None, "ok"),
    ("0.0.0.0", None, "broken"), ("0.0.0.0", "secret", "warning"), ("0.0.0.0", "none", "warning"),
    ("0.0.0.0", "secret-of-more-than-16", "ok"),
])  # fmt: skip
def test_a_door_to_the_network_needs_a_token(host: str, token: str | None, level: str) -> None:
    given = AccessSettings.model_construct(host=host, token=SecretStr(token) if token else None)
    [finding] = network.access(Settings.model_construct(access=given))
    assert finding.level == level
    assert "secret" not in finding.sentence


def test_the_command_ends_with_one_when_something_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "CHECKS", [lambda _settings: iter([Finding("x", "broken", "call a plumber")])])
    app = typer.Typer()
    app.command()(command)
    outcome = CliRunner().invoke(app)
    assert outcome.exit_code == 1
    assert "call a plumber" in outcome.output


def test_a_setting_that_makes_no_sense_is_named_instead_of_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KINORA_CRF", "very good")
    app = typer.Typer()
    app.command()(command)
    outcome = CliRunner().invoke(app)
    assert outcome.exit_code == 1
    assert "KINORA_CRF" in outcome.output


def test_the_findings_are_to_be_had_for_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "CHECKS", [lambda _settings: iter([Finding("x", "warning", "drink more 水")])])
    app = typer.Typer()
    app.command()(command)
    outcome = CliRunner().invoke(app, ["--json"])
    assert outcome.exit_code == 0
    told = {"ok": True, "findings": [{"subject": "x", "level": "warning", "sentence": "drink more 水"}]}
    assert json.loads(outcome.output) == told


def test_a_check_that_fails_itself_does_not_keep_the_others_from_running(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(_settings: Settings) -> Iterator[Finding]:
        yield Finding("x", "ok", "fine")
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(examination, "CHECKS", [failing, machine.python])
    assert [finding.level for finding in examination.examine(Settings())] == ["ok", "broken", "ok"]


@pytest.mark.parametrize(("module", "look"), [("av", codecs.codecs), ("torch", machine.gpu)])
@pytest.mark.parametrize("fault", ["raise ImportError('libx.so.1: not there')", "import os; os.kill(os.getpid(), 11)"])
def test_a_library_that_is_missing_or_crashes_costs_the_doctor_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    module: str,
    look: Callable[[Settings], Iterator[Finding]],
    fault: str,
) -> None:
    (tmp_path / f"{module}.py").write_text(fault)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    broken = [finding for finding in look(Settings()) if finding.level == "broken"]
    assert len(broken) == 1
    assert "make setup" in broken[0].sentence
    assert ("not there" in broken[0].sentence) or ("signal 11" in broken[0].sentence)


def test_what_is_asked_aside_may_print_what_it_likes() -> None:
    assert ask_aside("print('noise')\nanswer['x'] = 1\nprint('more', end='')") == {"x": 1}


def test_an_encoder_that_pyav_lacks_is_named_with_those_that_it_has() -> None:
    answer = {"version": "1", "libraries": {"libavcodec": "62"}, "codecs": ["h264", "hevc", "aac", "libx264"]}
    [finding] = codecs.judge_codecs(answer, Settings(encoding=EncodingSettings(encoder="x265")))
    assert finding.level == "broken"
    assert "KINORA_ENCODER to one of x264" in finding.sentence
    [finding] = codecs.judge_codecs(answer | {"codecs": ["h264", "libx264"]}, Settings())
    assert "aac, hevc" in finding.sentence


@pytest.mark.parametrize(("driver", "card", "wanted", "level", "word"), [
    (None, False, False, "ok", "CPU"),
    (None, False, True, "broken", "KINORA_DEVICE"),
    (None, True, False, "warning", "install"),
    ("Driver/library version mismatch", True, False, "broken", "restart the machine"),
    (Driver("550.1", (12, 4), 0), True, True, "broken", "nvidia-smi"),
    (Driver("550.1", (12, 4), 2), True, True, "ok", "2 GPU"),
])  # fmt: skip
def test_a_driver_is_judged_by_what_it_says(
    driver: Driver | str | None,
    card: bool,  # noqa: FBT001  # a parameter of the test
    wanted: bool,  # noqa: FBT001  # likewise
    level: str,
    word: str,
) -> None:
    [finding] = machine.judge_driver(driver, card=card, wanted=wanted)
    assert finding.level == level
    assert word in finding.sentence


@pytest.mark.parametrize(("built_for", "driver", "word"), [
    (None, Driver("550.1", (12, 4), 1), "without CUDA"),
    ("13.0", Driver("550.1", (12, 4), 1), "update the driver"),
    ("12.4", Driver("550.1", (12, 4), 1), "CUDA_VISIBLE_DEVICES"),
])  # fmt: skip
def test_a_torch_that_does_not_find_the_gpu_is_told_why(built_for: str | None, driver: Driver, word: str) -> None:
    answer: dict[str, object] = {"version": "2.13.0", "built_for": built_for, "found": False, "names": []}
    [finding] = machine.judge_torch(answer, driver, Settings(device="cuda"))
    assert finding.level == "broken"
    assert word in finding.sentence
    [finding] = machine.judge_torch(answer, driver, Settings(device="cpu"))
    assert finding.level == "ok"


def test_a_weak_machine_is_told_what_to_leave_out() -> None:
    assert [finding.level for finding in machine.judge_strength(8, 32 << 30)] == ["ok"]
    [finding] = machine.judge_strength(8, 1 << 30)
    assert (finding.level, "KINORA_SERVICES" in finding.sentence) == ("warning", True)
    [finding] = machine.judge_strength(1, 32 << 30)
    assert finding.level == "warning"


def test_weights_that_a_setting_needs_are_named_with_the_command_and_the_licence_to_accept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shared.weights.exists", lambda name: name not in {"inswapper-128", "wan-vace-1.3b"})
    monkeypatch.setattr("shared.weights.verify", lambda _name: [])
    findings = list(weights.weights_here(Settings(facefusion=FaceFusionSettings(swapper="inswapper"))))
    assert [finding.level for finding in findings] == ["broken"]
    licence = entry("inswapper-128").licence
    assert f"kinora weights pull inswapper-128 --accept-licence '{licence}'" in findings[0].sentence
    monkeypatch.setattr("shared.weights.exists", lambda _name: False)
    [finding] = weights.text_to_video(Settings(creation=CreationSettings(engine="wan")))
    assert (finding.level, "kinora weights pull" in finding.sentence) == ("broken", True)
    monkeypatch.setattr("shared.weights.exists", lambda _name: True)
    [finding] = weights.licences(Settings())
    assert (finding.level, "inswapper-128" in finding.sentence) == ("warning", True)


def test_models_by_name_are_looked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def sentences(**chosen: Any) -> str:
        return " ".join(finding.sentence for finding in weights.weights_here(Settings(**chosen)))

    default = {name for name, found in entries().items() if found.default}
    monkeypatch.setattr("shared.weights.exists", lambda name: name in default)
    monkeypatch.setattr("shared.weights.verify", lambda _name: [])
    assert "verified" in sentences()
    general = sentences(upscale=UpscaleSettings(model="general-x4v3", denoise=0.5))
    assert "kinora weights pull realesr-general-x4v3" in general
    assert "kinora weights pull realesr-general-wdn-x4v3" in general
    assert "kinora weights pull rife-4.25-lite" in sentences(interpo=InterpoSettings(model="4.25-lite"))
    gated = "kinora weights pull codeformer --accept-licence 'S-Lab-1.0'"
    assert gated in sentences(facefusion=FaceFusionSettings(enhance="codeformer"))
    assert "verified" in sentences(facefusion=FaceFusionSettings(enhance="auto"))
    own = tmp_path / "own.pth"
    assert f"no stored model {own}" in sentences(upscale=UpscaleSettings(model=str(own)))
    own.write_bytes(b"")
    assert "verified" in sentences(upscale=UpscaleSettings(model=str(own)))


def test_damaged_weights_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.weights.exists", lambda _name: True)
    monkeypatch.setattr("shared.weights.verify", lambda name: ["x.bin: another sha256"] if name == "rife-4.0" else [])
    [finding] = weights.weights_here(Settings())
    assert finding.level == "broken"
    assert "rife-4.0: x.bin: another sha256" in finding.sentence


def test_the_plan_fast_needs_its_lora_and_files_of_the_operators_must_be_whole(store: Path, tmp_path: Path) -> None:
    assert store.exists()
    half = tmp_path / "half.safetensors"
    half.write_bytes(b"\x10\0\0")
    loras = f"{half}=0.5,{tmp_path / 'gone.safetensors'}"
    creation = CreationSettings(plan="fast", model="wan-vace-14b", loras=loras)
    found = [finding.sentence for finding in weights.few_steps(Settings(creation=creation))]
    assert found == [
        "KINORA_CREATION_PLAN is fast: run `kinora weights pull wan-fast-14b`",
        f"KINORA_CREATION_LORAS: {half} is cut off, or no safetensors file",
        f"KINORA_CREATION_LORAS: there is no file {tmp_path / 'gone.safetensors'}",
    ]
    assert list(weights.few_steps(Settings())) == []


@pytest.mark.parametrize(
    ("here", "told"),
    [
        ((), None),
        (
            ("wan2.2-ti2v-5b",),
            "wan2.2-ti2v-5b has no LoRA; these have one: wan-vace-1.3b, wan-vace-14b, wan2.2-t2v-a14b",
        ),
        (("wan2.2-ti2v-5b", "wan-vace-14b"), "run `kinora weights pull wan-fast-14b`"),
        (("wan2.2-i2v-a14b",), "run `kinora weights pull wan-fast-i2v-a14b`"),
        (("wan-vace-14b", "wan-vace-1.3b", "wan-fast-1.3b"), None),
    ],
)
def test_under_auto_the_plan_fast_needs_the_lora_of_one_pulled_model(
    here: tuple[str, ...], told: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.weights.exists", lambda name: name in here)
    found = list(weights.few_steps(Settings(creation=CreationSettings(plan="fast"))))
    assert [finding.level for finding in found] == (["broken"] if told else [])
    assert all(told and told in finding.sentence for finding in found)
