"""How an agent asks one of the servers for an execution: over MCP, with an idempotency key."""

import asyncio
from uuid import UUID

from mcp import Client

from archon_workflows.engine.verbs import RunRequest

ANSWER_SECONDS = 5.0


class NotAcknowledged(Exception):
    """The server died, is frozen, or says that it cannot: whoever asks has to ask again."""


async def ask(port: int, request: RunRequest) -> UUID:
    """Return the id of the execution that a server on this machine acknowledged.

    Raises:
        NotAcknowledged: nobody knows whether the execution exists.
    """
    arguments = {
        "workflow": request.workflow,
        "parameters": dict(request.parameters),
        "idempotency_key": request.idempotency_key,
        "wait_seconds": 0,
    }
    try:
        async with asyncio.timeout(ANSWER_SECONDS), Client(f"http://127.0.0.1:{port}/mcp") as client:
            result = await client.call_tool("run_workflow", arguments)
    except Exception as error:
        raise NotAcknowledged(f"{type(error).__name__}: {error}") from error
    if result.is_error or result.structured_content is None:
        raise NotAcknowledged(str(result.content))
    return UUID(result.structured_content["execution_id"])
