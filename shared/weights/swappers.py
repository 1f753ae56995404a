"""The neural face swappers by their setting, `KINORA_FACEFUSION_SWAPPER`: what each needs from the catalogue."""

from collections.abc import Mapping

RECOGNISER = "buffalo-l"  # insightface's detector and embedder, which every one of them needs
GENDER_AGE = "genderage"  # insightface's estimates, used in the place of our own where they were pulled
ALIASES: Mapping[str, str] = {"inswapper": "inswapper-128"}

# Name, which is also that of its weights -> the network that converts embeddings for it, "" for none.
SWAPPERS: Mapping[str, str] = {
    "inswapper-128": "",
    "inswapper-128-fp16": "",
    "ghost-1-256": "crossface-ghost",
    "ghost-2-256": "crossface-ghost",
    "ghost-3-256": "crossface-ghost",
    "hyperswap-1a-256": "",
    "hyperswap-1b-256": "",
    "hyperswap-1c-256": "",
    "simswap-unofficial-512": "crossface-simswap",
}


def needed_by(swapper: str) -> list[str]:
    """Return the entries of the catalogue that a swapper needs, none for one that is no network."""
    name = ALIASES.get(swapper, swapper)
    if name not in SWAPPERS:
        return []
    return [name, RECOGNISER, *([SWAPPERS[name]] if SWAPPERS[name] else [])]
