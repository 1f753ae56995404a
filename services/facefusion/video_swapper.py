"""The faces of one video, frame after frame, and all that is remembered between two of them."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from services.facefusion.attributes import Attributes
from services.facefusion.classic import Appearance
from services.facefusion.expression import ExpressionMemory
from services.facefusion.face import Face
from services.facefusion.face_analysis import SwapContext, eight_bits, gallery_of, nobody_in
from services.facefusion.face_selector import FaceSelector, TrackMatch
from services.facefusion.model import FaceModel
from services.facefusion.monochrome import paste_alike
from services.facefusion.neural.appearance import NeuralAppearance
from services.facefusion.occlusion import OcclusionMemory
from services.facefusion.reference_face import Reference
from services.facefusion.request import FaceFusionRequest
from services.facefusion.restoration.detail_memory import DetailMemory
from services.facefusion.restoration.restoring import Restored
from services.facefusion.safety import nsfw_gate
from services.facefusion.smoothing import OneEuro
from services.facefusion.swapper import FaceRenderer, Rendering
from services.facefusion.track import Track, Tracker, TrackSpan
from services.facefusion.turned import TurnedFaces
from shared.arrays import Image, Picture
from shared.media.decode import VideoSource
from shared.media.frame import Frame
from shared.media.orientation import as_stored, upright
from shared.media.shot_boundary import reduced
from shared.pipeline.state_bytes import from_bytes, to_bytes
from shared.process.in_turn import Place, in_turn

FIRST_FACE_FRAMES = 300  # without a preview the reference is in the first of these frames that shows a face
STATE = "faces 6"  # names the form of what `VideoSwapper.state` returns: another form, another name
_BYTES_A_PIXEL = 64  # for each frame at a time, those that wait included; measured: 36 where a face fills the frame
_MOST_BYTES = 4 << 30  # of all frames under way
_REMEMBERED = (
    *(Appearance, Attributes, DetailMemory, ExpressionMemory, Face, OcclusionMemory, OneEuro),
    *(NeuralAppearance, Reference, Restored, Track, TrackMatch, TrackSpan, TurnedFaces),
)


class VideoSwapper:
    """Swaps the frames of one job; everything that is remembered from frame to frame is kept here.

    It is the `Memory` of a video in segments. What was found and counted so far is a part of that, so that the report
    is that of the whole film, whoever made which segment.
    """

    def __init__(self, context: SwapContext, video: VideoSource) -> None:
        self.context = context
        self.video = video
        self.model = context.model
        self.selector = FaceSelector(context.criteria, context.model)
        self.tracker = Tracker(context.model.detect)
        seconds = video.duration_seconds  # 0.0 where nobody knows
        self.gate = nsfw_gate(context.job, context.model, samples=max(int(seconds), 1) if seconds else None)
        self.renderers: dict[tuple[int, int], FaceRenderer] = {}  # by track number and entry
        self.turned = TurnedFaces()
        self.audit: dict[str, Any] | None = context.job.details.get("audit")
        self.swapped = 0  # frames
        self._index = 0  # of the next frame
        self._next_sample = 0.0  # seconds of the video, from which on a frame is checked
        self._nothing_yet = self.state()

    def begin(self, state: bytes | None) -> None:
        """Go on from where `state` was returned; None: at the beginning of the video.

        Raises JobFailed there when the reference must be found in the video and is not.
        """
        self._recall(from_bytes(state or self._nothing_yet, _REMEMBERED))
        if self.context.needs_references:
            self._take(first_references(self.video, self.context.request, self.model))
            self.context.check_references()

    def state(self) -> bytes:
        """Return all that later frames and the report depend on, beside request, source and model."""
        return to_bytes(
            {
                "references": self.context.references,
                "audit": self.audit,
                "index": self._index,
                "next_sample": self._next_sample,
                "swapped": self.swapped,
                "gate": self.gate.remembered(),
                "tracker": self.tracker.remembered(),
                "selector": self.selector.remembered(),
                "turned": self.turned,
                "renderers": {key: renderer.remembered for key, renderer in self.renderers.items()},
            }
        )

    def swap(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        """Pass frames on, painted where a wanted face is; a frame without one stays the very same object.

        Faces are detected and painted in several frames side by side; what depends on the frame before comes in order.
        """
        pixels = self.video.width * self.video.height
        threads = max(1, min(self.model.at_once, _MOST_BYTES // (_BYTES_A_PIXEL * pixels)))
        for done in in_turn(self._painted, frames, threads):
            if not done.patches:
                yield done.frame
                continue
            self.swapped += 1
            for match, _ in done.patches:
                match.swapped_frames += 1
            yield replace(done.frame, image=as_stored(done.picture, self.video.orientation))

    def report(self) -> dict[str, Any]:
        """Return the task's details: which faces were found, which were swapped, and why the others were not."""
        reference = self.context.reference
        tracks = self.selector.report(self.tracker.all())
        return {
            "swapper": self.model.swapper.name,
            "reference_frame": None if reference is None else reference.frame,
            "match": {"tracks": tracks, "nearest_distance": self.selector.nearest},
            "swapped_frames": self.swapped,
            "nsfw": self.gate.report(),
            **({} if self.audit is None else {"audit": self.audit}),
            **self.context.position_details,
            **self.context.entry_details(tracks),
        }

    def _recall(self, remembered: dict[str, Any]) -> None:
        self._take(remembered["references"])
        self.audit = remembered["audit"]
        self.swapped, self._index = remembered["swapped"], remembered["index"]
        self._next_sample = remembered["next_sample"]
        self.gate.recall(remembered["gate"])
        self.tracker.recall(remembered["tracker"])
        self.selector.recall(remembered["selector"])
        self.turned = remembered["turned"]
        self.renderers = {
            (number, entry): self.context.sources[entry].renderer(kept)
            for (number, entry), kept in remembered["renderers"].items()
        }

    def _take(self, references: tuple[Reference | None, ...] | None) -> None:
        """Look for these references from now on."""
        self.context = replace(self.context, references=references)
        self.selector = FaceSelector(self.context.criteria, self.model)

    def _painted(self, frame: Frame, place: Place) -> "_Seen":
        """Find and paint the wanted faces of a frame; what depends on the frame before is done in this one's turns."""
        picture = upright(frame.image, self.video.orientation)
        image = eight_bits(picture)
        seen = _Seen(frame, picture, image, reduced(image), self.model.detect(image))
        with place.turn():
            self._plan(seen)
            more = seen.advance()
        while more:
            more = seen.advance()
            if more:
                with place.turn():
                    more = seen.advance()
        seen.paint()
        return seen

    def _plan(self, seen: "_Seen") -> None:
        """Find whose face is to be replaced, and where it is."""
        image, index, seconds = seen.image, self._index, float(1 / self.video.frame_rate)
        self._index += 1
        now = float(seen.frame.pts * self.video.time_base)
        if now >= self._next_sample:
            self.gate.check(image)
            self._next_sample = now + 1
        faces = self.turned(self.model.detect, image, seen.faces)
        for track in self.selector(image, self.tracker(image, index, faces, seen.small), index):
            view = track.locate(image, self.model.landmarks, seconds)
            entry = self.selector.entry_of(track)
            renderer = self.renderers.setdefault((track.number, entry), self.context.sources[entry].renderer())
            if view:
                seen.patches.append((self.selector.matches[track.number], Rendering(renderer.steps(image, view))))
        live = {track.number for track in self.tracker.tracks}
        self.selector.forget(live)
        self.renderers = {key: renderer for key, renderer in self.renderers.items() if key[0] in live}


@dataclass
class _Seen:
    """A frame under way."""

    frame: Frame
    picture: Picture  # upright
    image: Image  # the same with 8 bits
    small: Picture  # `reduced`
    faces: list[Face]
    patches: list[tuple[TrackMatch, Rendering]] = field(default_factory=list)

    def advance(self) -> bool:
        """Make the next step of all patches; False when there is none after it."""
        return sum(rendering.advance() for _, rendering in self.patches) > 0  # of all: `any` would stop at the first

    def paint(self) -> None:
        """Leave the patches that have been made, and paint them on the picture, which is nobody else's."""
        self.patches = [found for found in self.patches if found[1].patch]
        for _, rendering in self.patches:
            if rendering.patch:
                paste_alike(self.picture, rendering.patch)


def first_references(video: VideoSource, request: FaceFusionRequest, model: FaceModel) -> tuple[Reference | None, ...]:
    """Return the references without a preview: positions count in the first frame that shows a face."""
    filtered, unsteady, turned = 0, 0, TurnedFaces()
    with closing(video.frames()) as frames:
        for index, frame in enumerate(islice(frames, FIRST_FACE_FRAMES)):
            image = eight_bits(upright(frame.image, video.orientation))
            faces = turned(model.detect, image, model.detect(image))
            gallery = gallery_of(image, index, request, model, faces)
            filtered += gallery.filtered
            unsteady += gallery.unsteady
            if gallery.faces:
                return gallery.references(request, model)
    raise nobody_in(0, filtered, unsteady)
