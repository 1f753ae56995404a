"""The weights: what may be fetched, under which licence, and where it is stored after verification.

The catalogue is `weights.toml`. A pulled entry is one model of the BentoML model store, so that a bento can contain it:
the original files and, for torch weights, one `weights.safetensors` made from them; or a whole model, a folder in
diffusers layout. Importing this package loads neither torch nor BentoML: the HTTP face may ask whether weights exist.
"""

from shared.weights.acquire import add, pull, pull_into
from shared.weights.by_hand import add_own
from shared.weights.catalogue import Entry, entries, entry
from shared.weights.store import exists, folder, load_safetensors, path, verify

__all__ = [
    "Entry",
    "add",
    "add_own",
    "entries",
    "entry",
    "exists",
    "folder",
    "load_safetensors",
    "path",
    "pull",
    "pull_into",
    "verify",
]
