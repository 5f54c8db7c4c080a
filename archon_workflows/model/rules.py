"""The rules of validation: every id that a finding may carry, with its severity and meaning."""

from collections.abc import Sequence
from dataclasses import dataclass

from archon_workflows.model.findings import Finding, PatchOperation, Severity


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: its severity, and one sentence that says what breaks it."""

    severity: Severity
    description: str


RULES: dict[str, Rule] = {
    # Shape
    "invalid_json": Rule("error", "A value cannot be stored: NUL, a number beyond 64 bits, too deep."),
    "wrong_type": Rule("error", "A field has a value of another JSON type than it takes."),
    "unknown_field": Rule("error", "A field does not exist at this place."),
    "missing_field": Rule("error", "A required field is missing."),
    "invalid_value": Rule("error", "A value is not one of those allowed, or beyond its limits."),
    "invalid_name": Rule("error", "A name is not snake_case: a letter, then letters, digits, `_`; up to 63."),
    "unknown_step_type": Rule("error", "A step has a `type` that does not exist."),
    "too_many_findings": Rule("error", "There are more findings than an answer should hold."),
    # Names
    "duplicate_name": Rule("error", "Two steps of the template, nested ones included, share a name."),
    "reserved_name": Rule("error", "A step has the name of a word such as `next` or `end`."),
    "shadowed_name": Rule("error", "A loop's `item_variable` hides a name that expressions need."),
    "hidden_characters": Rule(
        "error", "A title, category, tag or tool name has invisible or direction-changing characters."
    ),
    "hidden_text": Rule("warning", "Some other text has invisible or direction-changing characters."),
    # Flow
    "unknown_target": Rule("error", "A jump names a step that does not exist."),
    "target_elsewhere": Rule("error", "A jump leads to a step of another sequence."),
    "word_not_allowed": Rule("error", "A word such as `retry` stands where it has no meaning."),
    "unreachable_step": Rule("warning", "No path leads to the step."),
    # Expressions
    "invalid_expression": Rule("error", "An expression does not parse or uses what expressions do not have."),
    "unknown_reference": Rule("error", "An expression begins with a name that does not exist there."),
    "unknown_reference_field": Rule("error", "A reference asks for a field that its object never has."),
    "unknown_parameter": Rule("error", "A reference names a parameter that the template does not declare."),
    "unset_parameter": Rule("warning", "An optional parameter without default is used without `default()`."),
    "unknown_step": Rule("error", "A reference names a step that does not exist."),
    "step_cannot_have_run": Rule("error", "On no path has the step finished when the reference is read."),
    "step_may_not_have_run": Rule("warning", "On some path the step has no output when it is read."),
    "step_inside_loop": Rule("error", "A step inside a loop is referred to from outside of the loop."),
    "step_of_other_branch": Rule("error", "A parallel branch refers to a step of a sibling branch."),
    "no_previous_step": Rule("error", "`previous_step` stands where no step of the sequence ran before."),
    "previous_step_may_be_missing": Rule("warning", "On some path no step of the sequence ran before."),
    "outside_loop": Rule("error", "`loop` or an item variable is used outside of its loop."),
    "output_out_of_scope": Rule(
        "error", "`output` is used outside of `fail_when`, `repeat_until`, `set_context`."
    ),
    "error_out_of_scope": Rule("error", "`error` is used outside of a failure handler."),
    "secret_out_of_scope": Rule("error", "A secret is used outside of the parameters of an action."),
    "context_from_trigger": Rule(
        "info", "No step sets the context variable; the trigger context must have it."
    ),
    # Parameters and outputs
    "invalid_schema": Rule("error", "A parameter or output is not a valid JSON Schema (draft 2020-12)."),
    "remote_reference": Rule("error", "A schema refers outside of itself."),
    "invalid_default": Rule("error", "A default does not fit the schema of its parameter."),
    "required_with_default": Rule("warning", "`required` has no effect beside a default."),
    "secret_not_text": Rule("error", "A secret parameter is not of type `string`."),
    # Links between workflows
    "unknown_workflow": Rule("error", "A link names a workflow that does not exist."),
    "archived_workflow": Rule("error", "A link names an archived workflow, which never runs."),
    "draft_workflow": Rule("warning", "A link names a draft, which runs only when asked for explicitly."),
    "deprecated_workflow": Rule("warning", "A link names a deprecated workflow."),
    "unknown_version": Rule("error", "A link names a version that the workflow does not have."),
    "link_cycle": Rule("error", "Links lead from the workflow back to itself."),
    # Tools, and arguments of tools and links
    "unknown_tool": Rule("error", "No tool server has the tool."),
    "ambiguous_tool": Rule("error", "Several tool servers have a tool of that name."),
    "tool_not_allowed": Rule(
        "error", "The template's `allowed_tools` or the server's settings forbid to call the tool."
    ),
    "tool_changed": Rule("warning", "The tool is not what it was when the newest version was saved."),
    "tool_unavailable": Rule("warning", "The tool's server cannot be reached, so nothing could be checked."),
    "unknown_argument": Rule("error", "The tool or workflow takes no argument of that name."),
    "missing_argument": Rule("error", "A required argument of the tool or workflow is missing."),
    "invalid_argument": Rule("error", "A constant argument does not fit the schema of the tool or workflow."),
    # Limits
    "on_limit_without_limit": Rule("warning", "`on_limit` has no effect without a limit."),
    # Time
    "delay_over_timeout": Rule("warning", "A wait is longer than the whole run may take."),
    "never_retried": Rule("warning", "`retry_on` names an error that is never retried."),
}


def finding(
    rule: str,
    path: str,
    message: str,
    *,
    suggestion: str | None = None,
    nearest: str | None = None,
    patch: Sequence[PatchOperation] | None = None,
    candidates: Sequence[str] = (),
) -> Finding:
    """Return a finding of a rule of the table, with the rule's severity.

    Raises:
        KeyError: there is no such rule.
    """
    return Finding(
        path=path,
        rule=rule,
        severity=RULES[rule].severity,
        message=message,
        suggestion=suggestion,
        nearest=nearest,
        patch=tuple(patch) if patch else None,
        candidates=tuple(candidates),
    )


def rules_table() -> str:
    """Return all rules as a Markdown table, as ``docs/validation.md`` shows them."""
    rows = [f"| `{name}` | {rule.severity} | {rule.description} |" for name, rule in RULES.items()]
    return "\n".join(["| rule | severity | what breaks it |", "|---|---|---|", *rows])
