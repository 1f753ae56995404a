"""The interpolation networks by their setting, `KINORA_INTERPO_MODEL`."""

from collections.abc import Mapping

# A generation of RIFE -> its weights in the catalogue. 4.25 and 4.26 are built alike: only the name tells them apart.
INTERPOLATORS: Mapping[str, str] = {
    "4.0": "rife-4.0",
    "4.25": "rife-4.25",
    "4.26": "rife-4.26",
    "4.25-lite": "rife-4.25-lite",
}
