"""Video creation: the runner process, which owns the engine. `python -m services.creation.runner`."""

from services.creation.model import load
from services.creation.pipeline import create_video
from services.creation.request import CreationRequest
from shared.runner import Lane, main

if __name__ == "__main__":
    main("creation", {"generate": Lane(request=CreationRequest, load=load, work=create_video)})
