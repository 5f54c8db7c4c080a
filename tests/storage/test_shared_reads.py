"""Reads that share round trips: none is answered with what was true before it was asked."""

from collections.abc import Mapping, Sequence
from uuid import UUID, uuid4

import anyio
import pytest

from archon_workflows.errors import StorageError
from archon_workflows.storage.rows import Row
from archon_workflows.storage.shared_reads import SharedReads


class Source:
    """Rows that are read when the test lets a read go on."""

    def __init__(self) -> None:
        self.rows: dict[UUID, Row] = {}
        self.asked: list[frozenset[UUID]] = []
        self.may_answer = anyio.Event()
        self.error: StorageError | None = None

    async def read(self, ids: Sequence[UUID]) -> Mapping[UUID, Row]:
        self.asked.append(frozenset(ids))
        await self.may_answer.wait()
        if self.error is not None:
            raise self.error
        return {one: self.rows[one] for one in ids if one in self.rows}


@pytest.fixture
async def source() -> Source:
    return Source()


async def test_what_is_asked_for_while_a_read_is_under_way_goes_together_with_the_next(
    source: Source,
) -> None:
    ids = [uuid4() for _ in range(5)]
    source.rows = {one: {"id": one} for one in ids}
    reads, found = SharedReads(source.read), dict[UUID, Row | None]()

    async def read(one: UUID) -> None:
        found[one] = await reads.row(one)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read, ids[0])
        await anyio.wait_all_tasks_blocked()
        for one in ids[1:]:
            tasks.start_soon(read, one)
        await anyio.wait_all_tasks_blocked()
        source.may_answer.set()
    assert source.asked == [{ids[0]}, set(ids[1:])]
    assert found == source.rows


async def test_a_read_sees_what_was_written_before_it_was_asked(source: Source) -> None:
    one = uuid4()
    reads, found = SharedReads(source.read), list[Row | None]()

    async def read() -> None:
        found.append(await reads.row(one))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(read)
        await anyio.wait_all_tasks_blocked()
        source.may_answer.set()
    source.rows[one] = {"written": True}
    assert found == [None, None]
    assert len(source.asked) == 2
    assert await reads.row(one) == {"written": True}


async def test_who_stops_waiting_leaves_the_others_their_answers(source: Source) -> None:
    ids = [uuid4(), uuid4()]
    source.rows = {one: {"id": one} for one in ids}
    reads, found = SharedReads(source.read), list[Row | None]()

    async def read() -> None:
        found.append(await reads.row(ids[1]))

    async with anyio.create_task_group() as tasks, anyio.create_task_group() as impatient:
        impatient.start_soon(reads.row, ids[0])
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(read)
        await anyio.wait_all_tasks_blocked()
        impatient.cancel_scope.cancel()
        source.may_answer.set()
    assert found == [{"id": ids[1]}]


async def test_an_error_is_everybodys_and_over_with_the_batch(source: Source) -> None:
    source.error = StorageError("away", code="database_unavailable")
    source.may_answer.set()
    reads, refused = SharedReads(source.read), list[str]()

    async def read() -> None:
        try:
            await reads.row(uuid4())
        except StorageError as error:
            refused.append(error.code)

    async with anyio.create_task_group() as tasks:
        for _ in range(6):
            tasks.start_soon(read)
    assert refused == ["database_unavailable"] * 6
    assert len(source.asked) <= 2
    source.error = None
    assert await reads.row(uuid4()) is None
