"""Face fusion: what `POST /api/ai/facefusion` may hold."""

from fractions import Fraction
from typing import Annotated, Literal, get_args

from services.facefusion.literals import AGE_SYNONYMS, GENDER_SYNONYMS, MODE_SYNONYMS, UNSET, Age, Gender, Mode, Order
from shared.contract.fields import Choice, Integer, LocalPath, Number, UsedWhen
from shared.contract.request import TaskRequest
from shared.pipeline.work import Work

PREVIEW, GENERATE = 0, 1
_REMEMBERED = 8 * 600_000  # bytes, from segment to segment of a video: of eight faces that are being swapped


class FaceFusionRequest(TaskRequest):
    """Put the face of `source_file` on faces of `target_file`: in one frame to look at, or in all of them."""

    programe: Annotated[int, Choice(PREVIEW, GENERATE)] = PREVIEW
    source_file: Annotated[str, LocalPath()]
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

    def work(self, width: int, height: int, frame_rate: Fraction | None) -> Work:  # noqa: ARG002  # as others need it
        """Return what one frame of the target becomes: one at its size."""
        return Work(frames=1, pixels=width * height, remembered=_REMEMBERED)
