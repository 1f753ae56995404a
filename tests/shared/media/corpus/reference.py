"""What is in a file by the ffmpeg program, which shares no code with ours and is of another version of libav."""

import re
import subprocess
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import imageio_ffmpeg
import numpy as np
import numpy.typing as npt

from tests.support.clips import Pixels

_STREAM = re.compile(r"^ +Stream #0:(\d+)(?:\[\w+\])?(?:\((\w+)\))?: (\w+): (.*)$")
_CHAPTER = re.compile(r"^    Chapter #0:\d+: start ([\d.]+), end ([\d.]+)")
_ENTRY = re.compile(r"^ {4,10}(\S[^:]*?) *: (.*)$")
_GAP = Fraction(5, 1000)  # seconds; less is rounding

Samples = npt.NDArray[np.float32]

_LINE = re.compile(r"^(\d\d:\S+) --> (\d\d:\S+)\n(.*?)(?=\n\n|\Z)", re.MULTILINE | re.DOTALL)
_COLOUR = re.compile(r"^\w+(?: \([^)]*\))*(?: \([^)]*\))?, \w+\(([^)]*)\)")


@dataclass(frozen=True)
class Track:
    """One stream: `kind` is such as Audio, `told` what ffmpeg says about its format."""

    index: int
    language: str
    kind: str
    told: str
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str | None:
        """Its title, which MP4 calls a name."""
        return self.tags.get("title") or self.tags.get("name")

    @property
    def is_cover(self) -> bool:
        return "(attached pic)" in self.told


@dataclass(frozen=True)
class Sound:
    """A decoded sound track. Times are seconds on the file's own clock.

    `told_end` is where the container says that the last packet ends, which not every decoder heeds.
    """

    start: Fraction
    end: Fraction
    told_end: Fraction
    rate: int
    layout: str
    samples: Samples  # (time, channel)


@dataclass(frozen=True)
class Text:
    """A chapter with its title, or a line of subtitles."""

    begin: Fraction
    end: Fraction
    text: str


@dataclass(frozen=True)
class Reference:
    """What a player gets: pictures upright, times in seconds on the file's own clock."""

    times: list[Fraction]
    durations: list[Fraction]
    pictures: Pixels
    pixel_shape: Fraction
    colour: dict[str, str]  # what is told of range, matrix, primaries and transfer
    tracks: list[Track]
    tags: dict[str, str]
    chapters: list[Text]
    sounds: list[Sound]
    subtitles: list[list[Text]]

    @property
    def timecode(self) -> str | None:
        """The timecode of the first picture."""
        return next(
            (track.tags["timecode"] for track in self.tracks if "timecode" in track.tags), self.tags.get("timecode")
        )

    @property
    def origin(self) -> Fraction:
        """When the first picture or sound starts."""
        return min([self.times[0], *(sound.start for sound in self.sounds)])


def read(path: Path) -> Reference:
    """Decode all of a file."""
    told = _run("-i", path)
    tracks, tags, chapters = _described(told)
    lead = next(track for track in tracks if track.kind == "Video" and not track.is_cover)
    with TemporaryDirectory() as folder:
        out = Path(folder)
        sounds = [track.index for track in tracks if track.kind == "Audio"]
        texts = [
            track.index for track in tracks if track.kind == "Subtitle" and not re.match("dvd|dvb|hdmv", track.told)
        ]
        outputs: list[str | Path] = ["-map", f"0:{lead.index}", "-fps_mode", "passthrough", "-enc_time_base", "demux"]
        outputs += ["-pix_fmt", "rgb24", "-f", "rawvideo", out / "pictures"]
        outputs += ["-map", f"0:{lead.index}", "-fps_mode", "passthrough", "-enc_time_base", "demux"]
        outputs += ["-c", "rawvideo", "-f", "framemd5", out / "times"]
        for index in sounds:
            outputs += ["-map", f"0:{index}", "-c", "pcm_f32le", "-f", "f32le", out / f"{index}.raw"]
            outputs += ["-map", f"0:{index}", "-c", "pcm_f32le", "-f", "framemd5", out / f"{index}.decoded"]
            outputs += ["-map", f"0:{index}", "-c", "copy", "-f", "framemd5", out / f"{index}.stored"]
        for index in texts:
            outputs += ["-map", f"0:{index}", "-f", "srt", out / f"{index}.srt"]
        _run("-v", "error", "-copyts", "-i", path, *outputs)
        shown = Listing.read(out / "times")
        width, height = map(int, shown.said["dimensions"].split("x"))
        colour = _COLOUR.match(lead.told)
        return Reference(
            times=[begin for begin, _ in shown.spans],
            durations=[end - begin for begin, end in shown.spans],
            pictures=np.fromfile(out / "pictures", np.uint8).reshape(len(shown.spans), height, width, 3),
            pixel_shape=Fraction(shown.said["sar"].replace("0/1", "1/1")),
            colour=_colour(colour[1] if colour else ""),
            tracks=tracks,
            tags=tags,
            chapters=chapters,
            sounds=[_sound(out, index) for index in sounds],
            subtitles=[_lines((out / f"{index}.srt").read_text(encoding="utf-8")) for index in texts],
        )


@dataclass(frozen=True)
class Listing:
    """What ffmpeg's framemd5 lists: facts about the stream, and when each frame begins and ends, in seconds."""

    said: dict[str, str]
    spans: list[tuple[Fraction, Fraction]]

    @classmethod
    def read(cls, path: Path) -> "Listing":
        said, spans = {}, []
        for line in path.read_text().splitlines():
            if fact := re.match(r"#(\w+) 0: (.*)", line):
                said[fact[1]] = fact[2]
            elif line[:1].isdigit():
                begin, length = (int(number) * Fraction(said["tb"]) for number in line.split(",")[2:4])
                spans.append((begin, begin + length))
        return cls(said, spans)


def _run(*arguments: str | Path) -> str:
    """Run ffmpeg and return all that it says: without an output it describes the input, and fails."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-hide_banner", "-y", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, timeout=60, check=False).stderr.decode("utf-8", "replace")


def _described(told: str) -> tuple[list[Track], dict[str, str], list[Text]]:
    """Read ffmpeg's description of an input: its tracks, the file's tags and its chapters."""
    tags: dict[str, str] = {}
    tracks: list[Track] = []
    chapters: list[Text] = []
    here = tags
    for line in told.splitlines():
        if stream := _STREAM.match(line):
            here = {}
            tracks.append(Track(int(stream[1]), stream[2] or "und", stream[3], stream[4], here))
        elif chapter := _CHAPTER.match(line):
            here = {}
            chapters.append(Text(Fraction(chapter[1]), Fraction(chapter[2]), ""))
        elif line.startswith("  Program "):
            here = {}
        elif entry := _ENTRY.match(line):
            here.setdefault(entry[1].lower(), entry[2])
            if chapters and not tracks and entry[1] == "title":
                chapters[-1] = replace(chapters[-1], text=entry[2])
    return tracks, tags, chapters


def _with_silence(samples: Samples, spans: list[tuple[Fraction, Fraction]], rate: int) -> Samples:
    """Fill what is missing between two frames."""
    pieces, place, expected = [], 0, spans[0][0]
    for begin, end in spans:
        if begin - expected > _GAP:
            pieces.append(np.zeros((round((begin - expected) * rate), samples.shape[1]), np.float32))
        length = round((end - begin) * rate)
        pieces.append(samples[place : place + length])
        place, expected = place + length, end
    return np.concatenate(pieces)


def _lines(srt: str) -> list[Text]:
    """Read the lines of subtitles."""
    return [Text(_seconds(begin), _seconds(end), text.strip()) for begin, end, text in _LINE.findall(srt)]


def _seconds(clock: str) -> Fraction:
    hours, minutes, seconds = clock.replace(",", ".").split(":")
    return int(hours) * 3600 + int(minutes) * 60 + Fraction(seconds)


def _colour(told: str) -> dict[str, str]:
    """Read the range, the matrix, the primaries and the transfer of "tv, bt709/unknown/unknown, progressive"."""
    found: dict[str, str] = {}
    if "gbr" in told:  # of RGB only the range could be told, and it becomes YUV
        return found
    for word in told.split(", "):
        if word in {"tv", "pc"}:
            found["range"] = word
        elif word not in {"progressive", "top first", "bottom first", "top coded first (swapped)"} and word:
            parts = word.split("/") if "/" in word else [word] * 3
            found |= dict(zip(("matrix", "primaries", "transfer"), parts, strict=True))
    return {name: value for name, value in found.items() if value != "unknown"}


def _sound(folder: Path, index: int) -> Sound:
    """Read one decoded track."""
    decoded, stored = Listing.read(folder / f"{index}.decoded"), Listing.read(folder / f"{index}.stored")
    rate = int(decoded.said["sample_rate"])
    samples = np.fromfile(folder / f"{index}.raw", np.float32)
    channels = len(samples) // sum(round((end - begin) * rate) for begin, end in decoded.spans)
    return Sound(
        start=decoded.spans[0][0],
        end=decoded.spans[-1][1],
        told_end=stored.spans[-1][1],
        rate=rate,
        layout=decoded.said["channel_layout_name"],
        samples=_with_silence(samples.reshape(-1, channels), decoded.spans, rate),
    )
