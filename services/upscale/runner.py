"""Upscaling: the runner process, which owns the model. `python -m services.upscale.runner`."""

from services.upscale.model import load
from services.upscale.pipeline import upscale_video
from services.upscale.request import UpscaleRequest
from shared.runner import Lane, main

if __name__ == "__main__":
    main("upscale", {"generate": Lane(request=UpscaleRequest, load=load, work=upscale_video)})
