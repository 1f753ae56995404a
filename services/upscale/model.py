"""Upscaling: from the settings to a callable model."""

from shared import weights
from shared.networks.compute import choose_compute
from shared.networks.rrdb import RRDB
from shared.networks.srvgg import SRVGG
from shared.networks.upscaler import Network, Upscaler
from shared.settings import Settings

# Setting -> weights, and by how many pixels windows overlap: None is the network's whole reach, so windows change
# nothing. The RRDB networks reach 94 and 349 pixels but hardly use what is far: docs/upscale.md has the measurement.
MODELS = {
    "animevideov3": ("realesr-animevideov3", None),
    "x4plus": ("realesrgan-x4plus", 64),
    "x4plus-anime": ("realesrgan-x4plus-anime", 48),
}


def load(settings: Settings) -> Upscaler:
    """Load the chosen network onto the device: by default animevideov3 on a CPU and x4plus on a GPU.

    Raises JobFailed with the command to run when the weights are not here, Unavailable without the wanted device.
    """
    compute = choose_compute(settings.device)
    on_cpu = compute.device.type == "cpu"
    chosen = settings.upscale.model
    if chosen == "auto":
        chosen = "animevideov3" if on_cpu else "x4plus"
    name, overlap = MODELS[chosen]
    state = weights.load_safetensors(name)
    network: Network = SRVGG.from_weights(state).anchored() if chosen == "animevideov3" else RRDB.from_weights(state)
    return Upscaler(network, compute, name=name, overlap=overlap)
