"""Smoothing in time that does not lag: the One-Euro filter (Casiez, Roussel and Vogel 2012) on points of a face."""

from dataclasses import dataclass

import numpy as np

from services.facefusion.face import Float

MIN_CUTOFF_HERTZ = 3.0  # cut-off while nothing moves: takes the jitter away
BETA = 15.0  # cut-off hertz gained per face height a second: lets motion through
SPEED_CUTOFF_HERTZ = 2.0  # cut-off of the speed itself


@dataclass
class OneEuro:
    """Smooths (N, D) points, frame after frame; speed is measured in face heights, so size does not matter."""

    points: Float | None = None
    speed: Float | None = None

    def __call__(self, points: Float, seconds: float, height: float) -> Float:
        """Smooth points that came `seconds` after the previous ones; the face is `height` pixels high."""
        if self.points is None or self.speed is None:
            self.points, self.speed = points.copy(), np.zeros_like(points)
            return points
        moved = (points - self.points) / max(seconds * height, 1e-6)
        self.speed = self.speed + smoothing_factor(SPEED_CUTOFF_HERTZ, seconds) * (moved - self.speed)
        magnitude = np.linalg.norm(self.speed, axis=1, keepdims=True)
        factor = smoothing_factor(MIN_CUTOFF_HERTZ + BETA * magnitude, seconds)
        self.points = np.asarray(self.points + factor * (points - self.points), np.float32)
        return self.points


def smoothing_factor(cutoff_hertz: "Float | float", seconds: float) -> Float:
    """Share of a new value, 0-1, that a first-order low-pass with this cut-off takes."""
    turn = 2 * np.pi * np.asarray(cutoff_hertz, np.float32) * seconds
    return np.asarray(turn / (1 + turn), np.float32)
