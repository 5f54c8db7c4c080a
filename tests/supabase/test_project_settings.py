"""What can be wrong with a project's URL and key, and is said before anything is sent."""

from datetime import UTC, datetime

import pytest
from supabase_projects import ANON_KEY, PUBLISHABLE_KEY, SECRET_KEY, SERVICE_KEY, token

from archon_workflows.errors import StorageError
from archon_workflows.storage.supabase_project import read_project

URL = "https://abcdefghijklmnopqrst.supabase.co"
LONG_AGO = int(datetime(2020, 1, 1, tzinfo=UTC).timestamp())

URLS = [
    (URL, URL),
    (f" {URL}/ ", URL),
    (f"{URL}/rest/v1/", URL),
    (f"{URL}/rest/v1", URL),
    ("http://127.0.0.1:54321", "http://127.0.0.1:54321"),
    ("https://example.org/supabase/", "https://example.org/supabase"),
]


@pytest.mark.parametrize(("given", "url"), URLS)
def test_a_url_is_taken_as_people_write_it(given: str, url: str) -> None:
    assert read_project(given, SECRET_KEY).url == url


WRONG_URLS = [
    ("", "https://"),
    ("abcdefghijklmnopqrst", "https://"),
    ("abcdefghijklmnopqrst.supabase.co", "https://"),
    ("https://", "host"),
    ("https://host:port", "[Pp]ort"),
    ("ftp://abc.supabase.co", "https://"),
    ("postgresql://postgres:s3cret@db.abc.supabase.co:5432/postgres", "URL of a database"),
    ("https://supabase.com/dashboard/project/abcdefghijklmnopqrst/settings", "page of the dashboard"),
]


@pytest.mark.parametrize(("url", "why"), WRONG_URLS)
def test_what_is_no_url_of_a_project_is_refused_with_the_right_one(url: str, why: str) -> None:
    with pytest.raises(StorageError, match=why) as refused:
        read_project(url, SECRET_KEY)
    assert refused.value.code == "supabase_url_invalid"
    assert "SUPABASE_URL" in (refused.value.suggestion or "")
    assert "s3cret" not in str(refused.value.as_json())


def test_the_dashboards_page_names_the_project() -> None:
    with pytest.raises(StorageError) as refused:
        read_project("https://supabase.com/dashboard/project/abcdefghijklmnopqrst/settings", SECRET_KEY)
    assert URL in (refused.value.suggestion or "")


KEYS = [
    (SECRET_KEY, "secret key"),
    (f"\n{SECRET_KEY} ", "secret key"),
    (SERVICE_KEY, "legacy service_role key"),
    (token("service_role", ref="abcdefghijklmnopqrst", exp=4102444800), "legacy service_role key"),
    ("of-a-gateway-of-ones-own", "key of unknown kind"),
    ("three.parts.alone", "key of unknown kind"),
]


@pytest.mark.parametrize(("key", "kind"), KEYS)
def test_a_key_that_may_write_is_taken(key: str, kind: str) -> None:
    project = read_project(URL, key)
    assert (project.key_kind, project.key) == (kind, key.strip())
    assert project.key not in repr(project)


WRONG_KEYS = [
    ("", "empty"),
    ("sb_secret_with\na line", "characters"),
    ("sb_secret_with_\u00fc", "characters"),
    (PUBLISHABLE_KEY, "publishable"),
    (ANON_KEY, "'anon'"),
    (token("authenticated"), "'authenticated'"),
    (token("service_role", exp=LONG_AGO), "expired on 2020-01-01"),
    (token("service_role", ref="zzzzzzzzzzzzzzzzzzzz"), "of the project 'zzzzzzzzzzzzzzzzzzzz'"),
]


@pytest.mark.parametrize(("key", "why"), WRONG_KEYS)
def test_a_key_that_cannot_do_the_work_is_refused_and_not_shown(key: str, why: str) -> None:
    with pytest.raises(StorageError, match=why) as refused:
        read_project(URL, key)
    assert refused.value.code == "supabase_key_invalid"
    assert "sb_secret_" in (refused.value.suggestion or "")
    assert not key or key not in str(refused.value.as_json())
