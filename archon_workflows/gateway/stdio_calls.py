"""Tool calls over stdio: written where they are made, answered where they are read.

The SDK's dispatcher takes a request through a stream and a task on its way to the pipe, and its answer
through two of each, which costs as much as the rest of what a client does for a call. This is another
dispatcher for the SDK's session (the port ``mcp.shared.dispatcher``), beside the SDK's own on the same pipes.
It knows nothing but requests of ours: the handshake, the list of tools and what a server says unasked stay
with the SDK's.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

import anyio
import anyio.abc
from mcp.shared.dispatcher import (
    CallOptions,
    Dispatcher,
    OnNotify,
    OnNotifyIntercept,
    OnRequest,
    ProgressFnT,
    coerce_request_id,
)
from mcp.shared.exceptions import MCPError
from mcp.shared.transport_context import TransportContext
from mcp_types import (
    ErrorData,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
    RequestId,
)

FIRST_CALL_ID = 1 << 30
"""Where the ids of calls begin: beyond those of the SDK, and within what a server may keep in 32 bits."""

_PROGRESS = "notifications/progress"


@dataclass(frozen=True, slots=True)
class _Waiting:
    """Who waits for an answer."""

    answer: asyncio.Future[dict[str, Any] | ErrorData]
    on_progress: ProgressFnT | None


class StdioCalls(Dispatcher[TransportContext]):
    """The SDK's port to a channel, for calls.

    Args:
        send: writes a request; raises where it is not to be sent.
        abandon: tells the server that nobody waits for a request any more; never raises.
    """

    def __init__(
        self, send: Callable[[JSONRPCRequest], Awaitable[None]], abandon: Callable[[RequestId], None]
    ) -> None:
        self._send = send
        self._abandon = abandon
        self._ids = count(FIRST_CALL_ID)
        self._waiting: dict[RequestId, _Waiting] = {}

    async def send_raw_request(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> dict[str, Any]:
        """Send a request and return the raw result.

        Raises:
            MCPError: the server answered with an error.
        """
        request_id = next(self._ids)
        on_progress = opts.get("on_progress") if opts is not None else None
        given = dict(params or {})
        if on_progress is not None:
            given["_meta"] = {**given.get("_meta", {}), "progressToken": request_id}
        request = JSONRPCRequest(jsonrpc="2.0", id=request_id, method=method, params=given)
        answer = asyncio.get_running_loop().create_future()
        self._waiting[request_id] = _Waiting(answer, on_progress)
        try:
            await self._send(request)
            outcome = await self._answer_to(request_id, answer)
        finally:
            del self._waiting[request_id]
        if isinstance(outcome, ErrorData):
            raise MCPError(code=outcome.code, message=outcome.message, data=outcome.data)
        return outcome

    async def notify(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> None:
        """Refuse: notifications go the other way."""
        raise NotImplementedError(method)

    async def run(
        self,
        on_request: OnRequest,
        on_notify: OnNotify,
        on_notify_intercept: OnNotifyIntercept | None = None,
        *,
        task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
    ) -> None:
        """Be there until the session is closed; the link reads for everybody."""
        del on_request, on_notify, on_notify_intercept
        task_status.started()
        await anyio.sleep_forever()

    async def take(self, message: JSONRPCMessage) -> bool:
        """Take an answer to a call, or news of its progress; say whether the message was one."""
        match message:
            case JSONRPCResponse():
                return self._answered(message.id, message.result)
            case JSONRPCError():
                return self._answered(message.id, message.error)
            case JSONRPCNotification() if message.method == _PROGRESS:
                return await self._progressed(message.params or {})
            case _:
                return False

    async def _answer_to(
        self, request_id: RequestId, answer: asyncio.Future[dict[str, Any] | ErrorData]
    ) -> dict[str, Any] | ErrorData:
        try:
            return await answer
        except asyncio.CancelledError:
            self._abandon(request_id)
            raise

    def _answered(self, request_id: RequestId | None, outcome: dict[str, Any] | ErrorData) -> bool:
        key = coerce_request_id(request_id) if request_id is not None else None
        if not isinstance(key, int) or key < FIRST_CALL_ID:
            return False
        waiting = self._waiting.get(key)
        if waiting is not None and not waiting.answer.done():
            waiting.answer.set_result(outcome)
        return True

    async def _progressed(self, params: Mapping[str, Any]) -> bool:
        token = params.get("progressToken")
        waiting = self._waiting.get(coerce_request_id(token)) if isinstance(token, int | str) else None
        if waiting is None:
            return False
        progress, message = _number(params.get("progress")), params.get("message")
        if waiting.on_progress is not None and progress is not None:
            said = message if isinstance(message, str) else None
            await waiting.on_progress(progress, _number(params.get("total")), said)
        return True


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
