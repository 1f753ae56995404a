"""Find faces with SCRFD, insightface's detector (non-commercial weights): the same callable as YuNet's."""

from pathlib import Path

import cv2
import numpy as np

from services.facefusion import network
from services.facefusion.detect import LONG_SIDE, STRIDES, non_maximum_suppression, to_face
from services.facefusion.face import Face, Float
from shared.arrays import Image

MIN_SCORE = 0.5
ANCHORS = 2  # per cell


class ScrfdDetector:
    """`detector(image) -> list[Face]`, best score first; image is (H, W, 3) RGB uint8 of any size."""

    def __init__(self, weights: Path, *, cuda: bool = False) -> None:
        self._session = network.session(network.read(weights), cuda=cuda)
        self._input = self._session.get_inputs()[0].name
        self._outputs = [output.name for output in self._session.get_outputs()]  # three scales of scores, boxes, points

    def __call__(self, image: Image) -> list[Face]:
        """Detect on a square of `LONG_SIDE` pixels; coordinates are returned in pixels of `image`."""
        height, width = image.shape[:2]
        scale = LONG_SIDE / max(height, width)
        small = cv2.resize(image, (max(1, round(width * scale)), max(1, round(height * scale))))
        canvas = np.zeros((LONG_SIDE, LONG_SIDE, 3), np.float32)
        canvas[: small.shape[0], : small.shape[1]] = small
        found = self._session.run(self._outputs, {self._input: ((canvas - 127.5) / 128).transpose(2, 0, 1)[None]})
        scales = len(STRIDES)
        rows = [
            decode(found[index], found[index + scales], found[index + 2 * scales], stride)
            for index, stride in enumerate(STRIDES)
        ]
        back = np.array([small.shape[1] / width, small.shape[0] / height], np.float32)
        return [to_face(row, back) for row in non_maximum_suppression(np.concatenate(rows))]


def decode(scores: Float, boxes: Float, points: Float, stride: int) -> Float:
    """Turn one scale's distances from the cells' corners into rows of score, x, y, width, height and five points."""
    scores, boxes, points = scores.reshape(-1), boxes.reshape(-1, 4) * stride, points.reshape(-1, 5, 2) * stride
    keep = np.flatnonzero(scores > MIN_SCORE)
    cell, columns = keep // ANCHORS, LONG_SIDE // stride
    anchor = np.stack([cell % columns, cell // columns], 1).astype(np.float32) * stride
    low, high = anchor - boxes[keep, :2], anchor + boxes[keep, 2:]
    landmarks5 = (anchor[:, None] + points[keep]).reshape(-1, 10)
    return np.concatenate([scores[keep, None], low, high - low, landmarks5], 1).astype(np.float32)
