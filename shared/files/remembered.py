"""A few words that outlive the process, in a JSON file that is done without where it cannot be read or written."""

import json
from collections.abc import Iterator, MutableMapping
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

ENGINES = "engines.json"  # in the state folder: which engine is the fastest for which network


class Remembered(MutableMapping[str, str]):
    """A mapping of words to words; each change is written at once, as a whole file that replaces the one before."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._words: dict[str, str] = {}
        with suppress(OSError, ValueError):
            known = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(known, dict):
                self._words = {key: value for key, value in known.items() if isinstance(value, str)}

    def __getitem__(self, key: str) -> str:
        return self._words[key]

    def __setitem__(self, key: str, value: str) -> None:
        self._words[key] = value
        self._write()

    def __delitem__(self, key: str) -> None:
        del self._words[key]
        self._write()

    def __iter__(self) -> Iterator[str]:
        return iter(self._words)

    def __len__(self) -> int:
        return len(self._words)

    def _write(self) -> None:
        words = json.dumps(dict(self._words), indent=1)  # a copy: another thread may change them meanwhile
        part = self._path.with_name(f".{self._path.name}-{uuid4().hex[:8]}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(words, encoding="utf-8")
            part.replace(self._path)
        except OSError:  # a full disk among them: what was begun must not pile up there
            with suppress(OSError):
                part.unlink()
