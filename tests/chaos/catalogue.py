"""The templates that chaos runs execute, and what each of them must come to: a pure function of its input.

Together they use all five step types, nested, with retries, polls, handlers, approvals and secrets. ``bias``
is a constant of the document that later versions change, so that an output tells by which version it was
computed.
"""

import base64
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Document = dict[str, Any]
Word = Literal["cancel", "retry"]

SECRET = 'pa55 "w0rd"/Zx9Kq7Wm+odd='  # noqa: S105 - it guards nothing
SECRET_TRACES = ("Zx9Kq7Wm", base64.b64encode(SECRET.encode())[:20].decode())
"""What is found wherever the secret is, however its odd characters are escaped there."""
CHANCES = {"retry_count": 20, "retry_delay_seconds": 0.05, "retry_backoff": 1}
"""More than misbehaviour uses up; what a dying tool server takes with it needs some too."""
DAY_SECONDS = 86_400
PLACES = {"narrow": 1}
"""How many executions of a limited template may run at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What an execution must come to.

    Attributes:
        status: the terminal status.
        output: of a completed execution.
        code: of a failed execution's error.
        not_completed: the top-level steps of a completed execution whose status is another one.
    """

    status: str
    output: Any = None
    code: str | None = None
    not_completed: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One template of the catalogue.

    Attributes:
        document: the template, given its bias.
        expected: what becomes of an execution with the parameter ``n``.
        word: what the operator says to its executions unasked.
        is_run: whether it is run by itself, or only as a child.
    """

    document: Callable[[int], Document]
    expected: Callable[[int, int], Expectation]
    word: Word | None = None
    is_run: bool = True


LINKED = ("leaf", "slow")
"""The templates that others link to."""


def action(name: str, tool: str, /, **fields: Any) -> Document:
    parameters = {key: fields.pop(key) for key in tuple(fields) if key in ARGUMENTS}
    server = "shaky" if tool == "shaky" else "steady"
    return {
        "name": name,
        "type": "action",
        "tool_name": f"{server}/{tool}",
        "parameters": parameters,
        **fields,
    }


ARGUMENTS = frozenset({"value", "seconds", "reason", "failures", "asks", "secret"})
N = "{{ workflow.parameters.n }}"
PREVIOUS = "{{ previous_step.output.value }}"


def template(name: str, *steps: Document, total: str, bias: int = 0, **fields: Any) -> Document:
    return {
        "name": name,
        "description": f"bias {bias}",
        "parameters": {"n": {"type": "integer", "required": True}, **fields.pop("parameters", {})},
        "outputs": {"total": {"value": total}},
        "steps": list(steps),
        **fields,
    }


def biased(bias: int) -> str:
    return f"{{{{ workflow.parameters.n + {bias} }}}}"


def completed(total: Any, **not_completed: str) -> Expectation:
    return Expectation(status="completed", output={"total": total}, not_completed=not_completed)


def chain(bias: int) -> Document:
    steps = [action("s1", "work", value=biased(bias))]
    steps += [action(f"s{number}", "work", value=PREVIOUS, seconds=0.05) for number in range(2, 6)]
    return template("chain", *steps, total="{{ steps.s5.output.value }}", bias=bias)


def fan(bias: int) -> Document:
    first = [action("a1", "work", value=biased(bias)), action("a2", "work", value=PREVIOUS)]
    second = action("b", "work", value="{{ workflow.parameters.n * 10 }}", seconds=0.1)
    third = action("c", "work", value="{{ workflow.parameters.n * 100 }}")
    parallel = {"name": "p", "type": "parallel", "max_concurrency": 2, "steps": [first, second, third]}
    joined = "{{ steps.p.output[0].value + steps.p.output[1].value + steps.p.output[2].value }}"
    return template(
        "fan",
        parallel,
        action("join", "work", value=joined),
        total="{{ steps.join.output.value }}",
        bias=bias,
    )


def each(bias: int) -> Document:
    body = [action("one", "work", value=f"{{{{ item + workflow.parameters.n + {bias} }}}}")]
    loop = {"name": "l", "type": "loop", "collection": [1, 2, 3, 4], "max_concurrency": 2, "steps": body}
    return template("each", loop, total="{{ steps.l.output }}", bias=bias)


def leaf(bias: int) -> Document:
    del bias
    steps = (action("x", "work", value=N, seconds=0.05), action("y", "work", value=PREVIOUS))
    return template("leaf", *steps, total="{{ steps.y.output.value }}")


def link(name: str, workflow: str = "leaf", **fields: Any) -> Document:
    return {
        "name": name,
        "type": "workflow_link",
        "workflow_name": workflow,
        "parameters": {"n": N},
        **fields,
    }


def linked(bias: int) -> Document:
    after = action("after", "work", value=f"{{{{ steps.down.output.total + {bias} }}}}")
    return template("linked", link("down"), after, total="{{ steps.after.output.value }}", bias=bias)


def branching(bias: int) -> Document:
    condition = {
        "name": "sized",
        "type": "condition",
        "condition": f"{N} > 50",
        "on_true": action("big", "work", value="{{ workflow.parameters.n * 2 }}"),
        "on_false": action("small", "work", value=N),
    }
    never = action("never", "work", value=0, when=f"{N} > 100000")
    kept = action("kept", "work", value=biased(bias), set_context={"kept": "{{ output.value }}"})
    last = action("last", "work", value="{{ context.kept }}")
    total = "{{ [steps.sized.output.output.value, steps.last.output.value] }}"
    return template("branching", condition, never, kept, last, total=total, bias=bias)


def bumpy(bias: int) -> Document:
    flaky = action("flaky", "flaky", value=biased(bias), failures=2, **CHANCES)
    rescue = action("rescue", "work", value="{{ steps.flaky.output.value }}")
    broken = action("broken", "fail", reason="as told", on_failure=rescue)
    last = action("last", "work", value="{{ steps.flaky.output.value }}")
    return template("bumpy", flaky, broken, last, total="{{ steps.last.output.value }}", bias=bias)


def guarded(bias: int) -> Document:
    approved = action("approved", "work", value=PREVIOUS, approval={"message": "Go on?"})
    return template(
        "guarded",
        action("before", "work", value=biased(bias)),
        approved,
        total="{{ steps.approved.output.value }}",
        bias=bias,
    )


def shaken(bias: int) -> Document:
    value = f"{{{{ item + workflow.parameters.n + {bias} }}}}"
    body = [action("one", "shaky", value=value, timeout_seconds=0.8, **CHANCES)]
    loop = {"name": "l", "type": "loop", "collection": [1, 2, 3], "max_concurrency": 3, "steps": body}
    return template("shaken", loop, total="{{ steps.l.output }}", bias=bias)


def secretive(bias: int) -> Document:
    del bias
    sealed = action("sealed", "seal", secret="{{ workflow.parameters.secret }}")  # noqa: S106 - a reference
    parameters = {"secret": {"type": "string", "required": True, "secret": True}}
    after = action("after", "work", value=N, seconds=0.05)
    return template("secretive", sealed, after, total="{{ steps.sealed.output }}", parameters=parameters)


def risky(bias: int) -> Document:
    destroyed = action("destroyed", "destroy", value=biased(bias), seconds=0.2)
    last = action("last", "work", value=PREVIOUS)
    return template("risky", destroyed, last, total="{{ steps.last.output.value }}", bias=bias)


def hopeless(bias: int) -> Document:
    steps = (action("before", "work", value=biased(bias)), action("broken", "fail", reason="as told"))
    return template("hopeless", *steps, total="{{ steps.before.output.value }}", bias=bias)


def long(bias: int) -> Document:
    del bias
    body = [action("one", "work", value="{{ item }}", seconds=0.2)]
    loop = {"name": "l", "type": "loop", "collection": list(range(100)), "steps": body}
    return template("long", loop, link("down"), total="{{ steps.l.output }}")


def polling(bias: int) -> Document:
    polled = {"condition": "{{ output.ready }}", "interval_seconds": 0.05, "max_attempts": 20}
    asked = action("asked", "ask", asks=3, repeat_until=polled)
    return template("polling", asked, total=f"{{{{ workflow.parameters.n + {bias} }}}}", bias=bias)


def reopened(bias: int) -> Document:
    flaky = action("flaky", "flaky", value="{{ steps.before.output.value }}", failures=1)
    return template(
        "reopened",
        action("before", "work", value=biased(bias)),
        flaky,
        total="{{ steps.flaky.output.value }}",
        bias=bias,
    )


def grand(bias: int) -> Document:
    body = [
        link("inner", parameters={"n": "{{ item }}"}),
        action("shake", "shaky", value="{{ steps.inner.output.total }}", timeout_seconds=0.8, **CHANCES),
    ]
    loop = {"name": "l", "type": "loop", "collection": [1, 2], "max_concurrency": 2, "steps": body}
    parallel = {"name": "p", "type": "parallel", "steps": [loop, action("side", "work", value=biased(bias))]}
    return template("grand", parallel, total="{{ steps.p.output }}", bias=bias)


def slow(bias: int) -> Document:
    steps = [action("s1", "work", value=biased(bias))]
    steps += [action(f"s{number}", "work", value=PREVIOUS, seconds=0.2) for number in range(2, 7)]
    return template("slow", *steps, total="{{ steps.s6.output.value }}", bias=bias)


def torn(bias: int) -> Document:
    """Fail and cancel the child, unless the first call's failure is lost with its owner."""
    flaky = action("flaky", "flaky", value=biased(bias), failures=1)
    parallel = {"name": "p", "type": "parallel", "steps": [link("down", "slow"), flaky]}
    return template("torn", parallel, total="{{ steps.p.output[1].value }}", bias=bias)


def many(bias: int) -> Document:
    body = [action("one", "work", value="{{ item }}")]
    loop = {"name": "l", "type": "loop", "collection": list(range(120)), "max_concurrency": 20, "steps": body}
    last = action("last", "work", value=biased(bias))
    return template("many", loop, last, total="{{ steps.last.output.value }}", bias=bias)


def narrow(bias: int) -> Document:
    steps = [action("s1", "work", value=biased(bias)), action("s2", "work", value=PREVIOUS, seconds=0.1)]
    total = "{{ steps.s2.output.value }}"
    return template("narrow", *steps, total=total, bias=bias, max_concurrent_executions=PLACES["narrow"])


def tomorrow(bias: int) -> Document:
    later = action("later", "work", value=PREVIOUS, delay_seconds=DAY_SECONDS)
    return template(
        "tomorrow",
        action("before", "work", value=biased(bias)),
        later,
        total="{{ steps.later.output.value }}",
        bias=bias,
        timeout_minutes=2 * DAY_SECONDS / 60,
    )


def sealed_output() -> dict[str, str]:
    return {"echo": "***", "digest": hashlib.sha256(SECRET.encode()).hexdigest()}


def values(*numbers: int) -> list[dict[str, int]]:
    return [{"value": number} for number in numbers]


CATALOGUE: Mapping[str, Entry] = {
    "leaf": Entry(document=leaf, expected=lambda n, _: completed(n + 2), is_run=False),
    "chain": Entry(document=chain, expected=lambda n, bias: completed(n + bias + 5)),
    "slow": Entry(document=slow, expected=lambda n, bias: completed(n + bias + 6)),
    "fan": Entry(document=fan, expected=lambda n, bias: completed(n + bias + 110 * n + 5)),
    "each": Entry(
        document=each, expected=lambda n, bias: completed(values(*(n + bias + i + 1 for i in range(1, 5))))
    ),
    "linked": Entry(document=linked, expected=lambda n, bias: completed(n + bias + 3)),
    "branching": Entry(
        document=branching,
        expected=lambda n, bias: completed([(n * 2 if n > 50 else n) + 1, n + bias + 2], never="skipped"),
    ),
    "bumpy": Entry(document=bumpy, expected=lambda n, bias: completed(n + bias + 2, broken="failed")),
    "guarded": Entry(document=guarded, expected=lambda n, bias: completed(n + bias + 2)),
    "shaken": Entry(
        document=shaken, expected=lambda n, bias: completed(values(*(n + bias + i + 1 for i in range(1, 4))))
    ),
    "secretive": Entry(document=secretive, expected=lambda _n, _bias: completed(sealed_output())),
    "risky": Entry(document=risky, expected=lambda n, bias: completed(n + bias + 2)),
    "hopeless": Entry(
        document=hopeless, expected=lambda _n, _bias: Expectation(status="failed", code="tool_error")
    ),
    "long": Entry(document=long, expected=lambda _n, _bias: Expectation(status="cancelled"), word="cancel"),
    "polling": Entry(document=polling, expected=lambda n, bias: completed(n + bias)),
    "reopened": Entry(document=reopened, expected=lambda n, bias: completed(n + bias + 2), word="retry"),
    "grand": Entry(
        document=grand,
        expected=lambda n, bias: completed([values(4, 5), {"value": n + bias + 1}]),
    ),
    "torn": Entry(document=torn, expected=lambda n, bias: completed(n + bias + 1), is_run=False),
    "narrow": Entry(document=narrow, expected=lambda n, bias: completed(n + bias + 2)),
    "tomorrow": Entry(document=tomorrow, expected=lambda n, bias: completed(n + bias + 2), is_run=False),
    "many": Entry(document=many, expected=lambda n, bias: completed(n + bias + 1)),
}
