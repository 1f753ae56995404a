"""The catalogue: what may be fetched, under which licence, from where."""

import hashlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal

from shared.errors import Rejected
from shared.weights.convert import CONVERTED, CONVERTER_VERSION, Conversion
from shared.weights.diffusers_layout import Parts
from shared.weights.download import RemoteFile, Source
from shared.weights.hub import Repository


@dataclass(frozen=True)
class Entry:
    """One line of the catalogue: files that belong together, or a whole model, or LoRAs, of the hub."""

    name: str
    kind: Literal["weights", "media"]
    purpose: str
    licence: str
    origin: str
    commercial: bool
    default: bool
    files: tuple[RemoteFile, ...] = ()
    convert: Conversion | None = None
    hub: tuple[Repository, ...] = ()
    parts: Parts = field(default_factory=dict)  # of a whole model
    about_bytes: int = 0  # of what the hub has, whose commit knows the exact number
    brings: Sequence[str] = ()  # entries that are pulled with it
    few_steps: str = ""  # of a whole model: the LoRAs with which it needs few steps

    @property
    def is_model(self) -> bool:
        """Whether this is a whole model: a folder, not files."""
        return bool(self.parts)

    @property
    def pull_command(self) -> str:
        """The command that pulls it, its licence named where it must be."""
        consent = f" --accept-licence '{self.licence}'" if self.needs_consent else ""
        return f"kinora weights pull {self.name}{consent}"

    @property
    def takes_file(self) -> bool:
        """Whether a file that was brought by hand may become this entry."""
        return self.convert == "torch"

    @property
    def size(self) -> int:
        """Bytes to download."""
        return self.about_bytes or sum(file.size for file in self.files)

    @property
    def needs_consent(self) -> bool:
        """Whether it is non-commercial: such weights are pulled only for a user who names their licence."""
        return self.kind == "weights" and not self.commercial

    @property
    def has_sha256(self) -> bool:
        """Whether the catalogue fixes every byte of its files; of a whole model the commit does."""
        return all(file.sha256 for file in self.files)

    @property
    def tag(self) -> str:
        """`name:version` in the model store; the version follows from the content, and changes only with it."""
        content: list[object] = [file.sha256 or file.crc32 for file in self.files]
        content += [self.convert or "", CONVERTER_VERSION if self.convert else 0]
        content += [[part.name, part.revision, part.folders, *part.files] for part in self.hub]
        return f"{self.name}:{hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]}"

    @property
    def main_file(self) -> str:
        """Return what a model is loaded from."""
        if self.convert:
            return CONVERTED
        return self.files[0].name if self.files else self.hub[0].files[0]

    @property
    def loras(self) -> tuple[str, ...]:
        """Return the paths of the LoRAs that this is: one, or one for each transformer of a model with two."""
        return () if self.is_model else tuple(path for repository in self.hub for path in repository.files)


@cache
def entries() -> Mapping[str, Entry]:
    """Return every entry by name, in the order of `weights.toml`."""
    tables = tomllib.loads(Path(__file__).with_name("weights.toml").read_text(encoding="utf-8"))
    return {
        name: Entry(
            name=name,
            files=tuple(
                RemoteFile(
                    name=file["name"],
                    size=file["size"],
                    sha256=file.get("sha256", ""),
                    sources=tuple(Source(**source) for source in file["sources"]),
                    crc32=file.get("crc32", ""),
                )
                for file in table.pop("files", ())
            ),
            hub=tuple(
                Repository(
                    part["repository"],
                    part["revision"],
                    tuple(part["folders"]),
                    part.get("sha256", {}),
                    tuple(part.get("files", ())),
                )
                for part in table.pop("hub", ())
            ),
            **table,
        )
        for name, table in tables.items()
    }


def entry(name: str) -> Entry:
    """Look up a name; an unknown one is rejected with the names that exist."""
    try:
        return entries()[name]
    except KeyError:
        raise Rejected("weights_unknown", name=name, allowed=", ".join(entries())) from None
