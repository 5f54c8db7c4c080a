"""The door of the tools: raw arguments become typed ones, or a letter that says which to change.

Small models send JSON as text, send null for what they do not need, and misspell names; the first two are
taken, the third is answered with the nearest name. A tool with actions says which arguments each action
takes.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Self, cast
from uuid import UUID

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import ErrorDetails

from archon_workflows.errors import InvalidRequest
from archon_workflows.model.descriptions import DescribedModel, descriptions_of
from archon_workflows.model.findings import closest, hint
from archon_workflows.model.json_values import InvalidJson, parse_json, pointer_token, shown
from archon_workflows.server.presentation.answer import PageFacts, short

PAGE_SIZE = 20
LARGEST_PAGE = 100


def _from_text(value: Any, info: ValidationInfo) -> Any:
    """Take JSON that was sent as text."""
    if not isinstance(value, str):
        return value
    try:
        return parse_json(value)
    except InvalidJson as error:
        path = pointer_token(info.field_name or "") + (error.path or "")
        raise InvalidJson(
            f"{info.field_name!r} was sent as text. {error.message}", path=path, suggestion=error.suggestion
        ) from error


def _container_from_text(value: Any, info: ValidationInfo) -> Any:
    """Take an object or a list that was sent as text; any other text is meant as it stands."""
    is_container = isinstance(value, str) and value.lstrip()[:1] in ("{", "[")
    return _from_text(value, info) if is_container else value


def _one_or_many(value: Any, info: ValidationInfo) -> Any:
    """Take a single text where a list of texts is meant."""
    value = _container_from_text(value, info)
    return [value] if isinstance(value, str) else value


JsonObject = Annotated[Any, BeforeValidator(_from_text), WithJsonSchema({"type": "object"})]
AnyJson = Annotated[Any, BeforeValidator(_container_from_text)]
OneOrMany = BeforeValidator(_one_or_many)
VersionName = Annotated[
    str | int, Field(description="A version tag such as 1.2.0, or a version_number such as 3.")
]
PageNumber = Annotated[int, Field(ge=1, le=1_000_000)]
PageSize = Annotated[int, Field(ge=1, le=LARGEST_PAGE)]


class Arguments(DescribedModel):
    """Base of a tool's arguments; the text under each field is its description for the agent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tool_name: ClassVar[str]

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> Self:
        """Return the arguments.

        Raises:
            InvalidRequest: ``unknown_argument``, ``missing_argument``, ``unknown_action`` or
                ``invalid_argument``; every problem is in ``details["problems"]``.
            InvalidJson: a text where JSON is meant is none.
        """
        given = {name: value for name, value in raw.items() if value is not None}
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise _refusal(cls, error.errors(include_url=False)) from None

    @classmethod
    def input_schema(cls) -> dict[str, Any]:
        """Return the JSON Schema that agents see."""
        schema = readable_schema(cls.model_json_schema())
        schema.pop("description", None)
        return schema

    @property
    def given(self) -> frozenset[str]:
        """The names of the arguments that say something else than their default."""
        defaults = {name: field.default for name, field in type(self).model_fields.items()}
        return frozenset(name for name in self.model_fields_set if getattr(self, name) != defaults[name])

    def require(self, action: str, *, takes: Sequence[str], needs: Sequence[str] = ()) -> None:
        """Check that an action gets what it needs and nothing else.

        Raises:
            InvalidRequest: ``unused_argument`` or ``missing_argument``.
        """
        taken = ", ".join([*needs, *takes]) or "nothing else"
        for name in sorted(self.given - {*takes, *needs, "action"}):
            raise InvalidRequest(
                f"{action!r} does not use the argument {name!r}.",
                code="unused_argument",
                path=pointer_token(name),
                suggestion=f"Leave it out; {action!r} takes: {taken}.",
            )
        for name in needs:
            if name not in self.given:
                raise InvalidRequest(
                    f"{action!r} needs the argument {name!r}.",
                    code="missing_argument",
                    path=pointer_token(name),
                    suggestion=f"Give {name!r}{_meaning(type(self), name)}",
                )


def page_facts(page: int, page_size: int, total: int) -> PageFacts:
    """Return which part of a list a page is."""
    return PageFacts(page=page, page_size=page_size, total=total)


def version_name(version: str | int) -> str | int:
    """Return a version's tag, or its number also when that was sent as text."""
    return int(version) if isinstance(version, str) and re.fullmatch(r"\d{1,9}", version) else version


def uuid_of(text: str, name: str) -> UUID:
    """Return the id.

    Raises:
        InvalidRequest: it is none.
    """
    try:
        return UUID(text)
    except ValueError:
        raise InvalidRequest(
            f"{name!r} is {shown(text)}, which is not an id.",
            code="invalid_argument",
            path=pointer_token(name),
            suggestion="Ids look like 0198c0de-0000-7000-8000-000000000000; copy it from an earlier answer.",
        ) from None


def _refusal(arguments: type[Arguments], errors: Sequence[ErrorDetails]) -> InvalidRequest:
    problems = [_problem(arguments, error) for error in errors]
    first = problems[0]
    more = f" ({len(problems) - 1} more)" if len(problems) > 1 else ""
    return InvalidRequest(
        first["message"] + more,
        code=first["code"],
        path=first["path"],
        suggestion=first["suggestion"],
        details={"problems": problems} if more else None,
    )


def _problem(arguments: type[Arguments], error: ErrorDetails) -> dict[str, str]:
    location = [one for one in error["loc"] if isinstance(one, int) or one in arguments.model_fields]
    name = str(error["loc"][0]) if error["loc"] else ""
    path = "".join(pointer_token(one) for one in location) or pointer_token(name)
    match error["type"]:
        case "extra_forbidden":
            names = tuple(arguments.model_fields)
            message = f"{arguments.tool_name} has no argument {shown(name)}."
            advice = hint(closest(name, names), names, noun="argument")
            return _letter("unknown_argument", pointer_token(name), message, advice)
        case "missing":
            message = f"{arguments.tool_name} needs the argument {name!r}."
            return _letter("missing_argument", path, message, f"Give {name!r}{_meaning(arguments, name)}")
        case "literal_error":
            options = tuple(re.findall(r"'([^']*)'", str(error.get("ctx", {}).get("expected", ""))))
            value = error["input"]
            code = "unknown_action" if name == "action" else "invalid_argument"
            match_ = closest(value, options) if isinstance(value, str) else None
            return _letter(
                code, path, f"There is no {name} {shown(value)}.", hint(match_, options, noun=name)
            )
        case _:
            message = f"{name!r} is {shown(error['input'])}: {error['msg']}."
            return _letter("invalid_argument", path, message, f"Give {name!r}{_meaning(arguments, name)}")


def _letter(code: str, path: str, message: str, suggestion: str) -> dict[str, str]:
    return {"code": code, "path": path, "message": message, "suggestion": suggestion}


def _meaning(arguments: type[Arguments], name: str) -> str:
    field = arguments.model_fields.get(name)
    description = (field and field.description) or descriptions_of(arguments).get(name)
    return f": {short(description)}" if description else "."


def readable_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a generated schema without titles, null as a default, and null as an alternative."""
    return _readable(schema)


def _readable(node: Any, *, names: bool = False) -> Any:
    if isinstance(node, list):
        return [_readable(one) for one in cast("list[Any]", node)]
    if not isinstance(node, dict):
        return node
    members = cast("dict[str, Any]", node)
    if not names:
        members = {key: value for key, value in _without_null(members) if key != "title"}
    return {
        key: _readable(value, names=key in ("properties", "$defs") and not names)
        for key, value in members.items()
    }


def _without_null(node: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if key == "default" and value in (None, [], {}):
            continue
        if key != "anyOf":
            yield key, value
            continue
        kept = [one for one in value if one != {"type": "null"}]
        if len(kept) == 1:
            yield from kept[0].items()
        else:
            yield key, kept
