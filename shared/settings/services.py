"""What only one of the services reads: its engines and models."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PositiveFloat, PositiveInt

from shared.settings.group import Group, named_after
from shared.settings.values import Loras, written

ModelName = Annotated[
    str,
    Field(
        min_length=1,
        json_schema_extra=written(
            "a name of `kinora weights list`, a folder in diffusers layout (begins with `/` or `.`), "
            "or a repository of the hub"
        ),
    ),
]


UPSCALERS = ("auto", "animevideov3", "x4plus", "x4plus-anime", "general-x4v3")
STORED = re.compile(r"[a-z0-9][a-z0-9._-]*:[a-z0-9._-]+")


def _known_upscaler(model: str) -> str:
    if model not in UPSCALERS and not model.startswith(("/", ".")) and not STORED.fullmatch(model):
        raise ValueError(f"write one of {', '.join(UPSCALERS)}, a file that begins with / or ., or NAME:VERSION")
    return model


UpscalerName = Annotated[
    str,
    AfterValidator(_known_upscaler),
    Field(
        json_schema_extra=written(
            f"{', '.join(f'`{name}`' for name in UPSCALERS)}, a file (begins with `/` or `.`), "
            "or a stored model `NAME:VERSION`"
        ),
    ),
]


class CreationSettings(Group):
    """Video creation"""

    model_config = named_after("KINORA_CREATION_{}")

    engine: Literal["auto", "classic", "wan"] = "auto"
    """Which engine makes clips. `auto` takes wan where its weights were pulled; `wan` refuses tasks without them."""

    plan: Literal["auto", "speed", "balanced", "low", "draft"] = "auto"
    """How wan uses memory. `auto` chooses by the free memory of the GPU; `draft` makes small clips on a CPU."""

    model: ModelName = "wan-vace-1.3b"
    """The model of the plans `speed`, `balanced` and `low`."""

    draft_model: ModelName = "wan-draft-1.3b"
    """The model of the plan `draft`, a `WanPipeline`."""

    loras: Loras = ()
    """LoRAs that are fused into the transformer when it is loaded, each times its weight (1 without one)."""

    download: bool = False
    """Whether a runner may fetch a repository of the hub; otherwise only the hub's cache on this machine counts."""

    steps: Annotated[PositiveInt | None, Field(json_schema_extra={"written_default": "the plan's"})] = None
    """Denoising steps: more are finer and slower."""

    pixels: Annotated[
        PositiveInt | None,
        Field(json_schema_extra={"written_default": "what the model was trained for: 832x480 (1.3B), 1280x720 (14B)"}),
    ] = None
    """About how many pixels a generated frame has. The aspect ratio decides its shape, in steps of 16."""

    decoder: Literal["auto", "tiny", "full"] = "auto"
    """What makes pictures of latents: the VAE (`full`) or `taew2.1`. `auto` takes that one for `low` and `draft`."""

    previews: bool = True
    """Whether each step leaves a small JPEG of the unfinished clip beside the result; needs the weights `taew2.1`."""

    max_seconds: PositiveFloat = 30
    """The longest source of video-to-video, in seconds."""


RestorerName = Literal[
    "none", "auto", "gfpgan-1.4", "restoreformer-plus-plus", "codeformer", "gpen-bfr-512", "gpen-bfr-256"
]


class FaceFusionSettings(Group):
    """Face fusion"""

    model_config = named_after("KINORA_FACEFUSION_{}")

    swapper: Literal[
        "auto",
        "classic",
        "inswapper",
        "inswapper-128",
        "inswapper-128-fp16",
        "ghost-1-256",
        "ghost-2-256",
        "ghost-3-256",
        "hyperswap-1a-256",
        "hyperswap-1b-256",
        "hyperswap-1c-256",
        "simswap-unofficial-512",
    ] = "auto"
    """How a face is replaced: by geometry (`classic`) or by a network. `auto` is inswapper on a GPU if it is here."""

    pixel_boost: Literal["auto", "1", "2", "4"] = "1"
    """Times the network's side at which a face is swapped, in interleaved runs. `auto` follows the face's size."""

    enhance: RestorerName = "none"
    """What restores the faces of every task. With `none` only a task that sends `face_enhance` gets that, by the first
    of the named ones that was pulled; `auto` takes that one for every task where a GPU runs it."""

    enhance_blend: Annotated[int, Field(ge=0, le=100)] = 80
    """How much of a restored face is taken, in percent, where a task sends no `face_enhance`."""

    nsfw_check: Annotated[bool, Field(validation_alias="KINORA_NSFW_CHECK")] = True
    """Whether the source and one frame a second of the target are searched for nudity."""

    nsfw_threshold: Annotated[float, Field(gt=0, lt=1, validation_alias="KINORA_NSFW_THRESHOLD")] = 0.8
    """The score above which one sample counts as nudity."""

    nsfw_share: Annotated[float, Field(ge=0, lt=1, validation_alias="KINORA_NSFW_SHARE")] = 0.1
    """A task ends when more than this share of its samples counts."""


class UpscaleSettings(Group):
    """Upscaling"""

    model_config = named_after("KINORA_UPSCALE_{}")

    model: UpscalerName = "auto"
    """The network. `auto` takes x4plus on a GPU and animevideov3 on a CPU."""

    denoise: Annotated[float, Field(ge=0, le=1)] = 1
    """How strongly general-x4v3 removes noise. Below 1 it needs the weights `realesr-general-wdn-x4v3` as well."""


class InterpoSettings(Group):
    """Frame interpolation"""

    model_config = named_after("KINORA_INTERPO_{}")

    model: Literal["4.0", "4.25", "4.26", "4.25-lite"] = "4.0"
    """The generation of RIFE. All but 4.0 are pulled, or added from a file, by name: `rife-4.25`."""
