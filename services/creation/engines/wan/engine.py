"""The wan engine: every field of a spec becomes a prompt, noise, a control frame, or work on the finished frames."""

import math
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import chain, islice
from typing import Any

from services.creation.aspect import STEP
from services.creation.effects.camera_path import camera_path
from services.creation.effects.pixel_art import choose_palette, pixelate
from services.creation.effects.viewport import cover
from services.creation.engine import ClipSpec, OnProgress, SourceFrames, Windows, not_default
from services.creation.engines.wan.camera_motion import measure_motion, missing_motion, warp
from services.creation.engines.wan.control import control_frame_for
from services.creation.engines.wan.generation_request import (
    Control,
    GenerationRequest,
    longest_run,
    model_guidance,
    native_length,
)
from services.creation.engines.wan.memory_fallback import MemoryFallback
from services.creation.engines.wan.prompts import negative_prompt, prompt
from services.creation.engines.wan.windows import OVERLAP, in_windows, to_length
from services.creation.memory import Memory
from services.creation.request import ANIME, PIXEL, CreationRequest
from services.creation.source_frames import Interpolate, Part, resample
from shared.arrays import Image
from shared.errors import JobFailed
from shared.media.frame import Frame

MOTION_STRENGTH = (0.85, 1.0, 1.1, 1.2, 1.3)  # by `movement`: how far what follows a picture may depart from it
GENERATION = 0.98  # of the progress; the rest is RIFE, the camera and the encoder


class WanEngine:
    """Makes clips with a video diffusion model, which it knows only as a callable: a request in, frames out."""

    name = "wan"
    reports_progress = True

    def __init__(
        self,
        model: MemoryFallback,
        interpolate: Interpolate,
        *,
        area: int,
        guidance: float,
        frame_rate: int = 16,
        multiple: int = STEP,
    ) -> None:
        """`area` is in pixels and `multiple` too, `guidance` and `frame_rate` are the model's own; `interpolate` makes
        frames for rates above that.
        """
        self.area = area
        self.multiple = multiple
        self._rate = frame_rate
        self._model = model
        self._guidance = guidance
        self._interpolate = interpolate

    @property
    def made_with(self) -> str:
        """The model as the next window finds it. Of the plan only what changes a picture: steps, window, decoder."""
        model, steps, decoder, loras = (self.details.get(name) for name in ("model", "steps", "decoder", "loras"))
        return f"wan, {model}, {steps} steps, windows of {self._window}, {decoder}, {loras}"

    @property
    def details(self) -> dict[str, Any]:
        return self._model.details

    def ignored(self, request: CreationRequest) -> list[str]:
        fields = list(self._model.ignores)
        if request.keeps_its_motion:
            fields.append("movement")
        return not_default(request, fields)

    def warm(self) -> None:
        """Load the model."""
        self._model.warm()

    def from_text(self, spec: ClipSpec, on_progress: OnProgress) -> Iterator[Image]:
        self._check_length(spec)
        frames = self._model(self._request(spec, None), _scaled(on_progress))
        yield from self._finished(frames, spec)

    def from_picture(
        self, spec: ClipSpec, picture: Image, on_progress: OnProgress, last: Image | None = None
    ) -> Iterator[Image]:
        """Begin with the picture, let the model continue, and end with `last` where it is given."""
        self._check_length(spec)
        length = self._native_length(spec)
        control_frames = [cover(picture, spec.size), *[None] * (length - 1)]
        strength, at_end = MOTION_STRENGTH[spec.movement], 0
        if last is not None:  # both ends are given: how far the clip departs from the first is not free any more
            at_end = length - (spec.frame_count - 1) * self._rate // spec.frame_rate  # frames that the last one shows
            control_frames[-at_end:] = [cover(last, spec.size)] * at_end
            strength = 1.0
        control = Control(tuple(control_frames), kept=1, kept_at_end=at_end, motion_strength=strength)
        frames = self._model(self._request(spec, control), _scaled(on_progress))
        yield from self._finished(frames, spec)

    def windows(self, spec: ClipSpec) -> Windows:
        """Return those of the plan at hand."""
        return self._windows(min(self._window, self._native_length(spec)))

    def from_video(
        self, spec: ClipSpec, source: SourceFrames, on_progress: OnProgress, memory: Memory | None = None
    ) -> Iterator[Image]:
        """Redraw the video window by window, controlled by its luminance or by its lines."""
        memory = memory or Memory()
        part = Part(memory, "generated", lambda: source.ends)
        size = memory.count("window") or self.windows(spec).size  # a plan that falls back meanwhile does not change it
        memory.keep("window", size)
        count = self._windows(size).count(self._native_length(spec))

        def generate(framed: Sequence[Image], before: Sequence[Image]) -> Sequence[Image]:
            kept = before or self._first_colours(spec, framed)
            drawn = [control_frame_for(spec.style, frame) for frame in framed[len(kept) :]]
            request = self._request(spec, Control((*kept, *drawn), kept=len(kept)), movement=False)
            done = memory.count("windows")
            frames = self._model(request, _scaled(on_progress, done, count))
            memory.keep("windows", done + 1)
            return frames

        framed = (cover(frame, spec.size) for frame in source.frames(self._rate))
        generated = in_windows(framed, size, generate, part)
        images = to_length(self._at_rate(generated, spec, part), spec.frame_count, part)
        if spec.camera:  # the source's own camera controlled the model: the asked move is added to it
            path = camera_path(spec.camera, spec.movement, spec.seed, spec.frame_count)
            images = warp(images, path, spec.size, memory)
        yield from _pixelated(images, source, spec, memory) if spec.style == PIXEL else images

    def from_paths(self, spec: ClipSpec, source: SourceFrames, on_progress: OnProgress) -> Iterator[Image]:
        """Redraw the moved picture as a video whose first frame is kept: the model makes it look like real motion."""
        yield from islice(self.from_video(spec, source, on_progress), spec.frame_count)

    @staticmethod
    def _first_colours(spec: ClipSpec, frames: Sequence[Image]) -> Sequence[Image]:
        """Keep the first frame, and with it the colours, where neither a prompt nor a style asks for others."""
        return [] if spec.prompt or spec.style == ANIME else frames[:1]

    def _check_length(self, spec: ClipSpec) -> None:
        """Raise JobFailed for a clip that is longer than a run under the present plan."""
        longest = longest_run(self._window, spec.frame_count, spec.frame_rate, self._rate)
        if longest is not None:
            seconds = spec.frame_count / spec.frame_rate
            raise JobFailed("creation_too_long_a_run", plan=self._model.details["plan"], limit=longest, seconds=seconds)

    def _request(self, spec: ClipSpec, control: Control | None, *, movement: bool = True) -> GenerationRequest:
        """Translate a spec into the model's terms; without `movement` the prompt does not mention it."""
        return GenerationRequest(
            prompt=prompt(spec, movement=movement),
            negative_prompt=negative_prompt(spec, movement=movement),
            guidance=model_guidance(spec.guidance, self._guidance),
            seed=spec.seed,
            size=spec.size,
            frame_count=len(control.control_frames) if control else self._native_length(spec),
            control=control,
            references=spec.references,
            on_picture=spec.on_picture,
        )

    def _finished(self, frames: Sequence[Image], spec: ClipSpec) -> Iterator[Image]:
        """Bring a whole clip to its rate and length, and complete the camera's move."""
        images: Iterable[Image] = islice(self._at_rate(frames, spec), spec.frame_count)
        if spec.camera:
            path = camera_path(spec.camera, spec.movement, spec.seed, spec.frame_count)
            images = warp(images, missing_motion(path, measure_motion(frames), spec.camera), spec.size)
        yield from images

    @property
    def _window(self) -> int:
        """Frames of one run at most, with the present plan."""
        return self._model.window_at(self._rate)

    def _windows(self, size: int) -> Windows:
        """Return windows of `size` frames that overlap."""
        return Windows(self._rate, size, max(1, size - OVERLAP))

    def _native_length(self, spec: ClipSpec) -> int:
        return native_length(spec.frame_count, spec.frame_rate, self._rate)

    def _at_rate(self, frames: Iterable[Image], spec: ClipSpec, part: Part | None = None) -> Iterator[Image]:
        timed = _timed(frames, (part or Part()).memory)
        return resample(timed, Fraction(1, self._rate), spec.frame_rate, self._interpolate, part)


def _timed(frames: Iterable[Image], memory: Memory) -> Iterator[tuple[Image, Frame]]:
    """Pair a range's frames with their times, behind the last one of the range before."""
    latest = memory.pictures("latest")
    for image in latest:
        yield image, Frame(image, memory.count("generated") - 1, 1)
    for pts, image in memory.numbered("generated", frames):
        latest = [image]
        yield image, Frame(image, pts, 1)
    memory.keep_pictures("latest", latest)


def _scaled(on_progress: OnProgress, index: int = 0, count: int = 1) -> OnProgress:
    """Return a callback for one run, the `index`-th of `count`, that reports its progress as part of the whole."""
    return lambda progress: on_progress(GENERATION * min((index + progress) / count, 1.0))


def _pixelated(images: Iterable[Image], source: SourceFrames, spec: ClipSpec, memory: Memory) -> Iterator[Image]:
    """Draw frames with one palette, chosen from the first second of them and from the whole source."""
    palette = memory.array("palette")
    if palette is None:
        images = chain(memory.pictures("first second"), images)
        first_second = list(islice(images, spec.frame_rate))
        if len(first_second) < spec.frame_rate and not source.ends:
            memory.keep_pictures("first second", first_second)
            return
        samples = [cover(sample, spec.size) for sample in source.samples()]
        generated = first_second[:: max(1, math.ceil(len(first_second) / 8))]
        palette = choose_palette([*samples, *generated], spec.seed)
        memory.keep("palette", palette)
        memory.keep_pictures("first second", [])
        images = chain(first_second, images)
    yield from pixelate(images, palette, memory)
