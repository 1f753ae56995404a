"""Who gets into the console: signing in and out, forged and old cookies, other origins, missing CSRF tokens."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.router.console_api import session_routes
from services.router.console_api.guard import CSRF_HEADER
from services.router.console_api.sessions import COOKIE, LONGEST_SECONDS, Sessions
from shared.settings import AccessSettings, ConsoleSettings, Settings
from tests.support.console import SESSION, Console, serving_console
from tests.support.fake_upstream import refused

TOKEN = "a long secret"


def settings_of(folder: Path, **access: object) -> Settings:
    return Settings(state_dir=folder / "state", media_roots=(folder,), access=AccessSettings.model_validate(access))


@pytest.fixture
def console(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Console]:
    monkeypatch.setattr(session_routes, "_WRONG_SECONDS", 0.0)
    with serving_console(settings_of(tmp_path, token=TOKEN)) as console:
        yield console


def test_a_token_opens_a_session_that_only_the_browser_itself_can_send(console: Console) -> None:
    answer = console.client.post(SESSION, json={"token": TOKEN})
    assert answer.status_code == 200
    cookie = answer.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=Strict", "Path=/api/console"} <= set(cookie.split("; "))
    [lasts] = [int(part.removeprefix("Max-Age=")) for part in cookie.split("; ") if part.startswith("Max-Age=")]
    assert 43200 - 60 < lasts <= 43200
    assert "Secure" not in cookie
    assert TOKEN not in cookie
    assert answer.json()["token_needed"] is True
    shown = console.client.get(SESSION)
    assert shown.json() == answer.json()
    assert shown.headers["cache-control"] == "no-store"


def test_behind_https_the_cookie_never_travels_without_it(console: Console) -> None:
    answer = console.client.post(SESSION, json={"token": TOKEN}, headers={"x-forwarded-proto": "https"})
    assert "Secure" in answer.headers["set-cookie"].split("; ")


def test_without_a_session_nothing_is_shown_but_whether_a_token_is_needed(console: Console) -> None:
    for path in (SESSION, "/api/console/tasks", "/api/console/files", "/api/console/nowhere"):
        answer = console.client.get(path)
        assert "sign in first" in refused(answer, 401)
        assert answer.headers["kinora-token-needed"] == "true"
    assert console.client.get("/api/console/tasks", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 401


@pytest.mark.parametrize("token", ["", "a long secreT", TOKEN + " x", None, 7, ["x"]])
def test_a_wrong_token_opens_nothing(console: Console, token: object) -> None:
    answer = console.client.post(SESSION, json={"token": token})
    assert "not a token" in refused(answer, 401)
    assert "set-cookie" not in answer.headers


def test_guessing_ends_soon(console: Console) -> None:
    statuses = [console.client.post(SESSION, json={"token": f"guess {n}"}).status_code for n in range(25)]
    assert statuses == [401] * 20 + [429] * 5
    late = console.client.post(SESSION, json={"token": TOKEN})
    assert "wait a minute" in refused(late, 429)
    assert int(late.headers["retry-after"]) > 0


def test_loopback_without_a_token_needs_none(tmp_path: Path) -> None:
    with serving_console(settings_of(tmp_path)) as console:
        assert console.client.get(SESSION).headers["kinora-token-needed"] == "false"
        assert console.sign_in()["token_needed"] is False
        assert console.client.post(SESSION).status_code == 200


def test_a_host_that_others_reach_needs_a_token_even_where_the_contract_was_opened_on_purpose(tmp_path: Path) -> None:
    with serving_console(settings_of(tmp_path, host="0.0.0.0", token="none")) as console:
        assert "set KINORA_TOKEN" in refused(console.client.post(SESSION, json={"token": "none"}), 403)
        assert console.client.get("/").status_code == 200


def test_turned_off_there_is_no_console(tmp_path: Path) -> None:
    off = settings_of(tmp_path).model_copy(update={"console": ConsoleSettings(enabled=False)})
    with serving_console(off) as console:
        for path in ("/", "/console/app.js", SESSION, "/api/console/tasks"):
            assert refused(console.client.get(path), 404) == "this path does not exist"
        assert console.client.post(SESSION, json={}).status_code == 404


def test_what_changes_something_needs_the_sessions_own_csrf_token(console: Console, tmp_path: Path) -> None:
    console.sign_in(TOKEN)
    own = console.client.headers.pop(CSRF_HEADER)
    other = Sessions(settings_of(tmp_path, token=TOKEN)).begin().csrf
    for sent in ({}, {CSRF_HEADER: ""}, {CSRF_HEADER: other}, {CSRF_HEADER: own[:-1]}, {CSRF_HEADER: "é".encode()}):
        assert "X-Kinora-CSRF" in refused(console.client.delete(SESSION, headers=sent), 403)  # type: ignore[arg-type]
    assert console.client.get(SESSION).status_code == 200
    assert console.client.delete(SESSION, headers={CSRF_HEADER: own}).status_code == 204


def test_a_session_that_was_ended_is_refused_whoever_kept_its_cookie(console: Console) -> None:
    console.sign_in(TOKEN)
    kept = console.client.cookies[COOKIE]
    gone = console.client.delete(SESSION)
    assert "Max-Age=0" in gone.headers["set-cookie"]
    console.client.cookies.clear()
    assert console.client.get(SESSION, headers={"cookie": f"{COOKIE}={kept}"}).status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"host": "rebound.example"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_another_origin_gets_nowhere(console: Console, headers: dict[str, str]) -> None:
    console.sign_in(TOKEN)
    assert console.client.get(SESSION, headers=headers).status_code == 403
    assert console.client.post(SESSION, json={"token": TOKEN}, headers=headers).status_code == 403
    assert console.client.delete(SESSION, headers=headers).status_code == 403
    assert console.client.get(SESSION).status_code == 200


def test_a_link_of_another_site_opens_the_page_and_nothing_else(console: Console) -> None:
    elsewhere = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert console.client.get("/", headers=elsewhere).status_code == 200


def test_errors_are_true_statuses_with_the_contracts_two_keys(console: Console) -> None:
    console.sign_in(TOKEN)
    refused(console.client.get("/api/console/nowhere"), 404)
    refused(console.client.put(SESSION), 405)
    refused(console.client.post(SESSION, content=b"[1]"), 400)
    refused(console.client.post(SESSION, content=b"x" * 70_000), 413)


def test_the_contract_behind_the_console_is_as_it_was(console: Console) -> None:
    console.sign_in(TOKEN)
    assert refused(console.client.get("/api/ai/tasks"), 401).startswith("a bearer token")


# The cookie itself


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def test_a_session_ends_with_its_time_and_is_renewed_by_use(tmp_path: Path) -> None:
    clock = Clock()
    sessions = Sessions(settings_of(tmp_path), clock)
    session = sessions.begin()
    cookie = sessions.write(session)
    assert sessions.renewed(session) is None
    clock.now += 7 * 3600
    renewed = sessions.renewed(session)
    assert renewed
    assert (renewed.csrf, renewed.id) == (session.csrf, session.id)
    clock.now += 5 * 3600
    assert sessions.read(cookie) is None
    assert sessions.read(sessions.write(renewed)) == renewed


def test_no_use_keeps_a_session_for_ever(tmp_path: Path) -> None:
    clock = Clock()
    sessions = Sessions(settings_of(tmp_path), clock)
    session = first = sessions.begin()
    while (renewed := sessions.renewed(session)) or session.expires > clock.now:
        session = renewed or session
        clock.now += 3600
    assert clock.now - first.begun <= LONGEST_SECONDS + 3600
    assert sessions.read(sessions.write(session)) is None


def test_a_cookie_that_was_changed_is_none_of_ours(tmp_path: Path) -> None:
    sessions = Sessions(settings_of(tmp_path))
    cookie = sessions.write(sessions.begin())
    id_, begun, expires, mac = cookie.split(".")
    longer = f"{id_}.{begun}.{int(expires) + 9999}.{mac}"
    arabic = f"{id_}.{begun}.{''.join(chr(0x660 + int(digit)) for digit in expires)}.{mac}"
    for forged in (longer, arabic, cookie[:-1], cookie + "0", f"x{cookie}", "", "...", "a.1.2.b", "." * 9, "é.1.2.3"):
        assert sessions.read(forged) is None
    assert sessions.read("a." + "9" * 5000 + ".1.b") is None
    assert sessions.read(cookie)


def test_sessions_outlive_a_restart_and_end_with_their_token(tmp_path: Path) -> None:
    cookie = (first := Sessions(settings_of(tmp_path, token="one"))).write(first.begin())
    assert Sessions(settings_of(tmp_path, token="one")).read(cookie)
    assert not Sessions(settings_of(tmp_path, token="two")).read(cookie)
    assert not Sessions(settings_of(tmp_path, token="one,two")).read(cookie)


def test_the_key_is_its_owners_alone_and_one_that_others_could_read_is_replaced(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    cookie = (sessions := Sessions(settings)).write(sessions.begin())
    key = settings.state_dir / "console.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in settings.state_dir.iterdir()] == ["console.key"]
    key.chmod(0o644)
    assert Sessions(settings).read(cookie) is None
    assert key.stat().st_mode & 0o777 == 0o600


def test_a_state_folder_that_cannot_be_written_only_shortens_sessions(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    sessions = Sessions(settings_of(tmp_path))
    assert sessions.read(sessions.write(sessions.begin()))


def test_a_renewed_cookie_comes_with_any_answer(tmp_path: Path) -> None:
    hours = settings_of(tmp_path).model_copy(update={"console": ConsoleSettings(session_hours=1)})
    clock = Clock()
    with serving_console(hours) as console:
        clock.now = time.time() - 2000
        old = Sessions(hours, clock)
        session = old.begin()
        console.client.cookies.set(COOKIE, old.write(session), domain="127.0.0.1", path="/api/console")
        answer = console.client.get(SESSION)
        assert answer.json()["csrf"] == session.csrf
        assert COOKIE in answer.headers["set-cookie"]
