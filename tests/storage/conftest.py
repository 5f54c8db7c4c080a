"""The tenants of the repository, each over a database of the test's own."""

from collections.abc import AsyncIterator

import pytest
from samples import Sql

from archon_workflows.storage.direct import DirectRepository
from archon_workflows.storage.repository import Repository
from archon_workflows.storage.sessions import SessionLimits, open_session


@pytest.fixture(params=["direct"])
async def repository(request: pytest.FixtureRequest, database_url: str) -> AsyncIterator[Repository]:
    """One tenant after the other; a tenant that passes is as good as any other."""
    tenants = {"direct": DirectRepository.connect}
    tenant = await tenants[request.param](database_url)
    yield tenant
    await tenant.aclose()


@pytest.fixture
async def sql(database_url: str) -> AsyncIterator[Sql]:
    """A session of an onlooker, who sees the rows as they are."""
    session = await open_session(database_url, SessionLimits(application_name="onlooker"))
    yield Sql(session)
    session.terminate()
