"""Who may ask over HTTP, and who they are: bearer tokens with names, or an OAuth authorization server's JWTs.

The SDK reads the header and refuses what has no valid token before it reads a body; here is only what makes a
token valid. A verified token's ``subject`` is the caller.
"""

import hmac
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from mcp.server.auth.provider import AccessToken, TokenVerifier
from mcp.server.auth.settings import AuthSettings
from pydantic import ValidationError

from archon_workflows.errors import InvalidRequest
from archon_workflows.settings import Settings, variable_of

OAUTH_SETTINGS = ("oauth_issuer", "oauth_jwks_url", "oauth_resource")
_PAIR = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._@-]{0,99})=(?:sha256:(?P<digest>[0-9a-f]{64})|(?P<token>[\w.~+/-]{16,}=*))",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Authentication:
    """What the SDK's server takes."""

    verifier: TokenVerifier
    settings: AuthSettings


def authentication_of(settings: Settings) -> Authentication | None:
    """Return how callers prove who they are; ``None`` when nothing is configured.

    Raises:
        InvalidRequest: ``invalid_http_tokens``, ``oauth_incomplete`` or ``authentication_ambiguous``.
    """
    oauth = (settings.oauth_issuer, settings.oauth_jwks_url, settings.oauth_resource)
    pairs = list(_pairs(settings))
    if not any(oauth):
        return _by_tokens(pairs) if pairs else None
    if pairs:
        raise InvalidRequest(
            "Both bearer tokens and OAuth are configured, and one name could be two callers.",
            code="authentication_ambiguous",
            suggestion=f"Unset {variable_of('http_tokens')} or {variable_of('oauth_issuer')}.",
        )
    issuer, jwks_url, resource = oauth
    if issuer is None or jwks_url is None or resource is None:
        raise InvalidRequest(
            "OAuth is configured by halves.",
            code="oauth_incomplete",
            suggestion="Set all of " + ", ".join(variable_of(one) for one in OAUTH_SETTINGS) + ".",
        )
    return _by_oauth(issuer, jwks_url, resource)


class NamedTokens(TokenVerifier):
    """Tokens that were given out by hand; only their SHA-256 is kept.

    Args:
        digests: names and digests; a name may have several, while a token is being replaced.
    """

    def __init__(self, digests: Sequence[tuple[str, bytes]]) -> None:
        self._digests = digests

    async def verify_token(self, token: str) -> AccessToken | None:
        """Return whose token it is; how long that takes does not depend on how much of it is right."""
        given = sha256(token.encode()).digest()
        owners = [name for name, digest in self._digests if hmac.compare_digest(given, digest)]
        return AccessToken(token=token, client_id=owners[0], subject=owners[0], scopes=[]) if owners else None


def _by_tokens(pairs: Iterable[tuple[str, str]]) -> Authentication:
    owners: dict[bytes, str] = {}
    for where, text in pairs:
        name, digest = _read_pair(where, text)
        if owners.setdefault(digest, name) != name:
            raise _bad_tokens(where, f"{name!r} has the token of {owners[digest]!r}")
    verifier = NamedTokens([(name, digest) for digest, name in owners.items()])
    # There is no authorization server: without a resource URL nobody is sent to the issuer named here.
    return Authentication(verifier, _settings("http://localhost", None))


def _by_oauth(issuer: str, jwks_url: str, resource: str) -> Authentication:
    # Half of what a server needs to know of cryptography is in there: without OAuth its start does not wait.
    from archon_workflows.server.json_web_tokens import JsonWebTokens  # noqa: PLC0415 - see above

    verifier = JsonWebTokens(issuer=issuer, jwks_url=jwks_url, resource=resource)
    return Authentication(verifier, _settings(issuer, resource))


def _settings(issuer: str, resource: str | None) -> AuthSettings:
    """Return the SDK's settings, made from texts: made from URLs, they would gain a slash at the end."""
    try:
        return AuthSettings.model_validate(
            {
                "issuer_url": issuer,
                "resource_server_url": resource,
                "validate_token_resource": resource is not None,
            }
        )
    except ValidationError as error:
        raise InvalidRequest(
            f"OAuth is configured with something that is no URL: {issuer!r} and {resource!r}.",
            code="oauth_incomplete",
            suggestion="Give " + ", ".join(variable_of(one) for one in OAUTH_SETTINGS) + " as http(s) URLs.",
        ) from error


def _pairs(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield where a pair stands, and the pair."""
    if settings.http_tokens is not None:
        where = variable_of("http_tokens")
        pairs = settings.http_tokens.get_secret_value().split(",")
        yield from ((f"{where}, pair {number}", one.strip()) for number, one in enumerate(pairs, 1))
    if settings.http_tokens_file is not None:
        lines = _lines(settings.http_tokens_file)
        for number, line in enumerate(lines, 1):
            if line.strip() and not line.startswith("#"):
                yield f"{settings.http_tokens_file}, line {number}", line.strip()


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise _bad_tokens(str(file), f"it cannot be read ({type(error).__name__})") from error


def _read_pair(where: str, text: str) -> tuple[str, bytes]:
    pair = _PAIR.fullmatch(text)
    if pair is None:
        raise _bad_tokens(where, "this is no name=token, and what it is stays unsaid")
    name, digest, token = pair.group("name", "digest", "token")
    return name, bytes.fromhex(digest) if digest else sha256(token.encode()).digest()


def _bad_tokens(where: str, what: str) -> InvalidRequest:
    return InvalidRequest(
        f"The bearer tokens cannot be used: {where}: {what}.",
        code="invalid_http_tokens",
        suggestion="Write name=token with a token of at least 16 of A-Z a-z 0-9 - . _ ~ + /, for instance "
        "from 'openssl rand -hex 32', or name=sha256:HEX with its SHA-256.",
    )
