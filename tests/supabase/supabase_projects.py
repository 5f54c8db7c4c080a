"""Supabase projects for tests: Postgres with Supabase's roles, a real PostgREST, and the gateway before it.

A plugin of the test run (see ``tests/conftest.py``). The Postgres is a server of its own, since roles belong
to a server; its databases are clones of a project that an admin has migrated by pasting the file.
"""

import os
import secrets
import subprocess
import tempfile
from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import asyncpg  # pyright: ignore[reportMissingTypeStubs] - it has none
import httpx
import jwt
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from gateway import Door, Gateway, open_door
from postgrest_program import postgrest_program
from servers import GRANTS_BY_DEFAULT, SUPABASE_ROLES

from archon_workflows.storage.embedded.cluster import Recipe
from archon_workflows.storage.embedded.user import EmbeddedPostgres
from archon_workflows.storage.migrations import migration_sql

_driver: Any = asyncpg

Age = Literal["old", "new"]
"""Whether a project was made before 2026-10-30, when new tables still got grants by default."""

NOT_DURABLE = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "300",
}
JWT_SECRET = "the-projects-own-jwt-secret-of-forty-chars"  # noqa: S105 - of tests
MAX_ROWS = 1000

LIMITS_BY_ROLE = """
alter role anon set statement_timeout = '3s';
alter role authenticated set statement_timeout = '8s';
alter role authenticator set statement_timeout = '8s';
alter role authenticator set lock_timeout = '8s';
"""

AUTH_SCHEMA = """
create schema auth;
grant usage on schema auth to anon, authenticated, service_role, editor;

create function auth.uid() returns uuid language sql stable as $$
  select coalesce(
    nullif(current_setting('request.jwt.claim.sub', true), ''),
    nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub'
  )::uuid
$$;

create function auth.role() returns text language sql stable as $$
  select coalesce(
    nullif(current_setting('request.jwt.claim.role', true), ''),
    nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'role'
  )::text
$$;

create function auth.jwt() returns jsonb language sql stable as $$
  select coalesce(
    nullif(current_setting('request.jwt.claim', true), ''),
    nullif(current_setting('request.jwt.claims', true), '')
  )::jsonb
$$;
"""

SCHEMA_RELOAD = """
create schema extensions;

create function extensions.pgrst_ddl_watch() returns event_trigger language plpgsql as $$
begin
  if exists (
    select from pg_event_trigger_ddl_commands() where schema_name is distinct from 'pg_temp'
  ) then
    notify pgrst, 'reload schema';
  end if;
end $$;

create function extensions.pgrst_drop_watch() returns event_trigger language plpgsql as $$
begin
  notify pgrst, 'reload schema';
end $$;

create event trigger pgrst_ddl_watch on ddl_command_end execute function extensions.pgrst_ddl_watch();
create event trigger pgrst_drop_watch on sql_drop execute function extensions.pgrst_drop_watch();
"""

OWN_SCHEMA = "alter schema public owner to editor;"


def token(role: str, **claims: Any) -> str:
    """Return a JWT that the project's PostgREST believes."""
    return jwt.encode({"iss": "supabase", "role": role, **claims}, JWT_SECRET, algorithm="HS256")


ANON_KEY = token("anon")
SERVICE_KEY = token("service_role")
SECRET_KEY = "sb_secret_" + "k" * 31
PUBLISHABLE_KEY = "sb_publishable_" + "k" * 31
KEYS = {SECRET_KEY: SERVICE_KEY, PUBLISHABLE_KEY: ANON_KEY}


@dataclass(frozen=True)
class Surroundings:
    """What all projects of a worker share: a server with Supabase's roles, and a door to their gateways."""

    server: str
    portal: BlockingPortal
    door: Door
    url: str
    http: httpx.Client


@dataclass
class Project:
    """A running project: what its users know (``url`` and keys), and what a test can do to it."""

    database_url: str
    folder: Path
    surroundings: Surroundings
    max_rows: int = MAX_ROWS
    url: str = field(init=False)
    gateway: Gateway = field(init=False)
    _postgrest: subprocess.Popen[bytes] | None = None

    @property
    def editor_url(self) -> str:
        """The database as the role of the SQL editor sees it."""
        return as_role(self.database_url, "editor")

    @contextmanager
    def running(self) -> Generator["Project"]:
        """Serve the project's API behind the door."""
        door, self.url = self.surroundings.door, self.surroundings.url
        self.gateway = Gateway(self._socket, KEYS, frozenset({ANON_KEY, SERVICE_KEY}))
        door.gateway = self.gateway
        try:
            self.start_postgrest()
            yield self
        finally:
            self.stop_postgrest()
            door.gateway = None
            self.surroundings.portal.call(self.gateway.aclose)

    def start_postgrest(self) -> None:
        """Start PostgREST and wait until it knows the schema."""
        settings = {
            "PGRST_DB_URI": as_role(self.database_url, "authenticator"),
            "PGRST_DB_SCHEMAS": "public",
            "PGRST_DB_EXTRA_SEARCH_PATH": "public, extensions",
            "PGRST_DB_ANON_ROLE": "anon",
            "PGRST_DB_MAX_ROWS": str(self.max_rows),
            "PGRST_JWT_SECRET": JWT_SECRET,
            "PGRST_SERVER_UNIX_SOCKET": str(self._socket),
            "PGRST_LOG_LEVEL": "crit",
        }
        self._postgrest = subprocess.Popen(
            [postgrest_program()],
            env={**os.environ, **settings},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.surroundings.portal.call(self.gateway.postgrest_is_ready)

    def stop_postgrest(self) -> None:
        """Kill it where it stands."""
        if self._postgrest is not None:
            self._postgrest.kill()
            self._postgrest.wait(10)
            self._postgrest = None

    def paste(self, script: str) -> None:
        """Run a script in the SQL editor."""
        self.surroundings.portal.call(_execute, self.editor_url, script)

    def paste_as_superuser(self, script: str) -> None:
        """Run a script as nobody at Supabase can."""
        self.surroundings.portal.call(_execute, self.database_url, script)

    def ask(self, query: str) -> Any:
        """Return the first column of the first row, as superuser."""
        return self.surroundings.portal.call(_value, self.database_url, query)

    @contextmanager
    def lock_held(self, table: str) -> Generator[None]:
        """Keep everybody else from a table."""
        with self.surroundings.portal.wrap_async_context_manager(_lock(self.database_url, table)):
            yield

    @property
    def http(self) -> httpx.Client:
        """A client for requests by hand, with no key of its own."""
        return self.surroundings.http

    def rest(self, path: str) -> str:
        """Return the URL of a table or function."""
        return f"{self.url}/rest/v1/{path}"

    @property
    def _socket(self) -> Path:
        return self.folder / "postgrest.sock"


def headers_of(key: str, user_token: str | None = None) -> dict[str, str]:
    """Return what a client sends along with each request."""
    return {"apikey": key, "authorization": f"Bearer {user_token or key}"}


def as_role(url: str, role: str) -> str:
    """Return the same address for another role."""
    return url.replace("//postgres@", f"//{role}@")


@pytest.fixture(scope="session")
def supabase_server(supabase_home: Path) -> Iterator[str]:
    """URL of a Postgres with Supabase's roles, as its superuser."""
    server = EmbeddedPostgres(supabase_home, linger_seconds=0.5, recipe=Recipe(NOT_DURABLE))
    yield server.acquire()
    server.release()


@pytest.fixture(scope="session")
def surroundings(supabase_server: str) -> Iterator[Surroundings]:
    """What all projects of this worker share."""
    with open_surroundings(supabase_server) as opened:
        yield opened


@pytest.fixture
def project_age() -> Age:
    """Override this to test projects of both ages."""
    return "new"


@pytest.fixture
def empty_project_url(surroundings: Surroundings, project_age: Age) -> Iterator[str]:
    """URL of a project's database before the migration, as superuser."""
    with project_database(surroundings, f"{project_age}_project") as url:
        yield url


@pytest.fixture
def project_url(surroundings: Surroundings, project_age: Age) -> Iterator[str]:
    """URL of a migrated project's database, as superuser."""
    with project_database(surroundings, f"{project_age}_project_migrated") as url:
        yield url


@pytest.fixture
def project(project_url: str, surroundings: Surroundings) -> Iterator[Project]:
    """A migrated project whose API is served."""
    with served(project_url, surroundings) as running:
        yield running


@pytest.fixture
def empty_project(empty_project_url: str, surroundings: Surroundings) -> Iterator[Project]:
    """A project whose API is served, before the migration."""
    with served(empty_project_url, surroundings) as running:
        yield running


@contextmanager
def open_surroundings(server: str) -> Generator[Surroundings]:
    """Make the databases that projects are cloned from, and a door to their gateways."""
    with start_blocking_portal() as portal, open_door(portal) as (door, url), httpx.Client() as http:
        portal.call(_make_templates, server)
        yield Surroundings(server, portal, door, url, http)


@contextmanager
def served(database_url: str, surroundings: Surroundings, **options: Any) -> Generator[Project]:
    """Serve the API of a project's database; one at a time."""
    with (
        tempfile.TemporaryDirectory(prefix="postgrest-") as folder,
        Project(database_url, Path(folder), surroundings, **options).running() as running,
    ):
        yield running


@contextmanager
def project_database(surroundings: Surroundings, template: str) -> Generator[str]:
    """Clone a database of a project; yields its URL as superuser."""
    name, run = f"project_{secrets.token_hex(8)}", surroundings.portal.call
    run(_execute, surroundings.server, f"create database {name} template {template} owner editor")
    yield url_of(surroundings.server, name)
    run(_execute, surroundings.server, f"drop database {name} with (force)")


async def _make_templates(server: str) -> None:
    connection = await _driver.connect(server)
    try:
        await connection.execute("select pg_advisory_lock(1)")
        if not await connection.fetchval("select to_regrole('editor')"):
            await connection.execute(SUPABASE_ROLES + LIMITS_BY_ROLE)
        for age in ("old", "new"):
            if not await _exists(connection, f"{age}_project_migrated"):
                await _make_template(connection, server, f"{age}_project", has_grants=age == "old")
    finally:
        await connection.close()


async def _make_template(connection: Any, server: str, name: str, *, has_grants: bool) -> None:
    for half in (name, f"{name}_half"):
        await connection.execute(f"drop database if exists {half} with (force)")
    await connection.execute(f"create database {name} template template0 owner editor")
    url = url_of(server, name)
    await _execute(url, OWN_SCHEMA + AUTH_SCHEMA + SCHEMA_RELOAD)
    if has_grants:
        await _execute(url, GRANTS_BY_DEFAULT)
    await connection.execute(f"create database {name}_half template {name} owner editor")
    await _execute(as_role(url_of(server, f"{name}_half"), "editor"), migration_sql())
    await connection.execute(f"alter database {name}_half rename to {name}_migrated")


async def _exists(connection: Any, name: str) -> bool:
    return bool(await connection.fetchval("select true from pg_database where datname = $1", name))


async def _value(url: str, query: str) -> Any:
    connection = await _driver.connect(url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


@asynccontextmanager
async def _lock(url: str, table: str) -> AsyncGenerator[None]:
    connection = await _driver.connect(url)
    try:
        await connection.execute("begin")
        await connection.execute(f"lock table public.{table}")
        yield
    finally:
        await connection.close()


async def _execute(url: str, script: str) -> None:
    connection = await _driver.connect(url)
    try:
        await connection.execute(script)
    finally:
        await connection.close()


def url_of(server: str, database: str) -> str:
    """Return the address of another database of the server."""
    return urlsplit(server)._replace(path=f"/{database}").geturl()
