"""Who may call, where callbacks go, and where services run that do not run on this machine."""

import ipaddress
from typing import Annotated, Self

from pydantic import Field, NonNegativeInt, SecretStr, model_validator

from shared.settings.group import Group, named_after
from shared.settings.values import CallbackUrl, Names, Upstreams, written
from shared.upstreams import WeightedUpstream
from shared.vocabulary import ServiceName

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
OPEN_ON_PURPOSE = "none"  # as KINORA_TOKEN: the operator says that no token is wanted


class AccessSettings(Group):
    """Where the router listens, and who may call"""

    host: Annotated[str, Field(json_schema_extra=written("an IP address or a host name"))] = "127.0.0.1"
    """Where the router listens. A host that is not loopback needs `KINORA_TOKEN`."""

    port: Annotated[int, Field(ge=1, le=65535)] = 5000
    """The port that the router listens on."""

    token: Annotated[
        SecretStr | None, Field(json_schema_extra=written("secrets, separated by commas, or the word `none`"))
    ] = None
    """The bearer tokens, one of which callers must send. `none` opens a host that others reach without a token."""

    allowed_hosts: Annotated[
        Names, Field(json_schema_extra={"written_default": "loopback names and `KINORA_HOST`"})
    ] = ()
    """Further values of the Host header to answer to. `*` allows every host: then set a token."""

    @model_validator(mode="after")
    def _guard_open_host(self) -> Self:
        if not self.tokens and not self.is_loopback and not self._is_open_on_purpose:
            raise ValueError(
                f"KINORA_HOST={self.host} can be reached from outside: set KINORA_TOKEN, to the word none if meant so"
            )
        return self

    @property
    def tokens(self) -> tuple[str, ...]:
        """The bearer tokens that callers may send; empty when none is asked for."""
        if self.token is None or self._is_open_on_purpose:
            return ()
        return tuple(part.strip() for part in self.token.get_secret_value().split(",") if part.strip())

    @property
    def is_loopback(self) -> bool:
        """Whether the router listens where only this machine can call."""
        if self.host.lower() in LOOPBACK_NAMES:
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def _is_open_on_purpose(self) -> bool:
        return self.token is not None and self.token.get_secret_value().strip().lower() == OPEN_ON_PURPOSE


class CallbackSettings(Group):
    """Where callbacks go"""

    url: Annotated[CallbackUrl, Field(validation_alias="KINORA_CALLBACK_URL")] = "http://127.0.0.1:8088/api/ai/notify"
    """The only place that callbacks are sent to."""

    webhook_secret: Annotated[
        SecretStr | None, Field(json_schema_extra=written("secrets such as `whsec_…`, separated by spaces"))
    ] = None
    """Signs callbacks after Standard Webhooks. Several secrets sign side by side while one replaces another."""


class ConsoleSettings(Group):
    """The console"""

    enabled: Annotated[bool, Field(validation_alias="KINORA_CONSOLE")] = True
    """Whether the router serves the console and its endpoints. Where others reach `KINORA_HOST` it needs a token."""

    session_hours: Annotated[float, Field(gt=0, le=168, validation_alias="KINORA_CONSOLE_SESSION_HOURS")] = 12
    """How long a session of the console lasts without use, in hours."""

    upload_max_mb: Annotated[NonNegativeInt, Field(validation_alias="KINORA_UPLOAD_MAX_MB")] = 8192
    """The largest file that the console takes, in megabytes of 2^20 bytes; 0: it takes none."""


class UpstreamSettings(Group):
    """Where the router finds the services of other hosts"""

    model_config = named_after("KINORA_{}_URL")

    creation: Upstreams = ()
    """Where video creation runs when it is not on this machine: one version, or several with their weights."""

    facefusion: Upstreams = ()
    """The same for face fusion."""

    interpo: Upstreams = ()
    """The same for interpolation."""

    upscale: Upstreams = ()
    """The same for upscaling."""

    def of(self, service: ServiceName) -> tuple[WeightedUpstream, ...]:
        """Return the versions of a service that run elsewhere; empty means that it runs on this machine."""
        versions: tuple[WeightedUpstream, ...] = getattr(self, service)
        return versions
