"""Whether a model works on this machine: one denoising step and one decode. `python -m services.creation.check NAME`.

Says what a first task would find after many minutes: values that are not numbers, a picture of one colour, a
transformer that computes elsewhere than it should, how long a step takes, and how much memory.
"""

import sys
from collections.abc import Iterator

from services.creation.engines.wan.checkpoints import Checkpoint, find_any
from shared import weights
from shared.errors import Problem, Rejected
from shared.settings import Settings


def check(name: str, settings: Settings) -> Iterator[str]:
    """Yield one sentence for each problem of a model: a name of the catalogue, or a folder.

    The last sentence, in any case, tells the figures. Raises Rejected where no such model is here, JobFailed where one
    of its files is wrong.
    """
    checkpoint, draft = checkpoint_of(name, settings)
    checkpoint.location()  # names a file that is wrong before anything is loaded
    from services.creation.engines.wan.trial import try_model  # noqa: PLC0415  # diffusers: five seconds

    trial = try_model(checkpoint, settings, draft=draft)
    yield from trial.problems
    yield trial.figures


def checkpoint_of(name: str, settings: Settings) -> tuple[Checkpoint, bool]:
    """Return a model that is here, and whether it is one for drafts. Raises Rejected."""
    known = weights.entries().get(name)
    if known and not known.is_model:
        models = ", ".join(entry.name for entry in weights.entries().values() if entry.is_model)
        raise Rejected("weights_no_model", name=name, allowed=models)
    if known and not weights.exists(name):
        raise Rejected("weights_missing", name=name)
    checkpoint = find_any(name, settings)
    if checkpoint:
        return checkpoint, checkpoint.model.is_draft
    raise Rejected("creation_model_absent", setting="NAME", model=name)


def main(name: str) -> int:
    """Print the sentences; return 0 for a model that works, else 1."""
    settings = Settings.load()
    try:
        *problems, figures = check(name, settings)
    except Problem as problem:
        print(problem.sentence(settings.language), file=sys.stderr)  # noqa: T201  # a command
        return 1
    for sentence in (*problems, figures):
        print(f"{name}: {sentence}", flush=True)  # noqa: T201  # likewise
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
