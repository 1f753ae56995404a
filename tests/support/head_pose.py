"""The pose of a head, measured from its 468 landmarks: what tests say about the landmarks' depth and rotation."""

from dataclasses import dataclass

import numpy as np

from services.facefusion.face import Float


@dataclass(frozen=True)
class HeadPose:
    """Which way the head faces, in degrees: yaw to the image's right, pitch downwards, roll clockwise."""

    yaw: float
    pitch: float
    roll: float


def head_pose(landmarks: Float) -> HeadPose:
    """Angles of the head's axes against the camera's; good to about five degrees up to 50 degrees of yaw."""
    right, down = head_axes(landmarks)
    return HeadPose(
        yaw=float(np.degrees(np.arctan2(right[2], np.hypot(right[0], right[1])))),
        pitch=float(np.degrees(np.arctan2(-down[2], np.hypot(down[0], down[1])))),
        roll=float(np.degrees(np.arctan2(right[1], right[0]))),
    )


def head_axes(landmarks: Float) -> tuple[Float, Float]:
    """Unit vectors (3,) to the head's image-right and down, from landmarks that an expression hardly moves."""
    right = landmarks[[263, 454]].mean(0) - landmarks[[33, 234]].mean(0)
    down = landmarks[[152, 2, 164]].mean(0) - landmarks[[10, 151, 9]].mean(0)
    right = right / max(float(np.linalg.norm(right)), 1e-6)
    down = down - right * float(down @ right)
    down = down / max(float(np.linalg.norm(down)), 1e-6)
    return np.asarray(right, np.float32), np.asarray(down, np.float32)
