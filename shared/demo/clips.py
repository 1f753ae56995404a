"""Cuts the demo's clips to what two cores compute in a minute, and describes the results."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.video.reformatter import Interpolation
from PIL import Image

SOUND_RATE = 48_000  # samples a second
EXCERPT_CRF = "12"  # the source must be visibly better than a service's result


@dataclass(frozen=True)
class Facts:
    """What a video file contains."""

    width: int
    height: int
    frames: int
    frame_rate: Fraction
    seconds: float
    codec: str
    sound: str  # the audio codec, "" without sound

    def __str__(self) -> str:
        """Return it as one line for the result table."""
        sound = f", {self.sound}" if self.sound else ""
        return f"{self.width}x{self.height}, {self.frames} frames, {float(self.frame_rate):g} fps{sound}"


def excerpt(source: Path, target: Path, *, begin: float, seconds: float, size: tuple[int, int]) -> Path:
    """Write `seconds` of `source` from `begin` on, scaled to `size` (width, height), its sound as stereo AAC."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with av.open(source) as container, av.open(target, "w", format="mp4") as output:
        video = container.streams.video[0]
        rate = video.average_rate or Fraction(25)
        out_video = output.add_stream("libx264", rate=rate, options={"crf": EXCERPT_CRF, "preset": "fast"})
        out_video.width, out_video.height, out_video.pix_fmt = *size, "yuv420p"
        audio = container.streams.audio[0] if container.streams.audio else None
        out_audio = output.add_stream("aac", rate=SOUND_RATE, layout="stereo") if audio else None
        resampler = av.AudioResampler(format="fltp", layout="stereo", rate=SOUND_RATE, frame_size=1024)
        pictures, samples = 0, 0
        for frame in container.decode(*(stream for stream in (video, audio) if stream)):
            if not isinstance(frame, av.VideoFrame | av.AudioFrame) or frame.time is None:
                continue
            if not begin <= frame.time < begin + seconds:
                continue
            if isinstance(frame, av.VideoFrame):
                picture = frame.reformat(*size, format="yuv420p", interpolation=Interpolation.AREA)
                picture.pts, picture.time_base = pictures, 1 / rate
                picture.pict_type = av.video.frame.PictureType.NONE
                pictures += 1
                output.mux(out_video.encode(picture))
            elif out_audio is not None:
                frame.pts = None
                for block in resampler.resample(frame):
                    block.pts, block.time_base = samples, Fraction(1, SOUND_RATE)
                    samples += block.samples
                    output.mux(out_audio.encode(block))
        output.mux(out_video.encode())
        if out_audio is not None:
            output.mux(out_audio.encode())
    return target


def facts(path: Path) -> Facts:
    """Decode a whole video and return what is in it."""
    with av.open(path) as container:
        video = container.streams.video[0]
        frames = sum(1 for _ in container.decode(video))
        sound = container.streams.audio[0].codec_context.name if container.streams.audio else ""
        return Facts(
            width=video.width,
            height=video.height,
            frames=frames,
            frame_rate=video.average_rate or Fraction(0),
            seconds=round((container.duration or 0) / av.time_base, 3),
            codec=video.codec_context.name,
            sound=sound,
        )


def still(source: Path, target: Path, *, at: float, size: tuple[int, int]) -> Path:
    """Write the picture that a video shows `at` so many seconds, in `size` (width, height)."""
    rate = facts(source).frame_rate
    target.parent.mkdir(parents=True, exist_ok=True)
    picture_at(source, round(at * rate)).resize(size, Image.Resampling.LANCZOS).save(target)
    return target


def picture_at(path: Path, index: int) -> Image.Image:
    """Return one picture of a video by its number (the last one past the end), or the picture that a file is."""
    if path.suffix.lower() in {".jpg", ".jpeg", ".png", ".webp"}:
        with Image.open(path) as image:
            return image.convert("RGB")
    with av.open(path) as container:
        for number, frame in enumerate(container.decode(video=0)):
            last = frame
            if number == index:
                break
        return Image.fromarray(last.to_ndarray(format="rgb24"))
