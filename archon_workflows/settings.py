"""What can be set from outside, and what holds when it is not: one table, read from the environment once.

Nothing else in the project reads environment variables, but for ``secrets.X`` and for what configurations of
tool servers name. ``docs/settings.md`` is this table for readers.
"""

from pathlib import Path
from typing import Annotated, Literal

from platformdirs import user_data_path
from pydantic import AfterValidator, BeforeValidator, Field, PositiveInt, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


def _split_names(value: object) -> object:
    """Read ``A, B`` as the names ``A`` and ``B``."""
    return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value


UserPath = Annotated[Path, AfterValidator(Path.expanduser)]
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_names)]

DestructiveTools = Literal["allow", "approve", "refuse"]
ToolChanges = Literal["warn", "refuse"]

Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
SecondsOrZero = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Settings(BaseSettings):
    """The settings of one process; ``Settings()`` reads the environment, keywords override it.

    Raises:
        pydantic.ValidationError: a variable has a value that does not fit; it never shows the value, which
            may be a secret.
    """

    model_config = SettingsConfigDict(
        env_prefix="ARCHON_WORKFLOWS_",
        env_ignore_empty=True,
        frozen=True,
        extra="forbid",
        validate_by_name=True,
        hide_input_in_errors=True,
    )

    database_url: SecretStr | None = None
    """URL of a Postgres 15 or newer; without it (and without Supabase's) the embedded one is used."""

    home: UserPath = Field(default_factory=lambda: user_data_path("archon-workflows"))
    """Folder of the embedded Postgres and of the key file; by default in the user's data directory."""

    tools: UserPath | None = None
    """File in the `mcpServers` format that names the tool servers."""

    secret_key: SecretStr | None = None
    """Fernet key that encrypts secret parameters; without it a key file in the home is made and used."""

    secrets: Names = ()
    """Names of the environment variables that `secrets.X` may read, separated by commas."""

    secrets_file: UserPath | None = None
    """File of further secrets, a JSON object or lines `NAME=value`; only its owner may read it."""

    allowed_tools: Names = ("*",)
    """Tools that steps may call: names or `server/tool`, with `*`, `?` and `[...]`, separated by commas."""

    destructive_tools: DestructiveTools = "allow"
    """Calls of tools annotated as destructive: `allow`, `approve` (someone must say so first), `refuse`."""

    tool_changes: ToolChanges = "warn"
    """Calls of tools that are not what they were when the version was saved: `warn` or `refuse`."""

    lease_seconds: Seconds = 8.0
    """How long an owner may be silent before another process takes its executions over."""

    max_concurrent_executions: PositiveInt = 100
    """How many executions one process advances at the same time; more of them wait."""

    max_starts_per_second: Rate | None = None
    """How many executions a worker takes in a second; none: as many as there is room for."""

    max_calls_per_tool_server: PositiveInt = 32
    """How many calls one process makes to one tool server at the same time; more of them wait."""

    call_timeout_seconds: Seconds = 120.0
    """Deadline of a tool call whose step has no `timeout_seconds`."""

    max_link_depth: PositiveInt = 10
    """How deep workflow links may be nested in one execution."""

    max_tree_steps: PositiveInt = 100_000
    """How many step executions an execution and all that its links start may come to."""

    max_tree_calls: PositiveInt = 100_000
    """How many tool calls they may make together, retries and polls included."""

    max_tree_bytes: PositiveInt = 1_073_741_824
    """How many bytes of tool answers they may take together."""

    max_tree_minutes: Seconds = 527_040.0
    """How long they may run, whatever `timeout_minutes` says; pauses do not count."""

    wait_seconds_limit: Seconds = 50.0
    """Longest wait of one `run_workflow` or `get_execution`; hosts give up after about 60 seconds."""

    shutdown_grace_seconds: SecondsOrZero = 10.0
    """How long running steps may go on after SIGTERM."""

    embedded_linger_seconds: SecondsOrZero = 3.0
    """How long the embedded Postgres stays after its last user, so that the next one finds it warm."""

    http_tokens: SecretStr | None = None
    """Bearer tokens of the callers over HTTP: `name=token` or `name=sha256:HEX`, separated by commas."""

    http_tokens_file: UserPath | None = None
    """File with one such pair a line; lines that begin with `#` are skipped."""

    oauth_issuer: str | None = None
    """OAuth authorization server (its `iss`) whose JWTs are the callers' tokens, instead of bearer tokens."""

    oauth_jwks_url: str | None = None
    """Where that authorization server publishes its keys."""

    oauth_resource: str | None = None
    """URL of this server as its clients write it; a JWT must be issued for it (`aud`)."""

    http_allowed_hosts: Names = ()
    """Names by which clients reach the server besides its address, separated by commas (`Host`, `Origin`)."""

    http_stateless: bool = False
    """Serve streamable HTTP without sessions, so that any process can answer any request."""

    http_request_bytes: PositiveInt = 8_388_608
    """Largest body of an HTTP request."""

    http_request_seconds: Seconds = 30.0
    """How long an HTTP request may take to arrive."""

    http_connections: PositiveInt = 1000
    """How many HTTP connections are served at the same time."""

    log_level: Literal["debug", "info", "warning", "error"] = "warning"
    """How much the program says on standard error."""

    supabase_url: str | None = Field(default=None, validation_alias="SUPABASE_URL")
    """URL of a Supabase project that is reached over PostgREST."""

    supabase_service_key: SecretStr | None = Field(default=None, validation_alias="SUPABASE_SERVICE_KEY")
    """Secret key of that project (`sb_secret_...`, or a legacy `service_role` key)."""


def variable_of(field: str) -> str:
    """Return the environment variable that sets ``field``."""
    alias = Settings.model_fields[field].validation_alias
    prefix = Settings.model_config.get("env_prefix", "")
    return alias if isinstance(alias, str) else f"{prefix}{field}".upper()
