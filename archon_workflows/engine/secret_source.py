"""Where ``secrets.X`` comes from: environment variables that are listed by name, and a file.

Nothing here keeps a value, and no message shows one.
"""

import io
import os
import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import cast

from dotenv import dotenv_values

from archon_workflows.errors import WorkflowError
from archon_workflows.model.json_values import InvalidJson, parse_json
from archon_workflows.model.parameters import SHORTEST_SECRET

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_FILE_LIMIT_BYTES = 1_048_576


def read_secrets(names: Iterable[str], file: Path | None, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the secrets by name; what a listed variable says counts before what the file says.

    Args:
        names: of the environment variables that may be read; one that is not set is no secret.
        file: a JSON object of texts, or lines ``NAME=value``; only its owner may be allowed to read it.
        environment: where the variables are.

    Raises:
        WorkflowError: ``invalid_secrets_file``, or ``secret_too_short``.
    """
    secrets = _read_file(file) if file is not None else {}
    secrets |= {name: environment[name] for name in names if name in environment}
    for name, value in secrets.items():
        if len(value) < SHORTEST_SECRET:
            raise WorkflowError(
                f"The secret {name!r} has {len(value)} characters; one with less than {SHORTEST_SECRET} "
                f"cannot be told from other text, so it could not be hidden.",
                code="secret_too_short",
                suggestion="Choose a longer secret, or pass the value as an ordinary parameter.",
            )
    return secrets


def _read_file(file: Path) -> dict[str, str]:
    text = _text_of(file)
    values = _json_values(file, text) if text.lstrip().startswith("{") else _lines(text)
    for name, value in values.items():
        if not _NAME.fullmatch(name):
            raise _wrong(file, "holds a name that is no identifier", "Use letters, digits and '_'.")
        if not isinstance(value, str):
            raise _wrong(file, f"holds no text for {name!r}", "Write each secret as a text.")
    return cast("dict[str, str]", values)


def _text_of(file: Path) -> str:
    try:
        with file.open("rb") as source:
            _refuse_open_to_others(file, os.fstat(source.fileno()))
            content = source.read(_FILE_LIMIT_BYTES + 1)
    except OSError as error:
        raise _wrong(file, f"cannot be read ({error.strerror})", "Check the path and its owner.") from None
    if len(content) > _FILE_LIMIT_BYTES:
        raise _wrong(file, f"is larger than {_FILE_LIMIT_BYTES:,} bytes", "Name the file of secrets.")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise _wrong(file, "is no UTF-8 text", "Write it as UTF-8.") from None


def _refuse_open_to_others(file: Path, found: os.stat_result) -> None:
    if os.name != "posix":
        return
    if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        mode = stat.S_IMODE(found.st_mode)
        raise _wrong(file, f"is open to others than its owner (mode {mode:03o})", f"Run: chmod 600 {file}")
    if found.st_uid not in (os.geteuid(), 0):
        raise _wrong(file, "belongs to another user", "Have it owned by the user that runs the program.")


def _json_values(file: Path, text: str) -> dict[str, object]:
    try:
        return cast("dict[str, object]", parse_json(text))
    except InvalidJson as error:
        at = f" at {error.path}" if error.path else ""
        raise _wrong(file, f"is no JSON that means one thing only{at}", "Write one JSON object.") from None


def _lines(text: str) -> dict[str, object]:
    return dict(dotenv_values(stream=io.StringIO(text), interpolate=False))


def _wrong(file: Path, what: str, suggestion: str) -> WorkflowError:
    return WorkflowError(
        f"The secrets file {str(file)!r} {what}.", code="invalid_secrets_file", suggestion=suggestion
    )
