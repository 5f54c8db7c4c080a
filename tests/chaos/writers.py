"""Whose process wrote something: the names that chaos workers give to their database sessions."""

PREFIX = "chaos worker "


def writer_name(pid: int) -> str:
    """Return the application name of the process's sessions."""
    return f"{PREFIX}{pid}"


def writer_pid(name: str) -> int | None:
    """Return whose session it is; ``None`` for one that is no worker's."""
    return int(name.removeprefix(PREFIX)) if name.startswith(PREFIX) else None


def owner_pid(owner_id: str) -> int:
    """Return the process of an owner ``host:pid:nonce``."""
    return int(owner_id.split(":")[1])
