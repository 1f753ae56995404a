"""The models as data: what each can, at which size and rate, how much memory it needs, under which licence.

Whatever differs between models stands here and nowhere else. Loads nothing: the HTTP face reads it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from services.creation.request import PICTURE, TEXT, VIDEO

Solver = Literal["euler", "dmd"]

VACE, PLAIN, FROM_PICTURE = (
    "WanVACEPipeline",
    "WanPipeline",
    "WanImageToVideoPipeline",
)  # as a folder's index names them
LAST, REFERENCES, PATHS = "last_image_url", "reference_images", "tracking_points"  # fields that not every model serves
LARGE_HEADS = 40  # attention heads of a transformer with 14 billion parameters; that with 1.3 billion has 12
APACHE = "Apache-2.0"

# What the step distillations were trained for: 1, 3/4, 1/2, 1/4 under a shift of 5 (`denoising_step_list` and
# `sample_shift` of LightX2V's wan_t2v_distill_lora_4step_cfg.json; `timestep_shift` of Self-Forcing's configuration).
SHIFT = 5.0
SIGMAS = tuple(SHIFT * share / (1 + (SHIFT - 1) * share) for share in (1.0, 0.75, 0.5, 0.25))


@dataclass(frozen=True)
class FewSteps:
    """Step distillation: a LoRA for each transformer, and the sigmas (shares of noise, 0-1) that it was trained for.

    There is no unconditional pass: guidance is 1, and the negative prompt does not act.
    """

    entry: str  # in the catalogue, which has the files, their licence and source
    solver: Solver
    sigmas: tuple[float, ...] = SIGMAS  # the shift is in them


@dataclass(frozen=True)
class Model:
    """A row of the table. Memory is in GiB of a GPU for a clip of three seconds at `area`."""

    name: str  # in the weights' catalogue
    title: str
    repository: str  # of the hub, in diffusers layout
    pipeline: str  # the class that the index of a folder names
    categories: frozenset[int]  # of the contract: 1 text, 2 picture, 3 video
    frame_rate: int  # frames a second that it was trained at
    area: int  # pixels of a frame that it was trained for
    needs: Mapping[str, float]  # by plan; a plan that is not named is not for this model
    flow_shift: float  # larger pictures need more steps at high noise
    guidance: float  # its optimum
    steps: int  # of denoising
    licence: str = APACHE
    fields: frozenset[str] = frozenset()  # of LAST, REFERENCES and PATHS
    multiple: int = 16  # of pixels: the VAE's factor times the transformer's patch
    guidance_2: float | None = None  # the optimum of the second transformer
    boundary_ratio: float | None = None  # of the noise, 0-1: below it the second transformer denoises
    latent_channels: int = 16
    tiny_decoder: str | None = "taew2.1"  # an entry of the catalogue that decodes its latents
    few_steps: FewSteps | None = None
    rank: int = 0  # `auto` takes the lowest first
    because: str = ""  # the reason for the rank

    @property
    def transformers(self) -> tuple[str, ...]:
        """The folders of its transformers: the one for much noise first."""
        return ("transformer",) if self.boundary_ratio is None else ("transformer", "transformer_2")

    @property
    def is_draft(self) -> bool:
        """Whether it is for the plan `draft` alone."""
        return "draft" in self.needs


# Sizes, rates, steps, shifts, guidance and boundaries are those of Wan's own configuration files, but for VACE's steps.
# Memory is estimated from the sizes of the parts, not measured.
MODELS: Mapping[str, Model] = {
    model.name: model
    for model in (
        Model(
            name="wan2.2-t2v-a14b",
            title="Wan2.2-T2V-A14B",
            repository="Wan-AI/Wan2.2-T2V-A14B-Diffusers",
            pipeline=PLAIN,
            categories=frozenset({TEXT}),
            frame_rate=16,
            area=1280 * 720,
            needs={"speed": 60, "balanced": 20, "low": 10},
            flow_shift=12.0,
            guidance=4.0,
            guidance_2=3.0,
            boundary_ratio=0.875,
            steps=40,
            few_steps=FewSteps("wan-fast-t2v-a14b", "euler"),
            rank=1,
            because="the largest, and for texts alone",
        ),
        Model(
            name="wan2.2-i2v-a14b",
            title="Wan2.2-I2V-A14B",
            repository="Wan-AI/Wan2.2-I2V-A14B-Diffusers",
            pipeline=FROM_PICTURE,
            categories=frozenset({PICTURE}),
            fields=frozenset({LAST}),
            frame_rate=16,
            area=1280 * 720,
            needs={"speed": 60, "balanced": 20, "low": 10},
            flow_shift=5.0,
            guidance=3.5,
            guidance_2=3.5,
            boundary_ratio=0.9,
            steps=40,
            few_steps=FewSteps("wan-fast-i2v-a14b", "euler"),
            rank=2,
            because="the largest, and for pictures alone",
        ),
        Model(
            name="wan-vace-14b",
            title="Wan2.1-VACE-14B",
            repository="Wan-AI/Wan2.1-VACE-14B-diffusers",
            pipeline=VACE,
            categories=frozenset({TEXT, PICTURE, VIDEO}),
            fields=frozenset({LAST, REFERENCES, PATHS}),
            frame_rate=16,
            area=1280 * 720,
            needs={"speed": 66, "balanced": 20, "low": 10},
            flow_shift=5.0,
            guidance=5.0,
            steps=30,
            few_steps=FewSteps("wan-fast-14b", "dmd"),
            rank=3,
            because="as large, of the generation before; the only kind for videos and references",
        ),
        Model(
            name="wan2.2-ti2v-5b",
            title="Wan2.2-TI2V-5B",
            repository="Wan-AI/Wan2.2-TI2V-5B-Diffusers",
            pipeline=PLAIN,
            categories=frozenset({TEXT, PICTURE}),
            frame_rate=24,
            area=1280 * 704,
            multiple=32,
            latent_channels=48,
            tiny_decoder=None,  # for its latents TAEHV publishes another one
            needs={"speed": 36, "balanced": 14, "low": 9},
            flow_shift=5.0,
            guidance=5.0,
            steps=50,
            rank=4,
            because="720p at 24 frames a second for a small GPU, where VACE 1.3B makes 480p",
        ),
        Model(
            name="wan-vace-1.3b",
            title="Wan2.1-VACE-1.3B",
            repository="Wan-AI/Wan2.1-VACE-1.3B-diffusers",
            pipeline=VACE,
            categories=frozenset({TEXT, PICTURE, VIDEO}),
            fields=frozenset({LAST, REFERENCES, PATHS}),
            frame_rate=16,
            area=832 * 480,
            needs={"speed": 22, "balanced": 13, "low": 6},
            flow_shift=3.0,
            guidance=5.0,
            steps=30,
            few_steps=FewSteps("wan-fast-1.3b", "dmd"),
            rank=5,
            because="the smallest",
        ),
        Model(
            name="wan-draft-1.3b",
            title="FastWan2.1-T2V-1.3B",
            repository="FastVideo/FastWan2.1-T2V-1.3B-Diffusers",
            pipeline=PLAIN,
            categories=frozenset({TEXT}),
            frame_rate=16,
            area=832 * 480,
            needs={"draft": 0},
            flow_shift=8.0,
            guidance=1.0,
            steps=3,
            rank=6,
            because="distilled, for a CPU; the only one that is chosen there for texts",
        ),
    )
}


def recognise(index: Mapping[str, Any], transformer: Mapping[str, Any]) -> Model | None:
    """Return the row of a folder, by its model_index.json and its transformer's config.json; None: none of them."""
    has_two = bool((index.get("transformer_2") or [None])[0])
    expands = bool(index.get("expand_timesteps"))
    kind = index.get("_class_name")
    if kind == VACE and not has_two:
        return MODELS["wan-vace-14b" if transformer.get("num_attention_heads", 0) >= LARGE_HEADS else "wan-vace-1.3b"]
    if kind in {PLAIN, FROM_PICTURE} and expands and not has_two:
        return MODELS["wan2.2-ti2v-5b"]
    if kind == PLAIN:
        return MODELS["wan2.2-t2v-a14b" if has_two else "wan-draft-1.3b"]
    return MODELS["wan2.2-i2v-a14b"] if kind == FROM_PICTURE and has_two else None


def named(repository: str) -> Model | None:
    """Return the row of a repository by its name: its own, or another one's conversion that keeps the name."""
    marks = {"vace-14b": "wan-vace-14b", "vace": "wan-vace-1.3b", "fastwan": "wan-draft-1.3b"}
    marks |= {model.title.lower(): model.name for model in MODELS.values()}
    ordered = sorted(marks, key=len, reverse=True)
    return next((MODELS[marks[mark]] for mark in ordered if mark in repository.lower()), None)


def can(model: Model, category: int, fields: frozenset[str] = frozenset()) -> bool:
    """Whether the model makes clips of a category, with the optional fields that are given."""
    return category in model.categories and fields <= model.fields
