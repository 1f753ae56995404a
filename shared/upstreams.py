"""Where the versions of one service listen, and which share of the new tasks each shall get."""

from typing import NamedTuple
from urllib.parse import urlsplit

WEIGHT_LIMIT = 1_000_000  # what the Gateway API allows, too


class WeightedUpstream(NamedTuple):
    """One version: its URL, and its weight beside the others'. Weight 0 takes no new tasks, but may be asked."""

    url: str
    weight: int


def read_upstreams(text: str) -> tuple[WeightedUpstream, ...]:
    """Read `http://a`, or `http://a=90,http://b=10`; an empty text gives none.

    Raises:
        ValueError: what is wrong, in one sentence that names the part and the way to write it.

    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if len(parts) == 1 and "=" not in parts[0]:
        return (WeightedUpstream(_checked(parts[0]), 1),)
    shares = tuple(_read_upstream(part) for part in parts)
    urls = [share.url.rstrip("/") for share in shares]
    if twice := next((url for url in urls if urls.count(url) > 1), None):
        raise ValueError(f"{twice} is named twice: give every version a URL of its own")
    if shares and not any(share.weight for share in shares):
        raise ValueError("every weight is 0, so no version would take new tasks: give at least one version a weight")
    return shares


def _read_upstream(part: str) -> WeightedUpstream:
    url, equals, weight = part.rpartition("=")
    if not equals:
        raise ValueError(f"{part} has no weight: write several versions as http://a:5003=90,http://b:5003=10")
    if not (weight.isascii() and weight.isdecimal()) or int(weight) > WEIGHT_LIMIT:
        raise ValueError(f"{url} has the weight {weight}: it must be a whole number from 0 to {WEIGHT_LIMIT}")
    return WeightedUpstream(_checked(url), int(weight))


def _checked(url: str) -> str:
    parts = urlsplit(url)
    elsewhere = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0  # a port out of range raises
    here = parts.scheme == "file" and parts.path.startswith("/") and not parts.netloc
    if not (elsewhere or here) or parts.query or parts.fragment:
        raise ValueError(f"{url} is not the address of a service: write it as http://HOST:PORT")
    return url
