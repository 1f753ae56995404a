"""What a neural swapper remembers of a track."""

from dataclasses import dataclass, field

from services.facefusion.occlusion import OcclusionMemory


@dataclass
class NeuralAppearance:
    """The landmarks were smoothed before; these must not flicker either."""

    factor: int | None = None  # of pixel boost
    occlusion: OcclusionMemory = field(default_factory=OcclusionMemory)
