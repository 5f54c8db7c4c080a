"""Which tool a name means. Pure: it knows the listings, not how they were obtained."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cached_property

from archon_workflows.errors import ToolServerError, did_you_mean, nearest
from archon_workflows.gateway.port import ToolEntry

_LISTED_CANDIDATES = 20
_COMPARED_NAMES = 2_000


class ToolIndex:
    """The tools of all servers, ready to be looked up by any of their names.

    Args:
        tools: as the servers list them.
    """

    def __init__(self, tools: Iterable[ToolEntry]) -> None:
        self.tools: tuple[ToolEntry, ...] = tuple(tools)
        self._by_name: defaultdict[str, list[ToolEntry]] = defaultdict(list)
        self._by_address: dict[str, ToolEntry] = {}
        self._by_suffixed: defaultdict[str, list[ToolEntry]] = defaultdict(list)
        for tool in self.tools:
            self._by_name[tool.name].append(tool)
            self._by_address.setdefault(tool.address, tool)
            self._by_suffixed[f"{tool.name}_{tool.server}"].append(tool)

    @cached_property
    def names(self) -> frozenset[str]:
        """Every name by which one of the tools can be meant."""
        return frozenset((*self._by_name, *self._by_address, *self._by_suffixed))

    def candidates(self, tool_name: str) -> Sequence[ToolEntry]:
        """Return the tools of the first rule that knows the name: exact, ``server/tool``, ``tool_server``."""
        if tool_name in self._by_name:
            return self._by_name[tool_name]
        if tool_name in self._by_address:
            return (self._by_address[tool_name],)
        return self._by_suffixed.get(tool_name, ())

    def resolve(self, tool_name: str) -> ToolEntry:
        """Return the one tool that ``tool_name`` means.

        Raises:
            ToolServerError: ``unknown_tool`` with the nearest names, or ``ambiguous_tool`` with the
                addresses that tell the candidates apart, both in ``details["candidates"]``.
        """
        found = self.candidates(tool_name)
        if len(found) == 1:
            return found[0]
        raise self._ambiguous(tool_name, found) if found else self._unknown(tool_name)

    def _ambiguous(self, tool_name: str, found: Sequence[ToolEntry]) -> ToolServerError:
        addresses = sorted(tool.address for tool in found)
        return ToolServerError(
            f"The tool name {tool_name!r} is ambiguous: {len(found)} tools have it.",
            code="ambiguous_tool",
            suggestion=f"Write one of {', '.join(map(repr, addresses[:_LISTED_CANDIDATES]))}.",
            details={"tool_name": tool_name, "candidates": addresses[:_LISTED_CANDIDATES]},
        )

    def _unknown(self, tool_name: str) -> ToolServerError:
        known = list(self._by_address if "/" in tool_name else self._by_name)[:_COMPARED_NAMES]
        match = nearest(tool_name, known) or nearest(tool_name, list(self._by_suffixed)[:_COMPARED_NAMES])
        hint = f"Did you mean {match!r}?" if match else did_you_mean(tool_name, known, noun="tool")
        return ToolServerError(
            f"No tool server has a tool {tool_name!r}.",
            code="unknown_tool",
            suggestion=hint,
            details={"tool_name": tool_name, "candidates": sorted(self._by_address)[:_LISTED_CANDIDATES]},
        )
