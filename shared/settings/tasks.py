"""How much and how long a task may take, and how its result is written."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from shared.settings.group import Group
from shared.settings.values import written


class LimitSettings(Group):
    """How much, how long"""

    max_queued: PositiveInt = 100
    """The most waiting tasks of one service; beyond it the answer is "busy"."""

    task_timeout_seconds: PositiveFloat = 14400
    """The longest run of a task, in seconds; of a long video, the work on what is kept, over all attempts."""

    segment_seconds: PositiveFloat = 10
    """About how much of a long video is made at a time, in seconds of the source; a kill costs at most so much work."""

    helpers: Annotated[
        NonNegativeInt | None, Field(json_schema_extra={"written_default": "as many as have nothing else to do"})
    ] = None
    """How many other runners may make segments of one task at the same time; 0: none."""

    max_task_megapixels: PositiveFloat = 16_000_000
    """The most work of a task, in megapixels computed; docs/operations.md says how it is counted."""

    drain_seconds: Annotated[float, Field(ge=0)] = 600
    """How long a stop waits for the running task, or its running segment, in seconds; then the task goes back to the
    queue."""

    keep_days: PositiveFloat = 30
    """How long the records of ended tasks are kept, in days."""

    faces_keep_days: PositiveFloat = 7
    """How long the faces of previews are kept, in days."""


class EncodingSettings(Group):
    """The result"""

    encoder: Literal["auto", "x264", "x265", "svtav1", "nvenc"] = "auto"
    """The video encoder. `auto` takes nvenc where a GPU has it and the source has 8 bits, x264 elsewhere."""

    preset: Annotated[str, Field(json_schema_extra=written("a preset of x264, from `ultrafast` to `placebo`"))] = (
        "veryfast"
    )
    """How much time the encoder takes: slower makes smaller files. Other encoders get their nearest equivalent."""

    crf: Annotated[int, Field(ge=0, le=51)] = 18
    """Constant rate factor: a lower one makes better and larger files."""

    visible_label: bool = False
    """Whether a label in the picture says that a machine made it, beside the one in the metadata."""

    content_producer: Annotated[
        str, Field(min_length=1, pattern=r"^[!-~]+$", json_schema_extra=written("printable ASCII without spaces"))
    ] = "kinora"
    """Who produced the result, in the label of its metadata."""
