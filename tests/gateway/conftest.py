"""What every test of the gateway gets."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from gateway_harness import LedgerFile


@pytest.fixture
def ledger(tmp_path: Path) -> LedgerFile:
    return LedgerFile(tmp_path / "ledger.jsonl")


@pytest.fixture(autouse=True)
def no_process_is_left_behind() -> Iterator[None]:
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    yield
    left = [child for child in psutil.Process().children(recursive=True) if child.pid not in before]
    _, alive = psutil.wait_procs(left, timeout=3)
    for child in alive:
        with suppress(psutil.NoSuchProcess):
            child.kill()
    assert not alive
