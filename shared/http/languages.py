"""The language that a request asks for: a browser names those of its user, a backend names none."""

import math

from shared.vocabulary import LANGUAGES, Language

_MOST_RANGES = 32  # that are looked at; nobody reads more languages, and a header may be long


def language_asked(header: str) -> Language | None:
    """Return the one of our languages that an `Accept-Language` header (RFC 9110, 12.5.4) likes most, None for none.

    `zh-CN` and `zh-Hans` are Chinese. `*`, other languages, those of weight 0 and what is malformed ask for nothing.
    """
    asked: Language | None = None
    highest = 0.0
    for written in header.split(",", _MOST_RANGES)[:_MOST_RANGES]:
        tag, _, parameters = written.partition(";")
        found = tag.strip().lower().partition("-")[0]
        weight = _weight(parameters)
        for language in LANGUAGES:
            if found == language and weight > highest:
                asked, highest = language, weight
    return asked


def _weight(parameters: str) -> float:
    """Return the weight of a range, 0 to 1; 0 if it cannot be read."""
    name, _, value = parameters.partition("=")
    if not parameters.strip():
        return 1.0
    try:
        weight = float(value)
    except ValueError:
        return 0.0
    return weight if name.strip().lower() == "q" and math.isfinite(weight) and weight <= 1 else 0.0
