"""``python -m archon_workflows``, and the command ``archon-workflows``."""

import gc


def main() -> None:
    """Run the command line; the process ends with one of the codes in ``archon_workflows.cli.exits``."""
    # What importing makes stays, so looking for garbage meanwhile finds none; it took a sixth of a server's
    # start. Later looks pass over it, too.
    gc.disable()
    from archon_workflows.cli import main as run_command  # noqa: PLC0415 - see above

    gc.freeze()
    gc.enable()
    run_command()


if __name__ == "__main__":
    main()
