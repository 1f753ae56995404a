"""Files from elsewhere: which hosts inputs may come from, and whether results can go into their bucket."""

from collections.abc import Iterator
from importlib.util import find_spec

from shared.doctor.finding import Finding
from shared.settings import Settings


def fetching(settings: Settings) -> Iterator[Finding]:
    """Say which hosts inputs may be fetched from; nothing where they are local paths only."""
    if not settings.fetch.hosts:
        return
    text = f"inputs may be URLs on {', '.join(settings.fetch.hosts)}"
    if settings.fetch.private:
        text += ", also at private addresses: keep KINORA_FETCH_PRIVATE only where the names of these hosts are yours"
        yield Finding("fetching", "warning", text)
    else:
        yield Finding("fetching", "ok", f"{text}, at public addresses")


def bucket(settings: Settings) -> Iterator[Finding]:
    """Check that the library is here which puts results into the bucket; nothing where there is none."""
    if settings.store.url is None:
        return
    if find_spec("obstore"):
        yield Finding("bucket", "ok", f"results also go to {settings.store.url}")
    else:
        text = "KINORA_RESULT_STORE is set, and the library for it is missing: install `kinora[s3]`"
        yield Finding("bucket", "broken", text)
