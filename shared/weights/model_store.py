"""One model of the BentoML model store: files, and a record of what they are that is written last."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from shared.files.hashing import sha256_of

RECORD = "kinora.json"  # file name -> size, sha256 and time of the last change, of everything stored; written last
SETTLED_NS = 1_000_000_000

Facts = dict[str, int | str]


class StoredModel:
    """The place of one `name:version` in the store, filled or empty. BentoML is imported only where it is needed."""

    def __init__(self, tag: str) -> None:
        self.tag = tag

    def folder(self) -> Path | None:
        """Return the folder, None if the store has no such model."""
        import bentoml  # noqa: PLC0415  # its import takes 0.3 s
        from bentoml.exceptions import BentoMLException  # noqa: PLC0415

        try:
            return Path(bentoml.models.get(self.tag).path)
        except BentoMLException:  # not found, or left incomplete by a killed pull
            return None

    def complete(self) -> Path | None:
        """Return the folder if every recorded file is there in its size; looks at names and sizes only."""
        folder = self.folder()
        if folder is None:
            return None
        try:
            whole = all((folder / name).stat().st_size == facts["size"] for name, facts in record(folder).items())
        except (OSError, ValueError):
            return None
        return folder if whole else None

    def fill(self, make: Callable[[Path], list[str]], *, labels: Mapping[str, str], origin: str) -> Path:
        """Put the files that `make` writes into the folder, by the names that it returns, in this place; return it.

        Earlier content is removed. Until the record is written, which is last, the place counts as empty.
        """
        import bentoml  # noqa: PLC0415
        from bentoml.exceptions import NotFound  # noqa: PLC0415

        self.clear()
        with bentoml.models.create(self.tag, labels=dict(labels), metadata={"origin": origin}):
            pass
        folder = self.folder()
        if folder is None:
            raise NotFound(self.tag)
        facts = {name: facts_of(folder / name) for name in make(folder)}
        (folder / RECORD).write_text(json.dumps(facts, indent=1), encoding="utf-8")
        return folder

    def clear(self) -> None:
        """Remove a damaged copy, or the folder that a killed pull left without its record."""
        name, version = self.tag.split(":")
        shutil.rmtree(home() / "models" / name / version, ignore_errors=True)


def record(folder: Path) -> dict[str, Facts]:
    """Return the record of a stored model's files; OSError or ValueError if it cannot be read."""
    found: dict[str, Facts] = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    return found


def facts_of(path: Path) -> Facts:
    """Return a file's entry in the record."""
    status = path.stat()
    return {"size": status.st_size, "sha256": sha256_of(path), "changed_ns": status.st_mtime_ns}


def touched(folder: Path) -> list[str]:
    """Return the files that may have changed since they were stored, by the time of their last change.

    File times are coarse: a file that was changed just before the record was written may have been changed just after
    it too, and counts as changed.
    """
    sure_before = (folder / RECORD).stat().st_mtime_ns - SETTLED_NS
    times = {name: int(facts["changed_ns"]) for name, facts in record(folder).items()}
    return [
        name for name, stored in times.items() if stored > sure_before or (folder / name).stat().st_mtime_ns != stored
    ]


def home() -> Path:
    """Return BentoML's own folder."""
    from bentoml._internal.configuration.containers import BentoMLContainer  # noqa: PLC0415

    return Path(BentoMLContainer.bentoml_home.get())
