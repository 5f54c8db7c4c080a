"""Where a Supabase project is and by which key: what can be said about the two without asking anybody.

A legacy key is a JWT that names its role; a new one (``sb_secret_...``) is opaque, and the gateway in front
of PostgREST knows what it may do.
"""

import re
from base64 import urlsafe_b64decode
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from pydantic import TypeAdapter

from archon_workflows.errors import StorageError

SECRET_PREFIX: Final = "sb_secret_"  # noqa: S105 - how such keys begin
PUBLISHABLE_PREFIX: Final = "sb_publishable_"
WRITER: Final = "service_role"

WHERE_KEYS_ARE: Final = (
    "Set SUPABASE_SERVICE_KEY to a secret key (sb_secret_...) or to the legacy service_role key; both are in "
    "the project's dashboard under Settings, API Keys."
)
WHERE_URLS_ARE: Final = (
    "Set SUPABASE_URL to the project's API URL, https://REF.supabase.co (in the dashboard under Connect)."
)

_CLAIMS: Final = TypeAdapter(dict[str, Any])
_HOSTED: Final = ".supabase.co"
_REST_PATH: Final = "/rest/v1"
_DASHBOARD: Final = re.compile(r"^/dashboard/project/([a-z0-9]+)")
_KEY: Final = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class Project:
    """A project whose URL and key look right.

    Attributes:
        url: without ``/rest/v1`` and without a slash at the end.
        key: never shown.
        key_kind: how to name the key to a reader.
    """

    url: str
    key: str = field(repr=False)
    key_kind: str

    @property
    def host(self) -> str:
        """The name by which messages speak of the project."""
        return urlsplit(self.url).netloc

    @property
    def is_encrypted(self) -> bool:
        """Whether the key travels over TLS, or does not leave this machine."""
        parts = urlsplit(self.url)
        return parts.scheme == "https" or parts.hostname in ("localhost", "127.0.0.1", "::1")


def read_project(url: str, key: str) -> Project:
    """Read the two settings.

    Raises:
        StorageError: ``supabase_url_invalid``, or ``supabase_key_invalid``: it is no key, one that may only
            read, one of another project, or one whose time is over.
    """
    parts = _read_url(url.strip())
    kind = _read_key(key.strip(), parts.hostname or "")
    path = parts.path.rstrip("/").removesuffix(_REST_PATH)
    return Project(parts._replace(path=path, query="", fragment="").geturl(), key.strip(), kind)


def _read_url(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise _bad_url(url, str(error)) from error
    if parts.scheme in ("postgres", "postgresql"):
        raise StorageError(
            "SUPABASE_URL is the URL of a database, not of a project's API.",
            code="supabase_url_invalid",
            suggestion=f"Set ARCHON_WORKFLOWS_DATABASE_URL to it instead. {WHERE_URLS_ARE}",
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise _bad_url(url, "it has to begin with https:// and a host")
    dashboard = _DASHBOARD.match(parts.path)
    if dashboard:
        raise StorageError(
            f"SUPABASE_URL {url!r} is a page of the dashboard.",
            code="supabase_url_invalid",
            suggestion=f"Set SUPABASE_URL to https://{dashboard[1]}{_HOSTED}",
        )
    return parts


def _bad_url(url: str, why: str) -> StorageError:
    shown = re.sub(r"//[^@/]*@", "//***@", url)
    return StorageError(
        f"SUPABASE_URL {shown!r} is not the URL of a project: {why}.",
        code="supabase_url_invalid",
        suggestion=WHERE_URLS_ARE,
    )


def _read_key(key: str, host: str) -> str:
    """Return what kind of key it is."""
    if not _KEY.fullmatch(key):
        raise _bad_key("SUPABASE_SERVICE_KEY is empty, or contains characters that no key has.")
    if key.startswith(PUBLISHABLE_PREFIX):
        raise _bad_key("SUPABASE_SERVICE_KEY is a publishable key: it may read, but never write.")
    if key.startswith(SECRET_PREFIX):
        return "secret key"
    claims = _claims_of(key)
    if claims is None:
        return "key of unknown kind"
    _check_claims(claims, host)
    return f"legacy {claims.get('role')} key"


def _claims_of(key: str) -> dict[str, Any] | None:
    """Return what a JWT says of itself; its signature is for the server to check."""
    parts = key.split(".")
    if len(parts) != 3:  # noqa: PLR2004 - header, claims, signature
        return None
    try:
        return _CLAIMS.validate_json(urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return None


def _check_claims(claims: dict[str, Any], host: str) -> None:
    role, reference, expires = claims.get("role"), claims.get("ref"), claims.get("exp")
    if role != WRITER:
        raise _bad_key(f"SUPABASE_SERVICE_KEY is the key of the role {role!r}: only {WRITER!r} may write.")
    if isinstance(expires, int | float) and expires <= datetime.now(UTC).timestamp():
        raise _bad_key(
            f"SUPABASE_SERVICE_KEY has expired on {datetime.fromtimestamp(expires, UTC):%Y-%m-%d}."
        )
    if isinstance(reference, str) and host.endswith(_HOSTED) and host != f"{reference}{_HOSTED}":
        raise _bad_key(f"SUPABASE_SERVICE_KEY is of the project {reference!r}, SUPABASE_URL names {host!r}.")


def _bad_key(what: str) -> StorageError:
    return StorageError(what, code="supabase_key_invalid", suggestion=WHERE_KEYS_ARE)
