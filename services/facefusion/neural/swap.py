"""The `Swapper` of every network of the table: cut the face out, render it, put it back."""

from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np

from services.facefusion.classic import to_lab
from services.facefusion.embed import normalised
from services.facefusion.face import Float, umeyama_transform
from services.facefusion.mesh import to_atlas
from services.facefusion.neural.analysis import ArcFace
from services.facefusion.neural.appearance import NeuralAppearance
from services.facefusion.neural.boost import Setting, enlarged, factor_for, put_together, take_apart
from services.facefusion.neural.in_front import behind
from services.facefusion.neural.paste import paste_back
from services.facefusion.neural.render import Network
from services.facefusion.neural.swappers import SwapperRow
from services.facefusion.occluder import covering
from services.facefusion.occlusion import ATLAS_SIDE
from services.facefusion.swapper import Patch, Steps, View, at_once
from shared.arrays import Image
from shared.weights.swappers import ALIASES


@dataclass
class NeuralSwapper:
    """Renders one person's face over another's by a network."""

    row: SwapperRow
    network: Network
    embed: ArcFace
    convert: Callable[[Float], Float] | None = None  # of rows whose identity is "converted"
    pixel_boost: Setting = "1"
    name: str = field(init=False)  # in the task's details: the setting's older name, where it has one

    def __post_init__(self) -> None:
        """Find the name."""
        self.name = next((alias for alias, name in ALIASES.items() if name == self.row.name), self.row.name)

    def prepare(self, image: Image, view: View) -> "NeuralSource":
        """Embed the source and take the embedding into the network's space."""
        return NeuralSource(self, self.identity(self.embed.raw(image, view.face.landmarks5)))

    def identity(self, embedding: Float) -> Float:
        """Return (512,) float32, what the network takes of an embedding that has not been scaled."""
        if self.convert is not None:
            converted = self.convert(embedding)
            return converted if self.row.identity == "converted" else normalised(converted)
        unit = normalised(embedding)
        return unit if self.network.emap is None else normalised(unit @ self.network.emap)

    def render(self, chip: Image, identity: Float, factor: int = 1) -> Float:
        """Give a chip, (n * side, n * side, 3) RGB uint8, the source's identity: the same shape, float32, 0-255."""
        inputs = self.row.to_input(take_apart(chip.astype(np.float32), factor))
        found = np.stack([self.network(part, identity) for part in inputs])
        return put_together(self.row.from_output(found), factor)


@dataclass(frozen=True)
class NeuralSource:
    """A source, ready for the network."""

    swapper: NeuralSwapper
    identity: Float  # (512,)

    def renderer(self, remembered: NeuralAppearance | None = None) -> "NeuralRenderer":
        """Return a renderer for one track."""
        return NeuralRenderer(self, remembered or NeuralAppearance())


@dataclass
class NeuralRenderer:
    """Renders the source over one track."""

    source: NeuralSource
    remembered: NeuralAppearance = field(default_factory=NeuralAppearance)

    def steps(self, image: Image, view: View) -> Steps:
        """Find the factor and what is in front in the first step, in order; all else is done beside other frames."""
        swapper, shape = self.source.swapper, (image.shape[0], image.shape[1])
        matrix = umeyama_transform(view.face.landmarks5, swapper.row.template)
        if view.fresh:
            self.remembered = NeuralAppearance()
        remembered = self.remembered
        factor = factor_for(swapper.pixel_boost, matrix, swapper.row.side, remembered.factor)
        remembered.factor = factor
        seen = to_lab(to_atlas(image, view.landmarks, ATLAS_SIDE))
        clear = remembered.occlusion.update(seen, covering(seen))
        yield
        side = swapper.row.side * factor
        matrix = enlarged(matrix, factor)
        chip = cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        rendered = swapper.render(np.asarray(chip, np.uint8), self.source.identity, factor)
        patch = paste_back(rendered, matrix, shape, view.opacity)
        return patch and behind(patch, clear, view.landmarks, shape)

    def __call__(self, image: Image, view: View) -> Patch | None:
        """Swap the aligned chip and warp it back to the region of the frame that it came from."""
        return at_once(self.steps(image, view))
