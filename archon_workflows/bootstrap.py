"""The only room that names concrete backends: it reads the settings and wires the house together."""

import logging
import os
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
from cryptography.fernet import Fernet

from archon_workflows.engine.calls import ToolCaller
from archon_workflows.engine.clock import DatabaseClock
from archon_workflows.engine.engine import Engine, EngineLimits
from archon_workflows.engine.executions import Executions
from archon_workflows.engine.launch import Launcher
from archon_workflows.engine.offering import Offering
from archon_workflows.engine.plans import Plans
from archon_workflows.engine.preparation import Preparation
from archon_workflows.engine.rehearsal import Rehearsal
from archon_workflows.engine.scheduler import Scheduler
from archon_workflows.engine.schedules import Schedules
from archon_workflows.engine.secret_source import read_secrets
from archon_workflows.engine.templates import TemplateLibrary
from archon_workflows.engine.tool_policy import ToolPolicy
from archon_workflows.engine.tree_limits import TreeLimits, Trees
from archon_workflows.engine.vault import Vault
from archon_workflows.errors import StorageError, WorkflowError
from archon_workflows.gateway.configuration import read_tool_servers
from archon_workflows.gateway.limits import GatewayLimits
from archon_workflows.gateway.port import Gateway
from archon_workflows.gateway.session import ToolServer
from archon_workflows.gateway.tool_servers import ToolServers
from archon_workflows.settings import Settings, variable_of
from archon_workflows.storage.callers import CallersRepository
from archon_workflows.storage.direct import DirectRepository
from archon_workflows.storage.embedded.user import open_embedded
from archon_workflows.storage.migrations import SchemaState, apply_migration, schema_state
from archon_workflows.storage.repository import Repository

if TYPE_CHECKING:
    from archon_workflows.storage.supabase import SupabaseRepository
    from archon_workflows.storage.supabase_checks import ProjectCheck

KEY_FILE = "secret.key"


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """The wired house: what the server and the command line stand on.

    Attributes:
        over: makes the same house over another view of the repository.
    """

    settings: Settings
    repository: Repository
    gateway: Gateway
    templates: TemplateLibrary
    executions: Executions
    schedules: Schedules
    rehearsal: Rehearsal
    over: Callable[[Repository], "Application"]

    def seen_by(self, caller: str) -> "Application":
        """Return the application as a caller sees it: what belongs to others does not exist."""
        return self.over(CallersRepository(self.repository, caller))


@asynccontextmanager
async def open_application(
    settings: Settings,
    *,
    execute: bool = True,
    is_worker: bool = False,
    servers: Mapping[str, ToolServer] | None = None,
) -> AsyncGenerator[Application]:
    """Open everything, and close it in the reverse order.

    Args:
        settings: where the database, the tool servers and the secrets are.
        execute: whether this process advances executions, or leaves them to others.
        is_worker: whether it advances those that the dispatch hands to it, instead of looking for them.
        servers: further tool servers by name, on top of those that the settings configure.

    Raises:
        StorageError: the database cannot be reached, is not migrated, or is newer than the program.
        ToolServerError: the tool server file is wrong.
        WorkflowError: the secrets file is wrong, or a secret too short to be hidden.
    """
    _silence_libraries()
    if is_worker:
        _require_direct_connection(settings)
    async with AsyncExitStack() as stack:
        repository = await stack.enter_async_context(open_repository(settings))
        gateway = await stack.enter_async_context(tool_servers(settings, servers))
        plans = Plans(repository)
        vault = Vault(_vault_key(settings))
        secrets = read_secrets(settings.secrets, settings.secrets_file, os.environ)
        policy, limits = _tool_policy(settings), _tree_limits(settings)
        launcher = partial(
            Launcher,
            plans=plans,
            vault=vault,
            max_link_depth=settings.max_link_depth,
            max_minutes=limits.minutes,
        )
        engine_limits = EngineLimits(
            executes=execute,
            is_dispatched=is_worker,
            lease_seconds=settings.lease_seconds,
            max_executions=settings.max_concurrent_executions,
            starts_per_second=settings.max_starts_per_second,
            shutdown_grace_seconds=settings.shutdown_grace_seconds,
        )
        engine = Engine(
            repository,
            launcher=launcher(repository),
            preparation=Preparation(
                repository, plans, vault, policy, Trees(repository, limits), secrets=secrets
            ),
            caller=ToolCaller(gateway, policy, timeout_seconds=settings.call_timeout_seconds),
            clock=DatabaseClock(),
            offering=Offering(
                repository,
                gateway,
                owner_id=engine_limits.owner_id,
                kind="worker" if is_worker else "server",
                max_executions=engine_limits.max_executions,
                lifetime_seconds=engine_limits.lease_seconds,
            ),
            limits=engine_limits,
        )
        await stack.enter_async_context(engine.running())
        scheduler = Scheduler(repository, launcher)
        if is_worker:
            await stack.enter_async_context(_attending(engine, scheduler, repository, engine_limits))
        elif execute:
            await stack.enter_async_context(_in_background(scheduler.keep_firing))

        def over(view: Repository) -> Application:
            return Application(
                settings=settings,
                repository=view,
                gateway=gateway,
                templates=TemplateLibrary(view, gateway, policy),
                executions=Executions(view, engine, launcher(view), plans),
                schedules=Schedules(view, launcher(view), plans),
                rehearsal=Rehearsal(view, gateway, policy, max_link_depth=settings.max_link_depth),
                over=over,
            )

        yield over(repository)


def _require_direct_connection(settings: Settings) -> None:
    if uses_supabase(settings):
        raise StorageError(
            "A worker needs a direct connection to the database; a Supabase project's API is none.",
            code="worker_needs_database_url",
            suggestion=f"Set {variable_of('database_url')} to the project's direct or session-pooled URL.",
        )


@asynccontextmanager
async def _attending(
    engine: Engine, scheduler: Scheduler, repository: Repository, limits: EngineLimits
) -> AsyncGenerator[None]:
    assert isinstance(repository, DirectRepository)  # noqa: S101 - see _require_direct_connection
    # PgQueuer takes a fifth of the program's start to import: only workers wait for it.
    from archon_workflows.engine.attendance import Attendance  # noqa: PLC0415 - see above

    async with _in_background(Attendance(engine, scheduler, repository.url, limits).run):
        yield


@asynccontextmanager
async def _in_background(work: Callable[[], Coroutine[Any, Any, None]]) -> AsyncGenerator[None]:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(work)
        try:
            yield
        finally:
            tasks.cancel_scope.cancel()


@asynccontextmanager
async def open_repository(settings: Settings) -> AsyncGenerator[Repository]:
    """Yield the repository of the configured database, which is migrated.

    That is the database of ``database_url``, else the Supabase project, else the embedded one.

    Raises:
        StorageError: as for ``database`` and ``supabase_project``.
    """
    async with AsyncExitStack() as stack:
        repository: Repository
        if uses_supabase(settings):
            repository = await stack.enter_async_context(supabase_project(settings))
            _require_current_schema(await repository.schema_state())
        else:
            repository = await DirectRepository.connect(await stack.enter_async_context(database(settings)))
            stack.push_async_callback(repository.aclose)
        yield repository


def uses_supabase(settings: Settings) -> bool:
    """Say whether executions are kept in a Supabase project that is reached over its API."""
    given = settings.supabase_url is not None or settings.supabase_service_key is not None
    return given and settings.database_url is None


@asynccontextmanager
async def supabase_project(settings: Settings) -> AsyncGenerator["SupabaseRepository"]:
    """Yield the repository of the configured Supabase project, whatever state its schema is in.

    Raises:
        StorageError: ``supabase_incomplete``, ``supabase_url_invalid`` or ``supabase_key_invalid``.
    """
    url, key = _supabase_access(settings)
    # Supabase's library takes as long to import as half of all the rest: only those who use it wait for it.
    from archon_workflows.storage.supabase import SupabaseRepository  # noqa: PLC0415 - see above

    async with aclosing(await SupabaseRepository.connect(url, key)) as repository:
        yield repository


async def check_supabase_project(settings: Settings) -> AsyncGenerator["ProjectCheck"]:
    """Yield what is right and wrong with the configured Supabase project, one check after the other.

    Raises:
        StorageError: ``supabase_incomplete``.
    """
    url, key = _supabase_access(settings)
    from archon_workflows.storage.supabase_checks import check_project  # noqa: PLC0415 - as above

    async with aclosing(check_project(url, key)) as checks:
        async for check in checks:
            yield check


def _supabase_access(settings: Settings) -> tuple[str, str]:
    """Return URL and key of the project.

    Raises:
        StorageError: ``supabase_incomplete``.
    """
    url, key = settings.supabase_url, settings.supabase_service_key
    if url is None or key is None:
        missing = variable_of("supabase_url" if url is None else "supabase_service_key")
        raise StorageError(
            f"Of SUPABASE_URL and SUPABASE_SERVICE_KEY only one is set; {missing} is missing.",
            code="supabase_incomplete",
            suggestion=f"Set {missing} too, or unset both to use the embedded database.",
        )
    return url, key.get_secret_value()


@asynccontextmanager
async def tool_servers(
    settings: Settings, servers: Mapping[str, ToolServer] | None = None
) -> AsyncGenerator[Gateway]:
    """Yield the gateway to the configured tool servers, and to further ones.

    Raises:
        ToolServerError: the tool server file is wrong.
    """
    configured = read_tool_servers(settings.tools) if settings.tools is not None else {}
    limits = GatewayLimits(calls_at_once=settings.max_calls_per_tool_server)
    async with ToolServers({**configured, **(servers or {})}, limits=limits) as gateway:
        yield gateway


@asynccontextmanager
async def database(settings: Settings) -> AsyncGenerator[str]:
    """Yield the URL of a migrated database: the configured one, or the embedded one.

    Raises:
        StorageError: ``migration_missing``, ``migration_outdated`` or ``schema_newer``: only the embedded
            database is migrated unasked.
    """
    if settings.database_url is not None:
        url = settings.database_url.get_secret_value()
        _require_current_schema(await schema_state(url))
        yield url
        return
    async with open_embedded(settings.home, linger_seconds=settings.embedded_linger_seconds) as url:
        if await schema_state(url) != "current":
            await apply_migration(url)
        yield url


def _require_current_schema(state: SchemaState) -> None:
    if state == "current":
        return
    if state == "newer":
        raise StorageError(
            "The database was migrated by a newer version of this program.",
            code="schema_newer",
            suggestion="Update archon-workflows, or choose another database.",
        )
    raise StorageError(
        f"The database's workflow tables are {state}.",
        code="migration_missing" if state == "missing" else "migration_outdated",
        suggestion="Run 'archon-workflows migrate', or paste migration/add_workflow_system.sql "
        "into the SQL editor.",
    )


def _tool_policy(settings: Settings) -> ToolPolicy:
    return ToolPolicy(
        allowed_tools=settings.allowed_tools,
        destructive_tools=settings.destructive_tools,
        tool_changes=settings.tool_changes,
    )


def _tree_limits(settings: Settings) -> TreeLimits:
    return TreeLimits(
        steps=settings.max_tree_steps,
        calls=settings.max_tree_calls,
        output_bytes=settings.max_tree_bytes,
        minutes=settings.max_tree_minutes,
    )


def _vault_key(settings: Settings) -> str:
    """Return the configured key, or the home's own, which is made at first use."""
    if settings.secret_key is not None:
        return _valid_key(settings.secret_key.get_secret_value())
    file = settings.home / KEY_FILE
    if not file.exists():
        _write_once(file, Fernet.generate_key())
    return _valid_key(file.read_text())


def _valid_key(key: str) -> str:
    try:
        Fernet(key)
    except ValueError as error:
        raise WorkflowError(
            "The secret key is not a Fernet key (32 bytes in URL-safe base64).",
            code="invalid_secret_key",
            suggestion="Make one with: python -c 'from cryptography.fernet import Fernet as F; "
            "print(F.generate_key().decode())'",
        ) from error
    return key


def _write_once(file: Path, content: bytes) -> None:
    """Write a file that only its owner can read; of two processes at once the first one's stays."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = file.with_name(f"{file.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write(content)
    try:
        os.link(draft, file)
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def _silence_libraries() -> None:
    """Let libraries log nothing that they were given: messages, arguments, addresses with credentials."""
    for name in ("mcp", "mcp_types"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    for name in ("httpx", "httpx2", "httpcore", "httpcore2", "sse_starlette"):
        logging.getLogger(name).setLevel(logging.WARNING)
