"""The classic engine: what can be made of a picture or a video without a generative model."""

from collections.abc import Iterator, Mapping
from typing import Any

from services.creation.aspect import STEP
from services.creation.effects.camera_path import camera_path, drift_path
from services.creation.effects.grade import Lab
from services.creation.effects.pixel_art import choose_palette, pixelate
from services.creation.effects.viewport import Viewport, cover, trim
from services.creation.engine import ClipSpec, OnProgress, SourceFrames, Windows, not_default
from services.creation.engines.classic.anime import draw_anime
from services.creation.engines.classic.clean import clean_up
from services.creation.memory import Memory
from services.creation.request import ANIME, PIXEL, CreationRequest
from shared.arrays import Image
from shared.errors import JobFailed

FRAME_AREA = 1024 * 576  # pixels of a frame, whatever its shape


class ClassicEngine:
    """Moves a camera over pictures and redraws videos; does not use prompts. Runs on any CPU."""

    name = "classic"
    area = FRAME_AREA
    multiple = STEP
    reports_progress = False
    made_with = "classic"

    @property
    def details(self) -> Mapping[str, Any]:
        return {}

    def ignored(self, request: CreationRequest) -> list[str]:
        fields = ["prompt_cn", "prompt_en", "ng_prompt_cn", "ng_prompt_en", "guidance"]
        if request.keeps_its_motion:
            fields.append("movement")
        return not_default(request, fields)

    def warm(self) -> None:
        """Do nothing: there is nothing to load."""

    def from_text(self, spec: ClipSpec, on_progress: OnProgress) -> Iterator[Image]:  # noqa: ARG002  # the protocol's
        raise JobFailed("creation_classic_text")

    def from_picture(
        self,
        spec: ClipSpec,
        picture: Image,
        on_progress: OnProgress,  # noqa: ARG002  # likewise
        last: Image | None = None,
    ) -> Iterator[Image]:
        """Move the asked way over the picture, or drift a little where no camera was asked."""
        if last is not None:
            raise JobFailed("creation_last_image_refused")
        picture = trim(picture, spec.size)
        motion = (spec.movement, spec.seed, spec.frame_count)
        path = camera_path(spec.camera, *motion) if spec.camera else drift_path(*motion)
        viewport = Viewport(path, source=picture.shape[1::-1], size=spec.size)
        supersampled = viewport.supersample(picture)
        for index in range(spec.frame_count):
            yield viewport.render(supersampled, index)

    def windows(self, spec: ClipSpec) -> Windows | None:  # noqa: ARG002  # likewise
        return None

    def from_video(
        self,
        spec: ClipSpec,
        source: SourceFrames,
        on_progress: OnProgress,  # noqa: ARG002  # likewise
        memory: Memory | None = None,
    ) -> Iterator[Image]:
        """Crop the video or move the camera over it as asked, then draw it in the asked style."""
        memory = memory or Memory()
        frames = _framed(source, spec, memory)
        if spec.style == ANIME:
            return draw_anime(frames, spec.seed, memory)
        if spec.style == PIXEL:
            return pixelate(frames, _palette(source, spec, memory), memory)
        return clean_up(frames, spec.seed, memory)

    def from_paths(self, spec: ClipSpec, source: SourceFrames, on_progress: OnProgress) -> Iterator[Image]:  # noqa: ARG002  # likewise
        """Show the moved parts as they are, and move the camera over them where one was asked."""
        return _framed(source, spec, Memory())


def _palette(source: SourceFrames, spec: ClipSpec, memory: Memory) -> Lab:
    """Return the colours that suit the whole video, chosen when it begins."""
    palette = memory.array("palette")
    if palette is None:
        palette = choose_palette([cover(sample, spec.size) for sample in source.samples()], spec.seed)
        memory.keep("palette", palette)
    return palette


def _framed(source: SourceFrames, spec: ClipSpec, memory: Memory) -> Iterator[Image]:
    """Yield the source's frames at the clip's size and rate, seen through the camera where one was asked."""
    if not spec.camera:
        for picture in source.frames(spec.frame_rate):
            yield cover(picture, spec.size)
        return
    path = camera_path(spec.camera, spec.movement, spec.seed, spec.frame_count)
    viewport: Viewport | None = None
    for index, whole in memory.numbered("camera", source.frames(spec.frame_rate)):
        picture = trim(whole, spec.size)
        viewport = viewport or Viewport(path, source=picture.shape[1::-1], size=spec.size)
        yield viewport.render(viewport.supersample(picture), min(index, len(path) - 1))
