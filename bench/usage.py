"""How long questions about usage take: ``python -m bench.usage sqlite /tmp/folder`` fills a database, and asks.

The calls are spread over 30 days, 500 users with three models each, two providers, five teams by tag, and one failure
in twenty-five. The database makes them by itself, adds them up as the ledger does, and is left in the folder: a second
run asks at once. For PostgreSQL a server is started there; nothing is installed. Each question is asked thrice, and
the slowest is shown.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import sqlite3
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import asyncpg
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.dialects.sqlite.base import SQLiteDialect
from sqlalchemy.schema import CreateIndex, DropIndex

from genai_spine.ledger.stories import Stories
from genai_spine.ledger.usage import UsageReports
from genai_spine.storage.sql.engine import Database
from genai_spine.storage.sql.ledger import LedgerStore
from genai_spine.storage.sql.tables import provider_usage, requests
from genai_spine.storage.sql.usage import UsageFilter, UsageStore
from genai_spine.testing.clock import ManualClock

CALLS: Final = 10_000_000
USERS: Final = 500
DAYS: Final = 30
# A midnight, and the end of the thirty days since.
BEGIN: Final = 1_800_057_600
END: Final = BEGIN + DAYS * 86400
REPEATS: Final = 3

# A user's models lie side by side; how long a call took is spread evenly over its logarithm.
CALL_COLUMNS: Final = """call_id, request, request_id, user_id, api_key_id, key_fingerprint, tags, provider_name,
    model_name, tokens_used, input_tokens, output_tokens, cache_read_tokens, cost_picodollars, response_time_ms,
    first_token_ms, status, created_at"""
ROWS: Final = """
    {series} INSERT INTO provider_usage ({columns})
    SELECT 'c' || (100000000 + i), 'r' || (100000000 + i), 'q' || i, 1 + i * 7919 % {users}, 1 + i * 7919 % {users},
        CAST(10000000 + i * 7919 % {users} AS VARCHAR(16)), {tags},
        CASE i % 2 WHEN 0 THEN 'openai' ELSE 'anthropic' END,
        'model-' || (i * 7919 % {users} + i * 31 % 3) % 12, 1500, 1200, 300, 400, 1000000 * (i % 5000),
        CAST(200 * exp(3.0 * (i * 26544357 % 1000003) / 1000003) AS INTEGER),
        CAST(50 * exp(3.0 * (i * 16544353 % 1000003) / 1000003) AS INTEGER),
        CASE WHEN i % 25 = 0 THEN 'error' ELSE 'success' END, {moment} FROM series
"""
REQUESTS: Final = """
    INSERT INTO requests (id, request_id, user_id, api_key_id, key_fingerprint, tags, door, provider_name, model_name,
        status, http_status, input_tokens, output_tokens, cost_picodollars, response_time_ms, created_at)
    SELECT request, request_id, user_id, api_key_id, key_fingerprint, tags, 'openai_chat', provider_name, model_name,
        status, 200, input_tokens, output_tokens, cost_picodollars, response_time_ms, created_at
    FROM provider_usage WHERE id % 4 = 0
"""
SUMS: Final = """
    INSERT INTO usage_rollups (span, tag, user_id, hour, api_key_id, key_fingerprint, provider_name, model_name, status,
        calls, input_tokens, output_tokens, cache_read_tokens, cost_picodollars)
    SELECT {span}, {tag}, {who}, {hour} - {hour} % {span}, {key}, {fingerprint}, provider_name, model_name,
        status, count(*), sum(input_tokens), sum(output_tokens), sum(cache_read_tokens), sum(cost_picodollars)
    FROM provider_usage GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9
"""
TIMES: Final = """
    INSERT INTO usage_histograms (span, tag, user_id, hour, api_key_id, key_fingerprint, provider_name, model_name,
        status, measure, bucket, calls)
    SELECT {span}, {tag}, {who}, {hour} - {hour} % {span}, {key}, {fingerprint}, {names},
        '{measure}', CAST(ceil(ln(1000.0 * {column}) / {growth}) AS INTEGER), count(*)
    FROM provider_usage GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
"""
SQLITE: Final = {
    "series": "WITH RECURSIVE series(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM series WHERE i < {calls})",
    "moment": "strftime('%Y-%m-%d %H:%M:%f', {begin} + i * {step}, 'unixepoch') || '000'",
    "tags": "{tags}",
    "hour": "CAST(strftime('%s', created_at) AS INTEGER) / 3600",
}
POSTGRESQL: Final = {
    "series": "WITH series(i) AS (SELECT generate_series(1::bigint, {calls}))",
    "moment": "to_timestamp({begin} + i * {step})",
    "tags": "CAST({tags} AS JSON)",
    "hour": "CAST(floor(extract(epoch FROM created_at) / 3600) AS INTEGER)",
}
EACH: Final = {"who": "user_id", "key": "api_key_id", "fingerprint": "key_fingerprint"}
ALL: Final = {"who": "-1", "key": "-1", "fingerprint": "''"}
TAGS: Final = ("''", "'team-' || (user_id - 1) % 5")
NAMES: Final = "provider_name, model_name, status"
NO_NAMES: Final = "'', '', ''"
GROWTH: Final = math.log(1.1)
MEASURES: Final = (("total", "response_time_ms"), ("first_token", "first_token_ms"))
SOMEBODY: Final = UsageFilter(user=77)
QUESTIONS: Final[dict[str, Callable[[UsageReports, Stories, LedgerStore], Awaitable[object]]]] = {
    "by day": lambda usage, _, __: usage.report(["day"]),
    "by day and model": lambda usage, _, __: usage.report(["day", "model"]),
    "by hour": lambda usage, _, __: usage.report(["hour"]),
    "by model, provider and status": lambda usage, _, __: usage.report(["model", "provider", "status"]),
    "by user": lambda usage, _, __: usage.report(["user"]),
    "by key and model": lambda usage, _, __: usage.report(["key", "model"]),
    "by tag": lambda usage, _, __: usage.report(["tag"]),
    "by tag and user": lambda usage, _, __: usage.report(["tag", "user"]),
    "one user by day": lambda usage, _, __: usage.report(["day"], which=SOMEBODY),
    "one user by hour, a week": lambda usage, _, __: usage.report(["hour"], since="7d", which=SOMEBODY),
    "one key by model": lambda usage, _, __: usage.report(["model"], which=UsageFilter(api_key=77)),
    "one fingerprint by day": lambda usage, _, __: usage.report(["day"], which=UsageFilter(fingerprint="10000077")),
    "a page of requests": lambda _, stories, __: stories.page(),
    "a page of one user's": lambda _, stories, __: stories.page(which=SOMEBODY),
    "a page of what failed": lambda _, stories, __: stories.page(which=UsageFilter(status="error")),
    "the story of a request": lambda _, stories, __: stories.story("r100050000"),
    "spent in a month": lambda _, __, ledger: ledger.spent("global", [0], moment(BEGIN), moment(END)),
    "spent by a user in a month": lambda _, __, ledger: ledger.spent("user", [77], moment(BEGIN), moment(END)),
    "spent by a key in a month": lambda _, __, ledger: ledger.spent("key", [77], moment(BEGIN), moment(END)),
}


def moment(seconds: float) -> datetime:
    """A moment, given in seconds since the Unix epoch."""
    return datetime.fromtimestamp(seconds, UTC)


def statements(words: dict[str, str], calls: int) -> Iterator[str]:
    """What fills the tables."""
    numbers = {"calls": calls, "begin": BEGIN, "step": DAYS * 86400 / calls}
    tags = words["tags"].format(tags=f"""'["team-' || i * 7919 % {USERS} % 5 || '"]'""")
    series, created = words["series"].format(**numbers), words["moment"].format(**numbers)
    yield ROWS.format(series=series, columns=CALL_COLUMNS, tags=tags, moment=created, users=USERS)
    yield REQUESTS
    for tag in TAGS:
        for who in (EACH, ALL):
            for span in (1, 24):
                dimensions = {"span": span, "tag": tag, "hour": words["hour"], **who}
                yield SUMS.format(**dimensions)
                if span == 1 and who is EACH:
                    continue
                for names in (
                    "'', '', ''",
                    *(("provider_name, model_name, status",) if span > 1 and who is ALL else ()),
                ):
                    for measure, column in MEASURES:
                        yield TIMES.format(names=names, measure=measure, column=column, growth=GROWTH, **dimensions)


async def fill(address: str, calls: int) -> None:
    """Fill the tables; the indexes are made afterwards, which is quicker."""
    sqlite = address.startswith("sqlite")
    indexes = [index for table in (provider_usage, requests) for index in table.indexes]
    dialect = SQLiteDialect() if sqlite else PGDialect()  # type: ignore[no-untyped-call]  # the library's own
    work = [
        *(str(DropIndex(index).compile(dialect=dialect)) for index in indexes),
        *statements(SQLITE if sqlite else POSTGRESQL, calls),
        *(str(CreateIndex(index).compile(dialect=dialect)) for index in indexes),
        "ANALYZE",
    ]
    if sqlite:
        with contextlib.closing(sqlite3.connect(address.removeprefix("sqlite:///"), isolation_level=None)) as lite:
            lite.execute("PRAGMA synchronous = OFF")
            for statement in work:
                lite.execute(statement)
        return
    # The gateway's own connections give up long before.
    connection = await asyncpg.connect(address)
    try:
        for statement in work:
            await connection.execute(statement)
    finally:
        await connection.close()


async def ask(database: Database) -> None:
    """Ask, and print how long the answers took."""
    # Not at midnight: a report has some hours at either end.
    clock = ManualClock(END - 20_000)
    store = UsageStore(database)
    objects = UsageReports(store, clock), Stories(store, clock), LedgerStore(database, clock)
    for name, question in QUESTIONS.items():
        slowest = 0.0
        for _ in range(REPEATS):
            begun = time.perf_counter()
            await question(*objects)
            slowest = max(slowest, time.perf_counter() - begun)
        print(f"{name:32} {slowest * 1000:8.0f} ms", flush=True)


async def measure(address: str, calls: int) -> None:
    """Fill the database where it is empty, and ask."""
    database = Database.at(address)
    try:
        await database.upgrade()
        async with database.reading() as connection:
            empty = (await connection.execute(sa.select(provider_usage.c.id).limit(1))).scalar() is None
        if empty:
            begun = time.perf_counter()
            await fill(address, calls)
            print(f"filled in {time.perf_counter() - begun:.0f} s", flush=True)
        async with database.reading() as connection:
            for table in ("provider_usage", "requests", "usage_rollups", "usage_histograms"):
                rows = (await connection.execute(sa.text(f"SELECT count(*) FROM {table}"))).scalar()  # noqa: S608  # ours
                print(f"{table:32} {rows:8} rows", flush=True)
        await ask(database)
    finally:
        await database.close()


@contextlib.contextmanager
def served(kind: str, folder: Path) -> Iterator[str]:
    """The address of a database in a folder."""
    if kind == "sqlite":
        yield f"sqlite:///{folder}/usage.db"
        return
    from tests.postgres import PostgresServer  # noqa: PLC0415  # its packages are for tests

    server = PostgresServer(folder / "postgresql")
    try:
        yield server.address()
    finally:
        server.stop()


def main(kind: str, folder: str, calls: str = str(CALLS)) -> None:
    """Measure one kind of database."""
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    with served(kind, path) as address:
        asyncio.run(measure(address, int(calls)))


if __name__ == "__main__":
    main(*sys.argv[1:])
