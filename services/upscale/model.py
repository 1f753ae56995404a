"""Upscaling: from the settings to a callable model."""

from shared import weights
from shared.networks.compute import choose_compute
from shared.networks.rrdb import RRDB
from shared.networks.srvgg import SRVGG
from shared.networks.upscaler import Network, Upscaler
from shared.settings import Settings
from shared.weights.upscalers import UPSCALERS


def load(settings: Settings) -> Upscaler:
    """Load the chosen network onto the device: by default animevideov3 on a CPU and x4plus on a GPU.

    Raises JobFailed with the command to run when the weights were not pulled, Unavailable without the wanted device.
    """
    compute = choose_compute(settings.device)
    on_cpu = compute.device.type == "cpu"
    chosen = settings.upscale.model
    if chosen == "auto":
        chosen = "animevideov3" if on_cpu else "x4plus"
    stored = UPSCALERS[chosen]
    state = weights.load_safetensors(stored.name)
    network: Network = SRVGG.from_weights(state).anchored() if chosen == "animevideov3" else RRDB.from_weights(state)
    return Upscaler(network, compute, name=stored.name, overlap=stored.overlap)
