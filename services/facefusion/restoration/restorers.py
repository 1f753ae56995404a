"""The restorers: one row each, and which of them a task gets.

Licence, source and hash of a row stand under its name in the catalogue, `shared/weights/weights.toml`.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from services.facefusion.face import ARCFACE_112, Float
from services.facefusion.restoration.restorer import Interface, Restorer
from shared import weights
from shared.settings import Settings

# Where the five landmarks lie in FFHQ's alignment, in a chip of 512 pixels; facexlib's `FaceRestoreHelper` has them.
FFHQ_512: Float = np.array(
    [
        [192.98138, 239.94708],
        [318.90277, 240.1936],
        [256.63416, 314.01935],
        [201.26117, 371.41043],
        [313.08905, 371.15118],
    ],
    np.float32,
)
ARCFACE_256: Float = np.asarray((ARCFACE_112 + np.array([8, 0], np.float32)) * 2, np.float32)

# The order is that of preference: those that may be used commercially first, the steadier one in front.
RESTORERS: Mapping[str, Interface] = {
    "gfpgan-1.4": Interface(512, FFHQ_512),
    "restoreformer-plus-plus": Interface(512, FFHQ_512),
    "codeformer": Interface(512, FFHQ_512, extra={"weight": 0.5}),  # 0 the most quality, 1 the most fidelity
    "gpen-bfr-512": Interface(512, FFHQ_512),
    "gpen-bfr-256": Interface(256, ARCFACE_256),
}


@dataclass
class Restorers:
    """`restorers(asked) -> Restorer | None`: that of a runner, loaded by the first task that wants one.

    `asked` is whether the task itself asks for one. None: none is wanted, or none was pulled.
    """

    setting: str  # `KINORA_FACEFUSION_ENHANCE`
    cuda: bool = False
    _loaded: dict[str, Restorer] = field(default_factory=dict)
    _loading: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, asked: bool) -> Restorer | None:  # noqa: FBT001  # the only question there is
        """Return the restorer of a task; JobFailed names the weights that the settings want and that are missing."""
        name = self.chosen(asked=asked)
        if name is None:
            return None
        with self._loading:
            if name not in self._loaded:
                self._loaded[name] = Restorer(name, weights.path(name), RESTORERS[name], cuda=self.cuda)
            return self._loaded[name]

    def chosen(self, *, asked: bool) -> str | None:
        """Return the name of a task's restorer: that of the settings, else the first that was pulled."""
        if self.setting in RESTORERS:
            return self.setting
        if asked or (self.setting == "auto" and self.cuda):
            return next((name for name in RESTORERS if weights.exists(name)), None)
        return None


def restorers_of(settings: Settings, *, cuda: bool) -> Restorers:
    """Return the restorers that the settings ask for; nothing is loaded yet."""
    return Restorers(settings.facefusion.enhance, cuda=cuda)
