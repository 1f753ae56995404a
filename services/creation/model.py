"""Video creation: the settings' engine, ready to work."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass

from services.creation.engine import Engine, Image
from services.creation.engines.classic.engine import ClassicEngine
from services.creation.footage import Between
from shared import weights
from shared.settings import Settings

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Studio:
    """An engine, and the network that makes a slow video faster before an engine sees it."""

    engine: Engine
    between: Between


def load(settings: Settings) -> Studio:
    """Return the engine that the settings ask for."""
    return Studio(engine=ClassicEngine(), between=LazyInterpolator(settings))


class LazyInterpolator:
    """RIFE, loaded when the first frame is missing: most clips need none, and then neither torch."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._network: Between | None = None

    def __call__(self, first: Image, second: Image, position: float) -> Image:
        """Return the picture at `position` between two frames; JobFailed where the weights were not pulled."""
        self._network = self._network or self._load()
        return self._network(first, second, position)

    def _load(self) -> Between:
        from shared.device import choose_compute  # noqa: PLC0415  # torch, see above
        from shared.networks.interpolator import Interpolator  # noqa: PLC0415
        from shared.networks.rife import Rife  # noqa: PLC0415

        network = Rife.from_weights(weights.load_safetensors("rife-4.0"))
        interpolator = Interpolator(network, choose_compute(self._settings.device), refine=False)

        def between(first: Image, second: Image, position: float) -> Image:
            made: Iterator[Image] = interpolator(first, second, [position])
            return next(made)

        return between
