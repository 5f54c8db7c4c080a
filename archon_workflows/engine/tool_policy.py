"""Which tools steps may call here, and under which conditions.

The policy is the server's; an admission applies it, with the template's own list and the fingerprints of
the pinned version, to each tool just before it is called.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from archon_workflows.gateway.port import ToolEntry
from archon_workflows.model.outcomes import StepError
from archon_workflows.model.tools import ToolFingerprint, allows, template_refusal
from archon_workflows.settings import DestructiveTools, ToolChanges


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolPolicy:
    """What the server's settings say about tools.

    Attributes:
        allowed_tools: patterns of names and addresses.
        destructive_tools: what becomes of calls of tools that are annotated as destructive.
        tool_changes: what becomes of calls of tools that are not what they were at the save.
    """

    allowed_tools: Sequence[str] = ("*",)
    destructive_tools: DestructiveTools = "allow"
    tool_changes: ToolChanges = "warn"

    def refusal(self, tool: ToolEntry) -> str | None:
        """Return why no step may call the tool here, if so."""
        if tool.is_workflow_server:
            return (
                f"The tool {tool.address!r} belongs to a workflow server; steps cannot call those. "
                f"A workflow_link step runs another workflow."
            )
        if not allows(self.allowed_tools, tool.address):
            return f"The tool {tool.address!r} is not among those that ARCHON_WORKFLOWS_ALLOWED_TOOLS allows."
        if tool.destructive and self.destructive_tools == "refuse":
            return (
                f"The tool {tool.address!r} is annotated as destructive, and "
                f"ARCHON_WORKFLOWS_DESTRUCTIVE_TOOLS refuses those."
            )
        return None

    def approval_reason(self, tool: ToolEntry) -> str | None:
        """Return why someone must approve a call of the tool, if so."""
        if tool.destructive and self.destructive_tools == "approve":
            return f"the tool {tool.address!r} is annotated as destructive"
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Says of each tool whether the steps of one execution may call it.

    Attributes:
        allowed_tools: the template's own list; ``None`` allows what the policy allows.
        fingerprints: of the tools when the version was saved, by ``tool_name``.
        told: tool names whose change was already remarked on.
    """

    policy: ToolPolicy
    allowed_tools: Sequence[str] | None = None
    fingerprints: Mapping[str, ToolFingerprint] = field(default_factory=dict[str, ToolFingerprint])
    told: set[str] = field(default_factory=set[str])

    def error(
        self, tool_name: str, tool: ToolEntry, remark: Callable[[str, dict[str, str]], None]
    ) -> StepError | None:
        """Return the error of a step that may not call the tool.

        Args:
            tool_name: as the step says it.
            tool: what it means now.
            remark: is told of a change that is only warned of, once for each name.
        """
        refusal = self.refusal(tool)
        if refusal is not None:
            return StepError("tool_not_allowed", refusal, {"tool": tool.address})
        change = change_since(self.fingerprints.get(tool_name), tool_name, tool)
        if change is None:
            return None
        if self.policy.tool_changes == "refuse":
            return StepError(
                "tool_changed", f"{change} Save the template to accept it.", {"tool": tool.address}
            )
        if tool_name not in self.told:
            self.told.add(tool_name)
            remark(change, {"code": "tool_changed", "tool": tool.address})
        return None

    def refusal(self, tool: ToolEntry) -> str | None:
        """Return why the steps may not call the tool, by the policy or by the template's own list."""
        return self.policy.refusal(tool) or template_refusal(self.allowed_tools, tool.address)


def fingerprint_of(tool: ToolEntry) -> ToolFingerprint:
    """Return what a version remembers of a tool."""
    return ToolFingerprint(tool.address, tool.fingerprint)


def change_since(before: ToolFingerprint | None, tool_name: str, tool: ToolEntry) -> str | None:
    """Return how a tool differs from what was remembered; what nobody remembers has not changed."""
    return before.change_to(tool_name, fingerprint_of(tool)) if before is not None else None
