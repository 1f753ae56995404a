"""Video creation: the engines of the settings, ready to work."""

from collections.abc import Iterator

from services.creation.engine import Engine, Image
from services.creation.engine_selection import Maker, maker_of
from services.creation.engines.classic.engine import ClassicEngine
from services.creation.request import PICTURE, TEXT, VIDEO
from services.creation.source_frames import Between
from shared import weights
from shared.errors import Rejected
from shared.settings import Settings


class Studio:
    """Whoever makes clips on this machine, each opened once and kept; and the network that fills a slow video."""

    def __init__(self, settings: Settings) -> None:
        self.between: Between = LazyInterpolator(settings)
        self._settings = settings
        self._engines: dict[Maker, Engine] = {}

    def engine(self, category: int) -> Engine:
        """Return who makes clips of a category; Rejected where nobody does, for weights may have gone."""
        maker = maker_of(category, self._settings)
        if maker not in self._engines:
            self._engines[maker] = self._open(maker)
        return self._engines[maker]

    def warm(self) -> None:
        """Load every model that some category needs."""
        for category in (TEXT, PICTURE, VIDEO):
            try:
                engine = self.engine(category)
            except Rejected:  # nobody makes these: nothing to load
                continue
            engine.warm()

    def _open(self, maker: Maker) -> Engine:
        if maker.checkpoint is None:
            return ClassicEngine()
        from services.creation.engines.wan.factory import open_engine  # noqa: PLC0415  # diffusers: five seconds

        return open_engine(maker.checkpoint, self._settings, self.between, draft=maker.engine == "draft")


def load(settings: Settings) -> Studio:
    """Return a studio; its models come with the first task that needs them, or now with `KINORA_PRELOAD`."""
    studio = Studio(settings)
    if settings.preload:
        studio.warm()
    return studio


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
        from shared.networks.compute import choose_compute  # noqa: PLC0415  # torch, see above
        from shared.networks.interpolator import Interpolator  # noqa: PLC0415
        from shared.networks.rife import Rife  # noqa: PLC0415

        network = Rife.from_weights(weights.load_safetensors("rife-4.0"))
        interpolator = Interpolator(network, choose_compute(self._settings.device), refine=False)

        def between(first: Image, second: Image, position: float) -> Image:
            made: Iterator[Image] = interpolator(first, second, [position])
            return next(made)

        return between
