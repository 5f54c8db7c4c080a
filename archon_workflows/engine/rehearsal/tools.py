"""What a rehearsal knows of the tools: which there are, and whether arguments would fit."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from archon_workflows.engine.lookups import FoundTools, is_unavailable, look_up_tools
from archon_workflows.engine.tool_policy import Admission, ToolPolicy
from archon_workflows.errors import ToolServerError
from archon_workflows.gateway.arguments import fitted_arguments
from archon_workflows.gateway.port import Gateway, ToolEntry
from archon_workflows.gateway.schemas import Mismatch, SchemaCheck, SchemaChecks
from archon_workflows.model.outcomes import JsonValue, StepError
from archon_workflows.model.template import Template


@dataclass(frozen=True, slots=True)
class _Lenient(SchemaCheck):
    """A schema's check that says nothing about values which are not known yet."""

    whole: SchemaCheck
    unknown: frozenset[str]

    def mismatches(self, value: JsonValue) -> list[Mismatch]:
        return [one for one in self.whole.mismatches(value) if one.path not in self.unknown]


class RehearsedTools:
    """The tools of one rehearsal as they were when it began."""

    def __init__(self, found: FoundTools | None, policy: ToolPolicy) -> None:
        self._found = found
        self._policy = policy
        self._checks = SchemaChecks()

    @classmethod
    async def of(cls, gateway: Gateway, policy: ToolPolicy, names: Iterable[str]) -> "RehearsedTools":
        """Look the tools up."""
        return cls(await look_up_tools(gateway, policy, names), policy)

    def entry(self, tool_name: str) -> ToolEntry | None:
        """Return the tool, if it is known."""
        found = self._found.by_name.get(tool_name) if self._found is not None else None
        return found if isinstance(found, ToolEntry) else None

    def lookup_error(self, tool_name: str) -> StepError | None:
        """Return the error of a step whose tool does not exist; a tool nobody can ask for is none."""
        found = self._found.by_name.get(tool_name) if self._found is not None else None
        if isinstance(found, ToolServerError) and not is_unavailable(found):
            return StepError(found.code, _said(found), found.details)
        return None

    def refusal(self, template: Template, tool: ToolEntry) -> StepError | None:
        """Return the error of a step of the template, which may not call the tool."""
        refusal = Admission(policy=self._policy, allowed_tools=template.allowed_tools).refusal(tool)
        return StepError("tool_not_allowed", refusal, {"tool": tool.address}) if refusal is not None else None

    @property
    def asks_before_destructive(self) -> bool:
        """Whether a run would wait for someone's approval before it calls destructive tools."""
        return self._policy.destructive_tools == "approve"

    def approval_reason(self, tool_name: str) -> str | None:
        """Return why someone would have to approve a call of the tool, as far as it is known."""
        tool = self.entry(tool_name)
        return self._policy.approval_reason(tool) if tool is not None else None

    def problem(self, tool_name: str) -> str | None:
        """Return why the tool is not known, if somebody could be asked for it."""
        found = self._found.by_name.get(tool_name) if self._found is not None else None
        return _said(found) if isinstance(found, ToolServerError) else None

    def warnings(self) -> tuple[str, ...]:
        """Say which calls cannot be checked."""
        if self._found is None:
            return ("No tool server is configured, so tools and their arguments are not checked.",)
        return tuple(
            f"{error.message} Calls of {name!r} are not checked."
            for name, error in self._found.by_name.items()
            if isinstance(error, ToolServerError) and is_unavailable(error)
        )

    async def argument_error(
        self, tool: ToolEntry, arguments: Mapping[str, JsonValue], unknown: Collection[str] = ()
    ) -> StepError | None:
        """Return the error of a call with arguments that do not fit.

        Args:
            tool: what would be called.
            arguments: with a text in place of what is not known.
            unknown: JSON pointers of those texts.
        """
        check = await self._checks.check_for(tool.input_schema, f"input schema of {tool.address!r}")
        lenient = _Lenient(check.unchecked_because, None, 0, check, frozenset(unknown))
        fitted = fitted_arguments(tool, arguments, lenient)
        return fitted if isinstance(fitted, StepError) else None


def _said(error: ToolServerError) -> str:
    return f"{error.message} {error.suggestion}" if error.suggestion else error.message
