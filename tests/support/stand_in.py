"""What a test's upscaler needs beside `__call__`, to be used by the service's pipeline."""

from shared.networks.compute import Compute, choose_compute
from shared.networks.engines import Engine


class StandIn:
    """Computes whole frames on the CPU, as many at once as there are cores."""

    name = "tiny"
    compute: Compute = choose_compute("cpu")
    engine = Engine(choose_compute("cpu"))
    computes_parts = False
    window_pixels = 0
