"""What an operator wants to know of a database server before anything else: its version and its clock."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from archon_workflows.storage.sessions import SessionLimits, open_session, translated

_ASK: Final = "select current_setting('server_version') as version, clock_timestamp() as now"


@dataclass(frozen=True, slots=True)
class VitalSigns:
    """What the server says of itself; ``now`` is its clock at the moment of the answer."""

    version: str
    now: datetime

    @property
    def major_version(self) -> int:
        """The number before the first dot."""
        return int(self.version.split(".", 1)[0])


async def vital_signs(url: str) -> VitalSigns:
    """Ask the server.

    Raises:
        StorageError: the database cannot be reached.
    """
    session = await open_session(url, SessionLimits(application_name="archon-workflows doctor"))
    try:
        async with translated():
            [row] = await session.fetch(_ASK)
    finally:
        session.terminate()
    return VitalSigns(str(row["version"]), row["now"])
