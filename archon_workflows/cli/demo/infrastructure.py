"""A tool server with a simulated infrastructure, run by the demo as a process of its own over stdio.

It offers the tools that the demo's templates call. It stands alone: nothing of the workflow system is
imported, because a tool server knows nothing of workflows. Everything it makes is gone when it ends.
"""

from secrets import token_hex

import anyio
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import BaseModel

READS = ToolAnnotations(read_only_hint=True)
CHANGES = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=True)

SECONDS_PER_STAGE = 0.3

server = MCPServer(
    "infrastructure",
    instructions="A simulated infrastructure: virtual machines, their backups and a configuration database.",
    log_level="WARNING",
)

_machines: dict[str, str] = {}
_records: dict[str, str] = {}
_announced: set[str] = set()


class Capacity(BaseModel):
    """What is free for machines of one template."""

    template: str
    available: bool
    free_cpus: int
    free_memory_gb: int


class Machine(BaseModel):
    """One virtual machine."""

    vm_id: str
    name: str
    template: str
    ip_address: str


class BackupPlan(BaseModel):
    """When a machine is backed up."""

    plan_id: str
    vm_id: str
    schedule: str
    keep_days: int


class Backup(BaseModel):
    """One backup of a machine."""

    backup_id: str
    vm_id: str
    size_gb: int


class ConfigurationRecord(BaseModel):
    """What the configuration database says of a machine."""

    vm_id: str
    status: str
    earlier_status: str | None


class Announcement(BaseModel):
    """One message and how it got out."""

    channel: str
    message: str
    attempts: int


@server.tool(annotations=READS)
async def check_infrastructure_capacity(template: str) -> Capacity:
    """Say whether there is room for a machine of the template."""
    await anyio.sleep(SECONDS_PER_STAGE)
    return Capacity(template=template, available=True, free_cpus=48, free_memory_gb=192)


@server.tool(annotations=CHANGES)
async def create_virtual_machine(name: str, template: str, context: Context) -> Machine:
    """Create a virtual machine and report each stage; the same name finds the same machine."""
    stages = ("allocating", "copying the disk image", "starting", "waiting for the network")
    for number, stage in enumerate(stages):
        await context.report_progress(number, len(stages), stage)
        await anyio.sleep(SECONDS_PER_STAGE)
    vm_id = _machines.setdefault(name, f"vm-{token_hex(4)}")
    return Machine(vm_id=vm_id, name=name, template=template, ip_address=f"192.0.2.{len(_machines)}")


@server.tool(annotations=CHANGES)
async def update_configuration_database(vm_id: str, status: str) -> ConfigurationRecord:
    """Write down the status of a machine."""
    await anyio.sleep(SECONDS_PER_STAGE)
    earlier = _records.get(vm_id)
    _records[vm_id] = status
    return ConfigurationRecord(vm_id=vm_id, status=status, earlier_status=earlier)


@server.tool(annotations=CHANGES)
async def create_backup_plan(vm_id: str, schedule: str = "daily", keep_days: int = 30) -> BackupPlan:
    """Plan the backups of a machine."""
    await anyio.sleep(SECONDS_PER_STAGE)
    return BackupPlan(plan_id=f"plan-{vm_id}", vm_id=vm_id, schedule=schedule, keep_days=keep_days)


@server.tool(annotations=CHANGES)
async def run_backup(vm_id: str) -> Backup:
    """Back a machine up now."""
    await anyio.sleep(SECONDS_PER_STAGE)
    return Backup(backup_id=f"backup-{token_hex(4)}", vm_id=vm_id, size_gb=12)


@server.tool(annotations=CHANGES)
async def announce(channel: str, message: str, reference: str) -> Announcement:
    """Announce a message. The line is busy at the first try of each reference, to give retries some work."""
    await anyio.sleep(SECONDS_PER_STAGE)
    if reference not in _announced:
        _announced.add(reference)
        raise ToolError(f"The channel {channel!r} is busy; try again.")
    return Announcement(channel=channel, message=message, attempts=2)


if __name__ == "__main__":
    server.run("stdio")
