"""A program that uses an embedded server: it prints the URL, and leaves when its input ends."""

import argparse
import json
import sys
from pathlib import Path

from archon_workflows.errors import StorageError
from archon_workflows.storage.embedded.cluster import Recipe
from archon_workflows.storage.embedded.user import EmbeddedPostgres

parser = argparse.ArgumentParser()
parser.add_argument("home", type=Path)
parser.add_argument("--linger-seconds", type=float, default=0.2)
parser.add_argument("--on-loopback", action="store_true")
options = parser.parse_args()

server = EmbeddedPostgres(
    options.home,
    linger_seconds=options.linger_seconds,
    recipe=Recipe(on_loopback=options.on_loopback),
)
try:
    answer = server.acquire()
except StorageError as error:
    answer = json.dumps(error.as_json())
sys.stdout.write(f"{answer}\n")
sys.stdout.flush()
sys.stdin.read()
server.release()
