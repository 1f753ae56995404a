"""One frozen settings object, read from the environment at start-up and passed down."""

import ipaddress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, PositiveFloat, PositiveInt, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from shared.upstreams import WeightedUpstream, read_upstreams
from shared.vocabulary import SERVICES, Language, ServiceName

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
OPEN_ON_PURPOSE = "none"  # as KINORA_TOKEN: the operator says that no token is wanted


def installed_version() -> str:
    """Return the release that is installed; a bento carries the sources without it and sets `KINORA_VERSION`."""
    try:
        return version("kinora")
    except PackageNotFoundError:
        return "unknown"


class Settings(BaseSettings):
    """Every setting is an environment variable with the prefix `KINORA_`; all are optional."""

    model_config = SettingsConfigDict(env_prefix="KINORA_", frozen=True, extra="ignore")

    # Which release this is: tasks run on the version that accepted them. It is part of a notification channel's name,
    # of which PostgreSQL takes 63 bytes.
    version: Annotated[str, Field(max_length=20, pattern=r"^[0-9A-Za-z][0-9A-Za-z._+-]*$")] = Field(
        default_factory=installed_version, validate_default=True
    )

    # Where things lie
    media_roots: Annotated[tuple[Path, ...], NoDecode] = (Path("media"),)
    state_dir: Path = Path("state")
    database_url: SecretStr | None = None
    path_map: Annotated[tuple[tuple[str, str], ...], NoDecode] = ()

    # Who may call, and where answers go
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 5000
    token: SecretStr | None = None
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    callback_url: str = "http://127.0.0.1:8088/api/ai/notify"
    webhook_secret: SecretStr | None = None
    language: Language = "en"
    services: Annotated[tuple[ServiceName, ...], NoDecode] = SERVICES  # what the router starts on this machine
    master_pid: int | None = None  # set by `kinora serve` for the processes that it starts
    creation_url: str | None = None  # one URL, or `http://a=90,http://b=10`: versions with their weights
    facefusion_url: str | None = None
    interpo_url: str | None = None
    upscale_url: str | None = None

    # How much, how long
    max_queued: PositiveInt = 100
    task_timeout_seconds: PositiveFloat = 14400
    drain_seconds: Annotated[float, Field(ge=0)] = 600
    keep_days: PositiveFloat = 30
    faces_keep_days: PositiveFloat = 7
    creation_max_seconds: PositiveFloat = 30
    log_format: Literal["text", "json"] = "text"

    # The machine and the models
    device: Literal["auto", "cpu", "cuda"] = "auto"
    gpu_exclusive: bool = False
    preload: bool = False
    hub_url: str = "https://huggingface.co"  # or a mirror of it: where whole models are pulled from
    upscale_model: Literal["auto", "animevideov3", "x4plus", "x4plus-anime"] = "auto"
    facefusion_swapper: Literal["auto", "classic", "inswapper"] = "auto"
    facefusion_sharpen: bool = False  # inswapper only: enlarge the swapped face with the upscaling network

    # Video creation: which engine, and for the generative one which model under which memory plan. A model is a name
    # of `kinora weights list`, a folder in diffusers layout (begins with / or .) or a repository of the hub.
    creation_engine: Literal["auto", "classic", "wan"] = "auto"
    creation_plan: Literal["auto", "speed", "balanced", "low", "draft"] = "auto"
    creation_model: Annotated[str, Field(min_length=1)] = "wan-vace-1.3b"
    creation_draft_model: Annotated[str, Field(min_length=1)] = "wan-draft-1.3b"
    creation_download: bool = False  # whether a runner may fetch a repository that is not in the hub's cache
    creation_steps: PositiveInt | None = None  # of denoising: more are finer and slower; by default the plan's
    creation_pixels: PositiveInt | None = None  # of a generated frame, about; by default what the model was trained for

    # Care: face fusion looks for nudity in one frame a second and refuses above a share of them
    nsfw_check: bool = True
    nsfw_threshold: Annotated[float, Field(gt=0, lt=1)] = 0.8
    nsfw_share: Annotated[float, Field(ge=0, lt=1)] = 0.1

    # The result
    encoder: Literal["auto", "x264", "x265", "svtav1", "nvenc"] = "auto"
    preset: str = "veryfast"
    crf: Annotated[int, Field(ge=0, le=51)] = 18
    visible_label: bool = False
    content_producer: Annotated[str, Field(min_length=1, pattern=r"^[!-~]+$")] = "kinora"

    @classmethod
    def load(cls) -> Self:
        """Read the environment once; the result is passed down and never changes."""
        return cls()

    @field_validator("media_roots", mode="before")
    @classmethod
    def _split_roots(cls, value: object) -> object:
        return tuple(part for part in value.split(":") if part) if isinstance(value, str) else value

    @field_validator("media_roots")
    @classmethod
    def _absolute_roots(cls, value: tuple[Path, ...]) -> tuple[Path, ...]:
        return tuple(root.absolute() for root in value)

    @field_validator("state_dir")
    @classmethod
    def _absolute_state(cls, value: Path) -> Path:
        return value.absolute()

    @field_validator("callback_url")
    @classmethod
    def _sendable(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0:  # a port out of range raises
            raise ValueError("write it as http://HOST:PORT/PATH or https://HOST/PATH")
        return value

    @field_validator("creation_url", "facefusion_url", "interpo_url", "upscale_url")
    @classmethod
    def _routable(cls, value: str | None) -> str | None:
        read_upstreams(value or "")
        return value

    @field_validator("allowed_hosts", "services", mode="before")
    @classmethod
    def _split_names(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("path_map", mode="before")
    @classmethod
    def _split_map(cls, value: object) -> object:
        r"""`D:\media=/mnt/media;E:\x=/mnt/x` becomes pairs of a caller's prefix and ours."""
        if not isinstance(value, str):
            return value
        pairs = tuple(tuple(pair.split("=", 1)) for pair in value.split(";") if pair)
        if any(len(pair) != 2 or not pair[0] or not pair[1].startswith("/") for pair in pairs):  # noqa: PLR2004  # a pair
            raise ValueError("write it as PREFIX=/folder;PREFIX=/folder")
        return pairs

    @model_validator(mode="after")
    def _guard_open_host(self) -> Self:
        if not self.tokens and not _is_loopback(self.host) and not self._open_on_purpose():
            raise ValueError(
                f"KINORA_HOST={self.host} can be reached from outside: set KINORA_TOKEN, to the word none if meant so"
            )
        return self

    @property
    def tokens(self) -> tuple[str, ...]:
        """The bearer tokens that callers may send; empty when none is asked for."""
        if self.token is None or self._open_on_purpose():
            return ()
        return tuple(part.strip() for part in self.token.get_secret_value().split(",") if part.strip())

    def _open_on_purpose(self) -> bool:
        return self.token is not None and self.token.get_secret_value().strip().lower() == OPEN_ON_PURPOSE

    def upstreams(self, service: ServiceName) -> tuple[WeightedUpstream, ...]:
        """Where the router finds the versions of a service that run elsewhere; empty means on this machine."""
        text: str | None = getattr(self, f"{service}_url")
        return read_upstreams(text or "")


def _is_loopback(host: str) -> bool:
    if host.lower() in LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
