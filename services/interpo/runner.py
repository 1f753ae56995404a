"""Frame interpolation: the runner process, which owns the model. `python -m services.interpo.runner`."""

from services.interpo.model import load
from services.interpo.pipeline import interpolate_video
from services.interpo.request import InterpoRequest
from shared.runner import Lane, main

if __name__ == "__main__":
    main("interpo", {"generate": Lane(request=InterpoRequest, load=load, work=interpolate_video)})
