"""Face fusion: how fast it is, whose face the result resembles, and what it leaves unchanged.

Identity is measured by dlib's network (`kinora weights pull dlib-face`, `pip install dlib-bin`), which no swapper uses;
without it those figures are missing. Its descriptors of different people all point in about the same direction, so
their common mean is subtracted before the cosine: different people then have about 0, pictures of one person over 0.4.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.faces.fidelity import fidelity
from benchmarks.faces.identity import dlib_descriptor, identity, two_sources
from benchmarks.faces.media import people, picture, write
from benchmarks.faces.setup import Setup, largest
from benchmarks.faces.speed import preview, speed
from benchmarks.occluders import measure as occluders
from benchmarks.report import Report
from services.facefusion import model as models
from services.facefusion.classic import ClassicSwapper
from shared.settings import FaceFusionSettings, Settings

SIZES = ((640, 360), (1280, 720))


def measure() -> Report:
    """Run every measurement: about three minutes on two idle cores."""
    settings = Settings(facefusion=FaceFusionSettings(swapper="classic"))
    rows: list[list[str]] = []
    notes = ["Classic swapper. CPU time is that of all threads; wall time depends on what else runs on the machine."]
    with tempfile.TemporaryDirectory() as folder:
        setup = Setup(settings, models.load(settings), Path(folder))
        for faces in (1, 2):
            for size in SIZES:
                write(setup.folder / f"{faces}_{size[1]}.mp4", people(faces, size))
                rows.append(speed(setup, faces, size))
        rows.append(preview(setup))
        rows += fidelity(setup)
        rows += in_front(setup)
        describe = dlib_descriptor()
        if describe is None:
            notes.append("Identity was not measured: dlib-face or dlib-bin is not installed.")
        else:
            rows += identity(setup, describe)
            rows += two_sources(setup, describe)
    return Report("facefusion", "Face fusion", ("figure", "value"), rows, setup.figures, notes)


def in_front(setup: Setup) -> Iterator[list[str]]:
    """Measure what is found of things with known masks, what is lost of clear faces, and the pixels of a hand."""
    model, persons = setup.model, occluders.people(setup.model)
    counted = setup.figures["in_front"] = {}
    found = occluders.table(model, persons)
    for name, now in found["now", "all"].items():
        before, fair = found["before", "all"][name], found["now", "hair"][name]
        counted[name] = {
            "recall": round(now.recall, 3),
            "precision": round(now.precision, 3),
            "precision_without_own_hair": round(fair.precision, 3),
        }
        value = f"recall {now.recall:.2f} at precision {now.precision:.2f}"
        value += f", {fair.precision:.2f} where the person's own hair over the face does not count"
        alone = f"{before.recall:.2f} at {before.precision:.2f}"
        yield [f"in front: {name}", f"{value}; by colour and memory alone {alone}"]
    for person in persons:
        lost = occluders.clean(person, model, occluders.METHODS["now"])
        counted[f"lost, {person.name}"] = round(lost, 4)
        yield [f"in front: nothing, {person.name}", f"{lost * 100:.1f} % of the face taken for covered"]
    portrait = picture("picture-single-face")
    source = ClassicSwapper().prepare(portrait, model.view(portrait, largest(model, portrait)))
    whole, inner = occluders.decibels_at(persons[1], "hand", model, source)
    counted["hand_db"] = [round(whole, 1), round(inner, 1)]
    yield ["in front: pixels of a hand after the swap", f"{whole:.1f} dB, {inner:.1f} where it is before the face"]
