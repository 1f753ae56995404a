"""Problems a user can act on, each one sentence in the language of the settings.

A problem is raised with a key and its facts where it happens. It becomes a sentence where it leaves the program: in the
HTTP answer, the callback, the command line. The sentences are in `messages/*.toml`.
"""

import tomllib
from functools import cache
from importlib.resources import files

from shared.vocabulary import Language

SENTENCE_LIMIT = 255  # characters, docs/api.md: `err_msg` is one line of at most 255
_SHORTEST_NAME = 16  # characters; several facts of that length leave room for every sentence


class Problem(Exception):
    """A problem that the caller or the operator can correct.

    `key` names the sentence in `messages/*.toml`, `facts` fill its placeholders.
    """

    def __init__(self, key: str, /, **facts: object) -> None:
        self.key = key
        self.facts = facts
        super().__init__(self.sentence("en"))

    def sentence(self, language: Language) -> str:
        """One line of at most 255 characters with control characters escaped.

        Where names are too long for that, they are shortened in the middle and not the sentence at its end: it says
        what is wrong.
        """
        sentence = sentences()[self.key][language]
        facts = {name: _printable(fact) if isinstance(fact, str) else fact for name, fact in self.facts.items()}
        line = sentence.format(**facts)
        for length in range(SENTENCE_LIMIT, _SHORTEST_NAME, -1):
            if len(line) <= SENTENCE_LIMIT:
                break
            line = sentence.format(
                **{name: _shortened(fact, length) if isinstance(fact, str) else fact for name, fact in facts.items()}
            )
        return one_line(line)


class Rejected(Problem):
    """A request that the contract refuses; nothing was stored."""


class Busy(Problem):
    """The bounded queue is full; the same request may succeed later."""


class Unavailable(Problem):
    """Storage or an upstream cannot be reached: the one case in which a proxy must react (503)."""


class Misconfigured(Unavailable):
    """An installation that cannot work as it is set up: its operator must act before another try is of use."""


class UnreadableMedia(Problem):
    """An input that is not what its field requires: no video, truncated, encrypted, too large."""


class JobFailed(Problem):
    """A run that cannot succeed, for the reason that its callback names."""


def one_line(text: str) -> str:
    """Escape control characters and cut to the contract's 255 characters."""
    escaped = _printable(text)
    return escaped if len(escaped) <= SENTENCE_LIMIT else escaped[: SENTENCE_LIMIT - 1] + "…"


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _shortened(text: str, length: int) -> str:
    """Cut the middle out of a text of more than `length` characters: a name's end, with its suffix, tells as much."""
    if len(text) <= length:
        return text
    tail = (length - 1) // 2
    return f"{text[: length - 1 - tail]}…{text[-tail:]}"


@cache
def sentences() -> dict[str, dict[str, str]]:
    """Return the catalogue: key -> language -> sentence with `{placeholders}`."""
    catalogue: dict[str, dict[str, str]] = {}
    for entry in sorted((files("shared") / "messages").iterdir(), key=lambda entry: entry.name):
        if entry.name.endswith(".toml"):
            catalogue.update(tomllib.loads(entry.read_text(encoding="utf-8")))
    return catalogue
