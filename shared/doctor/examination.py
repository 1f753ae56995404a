"""Runs every check in order; a check that fails itself is a finding too."""

from collections.abc import Iterator, Sequence

from shared.doctor.codecs import codecs
from shared.doctor.database import database
from shared.doctor.elsewhere import bucket, fetching
from shared.doctor.finding import Check, Finding
from shared.doctor.folders import roots, state
from shared.doctor.machine import gpu, python, strength
from shared.doctor.network import access, callback, port, signature
from shared.doctor.weights import few_steps, licences, text_to_video, weights_here
from shared.settings import Settings

CHECKS: Sequence[Check] = (
    python,
    strength,
    gpu,
    codecs,
    weights_here,
    licences,
    text_to_video,
    few_steps,
    roots,
    state,
    database,
    access,
    port,
    callback,
    signature,
    fetching,
    bucket,
)


def examine(settings: Settings) -> Iterator[Finding]:
    """Yield a finding for everything that Kinora needs; a check that fails itself is a finding too."""
    for check in CHECKS:
        try:
            yield from check(settings)
        except ImportError as error:
            name = check.__name__.replace("_", " ")
            yield Finding(name, "broken", f"cannot be checked ({error}): run `make setup`")
        except Exception as error:  # noqa: BLE001  # the other checks must still run
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            yield Finding(check.__name__.replace("_", " "), "broken", f"cannot be checked ({reason}): report this")
