"""What is right and wrong with an installation, looked at one thing after the other, each with what to do.

Nothing here raises for what it finds: a check that cannot be made has failed, and says why.
"""

import os
import stat
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from archon_workflows.bootstrap import (
    check_supabase_project,
    database,
    tool_servers,
    uses_supabase,
)
from archon_workflows.errors import WorkflowError
from archon_workflows.settings import Settings
from archon_workflows.storage.direct import DirectRepository
from archon_workflows.storage.migrations import validate
from archon_workflows.storage.vital_signs import VitalSigns, vital_signs

State = Literal["ok", "warn", "fail"]

OLDEST_PYTHON = (3, 11)
OLDEST_POSTGRES = 15
NEWEST_TESTED_POSTGRES = 18
CLOCK_TOLERANCE_SECONDS = 2.0
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The result of one check: what was looked at, what was found, and what to do about it."""

    check: str
    state: State
    found: str
    advice: str | None = None


async def diagnose(settings: Settings) -> AsyncGenerator[Diagnosis]:
    """Yield the results as they come in."""
    yield _python()
    yield _package()
    yield _home(settings.home)
    async for one in _supabase_project(settings) if uses_supabase(settings) else _database(settings):
        yield one
    async for one in _tool_servers(settings):
        yield one


def _python() -> Diagnosis:
    found = f"{sys.version.split()[0]} on {sys.platform}"
    if sys.version_info < OLDEST_PYTHON:
        return Diagnosis("python", "fail", found, "Use Python 3.11 or newer.")
    return Diagnosis("python", "ok", found)


def _package() -> Diagnosis:
    try:
        return Diagnosis("package", "ok", f"archon-workflows {version('archon-workflows')}")
    except PackageNotFoundError:
        return Diagnosis("package", "warn", "run from its source, not installed", "pip install .")


def _home(home: Path) -> Diagnosis:
    if not home.exists():
        return Diagnosis("home", "ok", f"{home} (is made at first use)")
    if not os.access(home, os.R_OK | os.W_OK | os.X_OK):
        advice = "Make it writable for this user, or set ARCHON_WORKFLOWS_HOME."
        return Diagnosis("home", "fail", f"{home} is not writable", advice)
    exposed = [path for path in _private_parts(home) if _is_exposed(path)]
    if exposed:
        names = ", ".join(str(path) for path in exposed)
        return Diagnosis("home", "warn", f"others can read {names}", f"chmod go= {names}")
    return Diagnosis("home", "ok", str(home))


def _private_parts(home: Path) -> list[Path]:
    parts = (home / "secret.key", home / "postgres")
    return [path for path in parts if path.exists()]


def _is_exposed(path: Path) -> bool:
    return sys.platform != "win32" and bool(path.stat().st_mode & _OTHERS)


async def _supabase_project(settings: Settings) -> AsyncGenerator[Diagnosis]:
    try:
        async for one in check_supabase_project(settings):
            yield Diagnosis(f"supabase: {one.check}", one.state, one.found, one.advice)
    except WorkflowError as error:
        yield _failed("supabase", error)


async def _database(settings: Settings) -> AsyncGenerator[Diagnosis]:
    where = _database_name(settings)
    try:
        async with database(settings) as url:
            signs = await vital_signs(url)
            yield _postgres(where, signs)
            yield _clock(signs)
            schema = await _schema(url)
            yield schema
            if schema.state == "ok":
                yield await _workers(url)
    except WorkflowError as error:
        yield _failed("database", error, prefix=f"{where}: ")


def _database_name(settings: Settings) -> str:
    if settings.database_url is None:
        return "embedded"
    parts = urlsplit(settings.database_url.get_secret_value())
    return f"external ({parts.hostname or 'local socket'}{parts.path})"


def _postgres(where: str, signs: VitalSigns) -> Diagnosis:
    found = f"{where}: Postgres {signs.version}"
    if signs.major_version < OLDEST_POSTGRES:
        return Diagnosis("database", "fail", found, f"Use Postgres {OLDEST_POSTGRES} or newer.")
    if signs.major_version > NEWEST_TESTED_POSTGRES:
        return Diagnosis("database", "warn", found, f"Tested up to Postgres {NEWEST_TESTED_POSTGRES}.")
    return Diagnosis("database", "ok", found)


def _clock(signs: VitalSigns) -> Diagnosis:
    skew = abs((datetime.now(UTC) - signs.now).total_seconds())
    found = f"{skew:.1f} seconds between this machine and the database"
    if skew > CLOCK_TOLERANCE_SECONDS:
        advice = "Set both clocks. Executions go by the database's; durations that are shown here are off."
        return Diagnosis("clock", "warn", found, advice)
    return Diagnosis("clock", "ok", found)


async def _schema(url: str) -> Diagnosis:
    checks = await validate(url)
    wrong = [check for check in checks if not check.ok]
    if wrong:
        found = "; ".join(f"{check.check}: {check.detail}" for check in wrong)
        return Diagnosis("schema", "fail", found, "Run 'archon-workflows migrate'.")
    return Diagnosis("schema", "ok", f"{len(checks)} checks passed")


async def _workers(url: str) -> Diagnosis:
    async with aclosing(await DirectRepository.connect(url, pool_size=1)) as repository:
        workers = await repository.list_workers()
    if not workers:
        return Diagnosis("workers", "ok", "no process that advances executions is alive now")
    shown = "; ".join(f"{one.owner_id} ({one.kind}, {len(one.offered_tools)} tool names)" for one in workers)
    return Diagnosis("workers", "ok", f"{len(workers)} alive: {shown}")


async def _tool_servers(settings: Settings) -> AsyncGenerator[Diagnosis]:
    if settings.tools is None:
        advice = "Give --tools FILE or set ARCHON_WORKFLOWS_TOOLS, or no step can call anything."
        yield Diagnosis("tools", "warn", "no tool servers are configured", advice)
        return
    try:
        async with tool_servers(settings) as gateway:
            await gateway.tools()
            states = await gateway.servers()
    except WorkflowError as error:
        yield _failed("tools", error)
        return
    if not states:
        yield Diagnosis("tools", "warn", f"{settings.tools} configures no server", "Add one to it.")
    for state in states:
        name = f"tools: {state.name}"
        if state.state == "connected":
            yield Diagnosis(name, "ok", f"{state.transport}, {state.tool_count} tools")
        else:
            found = f"{state.transport}, {state.state}: {state.error or 'no reason given'}"
            yield Diagnosis(name, "fail", found, f"Look at it in {settings.tools}.")


def _failed(check: str, error: WorkflowError, *, prefix: str = "") -> Diagnosis:
    return Diagnosis(check, "fail", f"{prefix}{error.message}", error.suggestion)
