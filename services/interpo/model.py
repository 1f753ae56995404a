"""Frame interpolation: the model of this machine."""

from shared import weights
from shared.networks.compute import choose_compute
from shared.networks.interpolator import Interpolator
from shared.networks.rife import Rife
from shared.settings import Settings

WEIGHTS = "rife-4.0"


def load(settings: Settings) -> Interpolator:
    """Load RIFE from the model store onto the device that the settings ask for."""
    network = Rife.from_weights(weights.load_safetensors(WEIGHTS))
    return Interpolator(network, choose_compute(settings.device))
