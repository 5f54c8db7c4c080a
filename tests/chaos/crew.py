"""The workers of a run as processes: started quickly, killed, frozen, stopped, replaced."""

import asyncio
import multiprocessing
import os
import signal
import time
from dataclasses import dataclass
from multiprocessing.process import BaseProcess

import psutil
from proxy import Proxy
from worker import WorkerOptions, serve

END_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Worker:
    """One process and its way to the database; a server also has a port where it listens."""

    process: BaseProcess
    proxy: Proxy
    port: int | None

    @property
    def role(self) -> str:
        """What faults call it."""
        return "worker" if self.port is None else "server"

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self.process.pid is not None
        return self.process.pid

    def is_alive(self) -> bool:
        """Whether the process is there, frozen or not."""
        return self.process.is_alive()

    def is_frozen(self) -> bool:
        """Whether the process is stopped."""
        try:
            return psutil.Process(self.pid).status() == psutil.STATUS_STOPPED
        except psutil.NoSuchProcess:
            return False

    def kill(self) -> None:
        """End it without a word to anyone."""
        self._signal(signal.SIGKILL)

    def freeze(self) -> None:
        """Stop it in the middle of whatever it does; what it started goes on."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on as if nothing had happened."""
        self._signal(signal.SIGCONT)

    def ask_to_stop(self) -> None:
        """Let it hand over and end."""
        self._signal(signal.SIGTERM)

    def _signal(self, number: signal.Signals) -> None:
        if self.is_alive():
            os.kill(self.pid, number)


class Crew:
    """Starts workers from one process that has imported everything already."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(
            ["archon_workflows.server.app", "archon_workflows.storage.supabase"]
        )
        self.workers: list[Worker] = []

    def start(self, options: WorkerOptions, proxy: Proxy) -> Worker:
        """Start a worker; it is ready a moment later."""
        process = self._context.Process(target=serve, args=(options,), daemon=True)
        process.start()
        worker = Worker(process, proxy, options.port)
        self.workers.append(worker)
        return worker

    def able(self) -> list[Worker]:
        """Return the workers that are there and not frozen."""
        return [worker for worker in self.workers if worker.is_alive() and not worker.is_frozen()]

    async def bury(self) -> list[Worker]:
        """Forget the workers that have ended, and return them."""
        dead = [worker for worker in self.workers if not worker.is_alive()]
        for worker in dead:
            self.workers.remove(worker)
            worker.process.join()
            worker.process.close()
            await worker.proxy.stop()
        return dead

    async def end(self) -> None:
        """Stop every worker; kill what does not stop."""
        for worker in self.workers:
            worker.thaw()
            worker.ask_to_stop()
        deadline = time.monotonic() + END_SECONDS
        while any(one.is_alive() for one in self.workers) and time.monotonic() < deadline:  # noqa: ASYNC110 - processes send no events
            await asyncio.sleep(0.02)
        for worker in self.workers:
            worker.kill()
            worker.process.join()
        await self.bury()
