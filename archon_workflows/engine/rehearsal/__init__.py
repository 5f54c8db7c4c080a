"""What a run would do, told without doing it: nothing is called and nothing is stored.

A preview walks a plan as it is written and says which calls stand there. A dry run lets the real interpreter
run it, in memory and in virtual time, with given and made-up results of the tools.

Rooms: ``rehearsal`` (the door), ``pieces`` (the template and what it links to), ``tools`` (what is known of
the tools), ``previews`` (the walk), ``performance`` (one dry execution), ``stage`` (what the executions of a
dry run share), ``stubs`` (given results), ``readings`` (what a template reads of the results of its steps),
``invention`` (made-up results).
"""

from archon_workflows.engine.rehearsal.rehearsal import Rehearsal

__all__ = ["Rehearsal"]
