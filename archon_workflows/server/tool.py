"""One tool: from raw arguments to a result with schema, and every error to a letter.

The SDK's own reading of arguments is passed by: it ignores unknown names, parses JSON that was sent as
text leniently, and answers in pydantic's words. Its hiding of unexpected errors is kept, in a letter of
our form.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.tools import Tool
from mcp.server.mcpserver.utilities.func_metadata import ArgModelBase, FuncMetadata
from mcp_types import ToolAnnotations
from pydantic import Field, TypeAdapter
from typing_extensions import override

from archon_workflows.errors import WorkflowError, origin_of
from archon_workflows.server.arguments import Arguments, readable_schema
from archon_workflows.server.own_calls import refuse_steps
from archon_workflows.server.presentation.answer import Answer
from archon_workflows.server.presentation.letters import Letter, letter_of

logger = logging.getLogger(__name__)

ArgumentsT = TypeVar("ArgumentsT", bound=Arguments)


class AnsweringTool(Tool):
    """A tool that reads its arguments at our door and answers with our words."""

    arguments: type[Arguments] = Field(exclude=True)

    @override
    async def run(
        self, arguments: dict[str, Any], context: Context[Any, Any], convert_result: bool = False
    ) -> Any:
        """Answer a call; nothing but a cancellation is raised."""
        del convert_result
        try:
            refuse_steps(self.name, context.request_context.meta or {})
            answer: Answer = await self.fn(self.arguments.read(arguments), context)
        except WorkflowError as error:
            return letter_of(error).as_result(is_error=True)
        except Exception as error:  # noqa: BLE001 - whatever it is becomes a letter
            logger.error("The tool %s failed unexpectedly: %s", self.name, origin_of(error))  # noqa: TRY400 - without its text
            return letter_of(_unexpected(self.name)).as_result(is_error=True)
        return answer.as_result()


def answering_tool(
    arguments: type[ArgumentsT],
    perform: Callable[[ArgumentsT, Context], Awaitable[Answer]],
    *,
    title: str,
    description: str,
    answers: Any,
    annotations: ToolAnnotations,
) -> AnsweringTool:
    """Return a tool for ``MCPServer(tools=...)``.

    Args:
        arguments: what it takes; its ``tool_name`` is the tool's name.
        perform: answers a call.
        title: for people.
        description: for agents.
        answers: the type of its structured content, a union where it has several forms.
        annotations: what the tool does to the world.
    """
    return AnsweringTool(
        fn=perform,
        name=arguments.tool_name,
        title=title,
        description=description,
        parameters=arguments.input_schema(),
        fn_metadata=FuncMetadata(arg_model=ArgModelBase, output_schema=_output_schema(answers)),
        is_async=True,
        context_kwarg=None,
        annotations=annotations,
        arguments=arguments,
    )


def _output_schema(answers: Any) -> dict[str, Any]:
    """Return the schema of an answer or a letter: some clients check errors against it too."""
    forms: Any = answers | Letter
    return {"type": "object", **readable_schema(TypeAdapter[Any](forms).json_schema())}


def _unexpected(name: str) -> WorkflowError:
    return WorkflowError(
        f"{name} failed because of a defect in the server; the server's log has the details.",
        code="internal_error",
        suggestion="Nothing is wrong with the arguments as such. Look at the state with get_execution before "
        "you try again.",
    )
