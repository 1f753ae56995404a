"""The settings object: what every process uses, and the groups that hold the rest."""

import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr

from shared.settings.elsewhere import FetchSettings, StoreSettings
from shared.settings.group import Group
from shared.settings.network import AccessSettings, CallbackSettings, ConsoleSettings, UpstreamSettings
from shared.settings.services import CreationSettings, FaceFusionSettings, InterpoSettings, UpscaleSettings
from shared.settings.tasks import EncodingSettings, LimitSettings
from shared.settings.values import Folder, Folders, OptionalUrl, PathMap, ServiceNames, written
from shared.vocabulary import SERVICES, Language


def installed_version() -> str:
    """Return the release that is installed; a bento carries the sources without it and sets `KINORA_VERSION`."""
    try:
        return version("kinora")
    except PackageNotFoundError:
        return "unknown"


class Settings(Group):
    """What every process uses"""

    media_roots: Folders = (Path("media"),)
    """The folders that request paths must lie in. A relative one begins where Kinora is started."""

    path_map: PathMap = ()
    """Replaces the prefixes of a backend's paths, those of Windows among them, with ours."""

    state_dir: Folder = Path("state")
    """Database, work files and locks. Hosts must not share it."""

    state_required: bool = False
    """Whether a missing embedded database is an error, as for a state volume that is not mounted, instead of made."""

    database_url: Annotated[
        SecretStr | None,
        Field(json_schema_extra=written("`postgresql://USER:PASSWORD@HOST/NAME`", default="embedded")),
    ] = None
    """Any PostgreSQL, 14 or later."""

    language: Language = "en"
    """The language of `err_msg`, in answers unless the request's `Accept-Language` names English or Chinese."""

    log_format: Literal["text", "json"] = "text"
    """`json` writes one object a line, with the task's id."""

    traces_endpoint: Annotated[
        OptionalUrl,
        Field(
            validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT",
            json_schema_extra=written("a URL such as `http://collector:4318`"),
        ),
    ] = None
    """Where spans are sent, by OTLP over HTTP; docs/tracing.md says what is in them."""

    services: ServiceNames = SERVICES
    """Which services the router starts on this machine."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where networks run. `auto` takes the GPU where there is one."""

    gpu_exclusive: bool = False
    """Whether all services of this machine together run one task at a time, on the GPU or, without one, the CPU."""

    preload: bool = False
    """Whether models are loaded at start instead of with the first task."""

    own_runners: bool = True
    """Whether a service starts runners of its own. `false`: they run elsewhere, and may start only when tasks wait."""

    hub_url: Annotated[str, Field(json_schema_extra=written("a URL"))] = "https://huggingface.co"
    """The hub that whole models are pulled from, or a mirror of it; `modelscope` is www.modelscope.cn, and
    `modelscope+https://…` a server with its API."""

    # Part of a notification channel's name, of which PostgreSQL takes 63 bytes.
    version: Annotated[
        str,
        Field(
            max_length=20,
            pattern=r"^[0-9A-Za-z][0-9A-Za-z._+-]*$",
            json_schema_extra=written("at most 20 letters, digits and `._+-`", default="the installed release"),
        ),
    ] = Field(default_factory=installed_version)
    """The version that accepts tasks here; they run on the version that accepted them."""

    master_pid: int | None = None
    """Set by `kinora serve`, for itself: what it starts ends with the process of this id."""

    access: AccessSettings = AccessSettings()
    console: ConsoleSettings = ConsoleSettings()
    callbacks: CallbackSettings = CallbackSettings()
    upstreams: UpstreamSettings = UpstreamSettings()
    limits: LimitSettings = LimitSettings()
    encoding: EncodingSettings = EncodingSettings()
    fetch: FetchSettings = FetchSettings()
    store: StoreSettings = StoreSettings()
    creation: CreationSettings = CreationSettings()
    facefusion: FaceFusionSettings = FaceFusionSettings()
    upscale: UpscaleSettings = UpscaleSettings()
    interpo: InterpoSettings = InterpoSettings()

    @classmethod
    def load(cls) -> Self:
        """Read the environment once; the result is passed down and never changes."""
        environment = {name.upper(): value for name, value in os.environ.items()}
        return cls.model_validate(cls.arguments(environment))
