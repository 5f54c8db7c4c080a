"""Postgres servers of other majors and with Supabase's roles, for the tests of the migration."""

import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from archon_workflows.storage.embedded.binaries import find_programs, program
from archon_workflows.storage.embedded.privileges import find_privileges

DEBIAN = Path("/usr/lib/postgresql")

SUPABASE_ROLES = """
create role anon nologin noinherit;
create role authenticated nologin noinherit;
create role service_role nologin noinherit bypassrls;
create role authenticator login noinherit;
grant anon, authenticated, service_role to authenticator;
create role editor login createrole createdb bypassrls;
grant anon, authenticated, service_role to editor;
"""
"""As Supabase makes them; ``editor`` is its ``postgres``, who is no superuser and runs the SQL editor."""

GRANTS_BY_DEFAULT = """
alter default privileges for role editor in schema public
  grant all on tables to anon, authenticated, service_role;
alter default privileges for role editor in schema public
  grant all on functions to anon, authenticated, service_role;
alter default privileges for role editor in schema public
  grant all on sequences to anon, authenticated, service_role;
"""
"""What projects made before 2026-10-30 have; later ones grant nothing."""


def other_majors() -> dict[str, Path]:
    """Return the folders of programs of every other major version that is installed here."""
    wheel = find_programs().parents[1] / "pginstall" / "bin"
    found = {"16": wheel} if wheel.exists() else {}
    return found | {path.parent.name: path for path in sorted(DEBIAN.glob("*/bin")) if _is_server(path)}


def _is_server(programs: Path) -> bool:
    return program(programs, "initdb").exists() and programs.parent.name in ("15", "16", "17")


@contextmanager
def running(programs: Path, home: Path) -> Generator[str]:
    """Run a server of its own in ``home``; yields its URL."""
    data, privileges = home / "data", find_privileges(home, programs)

    def run(name: str, *arguments: str) -> None:
        command = privileges.command(program(programs, name), *arguments)
        subprocess.run(command, check=True, capture_output=True, timeout=60, cwd=home)

    privileges.own(home)
    run("initdb", f"--pgdata={data}", "--username=postgres", "--auth=trust", "--no-sync", "--encoding=UTF8")
    options = f"-c listen_addresses= -c unix_socket_directories={home} -c fsync=off"
    run("pg_ctl", f"--pgdata={data}", f"--log={home / 'log'}", f"--options={options}", "--wait", "start")
    try:
        yield f"postgresql://postgres@/postgres?host={home}"
    finally:
        run("pg_ctl", f"--pgdata={data}", "--mode=immediate", "--wait", "stop")
