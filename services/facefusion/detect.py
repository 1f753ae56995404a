"""Find faces: YuNet (MIT/Apache-2.0, 75 k parameters) on a frame scaled to at most 640 pixels."""

from pathlib import Path

import cv2
import numpy as np

from services.facefusion import network
from services.facefusion.face import Face, Float
from shared.arrays import Image

LONG_SIDE = 640  # pixels that the detector sees; faces from about 12 of these pixels are found
STRIDES = (8, 16, 32)
MIN_SCORE = 0.6  # below this the detector's own evaluation calls a box background
NMS_IOU = 0.3  # boxes with a larger intersection over union are one face


class Detector:
    """`detector(image) -> list[Face]`, best score first; image is (H, W, 3) RGB uint8 of any size."""

    def __init__(self, weights: Path, *, cuda: bool = False) -> None:
        model = network.free_dimensions(network.read(weights))
        self._session = network.session(model, cuda=cuda, threads=1)  # several frames are searched side by side
        self._outputs = [f"{kind}_{stride}" for kind in ("cls", "obj", "bbox", "kps") for stride in STRIDES]

    def __call__(self, image: Image) -> list[Face]:
        """Detect at `LONG_SIDE` pixels; coordinates are returned in pixels of `image`."""
        height, width = image.shape[:2]
        scale = LONG_SIDE / max(height, width)
        small = cv2.resize(
            image,
            (max(1, round(width * scale)), max(1, round(height * scale))),
            interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR,
        )
        rows, columns = (-(-side // 32) * 32 for side in small.shape[:2])
        planes = np.zeros((1, 3, rows, columns), np.float32)  # BGR 0-255, padded at the right and the bottom
        for plane, channel in zip(planes[0], reversed(cv2.split(small)), strict=True):
            plane[: small.shape[0], : small.shape[1]] = channel
        found = self._session.run(self._outputs, {"input": planes})
        per_stride = (found[index :: len(STRIDES)] for index in range(len(STRIDES)))
        boxes = np.concatenate(
            [decode(parts, stride, columns // stride) for parts, stride in zip(per_stride, STRIDES, strict=True)]
        )
        back = np.array([small.shape[1] / width, small.shape[0] / height], np.float32)
        return [to_face(row, back) for row in non_maximum_suppression(boxes)]


def decode(parts: list[Float], stride: int, columns: int) -> Float:
    """Turn one scale's `cls`, `obj`, `bbox`, `kps` into rows of score, x, y, width, height and five points."""
    cls, obj, bbox, points = (part[0] for part in parts)
    score = np.sqrt(np.clip(cls, 0, 1) * np.clip(obj, 0, 1))[:, 0]
    keep = np.flatnonzero(score > MIN_SCORE)
    cell = np.stack([keep % columns, keep // columns], 1).astype(np.float32)
    size = np.exp(bbox[keep, 2:]) * stride
    corner = (cell + bbox[keep, :2]) * stride - size / 2
    landmarks5 = ((points[keep].reshape(-1, 5, 2) + cell[:, None]) * stride).reshape(-1, 10)
    return np.concatenate([score[keep, None], corner, size, landmarks5], 1)


def non_maximum_suppression(rows: Float) -> Float:
    """Of boxes that overlap keep the one with the best score; best first. The scores' limit is the detector's own."""
    if not len(rows):
        return rows
    kept = cv2.dnn.NMSBoxes(rows[:, 1:5].tolist(), rows[:, 0].tolist(), 0.0, NMS_IOU)
    chosen: Float = rows[np.asarray(kept, np.intp).reshape(-1)]
    return chosen


def to_face(row: Float, scale: Float) -> Face:
    """Scale one row back to the frame's pixels."""
    corner, size = row[1:3] / scale, row[3:5] / scale
    return Face(np.concatenate([corner, corner + size]), row[5:].reshape(5, 2) / scale, float(row[0]))
