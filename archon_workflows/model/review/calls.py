"""What steps call outside of the template: tools, and other workflows."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches

from archon_workflows.model.findings import Finding, closest, hint, replacement
from archon_workflows.model.parameters import parameters_schema
from archon_workflows.model.review.arguments import review_arguments
from archon_workflows.model.review.facts import LookupProblem, ToolFacts, ToolLookup, WorkflowFacts
from archon_workflows.model.review.layout import Layout, StepPlace
from archon_workflows.model.rules import finding
from archon_workflows.model.steps import ActionStep, WorkflowLinkStep
from archon_workflows.model.template import Template
from archon_workflows.model.tools import template_refusal

_RULE_OF_PROBLEM = {
    "unknown_tool": "unknown_tool",
    "ambiguous_tool": "ambiguous_tool",
    "unavailable": "tool_unavailable",
}
_RULE_OF_STATUS = {
    "archived": ("archived_workflow", "archived and never runs", "Link to another workflow."),
    "draft": (
        "draft_workflow",
        "a draft, which runs only when asked for",
        "Activate it before this one runs.",
    ),
    "deprecated": ("deprecated_workflow", "deprecated", "Look for what replaces it."),
}


def review_tools(layout: Layout, tools: ToolLookup) -> Iterator[Finding]:
    """Yield tools that cannot be found, may not be called or have changed, and arguments that do not fit."""
    found: dict[str, ToolFacts | LookupProblem] = {}
    for place in layout.steps:
        if not isinstance(place.step, ActionStep):
            continue
        name = place.step.tool_name
        if name not in found:
            found[name] = tools.find(name)
        match found[name]:
            case LookupProblem() as problem:
                yield _tool_problem(name, problem, f"{place.path}/tool_name")
            case ToolFacts() as tool:
                yield from _standing(layout.template, tool, f"{place.path}/tool_name")
                where = f"{place.path}/parameters"
                called = f"The tool {tool.address}"
                yield from review_arguments(place.step.parameters, tool.input_schema, where, called=called)


def review_links(layout: Layout, known: Mapping[str, WorkflowFacts]) -> Iterator[Finding]:
    """Yield links to workflows that do not exist, do not run, lead back here, or take other parameters."""
    for place in layout.steps:
        if isinstance(place.step, WorkflowLinkStep):
            yield from _link(layout.template, place, place.step, known)


def _standing(template: Template, tool: ToolFacts, path: str) -> Iterator[Finding]:
    if tool.refusal is not None:
        advice = "Call another tool, or have the server's settings changed by whoever runs it."
        yield finding("tool_not_allowed", path, tool.refusal, suggestion=advice)
    own = template_refusal(template.allowed_tools, tool.address)
    if own is not None:
        advice = f"Add {tool.address!r} to allowed_tools, or call another tool."
        yield finding("tool_not_allowed", path, own, suggestion=advice)
    if tool.change is not None:
        advice = "Look at the tool as it is now; saving the template accepts it."
        yield finding("tool_changed", path, tool.change, suggestion=advice)


def _tool_problem(name: str, problem: LookupProblem, path: str) -> Finding:
    match = _nearest_address(name, problem.candidates) if problem.code == "unknown_tool" else None
    candidates = ", ".join(problem.candidates[:12])
    advice = f"Write one of {candidates}." if candidates else None
    return finding(
        _RULE_OF_PROBLEM[problem.code],
        path,
        problem.message,
        suggestion=f"Did you mean {match!r}?" if match else advice,
        nearest=match,
        patch=replacement(path, match),
        candidates=problem.candidates,
    )


def _nearest_address(name: str, addresses: tuple[str, ...]) -> str | None:
    """Return the address that is most like ``name``, with or without its server."""
    whole = get_close_matches(name, addresses, n=1, cutoff=0.6)
    by_tool = {address.rpartition("/")[2]: address for address in reversed(addresses)}
    match = closest(name, list(by_tool))
    return by_tool[match] if match is not None else (whole[0] if whole else None)


def _link(
    template: Template, place: StepPlace, step: WorkflowLinkStep, known: Mapping[str, WorkflowFacts]
) -> Iterator[Finding]:
    path = f"{place.path}/workflow_name"
    name = step.workflow_name
    cycle = _way_back(name, template.name, known)
    if cycle is not None:
        way = " -> ".join([template.name, *cycle])
        yield finding(
            "link_cycle",
            path,
            f"The links lead back to this workflow: {way}.",
            suggestion="Remove one of the links; a workflow cannot run itself.",
        )
    if name == template.name:
        return
    if name not in known:
        yield _unknown_workflow(name, [one for one in known if one != template.name], path)
        return
    yield from _status(name, known[name], path)
    yield from _version(step, known[name], place.path)
    if step.version in (None, known[name].version):
        schema = parameters_schema(known[name].parameters)
        called = f"The workflow {name!r}"
        yield from review_arguments(step.parameters, schema, f"{place.path}/parameters", called=called)


def _unknown_workflow(name: str, names: list[str], path: str) -> Finding:
    match = closest(name, names)
    return finding(
        "unknown_workflow",
        path,
        f"There is no workflow {name!r}.",
        suggestion=hint(match, names, noun="workflow"),
        nearest=match,
        patch=replacement(path, match),
    )


def _status(name: str, facts: WorkflowFacts, path: str) -> Iterator[Finding]:
    if facts.status in _RULE_OF_STATUS:
        rule, state, advice = _RULE_OF_STATUS[facts.status]
        yield finding(rule, path, f"The workflow {name!r} is {state}.", suggestion=advice)


def _version(step: WorkflowLinkStep, facts: WorkflowFacts, path: str) -> Iterator[Finding]:
    if step.version is None or step.version in facts.version_tags | {facts.version}:
        return
    tags = sorted(facts.version_tags | {facts.version})
    match = closest(step.version, tags)
    yield finding(
        "unknown_version",
        f"{path}/version",
        f"The workflow {step.workflow_name!r} has no version {step.version!r}.",
        suggestion=hint(match, tags, noun="version"),
        nearest=match,
        patch=replacement(f"{path}/version", match),
    )


def _way_back(start: str, home: str, known: Mapping[str, WorkflowFacts]) -> list[str] | None:
    """Return the names on a way of links from ``start`` to ``home``, both included."""
    came_from: dict[str, str | None] = {start: None}
    agenda = [start]
    while agenda:
        name = agenda.pop()
        if name == home:
            return _way(name, came_from)
        for linked in sorted(known[name].links) if name in known else ():
            if linked not in came_from:
                came_from[linked] = name
                agenda.append(linked)
    return None


def _way(name: str, came_from: Mapping[str, str | None]) -> list[str]:
    way = [name]
    while (before := came_from[way[-1]]) is not None:
        way.append(before)
    return way[::-1]
