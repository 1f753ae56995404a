"""One row of the corpus: how a media file is made, and what of it cannot come out again."""

import shlex
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from av.audio.layout import AudioLayout

from tests.support.clips import ffmpeg

X264 = "-c:v libx264 -preset veryfast -pix_fmt yuv420p"
VP9 = "-c:v libvpx-vp9 -deadline realtime -cpu-used 8"
VP8 = "-c:v libvpx -deadline realtime -cpu-used 8"
AV1 = "-c:v libsvtav1 -preset 12"
X265 = "-c:v libx265 -preset ultrafast -x265-params log-level=error"
GIF = "-vf 'split[a][b];[a]palettegen[p];[b][p]paletteuse=dither=none' -c:v gif"
GAP = "setpts='(N/24+if(gte(N,8),0.7,0))/TB'"
VARIABLE = "setpts='(N/24+mod(N*N*7,5)/90)/TB'"  # never back
AAC_FRENCH_GERMAN = "-c:a aac -metadata:s:a:0 language=fra -metadata:s:a:1 language=deu"
FINE = "-q:v 2"
CHROMA = ("colour finer than one sample for four pixels",)

_TEXT = "1\n00:00:00,200 --> 00:00:00,600\n你好，世界\n\n2\n00:00:00,700 --> 00:00:00,900\nsecond\n"
_NOTES = """;FFMETADATA1
title=标题 title
artist=someone
[CHAPTER]
TIMEBASE=1/1000
START=0
END=400
title=一
[CHAPTER]
TIMEBASE=1/1000
START=400
END=1000
title=two
"""


def picture(rate: str = "24", size: str = "64x36", seconds: float = 1, then: str = "") -> str:
    """Return the input of a picture of which no two frames are alike: a slope that moves by a few levels a frame."""
    content = "geq=lum='16+mod(X*3+N*11,220)':cb='100+Y/2':cr='140-X/4'"
    return f'-f lavfi -i "nullsrc=s={size}:r={rate}:d={seconds},{content}{then and ","}{then}"'


def tone(pitch: int = 440, rate: int = 48000, seconds: float = 1, layout: str = "mono") -> str:
    """Return the input of a sound, each of its channels of another pitch."""
    channels = [channel.name for channel in AudioLayout(layout).channels]
    # The channel of effects holds nothing but low ones.
    pitches = [60 if name == "LFE" else pitch + 110 * number for number, name in enumerate(channels)]
    tones = "|".join(f"0.3*sin({pitch}*2*PI*t)" for pitch in pitches)
    return f'-f lavfi -i "aevalsrc={tones}:c={layout}:s={rate}:d={seconds}"'


V, A = picture(), tone()  # for most rows


def parameters(matrix: str, primaries: str, transfer: str, value_range: str) -> str:
    """Return the filter that tags a picture with a colour."""
    return f"setparams=colorspace={matrix}:color_primaries={primaries}:color_trc={transfer}:range={value_range}"


@dataclass(frozen=True)
class Row:
    """A file and the ffmpeg commands that make it. DIR is the folder; the last command's output is the file itself."""

    name: str
    make: str | tuple[str, ...]
    frames: int | None = 24  # None is as many as ffmpeg finds
    steady: Fraction | None = None  # what every frame lasts, where ffmpeg itself is told wrong times
    zero: Fraction | None = None  # where the clock begins, if not with what is decoded first
    anew: bool = False  # its sound is encoded anew
    lost: tuple[str, ...] = ()  # what must be named
    refused: str = ""  # the key of the message
    kept: float = 1.0  # the share of the file that is left

    def write(self, folder: Path) -> Path:
        """Make the file."""
        path = folder / self.name
        (folder / "text.srt").write_text(_TEXT, encoding="utf-8")
        (folder / "notes.txt").write_text(_NOTES, encoding="utf-8")
        *earlier, last = (self.make,) if isinstance(self.make, str) else self.make
        for command in (*earlier, f"{last} DIR/{self.name}"):
            ffmpeg(*(word.replace("DIR", str(folder)) for word in shlex.split(command)))
        if self.kept < 1:
            whole = path.read_bytes()
            path.write_bytes(whole[: int(len(whole) * self.kept)])
        return path
