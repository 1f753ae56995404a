"""Which version of a service a task goes to, decided by its task_id alone."""

import hashlib
import math
from collections.abc import Iterable

from shared.contract.json_values import parse_object, read_whole
from shared.errors import Rejected
from shared.upstreams import WeightedUpstream
from shared.vocabulary import ServiceName


def ranked(service: ServiceName, key: str, shares: Iterable[WeightedUpstream]) -> list[WeightedUpstream]:
    """Order the versions of a service for one task: the first is its own, the others are fallbacks; weight 0 is last.

    This is weighted rendezvous hashing. Every version draws u in (0, 1) from a hash of the task and of its own URL, and
    the greatest score -weight / ln(u) wins: the "logarithmic method" of Schindelhauer and Schomaker, "Weighted
    Distributed Hash Tables", SPAA 2005. -ln(u) / weight is exponentially distributed with the weight as its rate, and
    the first of such arrivals is a version's with the probability weight / sum of weights. A score depends only on
    its own version: when a weight grows, tasks only move to that version, and as few as the new share needs.
    """
    return sorted(shares, key=lambda share: (-_score(service, key, share), share.url))


def key_of(body: bytes) -> str:
    """Return the key of a submission's task: its task_id, however it is written.

    For a body without one it is a hash of the body: every version refuses that anyway.
    """
    try:
        task_id = read_whole(parse_object(body).get("task_id"))
    except Rejected:
        task_id = None
    return hashlib.blake2b(body).hexdigest() if task_id is None else str(task_id)


def _score(service: ServiceName, key: str, share: WeightedUpstream) -> float:
    digest = hashlib.blake2b(f"{service} {key} {share.url}".encode(), digest_size=8).digest()
    u = ((int.from_bytes(digest) >> 12) + 0.5) / 2**52  # strictly between 0 and 1, and a float holds it exactly
    return -share.weight / math.log(u)
