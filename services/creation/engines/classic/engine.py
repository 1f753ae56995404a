"""The classic engine: what can be done honestly to a picture or a video without a generative model."""

from collections.abc import Iterator, Mapping
from typing import Any

from services.creation.effects.camera_path import camera_path, living_path
from services.creation.effects.pixel_art import choose_palette, pixelate
from services.creation.effects.viewport import Viewfinder, cover, trim
from services.creation.engine import Footage, Image, Shot, Step, not_default
from services.creation.engines.classic.anime import animate
from services.creation.engines.classic.clean import clean_up
from services.creation.request import ANIME, PIXEL, VIDEO, CreationRequest
from shared.errors import JobFailed

CANVAS = 1024 * 576  # pixels of a frame, whatever its shape


class ClassicEngine:
    """Moves a camera over pictures and redraws videos; knows nothing of prompts. Runs on any CPU."""

    name = "classic"
    area = CANVAS
    tells_progress = False

    @property
    def details(self) -> Mapping[str, Any]:
        return {}

    def ignored(self, request: CreationRequest) -> list[str]:
        words = ["prompt_cn", "prompt_en", "ng_prompt_cn", "ng_prompt_en", "guidance"]
        if request.category == VIDEO and not request.camera:
            words.append("movement")  # what moves in a video is the video's own
        return not_default(request, words)

    def warm(self) -> None:
        """Do nothing: there is nothing to load."""

    def from_text(self, shot: Shot, step: Step) -> Iterator[Image]:  # noqa: ARG002  # the protocol's
        raise JobFailed("creation_classic_text")

    def from_picture(self, shot: Shot, picture: Image, step: Step) -> Iterator[Image]:  # noqa: ARG002  # likewise
        """Move the asked way over the picture, or drift a little where no camera was asked."""
        picture = trim(picture, shot.size)
        plan = (shot.movement, shot.seed, shot.frame_count)
        path = camera_path(shot.camera, *plan) if shot.camera else living_path(*plan)
        viewfinder = Viewfinder(path, source=picture.shape[1::-1], size=shot.size)
        developed = viewfinder.develop(picture)
        for index in range(shot.frame_count):
            yield viewfinder.look(developed, index)

    def from_video(self, shot: Shot, footage: Footage, step: Step) -> Iterator[Image]:  # noqa: ARG002  # likewise
        """Frame the video as asked, then draw it in the asked style."""
        frames = _framed(footage, shot)
        if shot.style == ANIME:
            return animate(frames, shot.seed)
        if shot.style == PIXEL:
            samples = [cover(sample, shot.size) for sample in footage.samples()]
            return pixelate(frames, choose_palette(samples, shot.seed))
        return clean_up(frames, shot.seed)


def _framed(footage: Footage, shot: Shot) -> Iterator[Image]:
    if not shot.camera:
        for picture in footage.frames(shot.frame_rate):
            yield cover(picture, shot.size)
        return
    path = camera_path(shot.camera, shot.movement, shot.seed, shot.frame_count)
    viewfinder: Viewfinder | None = None
    for index, whole in enumerate(footage.frames(shot.frame_rate)):
        picture = trim(whole, shot.size)
        viewfinder = viewfinder or Viewfinder(path, source=picture.shape[1::-1], size=shot.size)
        yield viewfinder.look(viewfinder.develop(picture), min(index, len(path) - 1))
