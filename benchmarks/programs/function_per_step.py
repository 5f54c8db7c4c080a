"""The floor: a lean checkpoint, one call of one SQL function for each step, and nothing else.

It records that a step is done, with its output, and that the execution has come so far; each call is a
commit. There is no intent before the step, so a crash runs the step again without anybody knowing.
"""

import asyncio
import json
import sys
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import asyncpg  # pyright: ignore[reportMissingTypeStubs] - it has none
from protocol import serve, timed

driver: Any = asyncpg
SESSIONS = 8
SCHEMA = """
create table if not exists lean_executions (
  id uuid primary key, current_step integer not null default 0, updated_at timestamptz not null default now()
);
create table if not exists lean_steps (
  execution_id uuid references lean_executions, step_path text, status text not null, output jsonb,
  completed_at timestamptz not null default now(), primary key (execution_id, step_path)
);
insert into lean_executions (id)
select ('00000000-0000-4000-8000-' || lpad(client::text, 12, '0'))::uuid
from generate_series(0, 999) as client
on conflict do nothing;
create or replace function lean_checkpoint(execution uuid, step integer, path text, result jsonb) returns void
language sql as $$
  update lean_executions set current_step = step, updated_at = clock_timestamp() where id = execution;
  insert into lean_steps (execution_id, step_path, status, output)
  values (execution, path, 'completed', result)
  on conflict (execution_id, step_path) do update set status = excluded.status, output = excluded.output;
$$;
"""


async def main(url: str) -> None:
    single: Any = await driver.connect(url)
    await single.execute(SCHEMA)
    async with driver.create_pool(url, min_size=1, max_size=SESSIONS, reset=leave_as_it_is) as pool:

        async def steps(executions: int, in_flight: int, steps: int) -> Mapping[str, float]:
            session = single if in_flight == 1 else pool

            async def one() -> None:
                execution = uuid4()
                await session.execute("insert into lean_executions (id) values ($1)", execution)
                for number in range(steps):
                    await session.execute(
                        "select lean_checkpoint($1, $2, $3, $4)",
                        execution,
                        number,
                        f"s{number}",
                        json.dumps({"ok": True}),
                    )

            return await timed(one, executions=executions, in_flight=in_flight)

        await serve({"steps": steps})


async def leave_as_it_is(_session: object) -> None:
    """Save the round trip by which a pool resets sessions; the product's own pool does too."""


asyncio.run(main(sys.argv[1]))
