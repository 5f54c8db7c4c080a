"""LangGraph with its Postgres checkpointer: a graph whose nodes follow each other, over a pool.

``langgraph_peer.py URL DURABILITY``: ``async``, the default, writes a checkpoint while the next step runs;
``sync`` writes it before, as the others do.
"""

import asyncio
import sys
from itertools import pairwise
from typing import Any, TypedDict
from uuid import uuid4

from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.graph import END, START, StateGraph
from protocol import serve, timed
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool


class State(TypedDict):
    done: int


async def node(state: State) -> State:
    return {"done": state["done"] + 1}


def graph_of(count: int, saver: AsyncPostgresSaver) -> Any:
    builder = StateGraph(State)
    names = [START, *(f"s{number}" for number in range(count)), END]
    for name in names[1:-1]:
        builder.add_node(name, node)
    for before, after in pairwise(names):
        builder.add_edge(before, after)
    return builder.compile(checkpointer=saver)


async def main(url: str, durability: str) -> None:
    kwargs = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
    async with AsyncConnectionPool(url, min_size=1, max_size=8, kwargs=kwargs, open=False) as pool:
        saver = AsyncPostgresSaver(pool)
        await saver.setup()
        graphs: dict[int, Any] = {}

        async def steps(executions: int, in_flight: int, steps: int) -> dict[str, float]:
            graph = graphs.setdefault(steps, graph_of(steps, saver))

            async def one() -> None:
                configurable = {"configurable": {"thread_id": str(uuid4())}}
                await graph.ainvoke({"done": 0}, configurable, durability=durability)

            return await timed(one, executions=executions, in_flight=in_flight)

        await serve({"steps": steps})


asyncio.run(main(sys.argv[1], sys.argv[2]))
