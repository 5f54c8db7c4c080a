"""What the demonstration needs around it: tool servers, a git repository, and whether it can have them."""

import json
import shutil
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

_NEEDED_MODULES = {"mcp_server_git": "mcp-server-git", "mcp_server_time": "mcp-server-time"}
_FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Missing:
    """Something that the demonstration needs and does not find, and how to get it."""

    what: str
    advice: str


def missing_parts() -> list[Missing]:
    """Return what the report on a repository needs and this machine does not have."""
    parts = [
        Missing(f"the tool server {package}", "pip install 'archon-workflows[demo]'")
        for module, package in _NEEDED_MODULES.items()
        if find_spec(module) is None
    ]
    if shutil.which("git") is None:
        parts.append(Missing("the program git", "install git and make sure that it is on the PATH"))
    return parts


def tool_servers() -> dict[str, Any]:
    """Return the configuration of the tool servers that can be had, in the ``mcpServers`` format."""
    servers = {"infrastructure": _python(str(_FOLDER / "infrastructure.py"))}
    if not missing_parts():
        servers |= {
            "git": _python("-m", "mcp_server_git"),
            "time": _python("-m", "mcp_server_time", "--local-timezone", "UTC"),
        }
    return {"mcpServers": servers}


def write_tool_servers(home: Path) -> Path:
    """Write the configuration into the home folder, where it stays for runs by hand; return its path."""
    folder = home / "demo"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / "tools.json"
    path.write_text(json.dumps(tool_servers(), indent=2) + "\n", encoding="utf-8")
    return path


def template_text(name: str) -> bytes:
    """Return one of the demonstration's templates as it is packaged, byte for byte."""
    return (_FOLDER / "templates" / f"{name}.json").read_bytes()


@contextmanager
def temporary_repository() -> Generator[Path]:
    """Make a repository with one commit and one change that is not committed; remove it afterwards."""
    with TemporaryDirectory(prefix="archon-workflows-demo-", ignore_cleanup_errors=True) as folder:
        repository = Path(folder) / "shop"
        repository.mkdir()
        _git(repository, "init", "--quiet")
        _git(repository, "config", "user.name", "Archon Workflows")
        _git(repository, "config", "user.email", "demo@example.com")
        _git(repository, "config", "commit.gpgsign", "false")
        (repository / "README.md").write_text("# Shop\n", encoding="utf-8")
        _git(repository, "add", ".")
        _git(repository, "commit", "--quiet", "--message", "Begin")
        (repository / "prices.txt").write_text("apples 3\n", encoding="utf-8")
        yield repository


def _python(*arguments: str) -> dict[str, Any]:
    return {"command": sys.executable, "args": list(arguments)}


def _git(repository: Path, *arguments: str) -> None:
    subprocess.run(  # noqa: S603 - fixed arguments
        ["git", "-C", str(repository), *arguments],  # noqa: S607 - whichever git is on the PATH
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
