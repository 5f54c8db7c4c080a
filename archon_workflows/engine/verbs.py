"""What callers give to the engine's verbs and what they get back: plain, frozen, transport-free."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from archon_workflows.model.findings import Finding
from archon_workflows.model.outcomes import JsonValue, StepError
from archon_workflows.model.records import ExecutionRecord, StepRecord, TemplateRecord, VersionRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """Which template to run, with what.

    Attributes:
        workflow: the template's name.
        version: a version tag; ``None`` is the newest version.
        allow_draft: run a template of status ``draft``.
        idempotency_key: a second request with it finds the execution of the first.
        priority: ``None`` is the template's own.
    """

    workflow: str
    parameters: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    version: str | None = None
    allow_draft: bool = False
    trigger_context: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    triggered_by: str | None = None
    idempotency_key: str | None = None
    priority: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StartedExecution:
    """The execution that a request led to; ``warnings`` are sentences (a deprecated template, ...)."""

    execution: ExecutionRecord
    existed: bool
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewedCall:
    """One call that a run may make.

    Attributes:
        step_path: with ``[*]`` where a loop's index will stand.
        arguments: resolved where they are known; text with ``{{ }}`` where they are not.
        unresolved: JSON pointers into ``arguments`` of what is not known before the run.
        destructive: ``None`` when the tool is unknown or does not say.
        problem: why the tool cannot be called as things are, if so.
    """

    step_path: str
    tool_name: str
    arguments: Mapping[str, JsonValue]
    unresolved: tuple[str, ...]
    address: str | None
    destructive: bool | None
    problem: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """The calls of a run, in document order, links followed."""

    workflow: str
    version_tag: str
    calls: tuple[PreviewedCall, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """What a run would do with the given and generated step results; nothing was called or stored.

    Attributes:
        steps: the rows that the run would have left, in order; a child's paths follow its link's.
        generated: names of the steps whose output was made up.
        approvals: step paths where the run would have waited for someone.
    """

    workflow: str
    version_tag: str
    status: str
    output: JsonValue
    error: StepError | None
    steps: tuple[StepRecord, ...]
    generated: tuple[str, ...]
    approvals: tuple[str, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedTemplate:
    """A template after a save, with the findings that did not prevent it."""

    template: TemplateRecord
    breaking_changes: tuple[str, ...]
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionDiff:
    """What differs between two versions of a template.

    Attributes:
        changes: ``{op, path, old?, new?}``, as ``archon_workflows.model.versions.diff_documents`` gives them.
        breaking_changes: one sentence for each way in which ``new`` breaks those who run ``old``.
    """

    old: VersionRecord
    new: VersionRecord
    changes: tuple[Mapping[str, JsonValue], ...]
    breaking_changes: tuple[str, ...]
