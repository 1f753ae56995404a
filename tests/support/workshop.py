"""Where images are built: a checkout in use, a store of bentos, and an engine with stand-ins of the base images."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from shared import weights
from tests.support import stand_ins
from tests.support.checkout import checkout_in_use
from tests.support.engine import BUILD_SECONDS, Engine


@dataclass(frozen=True)
class Workshop:
    """`make containerize` and `make sbom` of a checkout that tests may change."""

    engine: Engine
    checkout: Path
    store: Path

    def make(self, target: str, images: tuple[str, ...], version: str) -> None:
        """Run a target for some images of a version; AssertionError shows what it said."""
        command = [
            "make", "--old-file=weights", "--old-file=setup", f"BIN={Path(sys.executable).parent}", target,
            "ENGINE=buildah", f"IMAGES={' '.join(images)}", f"VERSION={version}",
        ]  # fmt: skip
        environment = self.engine.environment | {"BENTOML_HOME": str(self.store)}
        said = self.checkout.with_name("make.log")
        with said.open("ab") as log:
            status = subprocess.run(
                command, cwd=self.checkout, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                timeout=BUILD_SECONDS, check=False,
            ).returncode  # fmt: skip
        names = self.engine.names()
        missing = [name for name in images if f"localhost/{name}:{version}" not in names]
        text = said.read_text(encoding="utf-8", errors="replace")[-8000:]
        assert status == 0, f"make {target}: {status}\n{text}"
        assert not missing, f"make {target} built no {missing}\n{text}"


@contextmanager
def open_workshop(home: Path) -> Iterator[Workshop]:
    """Make everything that builds need in a folder; nothing of it is left at the end."""
    store = home / "store"
    store.mkdir(parents=True)
    (store / "models").symlink_to(Path(weights.path("yunet")).parents[2])
    with Engine(home / "engine") as engine:
        stand_ins.provide_wheels(engine, home / "wheels", [stand_ins.ROOT / "deploy" / "personal" / "requirements.txt"])
        stand_ins.provide_bases(engine, home / "bases")
        yield Workshop(engine, checkout_in_use(home / "checkout"), store)
