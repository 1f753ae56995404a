"""PyAV, the FFmpeg libraries inside it, and the encoders that they contain."""

from collections.abc import Iterator
from typing import Any

from shared.doctor.finding import Finding, ask_aside
from shared.settings import Settings

ENCODERS = {"x264": "libx264", "x265": "libx265", "svtav1": "libsvtav1", "nvenc": "h264_nvenc"}
NEEDED = {"h264", "hevc", "aac"}  # decoders without which most of what a backend sends is unreadable
AV = """
import av
answer.update(
    version=av.__version__,
    libraries={name: ".".join(map(str, version)) for name, version in av.library_versions.items()},
    codecs=sorted(av.codecs_available),
)
"""


def codecs(settings: Settings) -> Iterator[Finding]:
    """Check PyAV, in a process of its own."""
    yield from judge_codecs(ask_aside(AV), settings)


def judge_codecs(answer: dict[str, Any], settings: Settings) -> Iterator[Finding]:
    """Report whether videos can be read, and written with the encoder of the settings."""
    if problem := answer.get("problem"):
        yield Finding("codecs", "broken", f"PyAV cannot be used ({problem}): run `make setup`")
        return
    here = set(answer["codecs"])
    brought = [name for name, codec in ENCODERS.items() if codec in here]
    libavcodec = answer["libraries"].get("libavcodec", "?")
    text = f"PyAV {answer['version']}, libavcodec {libavcodec}, encoders {', '.join(brought) or 'none'}"
    chosen = "x264" if settings.encoding.encoder == "auto" else settings.encoding.encoder
    if missing := sorted(NEEDED - here):
        yield Finding("codecs", "broken", f"{text}: cannot read {', '.join(missing)}; install PyAV from its wheel")
    elif chosen not in brought:
        advice = f"has no {chosen}; set KINORA_ENCODER to one of {', '.join(brought)}"
        yield Finding("codecs", "broken", f"{text}: {advice}")
    else:
        yield Finding("codecs", "ok", text)
