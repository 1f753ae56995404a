"""How `services/facefusion/occluder.npz` was made: faces in the atlas, covered by what a random generator draws.

`python -m benchmarks.occluders.train FOLDER STEPS SEED [PORTRAITS]` (torch, the media of the catalogue, scikit-image)
goes on from `FOLDER/occluder.npz`; a step takes a third of a second on one core. The faces are those of `people`;
PORTRAITS is the folder with those in grey. They are mixed with each other (in the atlas every face has the same
shape), mirrored, lit, reddened, tinted, blurred and shifted. What covers them is drawn: fingers in the face's own
colours, cups, frames, strips, discs and polygons with textures from `clip-no-face` and `clip-bigbuckbunny`, strands of
hair. Shadows, stubble and reflections are drawn, too, and do not count as covering. The hand, the glasses, the
microphone and the cup of `composites` are never seen here, nor are the people of `pictures-portraits`. The file in the
package is the mean (`average.py`) of what several runs, one after another, ended with.
"""

# OpenCV's, numpy's and torch's own annotations are narrower than what they take.
# mypy: disable-error-code="call-overload,assignment,arg-type,return-value,no-untyped-call,unused-ignore"

import sys
from dataclasses import dataclass, field
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from benchmarks.occluders.drawn import (
    SIDE,
    Random,
    blob,
    chance,
    fibres,
    fingers,
    frames,
    lit,
    photographed,
    polygon,
    shading,
    stick,
    strands,
    tinted,
    vessel,
)
from benchmarks.occluders.people import Trained, coloured, everybody, flushed, lit_from
from services.facefusion import occluder, occlusion
from services.facefusion.classic import to_lab
from services.facefusion.face import Float
from shared import weights
from shared.arrays import Image

BATCH, NEW, KEPT = 20, 4, 1500  # samples a step, new ones among them, and how many are kept
LEARNING_RATE = 8e-3
CERTAIN = 0.9
PLAIN, PHOTOGRAPHED = 0.5, 0.9  # surfaces: up to the first of one colour, up to the second of pictures, then skin

# Samples


def textures() -> list[Image]:
    """Pictures without faces, as surfaces of what covers a face."""
    found = []
    for name in ("clip-no-face", "clip-bigbuckbunny"):
        with av.open(weights.path(name)) as container:
            for index, frame in enumerate(container.decode(video=0)):
                if index % 24 == 0:
                    found.append(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8))
    return found


class Samples:
    """`samples()` draws one face: (RGB 0-1, covered 0-1, counted 0-1), each SIDE x SIDE."""

    def __init__(self, seed: int, portraits: Path | None = None) -> None:
        self.random: Random = np.random.default_rng(seed)
        self.faces = everybody(portraits)
        often = np.array([one.often for one in self.faces])
        self.often = often / often.sum()
        self.in_colour = [one for one in self.faces if not one.grey]
        self.textures = textures()

    def __call__(self) -> tuple[Float, Float, Float]:
        """Draw one."""
        random = self.random
        skin, counted, covered = self._face()
        skin = tinted(flushed(skin, random) if chance(random, 0.4) else skin, random)
        skin = lit_from(skin, random) if chance(random, 0.5) else lit(skin, random)
        for _ in range(random.choice(4, p=[0.25, 0.5, 0.17, 0.08])):
            shape, surface = self._thing(skin)
            if chance(random, 0.5):  # it throws a shadow, which is not a part of it
                shift = np.float32([[1, 0, random.uniform(-5, 5)], [0, 1, random.uniform(0, 6)]])
                shadow = cv2.GaussianBlur(cv2.warpAffine(shape, shift, (SIDE, SIDE)), (0, 0), random.uniform(1, 5))
                skin = skin * (1 - random.uniform(0.1, 0.5) * shadow[..., None])
            edge = cv2.GaussianBlur(shape, (0, 0), random.uniform(0.4, 1.2))[..., None]
            skin = skin * (1 - edge) + surface * edge
            covered = np.maximum(covered, shape)
        skin = photographed(np.clip(skin, 0, 1), random)
        return skin, covered, np.maximum(counted, covered)

    def _face(self) -> tuple[Float, Float, Float]:
        random = self.random
        skin, one = self._one()
        clear, hair = one.clear, one.hair
        if chance(random, 0.7) and not hair.any():
            both, other = self._one()
            if not other.hair.any():
                share = random.uniform(-0.15, 1.0)
                inside = occlusion.plain_skin()[..., None] > 0
                both = both * (skin.mean((0, 1), where=inside) / np.maximum(both.mean((0, 1), where=inside), 0.02))
                skin = np.clip(skin * (1 - share) + both * share, 0, 1)
                clear = np.minimum(clear, other.clear)
        return self._warped(np.dstack([skin, clear, hair]))

    def _warped(self, layers: Float) -> tuple[Float, Float, Float]:
        random = self.random
        if chance(random, 0.5):
            layers = layers[:, ::-1]
        turn = random.normal(0, 3)
        matrix = cv2.getRotationMatrix2D((64, 64), turn, 1 + random.normal(0, 0.04))
        matrix[:, 2] += random.normal(0, 2.0, 2)
        bend = [cv2.GaussianBlur(random.normal(0, 1, (SIDE, SIDE)).astype(np.float32), (0, 0), 14) for _ in range(2)]
        strength = random.uniform(0, 60)
        rows, columns = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
        x = matrix[0, 0] * columns + matrix[0, 1] * rows + matrix[0, 2] + bend[0] * strength
        y = matrix[1, 0] * columns + matrix[1, 1] * rows + matrix[1, 2] + bend[1] * strength
        x, y = x.astype(np.float32), y.astype(np.float32)
        found = cv2.remap(np.ascontiguousarray(layers), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        clear, hair = (np.asarray(found[..., layer] > CERTAIN, np.float32) for layer in (3, 4))
        return np.ascontiguousarray(found[..., :3]), clear, hair

    def _one(self) -> tuple[Float, Trained]:
        one = self.faces[self.random.choice(len(self.faces), p=self.often)]
        skin = one.skin.astype(np.float32) / 255
        if one.grey:
            other = self.in_colour[self.random.integers(len(self.in_colour))]
            skin = coloured(skin, other.skin.astype(np.float32) / 255)
        return skin, one

    def _thing(self, skin: Float) -> tuple[Float, Float]:
        random = self.random
        kind = random.choice(7, p=[0.38, 0.07, 0.18, 0.12, 0.08, 0.1, 0.07])
        if kind == 0:
            return fingers(skin, random)
        if kind == 1:
            return vessel(random)
        shape_of = (frames, stick, blob, polygon, strands)[kind - 2]
        shape = shape_of(random)
        if shape_of is strands:
            return shape, fibres(random)
        return shape, self._surface(skin)

    def _surface(self, skin: Float) -> Float:
        random = self.random
        look = random.random()
        if look < PLAIN:
            colour = random.uniform(0, 1) ** random.choice([2.0, 0.5]) * random.dirichlet([3, 3, 3]) * 2.6
            surface = np.full((SIDE, SIDE, 3), colour, np.float32) * shading(random)
            surface += random.normal(0, random.uniform(0, 0.06), (SIDE, SIDE, 1))
        elif look < PHOTOGRAPHED:
            whole = self.textures[random.integers(len(self.textures))]
            side = int(random.integers(40, min(whole.shape[:2])))
            y, x = (int(random.integers(0, length - side + 1)) for length in whole.shape[:2])
            part = cv2.resize(whole[y : y + side, x : x + side], (SIDE, SIDE), interpolation=cv2.INTER_AREA)
            surface = part.astype(np.float32) / 255 * random.uniform(0.4, 1.5)
        else:
            surface = np.roll(skin[::-1], int(random.integers(SIDE)), 1) * shading(random)
        if chance(random, 0.5):  # a reflection
            centre, width = random.uniform(0, SIDE, 2), random.uniform(1, 12)
            rows, columns = np.mgrid[0:SIDE, 0:SIDE]
            shine = np.exp(-(((columns - centre[0]) ** 2 + (rows - centre[1]) ** 2) / (2 * width**2)))
            surface = surface + shine[..., None] * random.uniform(0, 0.8)
        return np.asarray(np.clip(surface, 0, 1), np.float32)


# The network


class Network(nn.Module):
    """The layers of `services.facefusion.occluder`, in the order of `occluder.LAYERS`."""

    def __init__(self) -> None:
        super().__init__()
        self.normal = nn.ModuleDict(
            {layer.name: nn.BatchNorm2d(layer.outputs) for layer in occluder.LAYERS if layer.name != "head"}
        )
        self.layers = nn.ModuleDict(
            {
                layer.name: nn.Conv2d(layer.inputs, layer.outputs, layer.side, padding=layer.side // 2)
                for layer in occluder.LAYERS
            }
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, PLANES, SIDE / 2, SIDE / 2) to (N, 1, SIDE, SIDE), before the sigmoid."""
        skips = []
        for depth in range(occluder.DEPTHS):
            for step in "ab":
                x = torch.relu(self.convolved(f"down{depth}{step}", x))
            if depth < occluder.DEPTHS - 1:
                skips.append(x)
                x = nn.functional.max_pool2d(x, 2)
        for depth in reversed(range(occluder.DEPTHS - 1)):
            x = nn.functional.interpolate(self.convolved(f"up{depth}a", x), scale_factor=2, mode="nearest")
            x = torch.relu(self.convolved(f"up{depth}b", torch.relu(x + skips[depth])))
        return nn.functional.pixel_shuffle(self.layers["head"](x), 2)

    def convolved(self, name: str, x: torch.Tensor) -> torch.Tensor:
        """Return a layer's output, normalised over the batch while it is trained."""
        found: torch.Tensor = self.normal[name](self.layers[name](x))
        return found


@dataclass
class Batches:
    """Some new samples and some earlier ones, which are cheaper than to draw all anew."""

    samples: Samples
    kept: list[tuple[Float, Float, Float]] = field(default_factory=list)

    def __call__(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return BATCH samples as the network sees them: (N, PLANES, …), covered and counted (N, 1, SIDE, SIDE)."""
        random = self.samples.random
        drawn = []
        for _ in range(BATCH if len(self.kept) < BATCH else NEW):
            skin, covered, counted = self.samples()
            planes = occluder.planes(to_lab((skin * 255).astype(np.uint8)))
            drawn.append((planes, covered[None], (counted * occlusion.oval()).astype(np.float32)[None]))
        earlier = [self.kept[number] for number in random.integers(0, max(len(self.kept), 1), BATCH - len(drawn))]
        self.kept = (self.kept + drawn)[-KEPT:]
        x, covered, counted = (np.stack(part) for part in zip(*drawn, *earlier, strict=True))
        return torch.from_numpy(x), torch.from_numpy(covered), torch.from_numpy(counted)


def train(target: Path, steps: int, seed: int = 1, portraits: Path | None = None) -> None:
    """Train with the faces at hand and `portraits`, from what `target` holds if it exists.

    The weights are written as float16 each 50 steps.
    """
    torch.manual_seed(seed)
    torch.set_num_threads(1)  # a small network: more threads wait for each other
    batches = Batches(Samples(seed, portraits))
    network = Network().to(memory_format=torch.channels_last)  # a third faster on a CPU
    rate = LEARNING_RATE
    if target.exists():
        go_on(network, target)
        rate /= 4
    optimiser = torch.optim.AdamW(network.parameters(), rate, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps, pct_start=0.1)
    running: list[float] = []
    for step in range(steps):
        x, covered, counted = batches()
        found = network(x.to(memory_format=torch.channels_last))
        each = nn.functional.binary_cross_entropy_with_logits(found, covered, reduction="none")
        soft = torch.sigmoid(found) * counted
        dice = 1 - (2 * (soft * covered).sum((1, 2, 3)) + 20) / ((soft + covered * counted).sum((1, 2, 3)) + 20)
        loss = (each * counted).sum() / counted.sum() + 0.5 * dice.mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        running.append(float(loss.detach()))
        if (step + 1) % 50 == 0 or step + 1 == steps:
            sys.stdout.write(f"{step + 1} {np.mean(running[-50:]):.4f}\n")
            sys.stdout.flush()
            write(network, target)


def go_on(network: Network, target: Path) -> None:
    """Start from stored weights, into which the normalisation was multiplied: from here on it changes nothing."""
    stored = {name: torch.from_numpy(value.astype(np.float32)) for name, value in np.load(target).items()}
    network.layers.load_state_dict(stored)
    network.normal.eval()
    for normal in network.normal.values():
        assert isinstance(normal, nn.BatchNorm2d)
        nn.init.constant_(normal.weight, (1 + normal.eps) ** 0.5)


def write(network: Network, target: Path) -> None:
    """Store the layers' weights, the normalisation multiplied into them."""
    stored: dict[str, npt.NDArray[np.float16]] = {}
    for name, layer in network.layers.items():
        assert isinstance(layer, nn.Conv2d)
        assert layer.bias is not None
        weight, bias = layer.weight.detach(), layer.bias.detach()
        if name in network.normal:
            normal = network.normal[name]
            assert isinstance(normal, nn.BatchNorm2d)
            assert normal.running_var is not None
            assert normal.running_mean is not None
            factor = normal.weight.detach() / torch.sqrt(normal.running_var + normal.eps)
            weight = weight * factor[:, None, None, None]
            bias = (bias - normal.running_mean) * factor + normal.bias.detach()
        stored[f"{name}.weight"] = weight.numpy().astype(np.float16)
        stored[f"{name}.bias"] = bias.numpy().astype(np.float16)
    np.savez_compressed(target, **stored)  # type: ignore[arg-type]  # its stub has no names of arrays


if __name__ == "__main__":
    train(Path(sys.argv[1]) / "occluder.npz", int(sys.argv[2]), int(sys.argv[3]), *map(Path, sys.argv[4:5]))
