"""Whole models from ModelScope, which is near where Chinese servers are.

Its list of files names the sha256 of each. The catalogue's commits are those of another hub, so they pin nothing here:
the newest commit of `master` is taken, and written into the stored model. Two addresses are used:
`/api/v1/models/NAME/repo/files` and `/api/v1/models/NAME/repo`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx

from shared.errors import Unavailable
from shared.weights.download import URL_TIMEOUT_SECONDS, OnBytes
from shared.weights.hub import HubFile, Repository, fetch, is_inside, wanted_of

URL = "https://www.modelscope.cn"
PREFIX = "modelscope+"  # before the URL of a server with the same API
HOSTS = ("modelscope.cn", "modelscope.ai")
BRANCH = "master"


def is_modelscope(url: str) -> bool:
    """Whether a hub's URL is ModelScope's, or names a server with its API as `modelscope+https://…`."""
    host = urlsplit(url).hostname or ""
    return url == "modelscope" or url.startswith(PREFIX) or host.removeprefix("www.") in HOSTS


class ModelScope:
    """ModelScope, or a server with its API."""

    def __init__(self, url: str) -> None:
        self._url = URL if url == "modelscope" else url.removeprefix(PREFIX).rstrip("/")

    def files(self, repository: Repository) -> list[HubFile]:
        """Return what the folders hold that a model is loaded from; Unavailable where the hub does not answer."""
        query = urlencode({"Revision": BRANCH, "Recursive": "true"})
        try:
            answer = httpx.get(
                f"{self._url}/api/v1/models/{repository.name}/repo/files?{query}",
                headers={"user-agent": "kinora"},
                timeout=URL_TIMEOUT_SECONDS,
                follow_redirects=True,
            )
            answer.raise_for_status()
            found = list(_files(repository.name, answer.json()))
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise Unavailable("weights_hub_unreachable", repository=repository, hub=self._url, reason=reason) from error
        return wanted_of(found, repository)

    def fetch(self, file: HubFile, target: Path, on_bytes: OnBytes) -> None:
        """Fetch a file to `target` unless it is there already; continue what an interrupted attempt began."""
        fetch(self._url, file, target, on_bytes)


def _files(repository: str, answer: dict[str, Any]) -> Iterator[HubFile]:
    """Yield the files of a list, except those whose path would lead out of our folder."""
    if answer.get("Code") != httpx.codes.OK:
        raise ValueError(answer.get("Message") or "no list of files")
    for item in answer["Data"]["Files"]:
        path = str(item["Path"])
        if item.get("Type") == "tree" or not is_inside(path):
            continue
        if not item.get("Sha256"):
            raise ValueError(f"{path} has no hash")
        commit = item.get("Revision") or BRANCH
        address = f"api/v1/models/{repository}/repo?{urlencode({'Revision': commit, 'FilePath': path})}"
        yield HubFile(repository, commit, path, int(item["Size"]), sha256=item["Sha256"], address=address)
