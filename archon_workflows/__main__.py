"""``python -m archon_workflows``: the command ``archon-workflows``."""

from archon_workflows.cli import main

if __name__ == "__main__":
    main()
