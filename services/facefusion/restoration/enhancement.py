"""What a request and the settings want restored: the model of a runner becomes that of one task."""

from dataclasses import replace

from services.facefusion.model import FaceModel
from services.facefusion.request import FaceFusionRequest
from services.facefusion.restoration.kept_face import KeptFace
from services.facefusion.restoration.restorers import RESTORERS
from services.facefusion.restoration.restoring import RestoringSwapper
from shared.errors import JobFailed
from shared.pipeline.job import Job


def enhanced(job: Job, request: FaceFusionRequest, model: FaceModel) -> FaceModel:
    """Return the model of this task: where that is wanted its swapper restores what it renders, and details name how.

    Raises JobFailed where the request asks for it and no restorer was pulled.
    """
    percent = job.settings.facefusion.enhance_blend if request.face_enhance is None else request.face_enhance
    if request.only_restores:
        percent = percent or 100  # settings with 0 mean that tasks are left alone, not this one
        job.details["ignored_fields"] = ["source_file"] if request.source_file else []
    asked = bool(request.face_enhance) or request.only_restores
    restorer = model.restorer(asked) if percent else None
    if restorer is None:
        if asked:
            raise JobFailed("facefusion_no_restorer", name=next(iter(RESTORERS)))
        return model
    job.details["face_enhance"] = {"model": restorer.name, "blend": percent}
    inner = KeptFace() if request.only_restores else model.swapper
    if request.only_restores:  # faces are aligned by the detector's five points, and poor ones are why it is asked for
        model = replace(model, holds=lambda _image, _face: True)
    return replace(model, swapper=RestoringSwapper(inner, restorer, percent / 100))
