"""Face fusion: the runner processes, which own the models. `python -m services.facefusion.runner [--kind preview]`."""

from services.facefusion.model import load
from services.facefusion.pipeline import swap_faces
from services.facefusion.preview import preview_swap
from services.facefusion.request import FaceFusionRequest
from shared.runner import Lane, main

if __name__ == "__main__":
    main(
        "facefusion",
        {
            "generate": Lane(request=FaceFusionRequest, load=load, work=swap_faces),
            "preview": Lane(request=FaceFusionRequest, load=load, work=preview_swap),
        },
    )
