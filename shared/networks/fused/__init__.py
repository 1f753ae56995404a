"""Networks for a GPU whose convolutions bring bias, activation and residual along: half the passes over memory.

Eager torch runs a convolution, adds its bias, applies the activation and copies what is concatenated, each a pass over
all features; with 32 to 64 channels these passes take longer than the convolution itself (docs/benchmarks.md).
"""

from shared.networks.fused.activation import fuse_activations
from shared.networks.fused.availability import can_fuse
from shared.networks.fused.networks import fuse

__all__ = ["can_fuse", "fuse", "fuse_activations"]
