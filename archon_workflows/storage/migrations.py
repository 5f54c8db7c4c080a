"""Bringing a database to the schema of this program, and telling how far it is.

The SQL itself is in ``migration/``: packed beside this module in a wheel, at the top of a checkout.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from archon_workflows.errors import StorageError
from archon_workflows.storage.sessions import Session, SessionLimits, open_session, translated

SCHEMA_VERSION: Final = 5
"""What ``archon_workflow_schema_version()`` answers in a database that this program can use."""

SchemaState = Literal["missing", "older", "current", "newer"]

_MIGRATION_LIMITS: Final = SessionLimits(
    application_name="archon-workflows migrate", statement=600, lock=60, idle_in_transaction=600
)
_FOUND: Final = "select to_regprocedure('public.archon_workflow_schema_version()') is not null"
_VERSION: Final = "select public.archon_workflow_schema_version()"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of ``validate_workflow_system.sql``: what was looked at, is it right, what was found."""

    check: str
    ok: bool
    detail: str


def migration_sql() -> str:
    """Return the text of ``add_workflow_system.sql``."""
    return _sql("add_workflow_system.sql")


def rollback_sql() -> str:
    """Return the text of ``rollback_workflow_system.sql``."""
    return _sql("rollback_workflow_system.sql")


def validation_sql() -> str:
    """Return the text of ``validate_workflow_system.sql``."""
    return _sql("validate_workflow_system.sql")


async def apply_migration(url: str) -> None:
    """Bring the database to this program's schema; safe to repeat and to run many times at once.

    Raises:
        StorageError: the database is newer than this program (``schema_newer``), has tables of the same
            names from elsewhere (``foreign_tables``), or cannot be reached; nothing was changed.
    """
    await _run(url, migration_sql())


async def roll_back(url: str) -> None:
    """Remove everything that the migration made, the data included.

    Raises:
        StorageError: the database is newer than this program, or cannot be reached; nothing was changed.
    """
    await _run(url, rollback_sql())


async def schema_state(url: str) -> SchemaState:
    """Tell how the database's schema relates to this program.

    Raises:
        StorageError: the database cannot be reached.
    """
    session = await open_session(url, _MIGRATION_LIMITS)
    try:
        async with translated():
            return await _state_of(session)
    finally:
        session.terminate()


def state_of_version(version: int) -> SchemaState:
    """Tell how a schema of this version relates to this program."""
    if version == SCHEMA_VERSION:
        return "current"
    return "older" if version < SCHEMA_VERSION else "newer"


async def validate(url: str) -> tuple[Check, ...]:
    """Compare the database with the migration, line by line.

    Raises:
        StorageError: the database cannot be reached.
    """
    session = await open_session(url, _MIGRATION_LIMITS)
    try:
        async with translated():
            found = await session.fetch(validation_sql())
    finally:
        session.terminate()
    return tuple(Check(row["check"], row["ok"], row["detail"]) for row in found)


async def _state_of(session: Session) -> SchemaState:
    if not await session.fetchval(_FOUND):
        return "missing"
    return state_of_version(await session.fetchval(_VERSION))


async def _run(url: str, sql: str) -> None:
    session = await open_session(url, _MIGRATION_LIMITS)
    try:
        async with translated():
            await session.execute(sql)
    finally:
        session.terminate()


def _sql(name: str) -> str:
    here = Path(__file__).parent / "migration" / name
    checkout = Path(__file__).parents[2] / "migration" / name
    for path in (here, checkout):
        if path.is_file():
            return path.read_text(encoding="utf-8")
    raise StorageError(
        f"The file {name} is missing from this installation.",
        code="migration_file_missing",
        suggestion="Install the package again.",
    )
