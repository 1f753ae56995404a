"""Upscaling: from the settings to a callable model."""

import torch

from shared import weights
from shared.errors import JobFailed
from shared.files.remembered import ENGINES, Remembered
from shared.networks.compute import choose_compute
from shared.networks.engines import choose_engine
from shared.networks.rrdb import RRDB
from shared.networks.srvgg import SRVGG
from shared.networks.upscaler import Upscaler
from shared.networks.upscaler_weights import upscaler_of
from shared.settings import Settings
from shared.weights import by_hand
from shared.weights.upscalers import KEEPS_NOISE, OTHER_OVERLAP, UPSCALERS


def load(settings: Settings) -> Upscaler:
    """Load the chosen network onto the device: by default animevideov3 on a CPU and x4plus on a GPU.

    Raises JobFailed with the command to run when the weights were not pulled, Unavailable without the wanted device.
    """
    compute = choose_compute(settings.device)
    chosen = settings.upscale.model
    if chosen == "auto":
        chosen = "animevideov3" if compute.device.type == "cpu" else "x4plus"
    network, name, overlap = _network(chosen, settings.upscale.denoise)
    engine = choose_engine(network, name, compute, Remembered(settings.state_dir / ENGINES))
    return Upscaler(network, engine.compute, name=name, overlap=overlap, engine=engine)


def _network(chosen: str, denoise: float) -> tuple[SRVGG | RRDB, str, int | None]:
    """Return the network in fp32, its title, and the overlap of its windows, None for its reach."""
    if chosen not in UPSCALERS:
        network, name = _brought(chosen)
        return network, name, OTHER_OVERLAP if isinstance(network, RRDB) else None
    stored = UPSCALERS[chosen]
    if chosen == "general-x4v3":
        return *_general(denoise, stored.name), stored.overlap
    state = weights.load_safetensors(stored.name)
    known = SRVGG.from_weights(state).anchored() if chosen == "animevideov3" else RRDB.from_weights(state)
    return known, stored.name, stored.overlap


def _brought(model: str) -> tuple[SRVGG | RRDB, str]:
    """Return the network of a user's own file or stored model, and its title."""
    title, state = by_hand.load(model)
    try:
        return upscaler_of(state), title
    except ValueError as error:
        raise JobFailed("upscaler_unknown", name=title, reason=str(error)) from error


def _general(denoise: float, name: str) -> tuple[SRVGG, str]:
    """Return general-x4v3, its weights mixed linearly with those of the network that keeps noise, and its title.

    The strength is the plain network's share, as in Real-ESRGAN's own release.
    """
    state = weights.load_safetensors(name)
    if denoise == 1:
        return SRVGG.from_weights(state), name
    if not weights.exists(KEEPS_NOISE):
        raise JobFailed("upscale_denoise_weights", name=KEEPS_NOISE)
    noisy = weights.load_safetensors(KEEPS_NOISE)
    mixed = {key: torch.lerp(noisy[key].float(), tensor.float(), denoise) for key, tensor in state.items()}
    return SRVGG.from_weights(mixed), f"{name}, denoise {denoise:g}"
