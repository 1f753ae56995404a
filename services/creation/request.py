"""Video creation: what `POST /api/ai/creation` may hold."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any

from pydantic import Field
from pydantic.json_schema import JsonSchemaValue

from services.creation.aspect import parse_ratio
from services.creation.camera import Camera, OppositeCamera, UnknownCamera
from services.creation.tracking import Paths, TrackingPoints
from shared.contract.fields import Choice, FieldType, Integer, LocalPath, Number, Text, UsedWhen
from shared.contract.json_values import read_number, read_text, shown
from shared.contract.path_lists import LocalPaths
from shared.contract.request import TaskRequest
from shared.errors import Rejected
from shared.pipeline.work import Work

TEXT, PICTURE, VIDEO = 1, 2, 3  # values of `category`: what a clip is made from
CLIP_SECONDS = 3.0  # of a text or a picture, where nothing else is asked
SECONDS = 1, 10  # that may be asked
MOST_REFERENCES = 4  # each costs as much as four frames of the clip
PLAIN, ANIME, PIXEL = 0, 1, 2  # values of `video_style`


@dataclass(frozen=True)
class CameraWords(FieldType):
    """Camera motions in English or Chinese, or an object of them; read as the canonical words of `Camera`."""

    def read(self, field: str, value: object) -> str:
        text = read_text(field, json.dumps(value, default=str) if isinstance(value, dict) else value)
        try:
            return str(Camera.parse(text))
        except UnknownCamera as unknown:
            word = shown(str(unknown))
            if unknown.nearest:
                raise Rejected("creation_camera_nearest", word=word, nearest=unknown.nearest) from unknown
            raise Rejected("creation_camera_unknown", word=word) from unknown
        except OppositeCamera as opposites:
            raise Rejected("creation_camera_opposites", words=shown(text)) from opposites

    def missing(self, field: str) -> Rejected:
        return Rejected("text_missing", field=field)

    def schema(self) -> JsonSchemaValue:
        return {
            "type": "string",
            "description": "zoom in/out, pan left/right/up/down and diagonals (pan up-left), tilt up/down, "
            "rotate cw/ccw, none; several joined by a comma or a space; left, up-left … alone are pans; Chinese words "
            "for the same; or a JSON object of them",
        }


@dataclass(frozen=True)
class Ratio(FieldType):
    """`W:H` or the number W / H, between 0.4 and 2.5; read as the caller wrote it."""

    def read(self, field: str, value: object) -> str:
        number = not isinstance(value, str) and read_number(value) is not None
        text = read_text(field, f"{Decimal(str(value)):f}" if number else value)
        try:
            parse_ratio(text)
        except ValueError as error:
            raise Rejected("creation_ratio_refused", field=field, value=shown(text)) from error
        return text.strip()

    def missing(self, field: str) -> Rejected:
        return Rejected("text_missing", field=field)

    def schema(self) -> JsonSchemaValue:
        return {"type": "string", "description": "W:H between 2:5 and 5:2, such as 16:9 or 2.35:1; or the number W / H"}


class CreationRequest(TaskRequest):
    """Make a clip from a text, a picture or a video."""

    category: Annotated[int, Choice(TEXT, PICTURE, VIDEO)]
    prompt_cn: Annotated[str, Text()] = ""
    prompt_en: Annotated[str, Text()] = ""
    ng_prompt_cn: Annotated[str, Text()] = ""
    ng_prompt_en: Annotated[str, Text()] = ""
    image_url: Annotated[str, LocalPath(), UsedWhen("category", PICTURE, required=True)] = ""
    video_url: Annotated[str, LocalPath(), UsedWhen("category", VIDEO, required=True)] = ""
    fps: Annotated[int, Integer(low=8, high=24)] = 24
    movement: Annotated[int, Integer(low=0, high=4)] = 1
    guidance: Annotated[int, Integer(low=8, high=24)] = 12
    camera: Annotated[str, CameraWords()] = ""
    aspect_ratio: Annotated[str, Ratio()] = ""
    seed: Annotated[int, Integer()] = 0
    video_style: Annotated[int, Choice(PLAIN, ANIME, PIXEL), UsedWhen("category", VIDEO)] = PLAIN
    last_image_url: Annotated[
        str,
        LocalPath(),
        UsedWhen("category", PICTURE),
        Field(description="the picture that the clip ends with", exclude_if=lambda path: not path),
    ] = ""
    reference_images: Annotated[
        tuple[str, ...],
        LocalPaths(MOST_REFERENCES),
        Field(description="pictures of who or what is to appear in the clip", exclude_if=lambda paths: not paths),
    ] = ()
    duration: Annotated[
        float,
        Number(*SECONDS),
        UsedWhen("category", TEXT, PICTURE),
        Field(description="seconds of the clip", exclude_if=lambda seconds: seconds == CLIP_SECONDS),
    ] = CLIP_SECONDS
    tracking_points: Annotated[
        Paths,
        TrackingPoints(),
        UsedWhen("category", PICTURE),
        Field(description="paths along which parts of the picture move", exclude_if=lambda paths: not paths),
    ] = ()

    @classmethod
    def _given(cls, data: Mapping[str, Any]) -> dict[str, Any]:
        """Ignore the deprecated English prompts where the others are given; require a prompt for a clip of a text."""
        replaced = {name: None for name in ("prompt_en", "ng_prompt_en") if data.get(name.replace("_en", "_cn"))}
        given = super()._given({**data, **replaced})
        prompt = given.get("prompt_cn") or given.get("prompt_en")
        blank = not prompt or (isinstance(prompt, str) and not prompt.strip())
        if blank and cls._holds(UsedWhen("category", TEXT), data):
            raise Rejected("text_missing", field="prompt_cn")
        return given

    @property
    def prompt(self) -> str:
        return self.prompt_cn or self.prompt_en

    @property
    def negative_prompt(self) -> str:
        return self.ng_prompt_cn or self.ng_prompt_en

    @property
    def fixed_seed(self) -> int | None:
        """The caller's seed; None where one is to be drawn, which 0, -1 and no seed ask for."""
        return None if self.seed in {0, -1} else self.seed

    @property
    def keeps_its_motion(self) -> bool:
        """Whether the source or the drawn paths say what moves, and `movement` has nothing to say."""
        return (self.category == VIDEO or bool(self.tracking_points)) and not self.camera

    @property
    def special_fields(self) -> frozenset[str]:
        """Those of the given fields that not every model serves."""
        names = ("last_image_url", "reference_images", "tracking_points")
        return frozenset(name for name in names if getattr(self, name))

    @property
    def camera_move(self) -> Camera:
        return Camera.parse(self.camera)

    @property
    def ratio(self) -> Fraction | None:
        """The wanted aspect ratio; None where that of the source is kept."""
        if self.aspect_ratio:
            return parse_ratio(self.aspect_ratio)
        return Fraction(16, 9) if self.category == TEXT else None

    def work(self, width: int, height: int, frame_rate: Fraction | None) -> Work:  # noqa: ARG002  # as others need it
        """Return what is read of a source's frame; how much is made of it is bounded by the clip's length."""
        return Work(frames=1, pixels=width * height)


class TrackingRequest(TaskRequest):
    """Move parts of a picture along drawn paths."""

    image_url: Annotated[str, LocalPath()]
    tracking_points: Annotated[Paths, TrackingPoints()]
    fps: Annotated[int, Integer(low=8, high=24)] = 24
    movement: Annotated[int, Integer(low=0, high=4)] = 1
    camera: Annotated[str, CameraWords()] = ""
    duration: Annotated[float, Number(*SECONDS)] = CLIP_SECONDS
    prompt_cn: Annotated[str, Text()] = ""
    ng_prompt_cn: Annotated[str, Text()] = ""
    guidance: Annotated[int, Integer(low=8, high=24)] = 12
    aspect_ratio: Annotated[str, Ratio()] = ""
    seed: Annotated[int, Integer()] = 0

    def as_creation(self) -> CreationRequest:
        """Return the same task as a creation from a picture."""
        return CreationRequest.model_validate({"category": PICTURE, **self.model_dump(mode="json")})
