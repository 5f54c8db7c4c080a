"""``python tests/chaos``: the long form (see ``run``), with the folders at hand whose parts it shares."""

import sys
from pathlib import Path
from runpy import run_module

if __name__ == "__main__":
    tests = Path(__file__).parents[1]
    sys.path += [str(tests / "supabase"), str(tests / "storage")]
    run_module("run", run_name="__main__")
