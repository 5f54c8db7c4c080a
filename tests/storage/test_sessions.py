"""Database sessions bound every wait: for a statement, a lock, an answer that never comes, a dead network."""

import socket
from collections.abc import AsyncGenerator
from time import monotonic

import anyio
import pytest
from proxy import Proxy
from tenants import direct

from archon_workflows.errors import StorageError
from archon_workflows.model.records import TemplateFilter
from archon_workflows.storage.direct import DirectRepository
from archon_workflows.storage.sessions import Session, SessionLimits, open_session

LIMITS = SessionLimits(
    application_name="me",
    statement=0.5,
    lock=0.4,
    idle_in_transaction=0.3,
    connect=0.5,
    unacknowledged=7,
)


@pytest.fixture
async def proxy(database_url: str) -> AsyncGenerator[Proxy]:
    proxy = Proxy(direct(database_url).connect)
    await proxy.start()
    yield proxy
    await proxy.stop()


@pytest.fixture
def far_url(database_url: str, proxy: Proxy) -> str:
    """URL of the test's database over the network."""
    return direct(database_url).settings(proxy.port)["database_url"]


@pytest.fixture
async def session(far_url: str) -> AsyncGenerator[Session]:
    session = await open_session(far_url, LIMITS)
    yield session
    session.terminate()


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("application_name", "me"),
        ("statement_timeout", "500ms"),
        ("lock_timeout", "400ms"),
        ("idle_in_transaction_session_timeout", "300ms"),
    ],
)
async def test_a_session_carries_its_limits(session: Session, setting: str, value: str) -> None:
    assert await session.fetchval("select current_setting($1)", setting) == value


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="only Linux can bound it")
async def test_the_kernel_gives_up_on_packets_that_nobody_acknowledges(session: Session) -> None:
    wire = session._transport.get_extra_info("socket")  # pyright: ignore[reportPrivateUsage] - as the product sets it
    assert wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 7000


async def test_a_network_that_falls_silent_is_given_up(far_url: str, proxy: Proxy) -> None:
    repository = await DirectRepository.connect(far_url, limits=LIMITS)
    everything = TemplateFilter()
    await repository.list_templates(everything, offset=0, limit=1)
    proxy.silence()
    began = monotonic()
    with anyio.fail_after(30), pytest.raises(StorageError) as refused:
        await repository.list_templates(everything, offset=0, limit=1)
    assert refused.value.code == "database_unavailable"
    assert monotonic() - began > LIMITS.statement
    proxy.mend()
    assert (await repository.list_templates(everything, offset=0, limit=1)).total == 0
    await repository.aclose()
