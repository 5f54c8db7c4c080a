"""Secret parameters at rest: encrypted, never in clear.

Fernet (https://github.com/fernet/spec; AES-128-CBC with HMAC-SHA256) with a key that the
database never sees; an execution whose key is lost cannot go on, and says so.
"""

from collections.abc import Mapping

from cryptography.fernet import Fernet, InvalidToken

from archon_workflows.engine.mask import MASK
from archon_workflows.errors import WorkflowError
from archon_workflows.expressions.values import is_object
from archon_workflows.model.outcomes import JsonValue
from archon_workflows.model.template import Template

SEALED = "$sealed"


class Vault:
    """Seals and opens the secret parameters of executions.

    Args:
        key: a Fernet key (32 bytes, URL-safe base64).
    """

    def __init__(self, key: str) -> None:
        self._fernet = Fernet(key)

    def seal(self, template: Template, parameters: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
        """Return the parameters as they may be stored: ``{"$sealed": token}`` for each secret one."""
        return {
            name: self._seal(value) if template.parameters[name].secret and value is not None else value
            for name, value in parameters.items()
        }

    def open(self, parameters: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
        """Return the parameters in clear.

        Raises:
            WorkflowError: ``secret_key_changed``: they were sealed with another key.
        """
        return {name: self._open(name, value) for name, value in parameters.items()}

    def _seal(self, value: JsonValue) -> JsonValue:
        return {SEALED: self._fernet.encrypt(str(value).encode()).decode()}

    def _open(self, name: str, value: JsonValue) -> JsonValue:
        if not (is_object(value) and set(value) == {SEALED}):
            return value
        try:
            return self._fernet.decrypt(str(value[SEALED])).decode()
        except InvalidToken:
            raise WorkflowError(
                f"The secret parameter {name!r} was sealed with another key.",
                code="secret_key_changed",
                path=f"/parameters/{name}",
                suggestion="Give this process the ARCHON_WORKFLOWS_SECRET_KEY that the execution began with.",
            ) from None


def secret_values(template: Template, parameters: Mapping[str, JsonValue]) -> tuple[str, ...]:
    """Return the clear values of the secret parameters."""
    return tuple(
        str(value)
        for name, value in parameters.items()
        if value is not None and name in template.parameters and template.parameters[name].secret
    )


def without_secrets(parameters: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Return stored parameters as they may be shown: the sealed ones masked."""
    return {
        name: MASK if is_object(value) and SEALED in value else value for name, value in parameters.items()
    }
