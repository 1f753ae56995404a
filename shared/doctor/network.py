"""The network: port, token and host names, the callback's receiver, the webhook secret."""

import base64
import socket
from collections.abc import Iterator
from contextlib import suppress

import httpx
import psutil

from shared.doctor.finding import Finding
from shared.settings import AccessSettings, Settings

ASK_SECONDS = 3.0
SHORTEST_TOKEN = 16


def access(settings: Settings) -> Iterator[Finding]:
    """Check who could call: a service that the network can reach needs a token."""
    given = settings.access
    where = f"{given.host}:{given.port}"
    weak = [token for token in given.tokens if len(token) < SHORTEST_TOKEN]
    if given.is_loopback:
        yield Finding("access", "ok", f"{where}: only this machine can call")
    elif given.token is None:
        text = f"{where} is open to the network without a token: set KINORA_TOKEN, or to none on purpose"
        yield Finding("access", "broken", text)
    elif not given.tokens:
        yield Finding(
            "access", "warning", f"{where} is open to the network, and KINORA_TOKEN says that anybody may call"
        )
    elif weak:
        text = f"{where}: KINORA_TOKEN is short enough to be guessed; create one with `openssl rand -hex 32`"
        yield Finding("access", "warning", text)
    else:
        yield Finding("access", "ok", f"{where}: open to the network, KINORA_TOKEN is set")
    if "*" in given.allowed_hosts and not given.tokens:
        text = "KINORA_ALLOWED_HOSTS is * and there is no token: web pages could post tasks; name the hosts"
        yield Finding("access", "warning", text)


def port(settings: Settings) -> Iterator[Finding]:
    """Check whether the router's port is free, or which process uses it."""
    host, number = settings.access.host, settings.access.port
    where = f"{host}:{number}"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # a port that was closed a moment ago counts as free
        try:
            probe.bind((host, number))
        except PermissionError:
            yield Finding("port", "broken", f"{where}: only root may listen below 1024; take a higher KINORA_PORT")
        except OSError as error:
            yield _holder(settings.access, where, error)
        else:
            yield Finding("port", "ok", f"{where} is free")


def callback(settings: Settings) -> Iterator[Finding]:
    """Check that something answers at the callback URL, with a GET that names no task."""
    try:
        answer = httpx.get(settings.callbacks.url, timeout=ASK_SECONDS, trust_env=False, follow_redirects=False)
    except httpx.HTTPError as error:
        reason = str(error) or type(error).__name__
        text = f"nothing answers at {shown(settings.callbacks.url)} ({reason}): callbacks will wait and be tried again"
        yield Finding("callback", "warning", f"{text}; start the backend or correct KINORA_CALLBACK_URL")
        return
    server = f" by {answer.headers['server']}" if "server" in answer.headers else ""
    text = f"{shown(settings.callbacks.url)} answers a GET with HTTP {answer.status_code}{server}"
    if answer.is_redirect:
        text += ": redirects are not followed, put the last address into KINORA_CALLBACK_URL"
        yield Finding("callback", "warning", text)
    elif answer.status_code in {httpx.codes.BAD_GATEWAY, httpx.codes.SERVICE_UNAVAILABLE, httpx.codes.GATEWAY_TIMEOUT}:
        yield Finding("callback", "warning", f"{text}: a proxy answers, the backend behind it does not; start it")
    elif answer.status_code in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        yield Finding(
            "callback", "warning", f"{text}: Kinora has no password for it; let the backend check signatures instead"
        )
    else:
        yield Finding("callback", "ok", f"{text}: a server is there; callbacks are sent as POST")


def signature(settings: Settings) -> Iterator[Finding]:
    """Check whether callbacks are signed, and can be."""
    if settings.callbacks.webhook_secret is None:
        text = "callbacks are not signed; set KINORA_WEBHOOK_SECRET where others can reach the backend"
        yield Finding("signature", "ok", text)
        return
    parts = settings.callbacks.webhook_secret.get_secret_value().split()
    for part in parts:
        try:
            key = base64.b64decode(
                part.removeprefix("whsec_"), validate=True
            )  # strictly: the library ignores invalid characters
        except ValueError:
            key = b""
        if not key:
            text = "KINORA_WEBHOOK_SECRET is no secret of Standard Webhooks: write whsec_ and base64"
            yield Finding("signature", "broken", f'{text}, such as "whsec_$(openssl rand -base64 24)"')
            return
    if parts:
        yield Finding("signature", "ok", f"callbacks are signed with {len(parts)} secret(s)")
    else:
        yield Finding("signature", "broken", "KINORA_WEBHOOK_SECRET is empty: unset it, or write whsec_ and base64")


def shown(url: str) -> str:
    """Return a URL without the password that it may contain."""
    return str(httpx.URL(url).copy_with(userinfo=b""))


def _holder(access: AccessSettings, where: str, error: OSError) -> Finding:
    """Report which program uses the port: Kinora, started already, or another one."""
    host = f"[{access.host}]" if ":" in access.host else access.host.replace("0.0.0.0", "127.0.0.1")  # noqa: S104
    with suppress(httpx.HTTPError):
        answer = httpx.get(f"http://{host}:{access.port}/readyz", timeout=ASK_SECONDS, trust_env=False)
        if answer.is_success:
            return Finding("port", "ok", f"{where}: Kinora, or a program like it, answers there already and is ready")
    text = f"{where} cannot be opened ({error.strerror})"
    return Finding("port", "broken", f"{text}: take another KINORA_PORT, or end {_listener(access.port)}")


def _listener(port: int) -> str:
    """Name the process that listens on a port, as far as this user may know."""
    for connection in psutil.net_connections("tcp"):
        listens = connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port
        if listens and connection.pid:
            with suppress(psutil.Error):
                return f"{psutil.Process(connection.pid).name()} ({connection.pid})"
    return "the process that uses it"
