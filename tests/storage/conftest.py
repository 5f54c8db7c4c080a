"""The tenants of the repository, each over a database of the test's own."""

from collections.abc import AsyncIterator

import pytest
from samples import Sql
from supabase_projects import SERVICE_KEY, Project

from archon_workflows.storage.direct import DirectRepository
from archon_workflows.storage.repository import Repository
from archon_workflows.storage.sessions import SessionLimits, open_session
from archon_workflows.storage.supabase import SupabaseRepository


@pytest.fixture(params=["direct", "supabase"])
def tenant(request: pytest.FixtureRequest) -> str:
    """Which tenant a test of the contract looks at."""
    return request.param


@pytest.fixture
async def repository(request: pytest.FixtureRequest, tenant: str) -> AsyncIterator[Repository]:
    """One tenant after the other; a tenant that passes is as good as any other."""
    if tenant == "direct":
        repository = await DirectRepository.connect(request.getfixturevalue("database_url"))
    else:
        project: Project = request.getfixturevalue("project")
        repository = await SupabaseRepository.connect(project.url, SERVICE_KEY)
    yield repository
    await repository.aclose()


@pytest.fixture
async def sql(request: pytest.FixtureRequest) -> AsyncIterator[Sql]:
    """A session of an onlooker, who sees the rows of the test's database as they are."""
    uses_supabase = "tenant" in request.fixturenames and request.getfixturevalue("tenant") == "supabase"
    url = request.getfixturevalue("project_url" if uses_supabase else "database_url")
    session = await open_session(url, SessionLimits(application_name="onlooker"))
    yield Sql(session)
    session.terminate()
