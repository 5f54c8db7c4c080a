"""A Supabase project in a process of its own, as it is in life: ``project_process.py HOME``.

Prints its API's URL and secret key and its database's URL as a line of JSON; then, for each line that it
reads, how often each path of the API was asked for since the line before.
"""

import json
import sys
from pathlib import Path

from supabase_projects import SECRET_KEY, open_surroundings, project_database, served

from archon_workflows.storage.embedded.user import EmbeddedPostgres


def say(what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def main(home: Path) -> None:
    server = EmbeddedPostgres(home, linger_seconds=0.5)
    try:
        with (
            open_surroundings(server.acquire()) as surroundings,
            project_database(surroundings, "new_project_migrated") as database_url,
            served(database_url, surroundings) as project,
        ):
            say({"url": project.url, "key": SECRET_KEY, "database_url": project.editor_url})
            for _ in sys.stdin:
                say(dict(project.gateway.calls))
                project.gateway.calls.clear()
    finally:
        server.release()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
