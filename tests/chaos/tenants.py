"""How the processes of a run reach its database: a Postgres by its URL, or a Supabase project by its API.

Each process goes through a proxy of its own; which settings of the product lead there is the tenant's to say.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from proxy import Connect
from supabase_projects import SERVICE_KEY, Project, open_surroundings, project_database, served

from archon_workflows.storage.migrations import apply_migration


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """One way to a database.

    Attributes:
        database_url: the database itself, as superuser, not through any proxy.
        connect: opens a connection to what the proxies stand before.
        settings: the product's settings, given the port of a proxy.
        project: whose API it is, where it is one.
    """

    database_url: str
    connect: Connect
    settings: Callable[[int], Mapping[str, str]]
    project: Project | None = None


def direct(database_url: str) -> Tenant:
    """Return the tenant of a migrated database."""
    path = urlsplit(database_url).path
    return Tenant(
        database_url=database_url,
        connect=_to_postgres(database_url),
        settings=lambda port: {
            "database_url": f"postgresql://postgres@127.0.0.1:{port}{path}?sslmode=disable"
        },
    )


def supabase(project: Project) -> Tenant:
    """Return the tenant of a project whose API is served."""
    gateway = urlsplit(project.url)
    return Tenant(
        database_url=project.database_url,
        connect=lambda: asyncio.open_connection(gateway.hostname, gateway.port),
        settings=lambda port: {
            "supabase_url": f"http://127.0.0.1:{port}",
            "supabase_service_key": SERVICE_KEY,
        },
        project=project,
    )


@asynccontextmanager
async def own_database(server_url: str) -> AsyncGenerator[Tenant]:
    """Migrate the database of a server of the run's own."""
    await apply_migration(server_url)
    yield direct(server_url)


@asynccontextmanager
async def own_project(server_url: str) -> AsyncGenerator[Tenant]:
    """Serve a new project on a server of the run's own."""
    with ExitStack() as stack:
        yield supabase(await asyncio.to_thread(_serve, stack, server_url))


TENANTS: Mapping[str, Callable[[str], AbstractAsyncContextManager[Tenant]]] = {
    "direct": own_database,
    "supabase": own_project,
}


def _serve(stack: ExitStack, server_url: str) -> Project:
    surroundings = stack.enter_context(open_surroundings(server_url))
    database_url = stack.enter_context(project_database(surroundings, "new_project_migrated"))
    return stack.enter_context(served(database_url, surroundings))


def _to_postgres(database_url: str) -> Connect:
    parts = urlsplit(database_url)
    hosts = parse_qs(parts.query).get("host")
    if hosts:
        port = parse_qs(parts.query).get("port", ["5432"])[0]
        return lambda: asyncio.open_unix_connection(f"{hosts[0]}/.s.PGSQL.{port}")
    return lambda: asyncio.open_connection(parts.hostname, parts.port)
