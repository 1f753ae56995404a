"""Array types of pictures."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[Any]  # (height, width, 3) RGB: uint8, or uint16 with white at 65535
Image = NDArray[np.uint8]  # a picture of 8 bits a channel
