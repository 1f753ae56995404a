"""Face fusion: what `POST /api/ai/facefusion` may hold."""

from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, model_validator

from services.facefusion.face_entries import FaceEntries, FaceEntry, SwapEntry
from services.facefusion.literals import AGE_SYNONYMS, GENDER_SYNONYMS, MODE_SYNONYMS, UNSET, Age, Gender, Mode, Order
from shared.contract.fields import Choice, Integer, LocalPath, Number, RequiredUnless, UsedWhen
from shared.contract.json_values import read_whole
from shared.contract.request import TaskRequest
from shared.errors import Rejected
from shared.pipeline.work import Work

PREVIEW, GENERATE = 0, 1
_REMEMBERED = 8 * 600_000  # bytes, from segment to segment of a video: of eight faces that are being swapped
_DETAIL = 8 * 1_600_000  # bytes more, where they are restored as well


class FaceFusionRequest(TaskRequest):
    """Put the face of `source_file` on faces of `target_file`: in one frame to look at, or in all of them."""

    programe: Annotated[int, Choice(PREVIEW, GENERATE)] = PREVIEW
    source_file: Annotated[
        str, LocalPath(), RequiredUnless("faces", "enhance_only"), Field(exclude_if=lambda path: not path)
    ] = ""
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
    # Left out of a stored request where they were not given: the same body has the same fingerprint as before.
    face_enhance: Annotated[
        int | None,
        Integer(low=0, high=100),
        Field(description="percent of a restored face that is taken", exclude_if=lambda percent: percent is None),
    ] = None
    enhance_only: Annotated[
        int,
        Choice(1),
        Field(description="1: no face is swapped, the chosen ones are only restored", exclude_if=lambda only: not only),
    ] = 0

    @classmethod
    def _given(cls, data: Mapping[str, Any]) -> dict[str, Any]:
        """Refuse what would change nothing: faces that are only restored, by 0 %."""
        given = super()._given(data)
        if given.get("enhance_only") and read_whole(given.get("face_enhance")) == 0:
            raise Rejected("whole_refused", field="face_enhance", low=1, high=100, value="0")
        return given

    @property
    def only_restores(self) -> bool:
        """Whether there is no source person: the faces stay those of the target."""
        return self.enhance_only == 1

    @model_validator(mode="after")
    def _check_entries(self) -> Self:
        """Raise Rejected for an entry without any source, and for two that mean the same face."""
        seen: dict[int, str] = {}
        for index, entry in enumerate(self.entries):
            field = f"faces[{index}]"
            if not entry.source_file and not self.only_restores:
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
        """Whether an entry is given the request's own `source_file`."""
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
        restores = bool(self.face_enhance) or self.only_restores
        return Work(frames=1, pixels=width * height, remembered=_REMEMBERED + (_DETAIL if restores else 0))
