"""The models of creation, each in miniature: the rows of the table of models where there is one."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from services.creation.request import PICTURE, TEXT, VIDEO
from tests.support.tiny_wan import build_plain, build_vace

TABLE, BUILDERS = "services.creation.engines.wan.models", "tests.support.tiny_models"
LAST, REFERENCES = "last_image_url", "reference_images"


@dataclass(frozen=True)
class ModelRow:
    """An entry of the weights' catalogue: how to build it, which clips it makes, and which optional fields it takes."""

    name: str
    build: Callable[[Path], Path]
    categories: frozenset[int]
    fields: frozenset[str]


def model_rows() -> Iterator[ModelRow]:
    """Yield every row; without a table those two that one stack can tell apart by what is pulled."""
    if find_spec(TABLE):
        builders = import_module(BUILDERS).BUILDERS
        for name, model in import_module(TABLE).MODELS.items():
            yield ModelRow(name, builders[name], model.categories, model.fields)
        return
    yield ModelRow("wan-vace-1.3b", build_vace, frozenset({TEXT, PICTURE, VIDEO}), frozenset({LAST, REFERENCES}))
    yield ModelRow("wan-draft-1.3b", build_plain, frozenset({TEXT}), frozenset())
