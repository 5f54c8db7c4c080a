"""The short authoring guide for agents, a Markdown file of the package."""

from functools import lru_cache
from importlib.resources import files


@lru_cache(maxsize=1)
def authoring_guide() -> str:
    """Return the guide."""
    return files("archon_workflows.server").joinpath("guide.md").read_text(encoding="utf-8")
