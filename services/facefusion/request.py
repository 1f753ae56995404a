"""Face fusion: what `POST /api/ai/facefusion` may hold."""

from fractions import Fraction
from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator

from services.facefusion.face_entries import FaceEntries, FaceEntry, SwapEntry
from services.facefusion.literals import AGE_SYNONYMS, GENDER_SYNONYMS, MODE_SYNONYMS, UNSET, Age, Gender, Mode, Order
from shared.contract.fields import Choice, Integer, LocalPath, Number, RequiredUnless, UsedWhen
from shared.contract.request import TaskRequest
from shared.errors import Rejected
from shared.pipeline.work import Work

PREVIEW, GENERATE = 0, 1
_REMEMBERED = 8 * 600_000  # bytes, from segment to segment of a video: of eight faces that are being swapped


class FaceFusionRequest(TaskRequest):
    """Put the face of `source_file` on faces of `target_file`: in one frame to look at, or in all of them."""

    programe: Annotated[int, Choice(PREVIEW, GENERATE)] = PREVIEW
    source_file: Annotated[str, LocalPath(), RequiredUnless("faces"), Field(exclude_if=lambda path: not path)] = ""
    target_file: Annotated[str, LocalPath()]
    frame_number: Annotated[int, Integer(low=0), UsedWhen("programe", PREVIEW)] = 0
    face_selector_mode: Annotated[Mode, Choice(*get_args(Mode), synonyms=MODE_SYNONYMS, unset=UNSET)] = "reference"
    reference_face_position: Annotated[int, Integer(low=0), UsedWhen("face_selector_mode", "reference")] = 0
    reference_face_distance: Annotated[float, Number(0, 1.5), UsedWhen("face_selector_mode", "reference")] = 0.5
    face_analyse_order: Annotated[Order, Choice(*get_args(Order), unset=UNSET)] = "left-right"
    face_analyse_age: Annotated[Age | Literal[""], Choice(*get_args(Age), synonyms=AGE_SYNONYMS, unset=UNSET)] = ""
    face_analyse_gender: Annotated[
        Gender | Literal[""], Choice(*get_args(Gender), synonyms=GENDER_SYNONYMS, unset=UNSET)
    ] = ""
    faces: Annotated[
        tuple[FaceEntry, ...],
        FaceEntries(),
        Field(
            description="several people in one run: each entry's source is put on whom the entry means; what an entry "
            "leaves out is the request's own, its position the entry's place in the list",
            exclude_if=lambda entries: not entries,
        ),
    ] = ()

    @model_validator(mode="after")
    def _check_entries(self) -> Self:
        """Raise Rejected for an entry without any source, and for two that mean the same face."""
        seen: dict[int, str] = {}
        for index, entry in enumerate(self.entries):
            field = f"faces[{index}]"
            if not entry.source_file:
                raise Rejected("facefusion_entry_without_source", field=field)
            other = seen.setdefault(entry.position, field)
            if other != field and self.face_selector_mode == "reference":
                raise Rejected("facefusion_entry_repeats", field=field, other=other, position=entry.position)
        return self

    @property
    def entries(self) -> tuple[SwapEntry, ...]:
        """What is put on whom: by the entries of `faces` with the request's own values for what they leave out; without
        them by these values alone.
        """  # fmt: skip
        if not self.faces:
            return (self._entry("source_file", FaceEntry(), self.reference_face_position),)
        return tuple(
            self._entry(f"faces[{index}].source_file" if entry.source_file else "source_file", entry, index)
            for index, entry in enumerate(self.faces)
        )

    @property
    def uses_its_own_source(self) -> bool:
        """Whether an entry has the request's own `source_file`."""
        return any(entry.field == "source_file" for entry in self.entries)

    def _entry(self, field: str, entry: FaceEntry, place: int) -> SwapEntry:
        position, distance = entry.reference_face_position, entry.reference_face_distance
        return SwapEntry(
            field=field,
            source_file=entry.source_file or self.source_file,
            position=place if position is None else position,
            distance=self.reference_face_distance if distance is None else distance,
            age=entry.face_analyse_age or self.face_analyse_age,
            gender=entry.face_analyse_gender or self.face_analyse_gender,
        )

    def work(self, width: int, height: int, frame_rate: Fraction | None) -> Work:  # noqa: ARG002  # as others need it
        """Return what one frame of the target becomes: one at its size."""
        return Work(frames=1, pixels=width * height, remembered=_REMEMBERED)
