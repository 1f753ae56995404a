"""Contact sheets of the classic styles: ten scenes as filmed, as an older version drew them, and as this one does.

    python -m benchmarks.creation_sheets --before 2245878

draws docs/images/creation-anime.webp and docs/images/creation-pixel.webp; that commit has both styles as they first
were. All media are in the catalogue, and may be shown: `kinora weights pull pictures-everyday` fetches those that no
other benchmark needs.
"""

import argparse
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from services.creation.effects.viewport import cover
from services.creation.request import ANIME, PIXEL
from shared import weights
from shared.arrays import Image

ROOT = Path(__file__).parents[1]
SIZE = (1024, 576)
LEAD = 8  # frames before the one that is shown: filters that remember have settled
SEEN = (800, 448)  # of the frame, shown at half its size: cells of 4 and of 8 pixels keep their shape
HEADING = 30  # pixels
QUALITY = 72
STYLES = {"anime": ANIME, "pixel": PIXEL}


@dataclass(frozen=True)
class Scene:
    """One moment of a clip of the catalogue, or one of its pictures, and which part of the frame is shown."""

    entry: str
    second: float = 0.0
    file: str = ""  # of an entry with several
    left: float = 0.5  # where the shown part lies: 0 at the left edge, 1 at the right one
    top: float = 0.5


SCENES = (
    Scene("clip-bigbuckbunny", 0.5),
    Scene("clip-bigbuckbunny", 2.0, left=0.3),
    Scene("clip-bigbuckbunny", 4.8),
    Scene("clip-no-face", 1.5),
    Scene("clip-single-face", 0.5),
    Scene("clip-woman-hands", 1.5, left=1.0),
    Scene("picture-single-face", top=0.3),
    Scene("pictures-everyday", file="coffee.png"),
    Scene("pictures-everyday", file="chelsea.png"),
    Scene("pictures-everyday", file="rocket.jpg", top=0.9),
)


def main() -> None:
    """Draw both sheets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", required=True, metavar="COMMIT", help="the version to compare with")
    parser.add_argument("--into", type=Path, default=ROOT / "docs/images", metavar="FOLDER")
    arguments = parser.parse_args()
    with TemporaryDirectory() as name:
        folder = Path(name)
        np.savez(folder / "scenes.npz", *map(frames_of, SCENES))
        old = folder / "old"
        git("worktree", "add", "--detach", str(old), arguments.before)
        try:
            for style, number in STYLES.items():
                columns = [last_frames(folder / "scenes.npz")]
                columns += [drawn_by(tree, folder, number) for tree in (old, ROOT)]
                sheet(columns).save(arguments.into / f"creation-{style}.webp", quality=QUALITY, method=6)
        finally:
            git("worktree", "remove", "--force", str(old))


def frames_of(scene: Scene) -> NDArray[np.uint8]:
    """Return the frames (LEAD, H, W, 3) up to a moment, the same one every time for a picture."""
    path = weights.path(scene.entry, scene.file) if scene.file else weights.path(scene.entry)
    if path.suffix != ".mp4":
        picture = np.asarray(Pillow.open(path).convert("RGB"), np.uint8)
        return np.stack([cover(picture, SIZE)] * LEAD)
    with av.open(path) as container:
        stream = container.streams.video[0]
        last = round(scene.second * float(stream.average_rate or 25))
        frames = [
            cover(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8), SIZE)
            for index, frame in zip(range(last + 1), container.decode(stream), strict=False)
            if index > last - LEAD
        ]
    return np.stack(frames)


def drawn_by(tree: Path, folder: Path, style: int) -> list[Image]:
    """Return the scenes' last frames as the code in `tree` draws them, in a process of its own."""
    program = ROOT / "benchmarks/creation_frames.py"
    arguments = [folder / "scenes.npz", folder / "drawn.npz", style]
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONSAFEPATH": "1"}
    subprocess.run([sys.executable, program, *map(str, arguments)], env=environment, cwd=tree, check=True)
    return last_frames(folder / "drawn.npz")


def last_frames(file: Path) -> list[Image]:
    """Return the last frame of every scene of a file."""
    with np.load(file) as scenes:
        return [scenes[name][-1] for name in scenes.files]


def sheet(columns: list[list[Image]]) -> Pillow.Image:
    """Return the scenes below each other, and the columns beside each other under their headings."""
    width, height = SEEN[0] // 2, SEEN[1] // 2
    page = Pillow.new("RGB", (width * len(columns), HEADING + height * len(SCENES)), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(16)
    for column, heading in enumerate(("source", "first version", "now")):
        draw.text((column * width + 8, 6), heading, fill="black", font=font)
        for row, (scene, frame) in enumerate(zip(SCENES, columns[column], strict=True)):
            small = cv2.resize(seen(frame, scene), (width, height), interpolation=cv2.INTER_AREA)
            page.paste(Pillow.fromarray(small), (column * width, HEADING + row * height))
    return page


def seen(frame: Image, scene: Scene) -> Image:
    """Return the part of a frame that is shown."""
    left = 2 * round(scene.left * (SIZE[0] - SEEN[0]) / 2)
    top = 2 * round(scene.top * (SIZE[1] - SEEN[1]) / 2)
    return frame[top : top + SEEN[1], left : left + SEEN[0]]


def git(*arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
