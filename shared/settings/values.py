"""How a value is written in a variable where its type alone does not say it: lists, pairs, URLs, folders.

`written` is for a reader: `docs/settings.md` shows it.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

from shared.upstreams import WeightedUpstream, read_upstreams
from shared.vocabulary import ServiceName


def written(words: str, default: str | None = None) -> dict[str, str]:
    """Return what the page of settings says of a value and, where the code does not show it, of its default."""
    return {"written": words} | ({"written_default": default} if default else {})


def _split(separator: str) -> Callable[[object], object]:
    def split(value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(part.strip() for part in value.split(separator) if part.strip())

    return split


def _read_pairs(value: object) -> object:
    r"""`D:\media=/mnt/media;E:\x=/mnt/x` becomes pairs of a caller's prefix and ours."""
    if not isinstance(value, str):
        return value
    pairs = tuple(tuple(pair.split("=", 1)) for pair in value.split(";") if pair)
    if any(len(pair) != 2 or not pair[0] or not pair[1].startswith("/") for pair in pairs):  # noqa: PLR2004  # a pair
        raise ValueError("write it as PREFIX=/folder;PREFIX=/folder")
    return pairs


def _read_loras(value: object) -> object:
    """`/a.safetensors=0.8,/b.safetensors` becomes pairs of a file and its weight, which is 1 where none is written."""
    if not isinstance(value, str):
        return value
    pairs = [part.strip().partition("=") for part in value.split(",") if part.strip()]
    if any(not path.startswith(("/", ".")) or not path.endswith(".safetensors") for path, _, _ in pairs):
        raise ValueError("write it as /FILE.safetensors=WEIGHT,/FILE.safetensors=WEIGHT")
    return tuple((path, weight or 1) for path, _, weight in pairs)


def _sendable(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0:  # a port out of range raises
        raise ValueError("write it as http://HOST:PORT/PATH or https://HOST/PATH")
    return value


def _host_names(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if not _HOST.fullmatch(name):
            raise ValueError(f"write names such as cdn.example.com or cdn.example.com:8443, not {name}")
    return tuple(name.lower() for name in names)


def _bucket(value: str) -> str:
    if not _BUCKET.fullmatch(value):
        raise ValueError("write it as s3://BUCKET or s3://BUCKET/PREFIX")
    return value.rstrip("/")


_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9]([a-z0-9._-]*[a-z0-9])?)(:[0-9]{1,5})?", re.IGNORECASE | re.ASCII)
_BUCKET = re.compile(r"s3://[a-z0-9][a-z0-9._-]{1,61}[a-z0-9](/[A-Za-z0-9._-]+)*/?", re.ASCII)

Folder = Annotated[Path, AfterValidator(Path.absolute), Field(json_schema_extra=written("a folder"))]
Folders = Annotated[
    tuple[Folder, ...],
    BeforeValidator(lambda value: tuple(filter(None, value.split(":"))) if isinstance(value, str) else value),
    Field(json_schema_extra=written("folders, separated by colons")),
]
Names = Annotated[
    tuple[str, ...], BeforeValidator(_split(",")), Field(json_schema_extra=written("names, separated by commas"))
]
HostNames = Annotated[
    tuple[str, ...],
    BeforeValidator(_split(",")),
    AfterValidator(_host_names),
    Field(json_schema_extra=written("host names, each with a port unless it is 80 or 443, separated by commas")),
]
BucketUrl = Annotated[
    str | None,
    BeforeValidator(lambda value: value or None),
    AfterValidator(lambda value: None if value is None else _bucket(value)),
    Field(json_schema_extra=written("`s3://BUCKET` or `s3://BUCKET/PREFIX`")),
]
ServiceNames = Annotated[
    tuple[ServiceName, ...],
    BeforeValidator(_split(",")),
    Field(json_schema_extra=written("names of services, separated by commas")),
]
PathMap = Annotated[
    tuple[tuple[str, str], ...],
    BeforeValidator(_read_pairs),
    Field(json_schema_extra=written(r"pairs such as `D:\media=/mnt/media`, separated by semicolons")),
]
Loras = Annotated[
    tuple[tuple[Path, Annotated[float, Field(allow_inf_nan=False)]], ...],
    BeforeValidator(_read_loras),
    Field(json_schema_extra=written("files with weights such as `/loras/a.safetensors=0.8`, separated by commas")),
]
HttpUrl = Annotated[str, AfterValidator(_sendable), Field(json_schema_extra=written("an HTTP or HTTPS URL"))]
OptionalUrl = Annotated[HttpUrl | None, BeforeValidator(lambda value: value or None)]  # an empty variable is none
CallbackUrl = Annotated[str, AfterValidator(_sendable), Field(json_schema_extra=written("an HTTP or HTTPS URL"))]
Upstreams = Annotated[
    tuple[WeightedUpstream, ...],
    BeforeValidator(lambda value: read_upstreams(value) if isinstance(value, str) else value),
    Field(json_schema_extra=written("a URL, or URLs with weights such as `http://a:5003=90,http://b:5003=10`")),
]
