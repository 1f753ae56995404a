"""The order of the faces in a frame, and the filters by age and sex."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, TypeVar

from services.facefusion.attributes import Attributes
from services.facefusion.face import Face
from services.facefusion.literals import Age, Gender, Order

T = TypeVar("T")

_KEYS: dict[Order, Callable[[Face], float]] = {
    "left-right": lambda face: float(face.bbox[0]),
    "right-left": lambda face: -float(face.bbox[2]),
    "top-bottom": lambda face: float(face.bbox[1]),
    "bottom-top": lambda face: -float(face.bbox[3]),
    "small-large": lambda face: face.area,
    "large-small": lambda face: -face.area,
    "best-worst": lambda face: -face.score,
    "worst-best": lambda face: face.score,
}


@dataclass(frozen=True)
class Filters:
    """The age and the sex that the request asks for; "" accepts everybody."""

    age: Age | Literal[""] = ""
    gender: Gender | Literal[""] = ""

    @property
    def active(self) -> bool:
        """Whether a face's attributes are needed."""
        return bool(self.age or self.gender)

    def refusal(self, attributes: Attributes) -> str:
        """Why a face does not pass, "" when it does."""
        if self.gender and attributes.gender != self.gender:
            return f"gender {attributes.gender}"
        if self.age and attributes.age != self.age:
            return f"age {attributes.age}"
        return ""


def ordered(items: Iterable[T], order: Order, face_of: Callable[[T], Face]) -> list[T]:
    """Sort items by their faces in the contract's order; equal ones keep their order."""
    return sorted(items, key=lambda item: _KEYS[order](face_of(item)))
