"""Weights: which the settings need, whether they are undamaged, and what their licences allow."""

from collections.abc import Iterator
from importlib.util import find_spec

from shared import weights
from shared.doctor.finding import Finding
from shared.errors import Problem
from shared.settings import Settings
from shared.weights import by_hand, swappers
from shared.weights.diffusers_layout import tensors_of
from shared.weights.interpolators import INTERPOLATORS
from shared.weights.upscalers import KEEPS_NOISE, UPSCALERS


def weights_here(settings: Settings) -> Iterator[Finding]:
    """Look for what the settings need in the model store, and hash it."""
    needed = needed_by(settings)
    missing = [name for name in needed if not weights.exists(name)]
    for name in missing:
        yield Finding("weights", "broken", f"{name} has not been pulled yet: run `{command(name)}`")
    own = settings.upscale.model
    if "upscale" in settings.services and own not in {"auto", *UPSCALERS} and not by_hand.is_here(own):
        missing.append(own)
        yield Finding("weights", "broken", f"KINORA_UPSCALE_MODEL: there is no file and no stored model {own}")
    neural = "facefusion" in settings.services and swappers.needed_by(settings.facefusion.swapper)
    if neural and not find_spec("insightface"):
        missing.append("insightface")
        yield Finding("weights", "broken", Problem("facefusion_no_insightface").sentence("en"))
    damaged = list(_damaged(name for name in needed if name not in missing))
    for problem in damaged:
        yield Finding("weights", "broken", f"{problem}: run `kinora weights pull` again")
    if not missing and not damaged:
        yield Finding("weights", "ok", "all that the settings need is in the model store, verified")


def licences(_settings: Settings) -> Iterator[Finding]:
    """Name the pulled weights that may not be used commercially."""
    here = [entry for entry in weights.entries().values() if entry.needs_consent and weights.exists(entry.name)]
    if here:
        names = ", ".join(f"{entry.name} ({entry.licence})" for entry in here)
        yield Finding("licences", "warning", f"not for commercial use: {names}; results made with them are not either")
    else:
        yield Finding("licences", "ok", "no pulled weights forbid commercial use")


def text_to_video(settings: Settings) -> Iterator[Finding]:
    """Report whether the generative engine has its model."""
    if "creation" not in settings.services or settings.creation.engine == "classic":
        return
    models = [name for name, entry in weights.entries().items() if entry.is_model]
    wanted = models if settings.creation.model == "auto" else [settings.creation.model, settings.creation.draft_model]
    known = [name for name in wanted if name in models]
    here = [name for name in known if weights.exists(name)]
    if here or not known:  # a folder, or a repository of the hub, is checked when it is loaded
        named = here or [settings.creation.model]
        role = "is the model" if len(named) == 1 else "are the models"
        tried = f"; `kinora weights check {named[0]}` tries it"
        yield Finding("text to video", "ok", f"{', '.join(named)} {role} of the generative engine{tried}")
    elif settings.creation.engine == "wan":
        yield Finding("text to video", "broken", f"KINORA_CREATION_ENGINE is wan: run `{command(known[0])}`")
    else:
        text = f"off, and its requests are rejected; to have it, run `{command(known[0])}`"
        yield Finding("text to video", "ok", text)


def few_steps(settings: Settings) -> Iterator[Finding]:
    """Report whether the plan `fast` has the LoRA of its model, and the operator's LoRAs are whole."""
    creation = settings.creation
    if "creation" not in settings.services or creation.engine == "classic":
        return
    if creation.plan == "fast":
        yield from _without_lora(creation.model)
    for path, _ in creation.loras:
        if not path.is_file():
            yield Finding("LoRAs", "broken", f"KINORA_CREATION_LORAS: there is no file {path}")
        elif tensors_of(path) is None:
            yield Finding("LoRAs", "broken", f"KINORA_CREATION_LORAS: {path} is cut off, or no safetensors file")


def _without_lora(model: str) -> Iterator[Finding]:
    """Report what the plan `fast` lacks: `auto` takes a pulled model whose LoRA is here, where there is one."""
    entries = weights.entries()
    models = [name for name, entry in entries.items() if entry.is_model and weights.exists(name)]
    known = models if model == "auto" else [name for name in [model] if name in entries]
    loras = [entries[name].few_steps for name in known if entries[name].few_steps]
    if loras and not any(weights.exists(name) for name in loras):
        commands = " or ".join(f"`{command(name)}`" for name in loras)
        yield Finding("few steps", "broken", f"KINORA_CREATION_PLAN is fast: run {commands}")
    elif known and not loras:
        allowed = ", ".join(name for name, entry in entries.items() if entry.few_steps)
        text = f"KINORA_CREATION_PLAN is fast, for which {', '.join(known)} has no LoRA; these have one: {allowed}"
        yield Finding("few steps", "broken", text)


def needed_by(settings: Settings) -> list[str]:
    """Return the entries that the services of this machine need."""
    needed = [name for name, entry in weights.entries().items() if entry.default and entry.kind == "weights"]
    if "upscale" in settings.services and settings.upscale.model in UPSCALERS:
        needed.append(UPSCALERS[settings.upscale.model].name)
        if settings.upscale.model == "general-x4v3" and settings.upscale.denoise < 1:
            needed.append(KEEPS_NOISE)
    if "interpo" in settings.services:
        needed.append(INTERPOLATORS[settings.interpo.model])
    if "facefusion" in settings.services:
        needed += swappers.needed_by(settings.facefusion.swapper)
        if settings.facefusion.enhance in weights.entries():
            needed.append(settings.facefusion.enhance)
    return list(dict.fromkeys(needed))


def command(name: str) -> str:
    """Return the command that pulls an entry, its licence named where it must be."""
    return weights.entry(name).pull_command


def _damaged(names: Iterator[str]) -> Iterator[str]:
    for name in names:
        if weights.entry(name).hub:  # tens of gigabytes: hashed when it is loaded
            continue
        try:
            yield from (f"{name}: {problem}" for problem in weights.verify(name))
        except (Problem, OSError) as problem:
            yield f"{name}: {problem}"
