"""One frozen settings object, read from the environment at start-up and passed down.

What every process uses stands at its top, the rest in groups: `settings.state_dir`, `settings.encoding.crf`. The
variables are flat: `KINORA_STATE_DIR`, `KINORA_CRF`. `docs/settings.md` lists them all.
"""

from shared.settings.elsewhere import FetchSettings, StoreSettings
from shared.settings.group import describe_errors
from shared.settings.network import LOOPBACK_NAMES, AccessSettings, CallbackSettings, ConsoleSettings, UpstreamSettings
from shared.settings.services import CreationSettings, FaceFusionSettings, InterpoSettings, UpscaleSettings
from shared.settings.settings import Settings
from shared.settings.tasks import EncodingSettings, LimitSettings

__all__ = [
    "LOOPBACK_NAMES",
    "AccessSettings",
    "CallbackSettings",
    "ConsoleSettings",
    "CreationSettings",
    "EncodingSettings",
    "FaceFusionSettings",
    "FetchSettings",
    "InterpoSettings",
    "LimitSettings",
    "Settings",
    "StoreSettings",
    "UpscaleSettings",
    "UpstreamSettings",
    "describe_errors",
]
