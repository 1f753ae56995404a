"""The wan engine: every field of a shot becomes words, noise, conditions, or work on the finished frames."""

import math
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import chain, islice
from typing import Any

from services.creation.effects.camera_path import camera_path
from services.creation.effects.pixel_art import choose_palette, pixelate
from services.creation.effects.viewport import cover
from services.creation.engine import Footage, Image, Shot, Step, not_default
from services.creation.engines.wan.camera_motion import measured, missing, warped
from services.creation.engines.wan.control import control_for
from services.creation.engines.wan.generation_request import FRAME_RATE, Control, Take, model_guidance, native_length
from services.creation.engines.wan.memory_fallback import Ladder
from services.creation.engines.wan.prompts import negative_prompt, prompt
from services.creation.engines.wan.windows import count_windows, in_windows
from services.creation.request import ANIME, PIXEL, VIDEO, CreationRequest
from services.creation.source_frames import Between, resample
from shared.media.frame import Frame

LIVELINESS = (0.85, 1.0, 1.1, 1.2, 1.3)  # by movement: how far what follows a picture may depart from it
DENOISING = 0.98  # of the progress; the rest is RIFE, the camera and the encoder


class WanEngine:
    """Makes clips with a video diffusion model; all it knows of that is a `Ladder`, one take in and frames out."""

    name = "wan"
    tells_progress = True

    def __init__(self, model: Ladder, between: Between, *, area: int, guidance: float) -> None:
        """`area` is in pixels, `guidance` the model's own optimum; `between` makes the frames that a take lacks."""
        self.area = area
        self._model = model
        self._guidance = guidance
        self._between = between

    @property
    def details(self) -> dict[str, Any]:
        return self._model.details

    def ignored(self, request: CreationRequest) -> list[str]:
        words = list(self._model.ignores)
        if request.category == VIDEO and not request.camera:
            words.append("movement")  # what moves in a video is the video's own
        return not_default(request, words)

    def warm(self) -> None:
        """Load the model."""
        self._model.warm()

    def from_text(self, shot: Shot, step: Step) -> Iterator[Image]:
        frames = self._model(self._take(shot, None), _part(step))
        yield from self._finished(frames, shot)

    def from_picture(self, shot: Shot, picture: Image, step: Step) -> Iterator[Image]:
        """Begin with the picture and let the model go on."""
        length = native_length(shot.frame_count, shot.frame_rate)
        leads = (cover(picture, shot.size), *[None] * (length - 1))
        control = Control(leads, kept=1, liveliness=LIVELINESS[shot.movement])
        frames = self._model(self._take(shot, control), _part(step))
        yield from self._finished(frames, shot)

    def from_video(self, shot: Shot, footage: Footage, step: Step) -> Iterator[Image]:
        """Redraw the video window by window, led by its light and shade or by its lines."""
        length = native_length(shot.frame_count, shot.frame_rate)
        window = min(self._model.window, length)
        windows, done = count_windows(length, window), 0

        def make(leads: Sequence[Image], before: Sequence[Image]) -> Sequence[Image]:
            nonlocal done
            begun = before or self._first_colours(shot, leads)
            drawn = [control_for(shot.style, lead) for lead in leads[len(begun) :]]
            control = Control((*begun, *drawn), kept=len(begun))
            frames = self._model(self._take(shot, control, movement=False), _part(step, done, windows))
            done += 1
            return frames

        framed = (cover(frame, shot.size) for frame in footage.frames(FRAME_RATE))
        images = _settled(self._at_rate(in_windows(framed, window, make), shot), shot.frame_count)
        if shot.camera:  # the model was led by the video's own camera: the asked move comes on top of it
            images = warped(images, camera_path(shot.camera, shot.movement, shot.seed, shot.frame_count), shot.size)
        yield from _pixelated(images, footage, shot) if shot.style == PIXEL else images

    @staticmethod
    def _first_colours(shot: Shot, leads: Sequence[Image]) -> Sequence[Image]:
        """Keep the first frame, and with it the colours, where no words and no style ask for others."""
        return [] if shot.prompt or shot.style == ANIME else leads[:1]

    def _take(self, shot: Shot, control: Control | None, *, movement: bool = True) -> Take:
        """Put a shot into a model's terms; without `movement` nothing is said of it."""
        return Take(
            prompt=prompt(shot, movement=movement),
            negative_prompt=negative_prompt(shot, movement=movement),
            guidance=model_guidance(shot.guidance, self._guidance),
            seed=shot.seed,
            size=shot.size,
            frame_count=len(control.leads) if control else native_length(shot.frame_count, shot.frame_rate),
            control=control,
        )

    def _finished(self, frames: Sequence[Image], shot: Shot) -> Iterator[Image]:
        """Bring a whole clip to its rate and length, and complete the camera's move."""
        images: Iterable[Image] = islice(self._at_rate(frames, shot), shot.frame_count)
        if shot.camera:
            path = camera_path(shot.camera, shot.movement, shot.seed, shot.frame_count)
            images = warped(images, missing(path, measured(frames), shot.camera), shot.size)
        yield from images

    def _at_rate(self, frames: Iterable[Image], shot: Shot) -> Iterator[Image]:
        shown = ((image, Frame(image, pts, 1)) for pts, image in enumerate(frames))
        return resample(shown, Fraction(1, FRAME_RATE), shot.frame_rate, self._between)


def _part(step: Step, index: int = 0, count: int = 1) -> Step:
    """Return what tells a take's progress as its part of the whole work."""
    return lambda share: step(DENOISING * min((index + share) / count, 1.0))


def _settled(images: Iterator[Image], count: int) -> Iterator[Image]:
    """Drop or repeat one last frame where two roundings of a length made one too many or too few."""
    shown, held = 0, None
    for image in images:
        if held is not None:
            yield held
            shown += 1
        held = image
    if held is None or shown == count:
        return
    yield held
    if shown + 2 == count:
        yield held


def _pixelated(images: Iterator[Image], footage: Footage, shot: Shot) -> Iterator[Image]:
    """Draw frames with one palette, chosen from the first second of them and from all over the source."""
    opening = list(islice(images, shot.frame_rate))
    samples = [cover(sample, shot.size) for sample in footage.samples()]
    palette = choose_palette([*samples, *opening[:: max(1, math.ceil(len(opening) / 8))]], shot.seed)
    return pixelate(chain(opening, images), palette)
