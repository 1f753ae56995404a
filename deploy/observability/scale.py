"""Round steps of an axis, and values in the words of their unit."""

import math
from collections.abc import Sequence

ROUND = (1, 2, 2.5, 5, 10)
BYTES = ("B", "KiB", "MiB", "GiB", "TiB")
SHORT = ("", "K", "Mil", "Bil")
TIMES = ((86400.0, "day"), (3600.0, "hour"), (60.0, "min"), (1.0, "s"))


def steps(most: float, unit: str = "short", *, about: int = 4) -> Sequence[float]:
    """Return about so many values from 0 to the first that is not below `most`, round in the words of the unit."""
    if most <= 0:
        return [0.0, 1.0]
    size = _size(most, unit)
    raw = most / size / about
    power = 10 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in ROUND if factor * power >= raw * (1 - 1e-9))
    return [step * size * number for number in range(math.ceil(most / size / step - 1e-9) + 1)]


def _size(most: float, unit: str) -> float:
    """Return of what the steps of an axis are multiples: of minutes where there are some, of MiB, …"""
    match unit:
        case "s":
            return next((size for size, _ in TIMES if most >= 2 * size), 1.0)
        case "bytes":
            return 1024.0 ** min(len(BYTES) - 1, max(0, math.floor(math.log(most, 1024))))
        case _:
            return 1.0


def words(value: float, unit: str) -> str:
    """Return a value as a panel shows it; `unit` is one of Grafana's names."""
    match unit:
        case "bool":
            return "True" if value else "False"
        case "s":
            return _time(value)
        case "percentunit":
            return f"{_digits(value * 100)} %"
        case "reqps":
            return f"{_digits(value)} req/s"
        case "bytes":
            return _scaled(value, 1024.0, BYTES)
        case _:
            return _scaled(value, 1000.0, SHORT)


def _time(seconds: float) -> str:
    if 0 < seconds < 1:
        return f"{_digits(seconds * 1000)} ms"
    size, name = next((one for one in TIMES if seconds >= one[0]), TIMES[-1])
    return f"{_digits(seconds / size)} {name}"


def _scaled(value: float, base: float, names: Sequence[str]) -> str:
    power = 0
    while abs(value) >= base and power < len(names) - 1:
        value, power = value / base, power + 1
    return f"{_digits(value)} {names[power]}".rstrip()


def _digits(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"  # noqa: PLR2004
