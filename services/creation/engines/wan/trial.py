"""One denoising step and one decode of a model, watched for what would otherwise show late in a first task."""

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from PIL import Image as Pillow
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from services.creation.engines.wan.checkpoints import Checkpoint
from services.creation.engines.wan.dmd_scheduler import DMDScheduler
from services.creation.engines.wan.draft_loading import choose_precision, load_denoiser
from services.creation.engines.wan.few_steps import loras_for, plan_for
from services.creation.engines.wan.loading import choose_device, free_gpu_bytes, load_pipeline
from services.creation.engines.wan.models import FROM_PICTURE, Model
from services.creation.engines.wan.plans import PLANS
from services.creation.engines.wan.text_encoder import TextEncoder
from shared.settings import Settings

PROMPTS = ("a cat", "海边的猫")
WIDTH, HEIGHT, FRAMES = 256, 160, 5
STEPS_OF_TWO = 4  # until the second of two transformers has had one
T = TypeVar("T")
PLAINEST = 1 / 255  # standard deviation of a decoded picture, 0-1, below which it is of one colour


@dataclass
class Trial:
    """What was found: `problems`, each a sentence, and what took how long, in seconds."""

    device: torch.device
    plan: str
    problems: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def figures(self) -> str:
        """Return times and peak memory as one sentence."""
        times = ", ".join(f"{what} {seconds:.1f} s" for what, seconds in self.seconds.items())
        if self.device.type == "cuda":
            memory = f"{torch.cuda.max_memory_allocated(self.device) / 1e9:.1f} GB of the GPU"
        else:
            memory = f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9:.1f} GB"
        verdict = "does not work" if self.problems else "works"
        size = f"{WIDTH}x{HEIGHT}, {FRAMES} frames"
        return f"{verdict} on {self.device} with plan {self.plan}: {times} ({size}); peak memory {memory}"

    def timed(self, what: str, act: Callable[[], T]) -> T:
        """Do something and note how long it took."""
        begin = time.perf_counter()
        result = act()
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.seconds[what] = time.perf_counter() - begin
        return result

    def look_at(self, what: str, values: Tensor) -> None:
        """Note values that are not numbers."""
        if not bool(torch.isfinite(values.float()).all()):
            self.problems.append(f"{what}: values that are not numbers (NaN or infinite)")


@torch.inference_mode()
def try_model(checkpoint: Checkpoint, settings: Settings, *, draft: bool) -> Trial:
    """Encode two prompts, denoise one step at a small size, decode. Raises what loading raises."""
    if draft:
        compute = choose_precision(settings)
        device, dtype, plan = compute.device, compute.dtype, PLANS["draft"]
    else:
        device, dtype = choose_device(settings)
        plan = plan_for(checkpoint, settings, free_gpu_bytes(device))
    trial = Trial(device, plan.title)
    embeddings = trial.timed("text encoder", lambda: TextEncoder(checkpoint, plan.encoder, device)(*PROMPTS))
    _look_at_embeddings(trial, embeddings)

    def load() -> Any:
        if draft:
            from services.creation.engines.wan.draft import model_folder  # noqa: PLC0415

            return load_denoiser(model_folder(checkpoint), compute, loras=settings.creation.loras)
        return load_pipeline(checkpoint, plan, device, dtype, loras=loras_for(checkpoint, plan, settings))[0]

    pipe = trial.timed("loading", load)
    latents = trial.timed("one step", lambda: _one_step(trial, pipe, embeddings, checkpoint.model))
    if latents is not None:
        _look_at_frames(trial, trial.timed("decoding", lambda: _decoded(pipe, latents)))
    return trial


def _look_at_embeddings(trial: Trial, embeddings: list[Tensor]) -> None:
    for embedding in embeddings:
        trial.look_at("text encoder", embedding)
    if not embeddings[0].any() or torch.equal(*embeddings):
        trial.problems.append("text encoder: it has no word embeddings, every prompt is the same to it")


def _one_step(trial: Trial, pipe: Any, embeddings: list[Tensor], model: Model) -> Tensor:
    """Return the latents after some steps, having looked at what each transformer makes, and where."""
    idle = list(model.transformers)

    def watch(name: str) -> RemovableHandle:
        def on_output(_module: nn.Module, _inputs: object, output: Any) -> None:
            made: Tensor = output[0] if isinstance(output, tuple) else output.sample
            if name in idle:
                idle.remove(name)
            trial.look_at(name, made)
            if made.device.type != trial.device.type:
                trial.problems.append(f"{name}: it computes on {made.device}, not on {trial.device}")

        return getattr(pipe, name).register_forward_hook(on_output)  # type: ignore[no-any-return]  # of a pipeline

    handles = [watch(name) for name in model.transformers]
    generator = torch.Generator().manual_seed(0)
    is_distilled = isinstance(pipe.scheduler, DMDScheduler)  # to steps of which none can be left out
    usual = STEPS_OF_TWO if len(model.transformers) > 1 else 1
    if is_distilled:
        pipe.scheduler.begin(generator)
    try:
        latents: Tensor = pipe(
            **({"image": _gradient()} if model.pipeline == FROM_PICTURE else {}),
            prompt_embeds=embeddings[0].to(trial.device),
            negative_prompt_embeds=embeddings[1].to(trial.device),
            guidance_scale=1.0,
            width=WIDTH,
            height=HEIGHT,
            num_frames=FRAMES,
            num_inference_steps=pipe.scheduler.count if is_distilled else usual,
            generator=generator,
            output_type="latent",
        ).frames
    finally:
        for handle in handles:
            handle.remove()
    trial.problems.extend(f"{name}: no step was its own" for name in idle)
    return latents


def _gradient() -> Pillow.Image:
    """Return a picture to begin with: dark on the left, bright on the right."""
    return Pillow.linear_gradient("L").rotate(90).resize((WIDTH, HEIGHT)).convert("RGB")


def _decoded(pipe: Any, latents: Tensor) -> Tensor:
    """Return frames (N, 3, height, width), -1 to 1, from the latents of a pipeline."""
    shape = (1, pipe.vae.config.z_dim, 1, 1, 1)
    mean = torch.tensor(pipe.vae.config.latents_mean).view(shape)
    std = torch.tensor(pipe.vae.config.latents_std).view(shape)
    latents = latents.to(pipe.vae.dtype)
    frames: Tensor = pipe.vae.decode(latents * std.to(latents) + mean.to(latents), return_dict=False)[0]
    return frames[0].transpose(0, 1)


def _look_at_frames(trial: Trial, frames: Tensor) -> None:
    trial.look_at("VAE", frames)
    if float(frames.float().clamp(-1, 1).std()) / 2 < PLAINEST:
        trial.problems.append("VAE: it decodes a picture of one colour")
