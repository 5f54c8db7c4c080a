"""Expressions: whether they parse, and whether what they refer to is there when they are read."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from archon_workflows.errors import ExpressionError
from archon_workflows.expressions import Reference, compile_condition, compile_value
from archon_workflows.model.findings import Finding, PatchOperation, closest, hint, replacement
from archon_workflows.model.review.flow import Facts, Flow
from archon_workflows.model.review.layout import Layout, SequencePlace, StepPlace
from archon_workflows.model.review.scope import SCOPE_ROOTS, Site, sites
from archon_workflows.model.rules import finding
from archon_workflows.model.steps import LoopStep, ParallelStep

_WORKFLOW_FIELDS = ("parameters", "name", "version", "id")
_EXECUTION_FIELDS = ("id", "started_at", "triggered_by")
_STEP_FIELDS = ("output", "status", "error", "attempts", "name")
_LOOP_FIELDS = ("index", "index0", "first", "last", "length")
_FIELDS_OF = {"execution": _EXECUTION_FIELDS, "loop": _LOOP_FIELDS, "previous_step": _STEP_FIELDS}
_OUTSIDE = "This is read where no such thing is in scope."


def review_expressions(layout: Layout, flow: Flow) -> Iterator[Finding]:
    """Yield what is wrong with the expressions of the template, each mistake once per text."""
    written = {one for place in layout.steps for one in place.step.set_context}
    loops = (place.step for place in layout.steps if isinstance(place.step, LoopStep))
    reviewer = _Reviewer(layout, flow, written, {loop.item_variable for loop in loops})
    for site in sites(layout):
        seen: list[Finding] = []
        for found in reviewer.review(site):
            if found not in seen:
                seen.append(found)
                yield found


def references_of(site: Site) -> tuple[Reference, ...]:
    """Return what the text refers to.

    Raises:
        ExpressionError: it does not parse.
    """
    compiled = compile_condition(site.text) if site.is_condition else compile_value(site.text)
    return tuple(compiled.references)


@dataclass(frozen=True, slots=True)
class _Reviewer:
    layout: Layout
    flow: Flow
    written: set[str]
    item_variables: set[str]
    told: set[str] = field(default_factory=set[str])

    def review(self, site: Site) -> Iterator[Finding]:
        try:
            references = references_of(site)
        except ExpressionError as error:
            yield finding("invalid_expression", site.path, error.message, suggestion=error.suggestion)
            return
        for reference in references:
            yield from self._reference(site, reference)

    def _reference(self, site: Site, reference: Reference) -> Iterator[Finding]:
        root = reference.root
        if root not in site.roots():
            yield self._out_of_scope(site, reference)
        elif root == "steps":
            yield from self._step(site, reference)
        elif root == "workflow":
            yield from self._workflow(site, reference)
        elif root == "previous_step":
            yield from _unknown_field(site, reference, _STEP_FIELDS, at=0)
            yield from self._previous(site, reference)
        elif root == "context":
            yield from self._context(site, reference)
        elif root in _FIELDS_OF:
            yield from _unknown_field(site, reference, _FIELDS_OF[root], at=0)

    def _out_of_scope(self, site: Site, reference: Reference) -> Finding:
        root = reference.root
        if root == "output":
            return _finding("output_out_of_scope", site, reference, _OUTSIDE, "Write steps.NAME.output.")
        if root == "error":
            advice = "Write steps.NAME.error, or move this into an inline on_failure."
            return _finding("error_out_of_scope", site, reference, _OUTSIDE, advice)
        if root == "secrets":
            advice = "Secrets may stand in the parameters of an action only."
            return _finding(
                "secret_out_of_scope", site, reference, "A secret would be recorded here.", advice
            )
        if root == "loop" or root in self.item_variables:
            advice = "It exists in the steps of its loop only; after it, use the loop's output."
            return _finding("outside_loop", site, reference, _OUTSIDE, advice)
        return self._unknown_root(site, reference)

    def _unknown_root(self, site: Site, reference: Reference) -> Finding:
        root = reference.root
        if root in self.layout.by_name:
            match = f"steps.{root}"
        elif root in self.layout.template.parameters:
            match = f"workflow.parameters.{root}"
        else:
            match = closest(root, sorted(site.roots() & SCOPE_ROOTS | site.roots()))
        return _finding(
            "unknown_reference",
            site,
            reference,
            f"There is no name {root!r} here.",
            f"Did you mean {match!r}?" if match else f"Names here: {', '.join(sorted(site.roots()))}.",
            nearest=match,
            wrong=root,
        )

    def _workflow(self, site: Site, reference: Reference) -> Iterator[Finding]:
        yield from _unknown_field(site, reference, _WORKFLOW_FIELDS, at=0)
        if _key(reference, 0) not in {"parameters", None}:
            return
        name = _key(reference, 1)
        parameters = self.layout.template.parameters
        if name is None:
            secret = next((one for one, parameter in parameters.items() if parameter.secret), None)
        else:
            secret = name if name in parameters and parameters[name].secret else None
        if secret is not None and not site.takes_secret_parameters:
            yield _finding(
                "secret_out_of_scope",
                site,
                reference,
                f"The parameter {secret!r} is secret and would be recorded here.",
                "Secret parameters may stand in the parameters of actions and workflow links only.",
            )
        if name is not None:
            yield from self._parameter(site, reference, name)

    def _parameter(self, site: Site, reference: Reference, name: str) -> Iterator[Finding]:
        parameters = self.layout.template.parameters
        if name not in parameters:
            match = closest(name, parameters)
            yield _finding(
                "unknown_parameter",
                site,
                reference,
                f"The template has no parameter {name!r}.",
                f"{hint(match, parameters, noun='parameter')} Declare it under 'parameters' if it is new.",
                nearest=match,
                wrong=name,
            )
        elif not (parameters[name].required or parameters[name].has_default or reference.guarded):
            yield _finding(
                "unset_parameter",
                site,
                reference,
                f"The parameter {name!r} is optional and has no default, so a run may not have it.",
                f"Give it a default, or write {{{{ workflow.parameters.{name} | default(...) }}}}.",
            )

    def _context(self, site: Site, reference: Reference) -> Iterator[Finding]:
        name = _key(reference, 0)
        if name is not None and name not in self.written | self.told and not reference.guarded:
            self.told.add(name)
            yield _finding(
                "context_from_trigger",
                site,
                reference,
                f"No step sets the context variable {name!r}.",
                "Whoever starts a run must give it in the trigger context.",
                nearest=closest(name, sorted(self.written)),
            )

    def _facts(self, site: Site) -> Facts | None:
        if site.place is None:
            return self.flow.exits.get(self.layout.top)
        if site.after_iteration:
            return self.flow.after_body(site.place)
        return self.flow.before(site.place)

    def _previous(self, site: Site, reference: Reference) -> Iterator[Finding]:
        facts = self._facts(site)
        if facts is None or reference.guarded or facts.previous_sure or site.after_iteration:
            return
        if facts.previous_possible:
            yield _finding(
                "previous_step_may_be_missing",
                site,
                reference,
                "On some path no step of this sequence ran before.",
                "Write steps.NAME, or guard it with default(...).",
            )
        else:
            yield _finding(
                "no_previous_step",
                site,
                reference,
                "No step of this sequence runs before this one; previous_step stays within its sequence.",
                "Write steps.NAME for a step around this one.",
            )

    def _step(self, site: Site, reference: Reference) -> Iterator[Finding]:
        name = _key(reference, 0)
        if name is None:
            return
        target = self.layout.by_name.get(name)
        if target is None:
            yield self._unknown_step(site, reference, name)
            return
        yield from _unknown_field(site, reference, _STEP_FIELDS, at=1)
        yield from self._visibility(site, reference, target)

    def _unknown_step(self, site: Site, reference: Reference, name: str) -> Finding:
        match = closest(name, self.layout.by_name)
        return _finding(
            "unknown_step",
            site,
            reference,
            f"There is no step {name!r}.",
            hint(match, self.layout.by_name, noun="step"),
            nearest=match,
            wrong=name,
        )

    def _visibility(self, site: Site, reference: Reference, target: StepPlace) -> Iterator[Finding]:
        loop = _loop_between(target, site)
        if loop is not None:
            known = f"steps.{loop.name}.output" if loop.name else "the loop's output, once it has a name"
            advice = f"Write {known}: a list, one element for each item."
            message = f"The step {target.shown} runs once for each item of the loop at {loop.path}."
            yield _finding("step_inside_loop", site, reference, message, advice)
        elif _are_siblings(target, site.place):
            message = f"The step {target.shown} is in another branch of the same parallel step."
            advice = "Read it after the parallel step, or put both into one branch."
            yield _finding("step_of_other_branch", site, reference, message, advice)
        else:
            yield from self._order(site, reference, target)

    def _order(self, site: Site, reference: Reference, target: StepPlace) -> Iterator[Finding]:
        facts = self._facts(site)
        bit = self.flow.bit(target)
        if facts is None or reference.guarded or _certain(reference, facts) & bit:
            return
        if not facts.possible & bit:
            is_own = target is site.place
            yield _finding(
                "step_cannot_have_run",
                site,
                reference,
                f"The step {target.shown} has not finished when this is read"
                + (": it is this step itself." if is_own else ", on any path."),
                "Write output for the step's own output." if is_own else "Move it before this step.",
            )
        else:
            yield _finding(
                "step_may_not_have_run",
                site,
                reference,
                f"On some path the step {target.shown} was not run, or failed, before this is read.",
                f"Guard it: {{{{ {reference.source} | default(...) }}}}, or make every path run it.",
            )


def _certain(reference: Reference, facts: Facts) -> int:
    """Return the steps of which the field asked for is there on every path."""
    return facts.ran if _key(reference, 1) in {"output", None} else facts.finished


def _loop_between(target: StepPlace, site: Site) -> StepPlace | None:
    """Return the outermost loop that the target is in and the reader is not."""
    around_reader: set[SequencePlace] = set(site.place.around()) if site.place is not None else set()
    if site.place is not None and site.after_iteration:
        around_reader |= set(site.place.inner)
    outermost: StepPlace | None = None
    for sequence in target.around():
        if sequence.role == "body" and sequence not in around_reader:
            outermost = sequence.owner
    return outermost


def _are_siblings(target: StepPlace, reader: StepPlace | None) -> bool:
    if reader is None:
        return False
    branches = {one.owner: one for one in reader.around() if one.role == "branch"}
    return any(
        one.role == "branch" and one.owner in branches and branches[one.owner] is not one
        for one in target.around()
        if one.owner is not None and isinstance(one.owner.step, ParallelStep)
    )


def _key(reference: Reference, at: int) -> str | None:
    """Return the name at that position of the path, ``None`` when it ends or is computed before."""
    key = reference.path[at] if at < len(reference.path) else None
    return key if isinstance(key, str) else None


def _unknown_field(
    site: Site, reference: Reference, known: tuple[str, ...], *, at: Literal[0, 1]
) -> Iterator[Finding]:
    key = _key(reference, at)
    if key is None or key in known:
        return
    match = closest(key, known)
    around = ".".join([reference.root, *(str(one) for one in reference.path[:at])])
    advice = f"Did you mean {match!r}?" if match else f"It has {', '.join(known)}."
    if reference.root in {"steps", "previous_step"} and match is None:
        match = f"output.{key}"
        advice = f"Did you mean {around}.{match}?"
    if reference.root == "workflow" and match is None:
        advice = f"{advice} A parameter is workflow.parameters.{key}."
    yield _finding(
        "unknown_reference_field",
        site,
        reference,
        f"{around} has no field {key!r}.",
        advice,
        nearest=match,
        wrong=key,
    )


def _finding(
    rule: str,
    site: Site,
    reference: Reference,
    message: str,
    suggestion: str,
    *,
    nearest: str | None = None,
    wrong: str | None = None,
) -> Finding:
    shown = f"{reference.source}: {message}"
    return finding(
        rule,
        site.path,
        shown,
        suggestion=suggestion,
        nearest=nearest,
        patch=_repair(site, reference, wrong, nearest),
    )


def _repair(
    site: Site, reference: Reference, wrong: str | None, match: str | None
) -> tuple[PatchOperation, ...] | None:
    """Return the patch that writes the right name, where the reference stands in the text as it is shown."""
    source = reference.source
    if wrong is None or match is None or source.count(wrong) != 1:
        return None
    written = re.compile(rf"(?<![\w.'\"]){re.escape(source)}(?![\w'\"])")
    mended = source.replace(wrong, match)

    def mend(expression: re.Match[str]) -> str:
        return written.sub(lambda _: mended, expression[0])

    has_braces = "{{" in site.text
    text = re.sub(r"\{\{.*?\}\}" if has_braces else r".+", mend, site.text, flags=re.DOTALL)
    return replacement(site.path, text) if text != site.text else None
