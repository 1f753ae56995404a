"""The mean of networks that were trained one from another: better than each (Izmailov and others 2018).

`python -m benchmarks.occluders.average RESULT FILE...` takes files that `train.py` wrote.
"""

import sys
from pathlib import Path

import numpy as np

from services.facefusion.face import Float


def average(files: list[Path]) -> dict[str, Float]:
    """Return the mean of each weight, in float32."""
    read = [dict(np.load(file)) for file in files]
    return {name: np.mean([weights[name].astype(np.float32) for weights in read], 0) for name in read[0]}


if __name__ == "__main__":
    found = average([Path(name) for name in sys.argv[2:]])
    np.savez_compressed(sys.argv[1], **{name: value.astype(np.float16) for name, value in found.items()})  # type: ignore[arg-type]  # its stub has no names of arrays
