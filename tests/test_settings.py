"""What the environment says, and that the documentation says the same."""

from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from archon_workflows.model.descriptions import descriptions_of
from archon_workflows.settings import Settings, variable_of

PAGE = Path(__file__).parents[1] / "docs" / "settings.md"
DEFAULT_WORDS = {None: "none", (): "none", ("*",): "`*`"}


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for field in Settings.model_fields:
        monkeypatch.delenv(variable_of(field), raising=False)


CASES = [
    (
        "ARCHON_WORKFLOWS_DATABASE_URL",
        "postgresql://u:p@h/d",
        "database_url",
        SecretStr("postgresql://u:p@h/d"),
    ),
    ("ARCHON_WORKFLOWS_HOME", "~/flows", "home", Path.home() / "flows"),
    ("ARCHON_WORKFLOWS_TOOLS", "/etc/tools.json", "tools", Path("/etc/tools.json")),
    ("ARCHON_WORKFLOWS_SECRETS", "API_KEY, OTHER ,", "secrets", ("API_KEY", "OTHER")),
    ("ARCHON_WORKFLOWS_SECRETS", "", "secrets", ()),
    ("ARCHON_WORKFLOWS_LEASE_SECONDS", "2.5", "lease_seconds", 2.5),
    ("ARCHON_WORKFLOWS_MAX_LINK_DEPTH", "3", "max_link_depth", 3),
    ("SUPABASE_URL", "https://x.supabase.co", "supabase_url", "https://x.supabase.co"),
    ("SUPABASE_SERVICE_KEY", "sb_secret_x", "supabase_service_key", SecretStr("sb_secret_x")),
]


@pytest.mark.parametrize(("variable", "text", "field", "value"), CASES)
def test_a_setting_is_read_from_its_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str, field: str, value: object
) -> None:
    monkeypatch.setenv(variable, text)
    assert getattr(Settings(), field) == value


@pytest.mark.parametrize("text", ["0", "-1", "soon", "nan", "inf", "true"])
def test_a_value_that_does_not_fit_is_refused_without_showing_it(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("ARCHON_WORKFLOWS_LEASE_SECONDS", text)
    with pytest.raises(ValidationError, match="lease_seconds") as caught:
        Settings()
    assert "input_value" not in str(caught.value)


def test_secret_values_are_not_shown() -> None:
    settings = Settings(
        database_url=SecretStr("postgresql://u:s3cret@h/d"), supabase_service_key=SecretStr("s3cret")
    )
    assert "s3cret" not in repr(settings) + str(settings) + settings.model_dump_json()


def test_a_misspelled_keyword_is_refused() -> None:
    with pytest.raises(ValidationError, match="lease_second\n"):
        Settings.model_validate({"lease_second": 3})


@pytest.mark.parametrize("field", Settings.model_fields)
def test_the_documentation_states_each_setting_with_its_meaning_and_default(field: str) -> None:
    given = Settings.model_fields[field].default
    default = "the user's data directory" if field == "home" else DEFAULT_WORDS.get(given)
    meaning = descriptions_of(Settings)[field]
    row = f"| `{variable_of(field)}` | {default or f'`{given}`'} | {meaning} |"
    assert row in PAGE.read_text().splitlines()


def test_the_documentation_states_nothing_else() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    assert len(rows) == len(Settings.model_fields)
