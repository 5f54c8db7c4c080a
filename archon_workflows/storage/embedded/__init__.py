"""The Postgres that the product brings along: its files, its server process, and who uses it.

Only the life of the server is here; what is stored in it is the business of the other rooms of ``storage``.
This module imports nothing, so that the sitter process, which lives in this package, starts in a few
milliseconds. The door for everybody else is ``archon_workflows.storage.embedded.user``.

::

    user        one process's use of the server: lock, start what is missing, watch, let go
    sitter      the process that is the server's parent and stops it after the last user
    postmaster  starting, asking and stopping the server
    leftovers   ending what a dead postmaster or sitter left behind
    cluster     making the data folder, all or nothing
    privileges  how the server is run by root, whom Postgres refuses
    binaries    where the programs of Postgres are
    address     where the server listens, and the URL
    layout      where everything of one home lies
    platform    locks and detached processes, where POSIX and Windows differ
"""
