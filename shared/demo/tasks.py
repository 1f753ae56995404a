"""The demo's tasks as data: what is sent, and which pictures show the result.

A capability is a few lines in `TASKS`; one whose service is not part of this installation is left out. One that may
need more than is installed is `optional`: the table then shows the service's refusal.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from PIL import Image

from shared.demo import clips
from shared.demo.sheet import Panel, busiest
from shared.vocabulary import ServiceName

CROP = (400, 374)  # pixels, width and height


@dataclass(frozen=True)
class Excerpt:
    """A part of a clip of the catalogue, a still of it (no `seconds`), or (without `size`) a file of it as it is."""

    weight: str  # its name in the catalogue
    begin: float = 0.0
    seconds: float = 2.0
    size: tuple[int, int] | None = None  # width, height


@dataclass(frozen=True)
class DemoOutcome:
    """A finished task: its inputs by field, its files, and the callback."""

    inputs: dict[str, Path]
    dist_dir: Path
    callback: dict[str, Any]

    @property
    def result(self) -> Path:
        """The video, or the preview where there is none."""
        name: str = self.callback["video_url"] or self.callback["preview_image"]
        return self.dist_dir / name


@dataclass(frozen=True)
class DemoTask:
    """One request. `inputs` maps the request's path fields to media, `fields` is the rest of the body."""

    title: str
    service: ServiceName
    inputs: dict[str, Excerpt]
    fields: dict[str, Any]
    panels: Callable[[DemoOutcome], Sequence[Panel]]
    optional: bool = False  # if it is refused at once, the demo has not failed

    @property
    def installed(self) -> bool:
        """Whether this installation has the service."""
        folder = f"services.{self.service}"
        return find_spec(folder) is not None and find_spec(f"{folder}.service") is not None


def enlarged(outcome: DemoOutcome, *, focus: tuple[float, float]) -> Sequence[Panel]:
    """Show the whole picture, and at 100 % the part around `focus` (fractions of width and height)."""
    number = 24
    source = clips.picture_at(outcome.inputs["video_url"], number)
    result = clips.picture_at(outcome.result, number)
    plain = source.resize(result.size, Image.Resampling.BICUBIC)
    left = round(min(max(focus[0] * result.width - CROP[0] / 2, 0), result.width - CROP[0]))
    top = round(min(max(focus[1] * result.height - CROP[1] / 2, 0), result.height - CROP[1]))
    box = (left, top, left + CROP[0], top + CROP[1])
    return [
        Panel(result, f"the result, {result.width}x{result.height}, shown smaller"),
        Panel(plain.crop(box), f"bicubic from {source.width}x{source.height}, 100 %", exact=True),
        Panel(result.crop(box), "Kinora, 100 %", exact=True, accent=True),
    ]


def filled_in(outcome: DemoOutcome) -> Sequence[Panel]:
    """Show two frames of the source blended, and the new frame between them."""
    number = 19
    before, after = (clips.picture_at(outcome.inputs["video_url"], number + step) for step in (0, 1))
    between = clips.picture_at(outcome.result, 2 * number + 1)
    blended = Image.blend(before, after, 0.5)
    box = busiest(between, CROP)
    return [
        Panel(between, f"a new frame, {between.width}x{between.height}"),
        Panel(blended.crop(box), "blended neighbours, 100 %", exact=True),
        Panel(between.crop(box), "Kinora, 100 %", exact=True, accent=True),
    ]


def set_in_motion(outcome: DemoOutcome) -> Sequence[Panel]:
    """Show the picture beside the first and the last frame of its clip."""
    length = clips.facts(outcome.result).frames
    return [
        Panel(clips.picture_at(outcome.inputs["image_url"], 0), "the picture"),
        Panel(clips.picture_at(outcome.result, 0), "Kinora, first frame", accent=True),
        Panel(clips.picture_at(outcome.result, length - 1), "Kinora, last frame", accent=True),
    ]


def imagined(outcome: DemoOutcome) -> Sequence[Panel]:
    """Show the beginning, the middle and the end of a clip that was made from a text."""
    last = clips.facts(outcome.result).frames - 1
    moments = {"first frame": 0, "in the middle": last // 2, "last frame": last}
    return [Panel(clips.picture_at(outcome.result, number), name, accent=True) for name, number in moments.items()]


def redrawn(outcome: DemoOutcome) -> Sequence[Panel]:
    """Show one moment of the source and of the result, and a detail at 100 %."""
    number = 20
    result = clips.picture_at(outcome.result, number)
    box = busiest(result, CROP)
    return [
        Panel(clips.picture_at(outcome.inputs["video_url"], number), "the video"),
        Panel(result, f"Kinora, {result.width}x{result.height}, shown smaller", accent=True),
        Panel(result.crop(box), "100 %", exact=True, accent=True),
    ]


def exchanged(outcome: DemoOutcome, *, number: int) -> Sequence[Panel]:
    """Show the source face, the target and the result; of a preview also the faces that were found."""
    source, target = outcome.inputs["source_file"], outcome.inputs["target_file"]
    panels = [
        Panel(clips.picture_at(source, 0), "the source"),
        Panel(clips.picture_at(target, number), f"the target, frame {number}"),
        Panel(clips.picture_at(outcome.result, number), "Kinora", accent=True),
    ]
    crops = outcome.callback["reference_images"]
    return panels + [Panel(clips.picture_at(outcome.dist_dir / name, 0), "a face to choose") for name in crops]


def restyled(title: str, style: int, clip: Excerpt) -> DemoTask:
    """Return the task for one style of one clip, at the clip's own frame rate."""
    fields = {"category": 3, "video_style": style, "fps": 24, "seed": 7}
    return DemoTask(title=title, service="creation", inputs={"video_url": clip}, fields=fields, panels=redrawn)


BUNNY = Excerpt("clip-bigbuckbunny", begin=2.0, seconds=2.0, size=(1024, 576))

# Two people from freely licensed clips, neither a public figure: docs/licences.md.
HER_PICTURE = Excerpt("clip-woman-hands", begin=10.1, seconds=0.0, size=(640, 360))
HIM = Excerpt("clip-single-face")

TASKS: Sequence[DemoTask] = (
    DemoTask(
        title="Upscale 4x",
        service="upscale",
        inputs={"video_url": Excerpt("clip-bigbuckbunny", begin=2.0, seconds=2.0, size=(320, 180))},
        fields={"ratio": 4},
        panels=partial(enlarged, focus=(0.36, 0.26)),  # the rabbit's face
    ),
    DemoTask(
        title="Twice the frame rate",
        service="interpo",
        inputs={"video_url": Excerpt("clip-bigbuckbunny", begin=1.0, seconds=1.5, size=(640, 360))},
        fields={"rate": 2},
        panels=filled_in,
    ),
    DemoTask(
        title="Picture to video: zoom in, pan left",
        service="creation",
        inputs={"image_url": Excerpt("clip-bigbuckbunny", begin=3.6, seconds=0.0, size=(1280, 720))},
        fields={"category": 2, "camera": "zoom in, pan left", "movement": 3, "seed": 7},
        panels=set_in_motion,
    ),
    DemoTask(
        title="Text to video",
        service="creation",
        inputs={},
        fields={
            "category": 1,
            "prompt_cn": "日落时分，一只柴犬在海滩上奔跑，浪花轻轻拍岸，电影质感",
            "movement": 2,
            "seed": 7,
        },
        panels=imagined,
        optional=True,
    ),
    restyled("Video to video: cleaned up", 0, BUNNY),
    restyled("Video to video: anime", 1, BUNNY),
    restyled("Video to video: pixel art", 2, BUNNY),
    DemoTask(
        title="Face fusion: preview",
        service="facefusion",
        inputs={"source_file": HER_PICTURE, "target_file": HIM},
        fields={"programe": 0, "frame_number": 30},
        panels=partial(exchanged, number=30),
    ),
    DemoTask(
        title="Face fusion: generate",
        service="facefusion",
        inputs={"source_file": HER_PICTURE, "target_file": HIM},
        fields={"programe": 1},
        panels=partial(exchanged, number=30),
    ),
    DemoTask(
        title="Face fusion: a hand in front",
        service="facefusion",
        inputs={
            "source_file": Excerpt("picture-single-face"),
            "target_file": Excerpt("clip-woman-hands", begin=1.5, seconds=3.0, size=(640, 360)),
        },
        fields={"programe": 1},
        panels=partial(exchanged, number=68),
    ),
)
