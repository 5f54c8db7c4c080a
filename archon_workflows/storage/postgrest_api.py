"""A Supabase project's API as the repository uses it: calls of functions, pages of rows.

The only room that knows the client library. Its ``acreate_client`` makes one object with five clients; of
these only PostgREST's is ever used here, over one HTTP client of our own, and the others stay unconnected.
Refusals are read from the answers themselves (``postgrest_letters``): the library keeps neither their status
nor their ``Retry-After``.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final, Protocol, Self, cast

import anyio
import httpx
from postgrest import AsyncSelectRequestBuilder, CountMethod
from pydantic_core import to_jsonable_python
from supabase import AsyncClient, AsyncClientOptions, acreate_client

from archon_workflows.errors import StorageError
from archon_workflows.model.json_values import LARGEST_INTEGER, SMALLEST_INTEGER
from archon_workflows.storage import postgrest_letters as letters
from archon_workflows.storage.rows import Row
from archon_workflows.storage.supabase_project import Project

LARGEST_PAGE: Final = 1000
"""Rows to ask for at once: what a project gives out when nobody changed it."""

TRIES: Final = 4
PATIENCE_SECONDS: Final = 5.0
"""After this long nothing is sent again from here: whoever asked may have better things to do."""

_NO_CONTENT: Final = 204
_RANGE_NOT_SATISFIABLE: Final = 416

Narrow = Callable[[AsyncSelectRequestBuilder], AsyncSelectRequestBuilder]
"""Adds filters and the order to a query."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestLimits:
    """How long things may take, in seconds, and how much happens at once.

    Attributes:
        connect: reaching the project, TLS included.
        answer: from the request to its answer; Supabase itself ends a statement after 8.
        connections: the most requests at once; more of them wait.
        keep_alive: how long an idle connection is kept, since opening one costs three round trips.
    """

    connect: float = 10.0
    answer: float = 30.0
    connections: int = 16
    keep_alive: float = 120.0


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one or more pages, and how many there are in all."""

    found: Sequence[Row]
    total: int


class _Executable(Protocol):
    """What the library's builders have in common."""

    async def execute(self) -> Any: ...


class _PastTheEnd(Exception):
    """There are fewer rows than the page's offset."""

    def __init__(self, total: int) -> None:
        self.total = total


class PostgrestApi:
    """The API of one project; open it with ``connect``."""

    def __init__(self, project: Project, client: AsyncClient, http: httpx.AsyncClient) -> None:
        self._host = project.host
        self._client = client
        self._http = http
        self._silent_until = -math.inf

    @classmethod
    async def connect(cls, project: Project, limits: RequestLimits | None = None) -> Self:
        """Prepare the client; nothing is sent yet."""
        http = _http_client(limits or RequestLimits())
        options = AsyncClientOptions(
            httpx_client=http, auto_refresh_token=False, persist_session=False, postgrest_client_retry=False
        )
        return cls(project, await acreate_client(project.url, project.key, options), http)

    async def call(self, function: str, *, is_repeatable: bool = True, **arguments: Any) -> Any:
        """Call a function of the migration, by its name without the prefix.

        Args:
            function: which one.
            is_repeatable: whether the call may be sent again when it is unknown what became of it.
            arguments: JSON values, UUIDs and times, by the names of the function's parameters.

        Raises:
            WorkflowError: see ``postgrest_letters``.
        """
        request = self._client.rpc(f"archon_workflow_{function}", _as_json(arguments))
        answer = await self._send(request, tries=TRIES if is_repeatable else 1)
        return _exact(answer.data)

    async def page(
        self, table: str, columns: str, narrow: Narrow, *, offset: int = 0, limit: int | None = None
    ) -> Rows:
        """Read up to ``limit`` rows (without it: all), in as many requests as the project's row limit needs.

        Raises:
            WorkflowError: see ``postgrest_letters``.
        """
        found: list[Row] = []
        total = 0
        while limit is None or len(found) < limit:
            wanted = LARGEST_PAGE if limit is None else min(limit - len(found), LARGEST_PAGE)
            rows = await self._part(table, columns, narrow, offset + len(found), wanted)
            found += rows.found
            total = rows.total
            if not rows.found or offset + len(found) >= total:
                break
        return Rows(found, total)

    async def rows(self, table: str, columns: str, narrow: Narrow, *, limit: int) -> Sequence[Row]:
        """Read up to ``limit`` rows, which must be within the row limit, without counting them.

        Raises:
            WorkflowError: see ``postgrest_letters``.
        """
        query = self._client.table(f"archon_workflow_{table}").select(columns)
        answer = await self._send(narrow(query).limit(limit), tries=TRIES)
        return _rows_of(answer.data)

    async def aclose(self) -> None:
        """Close all connections; calls under way fail."""
        await self._http.aclose()

    async def _part(self, table: str, columns: str, narrow: Narrow, offset: int, limit: int) -> Rows:
        query = self._client.table(f"archon_workflow_{table}").select(columns, count=CountMethod.exact)
        try:
            answer = await self._send(narrow(query).range(offset, offset + limit - 1), tries=TRIES)
        except _PastTheEnd as end:
            return Rows((), end.total)
        return Rows(_rows_of(answer.data), answer.count or 0)

    async def _send(self, request: _Executable, *, tries: int) -> Any:
        """Send a request; while the database is away, again, for a few seconds."""
        gives_up_at = monotonic() + PATIENCE_SECONDS
        pause = 0.1
        for _ in range(tries - 1):
            try:
                return await self._send_once(request)
            except StorageError as error:
                pause = max(pause, error.details.get(letters.RETRY_AFTER, 0.0))
                if error.code != letters.UNAVAILABLE or monotonic() + pause > gives_up_at:
                    raise
            await anyio.sleep(pause)
            pause *= 3
        return await self._send_once(request)

    async def _send_once(self, request: _Executable) -> Any:
        left = self._silent_until - monotonic()
        if left > 0:
            raise letters.left_alone(left)
        try:
            answer = await request.execute()
        except httpx.HTTPError as error:
            raise letters.no_answer(self._host, error) from error
        except StorageError as error:
            silent_until = monotonic() + error.details.get(letters.RETRY_AFTER, 0.0)
            self._silent_until = max(self._silent_until, silent_until)
            raise
        except ValueError as error:
            raise _unsendable(error) from error
        except RuntimeError as error:  # the client was closed
            raise letters.no_answer(self._host, error) from error
        if isinstance(answer.data, str):  # how the library hands over what it cannot parse
            raise letters.no_answer(self._host, ValueError("its answer ends in the middle"))
        return answer


def _http_client(limits: RequestLimits) -> httpx.AsyncClient:
    """Return the one client of a project.

    HTTP/1.1, deliberately: what is sent is mostly one call at a time, and over HTTP/2 one lost packet holds
    up every request. Redirects are not followed, since they would turn a call into a read.
    """
    return httpx.AsyncClient(
        http2=False,
        timeout=httpx.Timeout(limits.answer, connect=limits.connect),
        limits=httpx.Limits(
            max_connections=limits.connections,
            max_keepalive_connections=limits.connections,
            keepalive_expiry=limits.keep_alive,
        ),
        follow_redirects=False,
        event_hooks={"response": [_read_refusal]},
    )


async def _read_refusal(response: httpx.Response) -> None:
    """Raise the project's own error for an answer that is no success, before the library makes less of it."""
    await response.aread()
    if response.status_code == _RANGE_NOT_SATISFIABLE:
        total = response.headers.get("content-range", "").rpartition("/")[2]
        raise _PastTheEnd(int(total) if total.isdecimal() else 0)
    if not response.is_success:
        raise letters.letter_of(response)
    if response.status_code != _NO_CONTENT:
        if not response.content:
            raise letters.cut_short(response)
        if "json" not in response.headers.get("content-type", ""):
            raise letters.not_an_api(response)


def _as_json(arguments: dict[str, Any]) -> dict[str, Any]:
    """Write UUIDs and times as the direct tenant does, so that a row does not tell by which way it came."""
    try:
        return to_jsonable_python(arguments)
    except ValueError as error:
        raise _unsendable(error) from error


def _unsendable(error: ValueError) -> StorageError:
    return StorageError(f"A value cannot be sent as JSON: {error}", code="value_refused")


def _rows_of(found: Any) -> Sequence[Row]:
    return [_exact(row) for row in found]


def _exact(value: Any) -> Any:
    """Mend parsed JSON: an integer beyond 64 bits can only be a float that was written out."""
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value)
        return {key: _exact(item) for key, item in members.items()}
    if isinstance(value, list):
        return [_exact(item) for item in cast("list[Any]", value)]
    if type(value) is int and not SMALLEST_INTEGER <= value <= LARGEST_INTEGER:
        return float(value)
    return value
