"""Named moments at which a worker can be made to die or to freeze, and how they are armed.

The product has no switch for this: inside a chaos worker its objects are wrapped (``install``), and a point
that is passed looks for a file of its name. The runner puts such a file there; of the workers that pass the
point, the one that takes the file away does to itself what it says.
"""

import json
import os
import signal
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

from mcp_types import JSONRPCRequest
from patches import original, put

from archon_workflows.engine.calls import ToolCaller
from archon_workflows.engine.children import Children
from archon_workflows.engine.journal import Journal
from archon_workflows.engine.launch import Launcher
from archon_workflows.gateway.faults import Fault
from archon_workflows.gateway.links import Link
from archon_workflows.gateway.port import IDEMPOTENCY_KEY
from archon_workflows.interpreter import CallTool, StartChild
from archon_workflows.model.outcomes import Outcome
from archon_workflows.model.records import CreatedExecution, ExecutionRecord, JournalAnswer, JournalEntry

Act = Literal["kill", "freeze"]

TOOL_ANSWERED = "tool answered, not recorded"
RECORDED = "recorded, next not started"
CHILD_CREATED = "child created, parent not told"
CHILD_ENDED = "child ended, parent not told"
CALL_WRITTEN = "call about to be written"

POINTS = (TOOL_ANSWERED, RECORDED, CHILD_CREATED, CHILD_ENDED, CALL_WRITTEN)


class CrashPoints:
    """The points of one run, by files in a folder that all its processes share."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def arm(self, point: str, act: Act, *, where: str = "") -> None:
        """Let the next worker that passes the point, with ``where`` in its subject, do that to itself."""
        draft = self._folder / "draft"
        draft.write_text(json.dumps({"act": act, "where": where}))
        draft.replace(self._folder / point)

    def disarm(self) -> None:
        """Take every armed file away."""
        for point in POINTS:
            (self._folder / point).unlink(missing_ok=True)

    def take_reached(self) -> list[tuple[str, Act, int]]:
        """Return what was reached since the last call: point, act, process id."""
        reached: list[tuple[str, Act, int]] = []
        for file in self._folder.glob("*.reached.*"):
            point, _, pid = file.name.split(".")
            reached.append((point, json.loads(file.read_text())["act"], int(pid)))
            file.unlink()
        return reached

    def pass_by(self, point: str, subject: str) -> None:
        """Stand at a point: go on unless it is armed."""
        armed = self._folder / point
        try:
            order = json.loads(armed.read_text())
            if order["where"] in subject:
                armed.rename(self._folder / f"{point}.reached.{os.getpid()}")
                os.kill(os.getpid(), signal.SIGKILL if order["act"] == "kill" else signal.SIGSTOP)
        except FileNotFoundError:
            return

    def install(self) -> None:
        """Wrap the product's objects of this process, for good."""
        self._after_tool_answers()
        self._after_recording()
        self._around_children()
        self._before_writing()

    def _after_tool_answers(self) -> None:
        call = ToolCaller.call

        async def call_and_pass(caller: ToolCaller, command: CallTool, **options: Any) -> Outcome:
            outcome = await call(caller, command, **options)
            self.pass_by(TOOL_ANSWERED, command.idempotency_key)
            return outcome

        put(ToolCaller, call=call_and_pass)

    def _after_recording(self) -> None:
        write = Journal.write

        async def write_and_pass(journal: Journal, entry: JournalEntry) -> JournalAnswer:
            answer = await write(journal, entry)
            for step in entry.steps:
                self.pass_by(
                    RECORDED, f"{entry.execution_id}/{step.step_path} {step.status} {step.attempt_number}"
                )
            return answer

        put(Journal, write=write_and_pass)

    def _around_children(self) -> None:
        launch = Launcher.launch_child
        end_of = original(Children, "_end_of")

        async def launch_and_pass(
            launcher: Launcher, parent_id: UUID, command: StartChild, *further: Any
        ) -> CreatedExecution:
            created = await launch(launcher, parent_id, command, *further)
            self.pass_by(CHILD_CREATED, f"{parent_id}/{command.path}")
            return created

        async def wait_and_pass(children: Children, child_id: UUID) -> ExecutionRecord:
            child: ExecutionRecord = await end_of(children, child_id)
            self.pass_by(CHILD_ENDED, str(child_id))
            return child

        put(Launcher, launch_child=launch_and_pass)
        put(Children, _end_of=wait_and_pass)

    def _before_writing(self) -> None:
        refusal = Link.refusal

        def pass_and_refuse(link: Link, request: JSONRPCRequest) -> Fault | None:
            if request.method == "tools/call":
                meta = (request.params or {})["_meta"]
                self.pass_by(CALL_WRITTEN, meta[IDEMPOTENCY_KEY])
            return refusal(link, request)

        put(Link, refusal=pass_and_refuse)
