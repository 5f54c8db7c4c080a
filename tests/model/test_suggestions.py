"""Which templates are named for the text of a task."""

import pytest

from archon_workflows.model.parsing import parse_template
from archon_workflows.model.suggestions import rank
from archon_workflows.model.template import Template


def template(name: str, description: str, tool_name: str, *tags: str, category: str = "general") -> Template:
    step = {"type": "action", "tool_name": tool_name}
    document = {
        "name": name,
        "description": description,
        "category": category,
        "tags": list(tags),
        "steps": [step],
    }
    parsed = parse_template(document)
    assert parsed.template is not None
    return parsed.template


TEMPLATES = [
    template(
        "vm_deployment", "Deploys a virtual machine with backup and monitoring", "create_vm", "vm", "server"
    ),
    template(
        "backup_database", "Dumps a Postgres database and stores the dump", "pg_dump", "backup", "postgres"
    ),
    template("release_notes", "Writes the notes of a release from merged pull requests", "git_log", "docs"),
    template("rotate_certificates", "Renews TLS certificates that expire soon", "renew", "security", "tls"),
    template("onboard_employee", "Creates accounts for a new colleague", "create_account", category="people"),
]


@pytest.mark.parametrize(
    ("task", "best"),
    [
        ("We need a new VM for the staging server", "vm_deployment"),
        ("deploying virtual machines", "vm_deployment"),
        ("Back up the customer database before the migration", "backup_database"),
        ("Postgres backups fail on Sundays", "backup_database"),
        ("write release notes for 2.4", "release_notes"),
        ("The TLS certificate of the shop expires on Friday", "rotate_certificates"),
        ("a new colleague starts on Monday and needs accounts", "onboard_employee"),
        ("run pg_dump", "backup_database"),
    ],
)
def test_the_obvious_template_is_first(task: str, best: str) -> None:
    assert rank(task, TEMPLATES)[0].name == best


@pytest.mark.parametrize("task", ["", "the and of", "quarterly tax declaration", "!!!"])
def test_nothing_is_named_where_no_word_is_shared(task: str) -> None:
    assert rank(task, TEMPLATES) == []


def test_every_suggestion_has_a_score_and_a_reason() -> None:
    suggestions = rank("backup the server", TEMPLATES)
    assert [one.score for one in suggestions] == sorted((one.score for one in suggestions), reverse=True)
    assert all(one.score > 0 for one in suggestions)
    assert suggestions[0].why.startswith("shares ")


def test_without_templates_there_are_no_suggestions() -> None:
    assert rank("anything", []) == []
