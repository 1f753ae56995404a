"""Which of the two upscaling architectures a file of weights belongs to, under whatever names it was published.

The names of RRDB's layers changed twice: ESRGAN's first release numbered them, its second spelled them otherwise.
"""

import re
from collections.abc import Mapping

from torch import Tensor

from shared.networks.rrdb import RRDB
from shared.networks.srvgg import CHANNELS, SCALE, SRVGG

COLOURS = 3
_RENAMED = [
    (re.compile(pattern), name)
    for pattern, name in (
        (r"^model\.0\.", "conv_first."),
        (r"^model\.1\.sub\.(\d+)\.RDB(\d)\.conv(\d)\.0\.", r"body.\1.rdb\2.conv\3."),
        (r"^model\.1\.sub\.\d+\.", "conv_body."),
        (r"^model\.3\.", "conv_up1."),
        (r"^model\.6\.", "conv_up2."),
        (r"^model\.8\.", "conv_hr."),
        (r"^model\.10\.", "conv_last."),
        (r"^RRDB_trunk\.(\d+)\.RDB(\d)\.", r"body.\1.rdb\2."),
        (r"^trunk_conv\.", "conv_body."),
        (r"^upconv(\d)\.", r"conv_up\1."),
        (r"^HRconv\.", "conv_hr."),
    )
]


def upscaler_of(weights: Mapping[str, Tensor]) -> SRVGG | RRDB:
    """Build the network that these weights belong to: SRVGGNetCompact or RRDBNet, x4, RGB.

    Raises ValueError, in a few words, for weights of another architecture, scale or number of colours.
    """
    renamed = {_our_name(name): tensor for name, tensor in weights.items()}
    try:
        if "conv_first.weight" in renamed:
            return _rrdb(renamed)
        if "body.0.weight" in renamed:
            return _srvgg(renamed)
    except (RuntimeError, KeyError, IndexError) as error:
        raise ValueError("its layers are those of neither SRVGGNetCompact nor RRDBNet") from error
    raise ValueError("it is neither SRVGGNetCompact nor RRDBNet")


def _our_name(name: str) -> str:
    for pattern, ours in _RENAMED:
        name, changed = pattern.subn(ours, name)
        if changed:
            break
    return name


def _rrdb(weights: Mapping[str, Tensor]) -> RRDB:
    inputs = weights["conv_first.weight"].shape[1]
    if inputs != COLOURS:  # folded blocks of pixels: 12 at x2, 48 at x1
        raise ValueError(f"its first layer takes {inputs} channels, a network for x4 takes {COLOURS}")
    return RRDB.from_weights(weights)


def _srvgg(weights: Mapping[str, Tensor]) -> SRVGG:
    last = max(int(name.split(".")[1]) for name in weights)
    outputs = len(weights[f"body.{last}.weight"])
    if outputs != CHANNELS * SCALE**2:
        raise ValueError(f"its last layer has {outputs} channels, a network for x4 has {CHANNELS * SCALE**2}")
    return SRVGG.from_weights(weights)
