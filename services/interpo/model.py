"""Frame interpolation: the model of this machine."""

from shared import weights
from shared.files.remembered import ENGINES, Remembered
from shared.networks.compute import choose_compute
from shared.networks.interpolator import Interpolator
from shared.networks.rife import Rife
from shared.networks.rife_engines import choose_rife_engine
from shared.settings import Settings
from shared.weights.interpolators import INTERPOLATORS


def load(settings: Settings) -> Interpolator:
    """Load the generation of RIFE that the settings name onto the device that they ask for.

    Raises JobFailed with the command to run when its weights are not here, Unavailable without the wanted device.
    """
    generation = settings.interpo.model
    network = Rife.from_weights(weights.load_safetensors(INTERPOLATORS[generation]), generation)
    remembered = Remembered(settings.state_dir / ENGINES)
    engine = choose_rife_engine(network, generation, choose_compute(settings.device), remembered, refine=True)
    return Interpolator(network, engine.compute, engine=engine)
