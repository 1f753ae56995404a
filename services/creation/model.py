"""Video creation: the engines that the settings choose, loaded when they are needed."""

from collections.abc import Iterator

from services.creation.engine import Engine
from services.creation.engine_selection import EngineChoice, choose_engine
from services.creation.engines.classic.engine import ClassicEngine
from services.creation.request import PICTURE, TEXT, VIDEO
from services.creation.source_frames import Interpolate
from shared import weights
from shared.arrays import Image
from shared.errors import Rejected
from shared.files.remembered import ENGINES, Remembered
from shared.settings import Settings


class EnginePool:
    """The engines of this machine, each opened once and kept, and the network that adds frames to a slow video."""

    def __init__(self, settings: Settings) -> None:
        self.interpolate: Interpolate = LazyInterpolator(settings)
        self._settings = settings
        self._engines: dict[EngineChoice, Engine] = {}

    def engine(self, category: int, fields: frozenset[str] = frozenset()) -> Engine:
        """Return the engine for a category and those of its fields that not every model serves.

        Raises Rejected where there is none: weights may have been removed.
        """
        choice = choose_engine(category, self._settings, fields)
        if choice not in self._engines:
            self._engines[choice] = self._open(choice)
        return self._engines[choice]

    def warm(self) -> None:
        """Load every model that some category needs."""
        for category in (TEXT, PICTURE, VIDEO):
            try:
                engine = self.engine(category)
            except Rejected:  # no engine makes these: nothing to load
                continue
            engine.warm()

    def _open(self, choice: EngineChoice) -> Engine:
        if choice.checkpoint is None:
            return ClassicEngine()
        from services.creation.engines.wan.factory import open_engine  # noqa: PLC0415  # diffusers: five seconds

        return open_engine(choice.checkpoint, self._settings, self.interpolate, draft=choice.engine == "draft")


def load(settings: Settings) -> EnginePool:
    """Return the pool; models are loaded by the first task that needs them, or now with `KINORA_PRELOAD`."""
    pool = EnginePool(settings)
    if settings.preload:
        pool.warm()
    return pool


class LazyInterpolator:
    """RIFE, loaded when the first frame is missing: most clips miss none, and then torch is not imported either."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._network: Interpolate | None = None

    def __call__(self, first: Image, second: Image, position: float) -> Image:
        """Return the picture at `position`, 0-1, between two frames. Raises JobFailed where the weights are missing."""
        self._network = self._network or self._load()
        return self._network(first, second, position)

    def _load(self) -> Interpolate:
        from shared.networks.compute import choose_compute  # noqa: PLC0415  # torch, see above
        from shared.networks.interpolator import Interpolator  # noqa: PLC0415
        from shared.networks.rife import Rife  # noqa: PLC0415
        from shared.networks.rife_engines import choose_rife_engine  # noqa: PLC0415

        network = Rife.from_weights(weights.load_safetensors("rife-4.0"), "4.0")
        compute, remembered = choose_compute(self._settings.device), Remembered(self._settings.state_dir / ENGINES)
        engine = choose_rife_engine(network, "4.0", compute, remembered, refine=False)
        interpolator = Interpolator(network, engine.compute, refine=False, engine=engine)

        def interpolate(first: Image, second: Image, position: float) -> Image:
            frames: Iterator[Image] = interpolator(first, second, [position])
            return next(frames)

        return interpolate
