"""Weights: which the settings need, whether they are undamaged, and what their licences allow."""

from collections.abc import Iterator
from importlib.util import find_spec

from shared import weights
from shared.doctor.finding import Finding
from shared.errors import Problem
from shared.settings import Settings
from shared.weights import by_hand, swappers
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
    known = [name for name in (settings.creation.model, settings.creation.draft_model) if name in weights.entries()]
    here = [name for name in known if weights.exists(name)]
    if here or not known:  # a folder, or a repository of the hub, is checked when it is loaded
        named = ", ".join(here or [settings.creation.model])
        tried = f"; `kinora weights check {(here or [settings.creation.model])[0]}` tries it"
        yield Finding("text to video", "ok", f"{named} is the model of the generative engine{tried}")
    elif settings.creation.engine == "wan":
        yield Finding("text to video", "broken", f"KINORA_CREATION_ENGINE is wan: run `{command(known[0])}`")
    else:
        text = f"off, and its requests are rejected; to have it, run `{command(known[0])}`"
        yield Finding("text to video", "ok", text)


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
    entry = weights.entry(name)
    consent = f" --accept-licence '{entry.licence}'" if entry.needs_consent else ""
    return f"kinora weights pull {name}{consent}"


def _damaged(names: Iterator[str]) -> Iterator[str]:
    for name in names:
        if weights.entry(name).is_model:  # tens of gigabytes: hashed when it is loaded
            continue
        try:
            yield from (f"{name}: {problem}" for problem in weights.verify(name))
        except (Problem, OSError) as problem:
            yield f"{name}: {problem}"
