"""Who is asking: whose word an argument may be, and what of the application they see.

With authentication on, a caller sees the application through their own view of the repository, where what
belongs to others does not exist; who they are is what their token says, and an argument that says otherwise
is refused. Without it (stdio, or HTTP on the loopback interface) arguments stand as they are.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Protocol

from mcp.server.auth.middleware.auth_context import get_access_token

from archon_workflows.engine.executions import Executions
from archon_workflows.engine.rehearsal import Rehearsal
from archon_workflows.engine.schedules import Schedules
from archon_workflows.engine.templates import TemplateLibrary
from archon_workflows.errors import InvalidRequest
from archon_workflows.gateway.port import Gateway
from archon_workflows.model.json_values import pointer_token
from archon_workflows.settings import Settings

VIEWS_KEPT = 256
"""Views are cheap to make; one that is kept remembers parsed templates."""


class Verbs(Protocol):
    """What the server stands on; the wired application has all of it."""

    @property
    def settings(self) -> Settings:
        """Limits."""
        ...

    @property
    def gateway(self) -> Gateway:
        """The tools that steps can call."""
        ...

    @property
    def templates(self) -> TemplateLibrary:
        """Templates."""
        ...

    @property
    def executions(self) -> Executions:
        """Executions."""
        ...

    @property
    def schedules(self) -> Schedules:
        """Schedules."""
        ...

    @property
    def rehearsal(self) -> Rehearsal:
        """Previews and dry runs."""
        ...

    def seen_by(self, caller: str) -> "Verbs":
        """Return the same verbs over what the caller sees."""
        ...


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever sent the request that is being answered.

    Attributes:
        name: what their token says; ``None`` where nobody has to say who they are.
        verbs: over what they see.
    """

    name: str | None
    verbs: Verbs

    def sign(self, claimed: str | None, *where: str) -> str | None:
        """Return who it is that asks: the caller, or without authentication whoever the argument claims.

        Args:
            claimed: the argument.
            where: where it stands, for the letter.

        Raises:
            InvalidRequest: ``identity_contradicted``.
        """
        if self.name is None or claimed in (None, self.name):
            return self.name or claimed
        raise InvalidRequest(
            f"{where[-1]!r} is {claimed!r}, but the token of this request is {self.name!r}'s.",
            code="identity_contradicted",
            path="".join(pointer_token(one) for one in where),
            suggestion="Leave it out: who asks is known.",
        )


@dataclass(slots=True)
class Callers:
    """Knows the caller of the request that is being answered.

    Args:
        verbs: over everything.
        are_authenticated: whether every request carries a token that was checked.
    """

    verbs: Verbs
    are_authenticated: bool
    _views: OrderedDict[str, Verbs] = field(default_factory=OrderedDict[str, Verbs], init=False)

    def current(self) -> Caller:
        """Return the caller.

        Raises:
            PermissionError: authentication is on, but nothing was authenticated: a defect.
        """
        if not self.are_authenticated:
            return Caller(None, self.verbs)
        token = get_access_token()
        if token is None or not token.subject:
            raise PermissionError("a request came through without authentication")
        return Caller(token.subject, self._view(token.subject))

    def _view(self, name: str) -> Verbs:
        if name not in self._views:
            self._views[name] = self.verbs.seen_by(name)
            if len(self._views) > VIEWS_KEPT:
                self._views.popitem(last=False)
        self._views.move_to_end(name)
        return self._views[name]
