"""What a template may say about tools and what a version remembers of them: names, patterns, fingerprints.

Nothing here knows a server; addresses are texts of the form ``server/tool``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated

from pydantic import StringConstraints

ToolPattern = Annotated[str, StringConstraints(min_length=1, max_length=200)]
"""A tool's name, or its ``server/tool`` address; ``*``, ``?`` and ``[...]`` are wildcards."""


def allows(patterns: Sequence[str], address: str) -> bool:
    """Say whether a pattern fits: one with a slash the whole address, any other the tool's name.

    So ``git/*`` never lets in a tool that another server calls ``git/status``.
    """
    name = address.partition("/")[2]
    return any(fnmatchcase(address if "/" in pattern else name, pattern) for pattern in patterns)


def template_refusal(allowed_tools: Sequence[str] | None, address: str) -> str | None:
    """Return why a template with this ``allowed_tools`` may not call the tool, if so."""
    if allowed_tools is None or allows(allowed_tools, address):
        return None
    listed = ", ".join(map(repr, allowed_tools[:12])) or "none"
    return f"The tool {address!r} is not among the template's allowed_tools ({listed})."


@dataclass(frozen=True, slots=True)
class ToolFingerprint:
    """Which tool a name meant when a version was saved.

    Attributes:
        address: ``server/tool``.
        sha256: of the canonical JSON of name, description, schemas and annotations.
    """

    address: str
    sha256: str

    def change_to(self, tool_name: str, now: "ToolFingerprint") -> str | None:
        """Return in one sentence how what ``tool_name`` means has changed, or ``None`` when it has not."""
        if now.address != self.address:
            return (
                f"The tool name {tool_name!r} meant {self.address!r} when the version was saved, "
                f"and means {now.address!r} now."
            )
        if now.sha256 != self.sha256:
            return (
                f"The tool {self.address!r} has another description, schema or annotations than when the "
                f"version was saved."
            )
        return None
