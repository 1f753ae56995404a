"""A program on a terminal of its own: what it writes there, and the keys that somebody presses."""

import os
import pty
import re
import select
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

CTRL_C = "\x03"
HEEDS_CTRL_C = ("env", "--default-signal=INT")  # a shell starts what runs in the background, tests as well, without
PATIENCE_SECONDS = 180.0  # only detects what never happens: the machine may be busy
_STYLE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")  # bold and the like, and where the cursor goes


class Terminal:
    """One program in the foreground of a pseudo-terminal; its standard output is read apart, as a script does."""

    def __init__(self, process: "subprocess.Popen[str]", keys: int) -> None:
        self._process = process
        self._keys = keys
        self.shown = ""

    def press(self, keys: str) -> None:
        """Type; Ctrl-C becomes the signal that the terminal makes of it."""
        os.write(self._keys, keys.encode())

    def wait_for(self, words: str) -> None:
        """Wait until it has shown these words, whatever their style, since the last call; fail when it ends without."""
        while words not in self.shown:
            said = self._read()
            assert said, f"it ended, or fell silent, without {words!r}: {self.shown}"
            self.shown = _STYLE.sub("", self.shown + said)
        self.shown = self.shown.partition(words)[2]

    def end(self) -> tuple[int, str]:
        """Wait for its end; return its exit code and its standard output."""
        while said := self._read():
            self.shown = _STYLE.sub("", self.shown + said)
        output, _ = self._process.communicate(timeout=PATIENCE_SECONDS)
        return self._process.returncode, output

    def _read(self) -> str:
        """Return what it shows next; nothing once it has ended, or has been silent for long."""
        if not select.select([self._keys], [], [], PATIENCE_SECONDS)[0]:
            return ""
        try:
            return os.read(self._keys, 4096).decode(errors="replace")
        except OSError:  # the program has closed its side
            return ""


@contextmanager
def on_terminal(*command: str, environment: Mapping[str, str], cwd: Path | None = None) -> Iterator[Terminal]:
    """Start a program on a terminal; it is killed where the block ends before it."""
    keys, screen = pty.openpty()
    try:
        process = subprocess.Popen(
            [*HEEDS_CTRL_C, "setsid", "--ctty", *command],  # its controlling terminal: whence Ctrl-C comes
            stdin=screen, stderr=screen, stdout=subprocess.PIPE, text=True, cwd=cwd,
            env={**environment, "TERM": "xterm", "COLUMNS": "200", "NO_COLOR": "1"},
        )  # fmt: skip
    finally:
        os.close(screen)
    try:
        yield Terminal(process, keys)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        process.communicate()
        os.close(keys)
