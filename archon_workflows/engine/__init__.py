"""The shell around the interpreter: owners, journal, recovery, effects in order; and the verbs of callers.

Rooms: ``engine`` (which executions this process owns), ``owner`` (one execution being advanced),
``journal`` (group commit), ``calls`` and ``children`` (effects), ``plans`` (compiled versions), ``vault``
and ``mask`` (secrets at rest and in what is recorded), ``clock``; for callers ``executions``,
``templates`` and ``rehearsal`` with the words of ``verbs``.
"""
