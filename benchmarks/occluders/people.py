"""Whose faces the occluder network is trained on, flattened into the atlas, and light on the relief of a face.

In colour: the man, the woman, four people of `picture-multi-face`, and Eileen Collins, photographed by NASA (public
domain, part of scikit-image). In grey: official portraits of members of the Congress of the United States (public
domain, as `Reform-to/congress-photos` 72eb872 has them in `img/200x250`), those named in `portraits.txt`: without
glasses, without a beard, without hair over the forehead, and none of whom is in `pictures-portraits`.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.faces.media import frames_of, picture
from benchmarks.faces.setup import largest
from benchmarks.occluders.drawn import SIDE, Random, chance
from benchmarks.occluders.own_hair import AREAS, hair_in_atlas
from services.facefusion import model as models
from services.facefusion import occlusion
from services.facefusion.classic import to_lab
from services.facefusion.face import Face, Float
from services.facefusion.landmarks import crop_of_landmarks
from services.facefusion.mesh import Mesh, atlas_numbers, place, to_atlas
from services.facefusion.model import FaceModel
from services.facefusion.occlusion import Mask
from shared.arrays import Image
from shared.settings import FaceFusionSettings, Settings

CLEAN_HERS = (0, 10, 20, 30, 40, 236, 250, 262, 280, 300, 320, 340, 360, 380, 400, 420)  # frames without a hand
NEAREST = 3.0  # of the normals' depth to their width: how far a nose stands out


@dataclass(frozen=True)
class Trained:
    """A face to train with, in the atlas: (SIDE, SIDE, 3) RGB, and 0-1 (SIDE, SIDE), where nothing covers it."""

    skin: Image
    clear: Float
    hair: Float  # 0-1 (SIDE, SIDE): what covers it already
    often: float  # how often it is drawn, against the others
    grey: bool = False  # its colours are another one's


@cache
def embedded() -> FaceModel:
    """Load the detector and the landmark network once."""
    return models.load(Settings(facefusion=FaceFusionSettings(swapper="classic")))


def everybody(portraits: Path | None) -> list[Trained]:
    """Return all faces in colour, and the portraits of a folder (`ID.jpg`) if there is one."""
    model, group = embedded(), picture("picture-multi-face")
    his, hers = frames_of("clip-single-face", 72), frames_of("clip-woman-hands", 430)
    found = [flattened("man", his[index], largest(model, his[index]), often=1.0) for index in range(0, 72, 5)]
    found += [flattened("woman", hers[index], largest(model, hers[index]), often=1.0) for index in CLEAN_HERS]
    ordered = sorted(model.detect(group), key=lambda face: float(face.centre[0]))
    # Of each still as many as of four frames; the first of the group wears sunglasses.
    found += [flattened(f"group {number}", group, face, often=4.0) for number, face in enumerate(ordered) if number]
    for image in (picture("picture-single-face"), astronaut()):
        found.append(flattened("", image, largest(model, image), often=4.0))
    return found + (members(portraits) if portraits else [])


def members(portraits: Path) -> list[Trained]:
    """Return the portraits named in `portraits.txt`."""
    found = []
    for entry in Path(__file__).with_name("portraits.txt").read_text(encoding="utf-8").split():
        name = entry.removesuffix("+")
        read = cv2.imread(str(portraits / f"{name}.jpg"))
        assert read is not None, f"{name}.jpg is missing in {portraits}"
        image, certain = np.asarray(read, np.uint8), entry != name
        face = largest(embedded(), image)
        found.append(flattened("", image, face, often=2.0 if certain else 0.5, grey=True, certain_hair=certain))
    return found


def flattened(
    name: str, image: Image, face: Face, *, often: float, grey: bool = False, certain_hair: bool = False
) -> Trained:
    """Flatten a face; what may be hair does not count, certain hair and that of `own_hair` covers."""
    points, _ = embedded().landmarks(image, crop_of_landmarks(embedded().view(image, face).landmarks))
    skin = np.asarray(to_atlas(image, points, SIDE), np.uint8)
    lab = to_lab(skin)
    dark = dark_at_the_rim(lab)
    hair = hair_in_atlas(name, lab) if name in AREAS else dark if certain_hair else np.zeros_like(dark)
    unsure = cv2.dilate((dark | hair).astype(np.uint8), occlusion.ellipse(9))
    return Trained(skin, (1 - unsure).astype(np.float32), hair.astype(np.float32), often, grey)


def dark_at_the_rim(lab: Float) -> Mask:
    """Return where hair may be, without the margin that `occlusion.hair` adds: (SIDE, SIDE)."""
    darkness = 1 - lab[..., 0] / max(float(occlusion.skin_median(lab[..., 0])), 1.0)
    candidates = (darkness > occlusion.DARK) & occlusion.oval() & ~occlusion.features(around=3)
    return occlusion.entered(candidates, (darkness > occlusion.BLACK) & occlusion.rim(), least=0.004)


def astronaut() -> Image:
    """Return the picture of Eileen Collins."""
    from skimage import data  # noqa: PLC0415  # only here

    found: npt.NDArray[np.uint8] = data.astronaut()  # type: ignore[no-untyped-call,unused-ignore]
    return np.asarray(found[..., :3], np.uint8)


def coloured(grey: Float, colours: Float) -> Float:
    """Give a grey face the colours of another one: both (SIDE, SIDE, 3) RGB 0-1, in the atlas they fit each other."""
    light = cv2.cvtColor(grey, cv2.COLOR_RGB2Lab)[..., :1]
    chroma = cv2.GaussianBlur(cv2.cvtColor(colours, cv2.COLOR_RGB2Lab)[..., 1:], (0, 0), 1.0)
    return np.asarray(np.clip(cv2.cvtColor(np.dstack([light, chroma]), cv2.COLOR_Lab2RGB), 0, 1), np.float32)


# Light


@cache
def normals() -> Float:
    """Return the directions a face's skin looks in, (SIDE, SIDE, 3) of length 1: right, down and towards the camera."""
    image = picture("picture-single-face")
    points = embedded().view(image, largest(embedded(), image)).landmarks
    mesh, numbers = Mesh.load(), atlas_numbers(SIDE)
    near = -points[:, 2] * SIDE / float(np.ptp(points[:, 0]))
    corners = (mesh.points * SIDE - 0.5)[mesh.triangles]
    depth = place(numbers, corners, np.repeat(near[mesh.triangles][..., None], 2, 2))[0]
    inside = (numbers >= 0).astype(np.float32)
    depth = cv2.GaussianBlur(depth * inside, (0, 0), 2) / np.maximum(cv2.GaussianBlur(inside, (0, 0), 2), 1e-3)
    slope_y, slope_x = np.gradient(depth)
    steep = np.clip(np.dstack([-slope_x, -slope_y, np.ones_like(depth)]), -NEAREST, NEAREST)
    return np.asarray(steep / np.linalg.norm(steep, axis=2, keepdims=True), np.float32)


def lit_from(skin: Float, random: Random) -> Float:
    """Light a face from a lamp beside it, with some light from everywhere: its far side and that of its nose darken."""
    angle, height = random.uniform(0, 2 * np.pi), random.uniform(0.1, 0.9)
    across = np.sqrt(1 - height**2)
    lamp = np.array([np.cos(angle) * across, np.sin(angle) * across * 0.6, height], np.float32)
    facing = np.clip(normals() @ (lamp / np.linalg.norm(lamp)), 0, 1)
    if chance(random, 0.5):  # a small lamp: the shade has an edge
        facing = 1 / (1 + np.exp(-np.clip((facing - random.uniform(0.1, 0.6)) * random.uniform(4, 25), -30, 30)))
    else:
        facing = np.asarray(cv2.GaussianBlur(facing, (0, 0), random.uniform(0.5, 4)), np.float32)
    everywhere = random.uniform(0.15, 0.7)
    light = (everywhere + (1 - everywhere) * facing)[..., None]
    warm = 1 + (light - 0.5) * random.normal(0, 0.08, 3).astype(np.float32)  # the two lights differ in colour
    light = light * warm
    return np.asarray(np.clip(skin * light / max(float(np.percentile(light, 80)), 0.1), 0, 1), np.float32)


def flushed(skin: Float, random: Random) -> Float:
    """Redden a nose, cheeks or a chin, and let a forehead shine."""
    rows, columns = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    for middle in random.permutation(np.array([[64, 76], [34, 78], [94, 78], [64, 112], [64, 22], [64, 60]]))[:3]:
        wide, high = random.uniform(5, 18, 2)
        x, y = middle + random.normal(0, 4, 2)
        spot = np.exp(-(((columns - x) / wide) ** 2 + ((rows - y) / high) ** 2))[..., None]
        if chance(random, 0.7):
            red = np.array([random.uniform(-0.05, 0.15), random.uniform(-0.25, 0), random.uniform(-0.25, 0)])
            skin = skin * (1 + spot * red)
        else:
            skin = skin + spot * random.uniform(0, 0.35)
    return np.asarray(np.clip(skin, 0, 1), np.float32)
