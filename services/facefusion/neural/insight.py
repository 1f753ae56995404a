"""insightface's model classes on our terms: only files that are there, sessions as we start them, no word on stdout.

The package sets environment variables when it is imported and prints when it opens a swapper; neither reaches the rest
of the process. Its `FaceAnalysis` is not used: it fetches what is missing, and embeds every face of every frame.
"""

import io
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, Literal

from services.facefusion import network
from shared.errors import JobFailed

logger = logging.getLogger(__name__)

Kind = Literal["SCRFD", "ArcFaceONNX", "Attribute", "INSwapper"]


def open_model(path: Path, kind: Kind, *, cuda: bool = False) -> Any:
    """Open a file as insightface's class of that name.

    Raises JobFailed where the package is missing, or where the network in the file is one of another kind.
    """
    with _quiet():
        zoo = _model_zoo()
        try:
            model = zoo.get_model(
                str(path),
                providers=network.providers(cuda=cuda),
                sess_options=network.session_options(),
                static_shape_sessions=False,  # else a second session for each size
            )
        except (AssertionError, IndexError, TypeError):  # its routing looks at shapes, and asserts what it needs
            model = None
    if type(model).__name__ != kind:
        raise JobFailed("facefusion_other_network", name=path.name, kind=kind)
    return model


def _model_zoo() -> Any:
    try:
        from insightface import model_zoo  # noqa: PLC0415  # 150 MB of packages, only where it is needed
    except ModuleNotFoundError as error:
        if error.name != "insightface":
            raise
        raise JobFailed("facefusion_no_insightface") from error
    return model_zoo


@contextmanager
def _quiet() -> Iterator[None]:
    """Log what is printed, and take away the environment variables that are added."""
    environment = dict(os.environ)
    printed = io.StringIO()
    try:
        with redirect_stdout(printed):
            yield
    finally:
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        for line in printed.getvalue().splitlines():
            logger.debug("insightface: %s", line)
