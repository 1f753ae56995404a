"""Smoothing in time that does not lag: the One-Euro filter (Casiez, Roussel and Vogel 2012) on points of a face."""

from dataclasses import dataclass

import numpy as np

from services.facefusion.face import Float

CALM_HERTZ = 3.0  # cut-off while nothing moves: jitter goes
EAGERNESS = 15.0  # cut-off hertz gained per face height a second: motion stays
SPEED_HERTZ = 2.0  # cut-off of the speed that decides between the two


@dataclass
class OneEuro:
    """Smooths (N, D) points, frame after frame; speed is measured in face heights, so size does not matter."""

    points: Float | None = None
    speed: Float | None = None

    def __call__(self, points: Float, seconds: float, height: float) -> Float:
        """Take points that came `seconds` after the last ones; a face is `height` pixels high."""
        if self.points is None or self.speed is None:
            self.points, self.speed = points.copy(), np.zeros_like(points)
            return points
        moved = (points - self.points) / max(seconds * height, 1e-6)
        self.speed = self.speed + share(SPEED_HERTZ, seconds) * (moved - self.speed)
        pace = np.linalg.norm(self.speed, axis=1, keepdims=True)
        self.points = np.asarray(
            self.points + share(CALM_HERTZ + EAGERNESS * pace, seconds) * (points - self.points), np.float32
        )
        return self.points


def share(hertz: "Float | float", seconds: float) -> Float:
    """How much of a new value a first-order low-pass of this cut-off takes."""
    turn = 2 * np.pi * np.asarray(hertz, np.float32) * seconds
    return np.asarray(turn / (1 + turn), np.float32)
