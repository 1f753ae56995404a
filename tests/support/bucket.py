"""A real S3-compatible server, rclone's, over a folder on loopback. It checks every signature."""

import socket
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

BUCKET = "results"
KEY, SECRET = "AKIDTESTS", "not-a-secret-of-anybody"
PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class BucketServer:
    """Where it listens, and where its objects lie as files."""

    port: int
    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def environment(self) -> dict[str, str]:
        """The usual variables of whoever uses it."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
        }

    def objects(self) -> dict[str, bytes]:
        """Return what is in the bucket, by key."""
        root = self.folder / BUCKET
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@contextmanager
def bucket_server(home: Path) -> Iterator[BucketServer]:
    """Serve one empty bucket for the length of a block."""
    folder = home / "s3"
    (folder / BUCKET).mkdir(parents=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    rclone = Path(sysconfig.get_path("scripts")) / "rclone"
    with (home / "rclone.log").open("wb") as log:
        process = subprocess.Popen(
            [rclone, "serve", "s3", "--addr", f"127.0.0.1:{port}", "--auth-key", f"{KEY},{SECRET}",
             "--config", "/dev/null", folder],
            stdout=log, stderr=log,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not _answers(port):
            assert process.poll() is None, (home / "rclone.log").read_text()
            assert time.monotonic() < deadline, (home / "rclone.log").read_text()
            time.sleep(0.05)
        yield BucketServer(port, folder, process)
    finally:
        process.kill()
        process.wait()


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False
