"""The heart: what an execution does next, as a function of its plan, its records and events.

No I/O, no clock, no randomness, no ``await``, in the manner of python-hyper/h11: the engine feeds events
(a recorded past, outcomes, timers, control requests) and performs the commands of the turns that come back,
after it has recorded them. Recovery is the same thing: a new interpreter is fed what was recorded.

Rooms: ``plan`` (a version compiled), ``turn`` (events, commands, turns), ``scope`` (what expressions see),
``sequences``, ``frames`` and ``endings`` (the live state of sequences and steps), ``steps`` (the five types),
``interpreter`` (the door), ``reset`` (what a retry runs again), ``logbook`` (which log entries are kept).
"""

from archon_workflows.interpreter.interpreter import ExecutionFacts, Interpreter
from archon_workflows.interpreter.plan import Plan, compile_plan
from archon_workflows.interpreter.reset import records_to_reset
from archon_workflows.interpreter.turn import (
    CallTool,
    CancelCall,
    CancelChild,
    CancelTimer,
    ChildFinished,
    Command,
    Controlled,
    DeadlinePassed,
    Event,
    InterruptionDecided,
    LimitPassed,
    LookUpInterrupted,
    LookUpTool,
    Remarked,
    SetTimer,
    StartChild,
    Started,
    TimerFired,
    ToolFinished,
    ToolLookedUp,
    ToolProgressed,
    Turn,
)

__all__ = [
    "CallTool",
    "CancelCall",
    "CancelChild",
    "CancelTimer",
    "ChildFinished",
    "Command",
    "Controlled",
    "DeadlinePassed",
    "Event",
    "ExecutionFacts",
    "Interpreter",
    "InterruptionDecided",
    "LimitPassed",
    "LookUpInterrupted",
    "LookUpTool",
    "Plan",
    "Remarked",
    "SetTimer",
    "StartChild",
    "Started",
    "TimerFired",
    "ToolFinished",
    "ToolLookedUp",
    "ToolProgressed",
    "Turn",
    "compile_plan",
    "records_to_reset",
]
