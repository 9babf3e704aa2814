"""T10: what the gateway leans on fails; what still works, what is refused, how it is told, and what comes after.

Each row of ``docs/failure-modes.md`` names its test, here or elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import pytest

from genai_spine.assembly import Spine
from genai_spine.cli.office import in_database
from genai_spine.cli.serve import tell
from genai_spine.errors import DatabaseDownError, JournalError
from genai_spine.ledger.records import BEGUN, ENDED, encoded
from genai_spine.settings import Settings
from genai_spine.shared_state.meters import Meter
from genai_spine.storage.records import KeyFacts, KeyRecord
from genai_spine.storage.sql.tables import provider_usage
from genai_spine.telemetry.logging import LineWriter
from genai_spine.telemetry.metric_files import MetricFiles
from genai_spine.telemetry.prometheus import PrometheusObserver
from genai_spine.testing.clock import ManualClock
from genai_spine.testing.upstream import Scripted
from genai_spine.types.ledger import CallBegun
from genai_spine.types.principal import ANYBODY
from tests.databases import fresh_address
from tests.flow.fleets import Fleet, fleet
from tests.flow.replicas import change
from tests.journals import begun, replaced, segments
from tests.ledgers import NOON, call, rows
from tests.postgres import postgres
from tests.redis_server import RedisServer

Log = tuple[io.StringIO, LineWriter]

CALL: Final[dict[str, Any]] = {"max_tokens": 100}
HOUR: Final = Meter("usd:hour:global:", "hour", accounted=True)
LIMITED: Final = {"GENAI_BUDGET_HOURLY": "1"}


def events(log: Log) -> list[str]:
    """What the log tells, in order; nothing more is written to it."""
    stream, writer = log
    writer.close()
    return [json.loads(line)["event"] for line in stream.getvalue().splitlines()]


async def refusal(running: Fleet, **fields: Any) -> tuple[int, str]:
    """Ask; return status and code of the error."""
    answer = await running.ask(**{**CALL, **fields})
    return answer.status, answer.json()["error"]["code"]


async def degraded(running: Fleet) -> tuple[int, list[str]]:
    """The status of ``/ready``, and what it tells to be amiss."""
    answer = await running.call("GET", "/ready")
    return answer.status, sorted(answer.json().get("degraded", {}))


async def standing(running: Fleet) -> tuple[int, int]:
    """What of the hour's budget is used and held, in nanodollars."""
    (reading,) = await running.gateway.spine.books.state.read([HOUR])
    return reading.used, reading.held


async def recorded(running: Fleet) -> list[str]:
    """How the calls ended that the database knows of, once all that happened is there."""
    books = running.gateway.spine.books
    await books.shipper.flush()
    return [row["status"] for row in await rows(books.database, provider_usage)]


# The database.


async def test_a_database_that_is_down_at_start(tmp_path: Path, log: Log) -> None:
    """Requests are served from the beginning; their rows come when the database does, with its tables."""
    place = tmp_path / "later"
    place.write_text("where the folder of the database should be")
    async with fleet("openai", environ={"GENAI_DATABASE_URL": f"sqlite:///{place}/spine.db"}) as running:
        assert 200 == (await running.ask()).status
        assert 503 == (await running.call("GET", "/v1/usage")).status
        place.unlink()
        assert ["success"] == await recorded(running)
        assert 200 == (await running.call("GET", "/v1/usage")).status
    assert any("requests are served, and what happens is kept in the journal" in event for event in events(log))


@pytest.fixture
def outage() -> Iterator[Callable[[], None]]:
    """Stops PostgreSQL; it is started again at the end."""
    server = postgres()
    yield server.stop
    server.start()


async def test_a_database_that_goes_away(outage: Callable[[], None], log: Log) -> None:
    """All calls go on; what is read from the database is a 503; when it is back all rows are there, once."""
    async with fleet("openai", environ={"GENAI_DATABASE_URL": await fresh_address("postgresql")}) as running:
        assert 200 == (await running.ask()).status
        assert ["success"] == await recorded(running)
        outage()
        assert 200 == (await running.ask()).status
        usage = await running.call("GET", "/v1/usage")
        assert (503, "database_down") == (usage.status, usage.json()["error"]["code"])
        with pytest.raises(DatabaseDownError):
            await recorded(running)
        assert (200, ["database"]) == await degraded(running)
        postgres().start()
        assert ["success"] * 2 == await recorded(running)
        assert (200, []) == await degraded(running)
    told = events(log)
    assert "the ledger cannot be written to its database; what happens is kept in the journal" in told
    assert "the ledger's database is back" in told


def test_a_database_that_goes_away_before_the_audit(
    outage: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """What the command line has changed stands, and is shown, a new key's secret too; that no audit has it is told."""
    settings = Settings({"GENAI_DATABASE_URL": asyncio.run(fresh_address("postgresql"))})

    async def work(spine: Spine) -> KeyRecord:
        record, _ = await spine.office.create_key(ANYBODY, KeyFacts(name="laptop"))
        outage()
        return record

    async def look(spine: Spine) -> tuple[KeyRecord, list[str]]:
        told = [event["event"] for event in (await spine.books.audit.page([])).data]
        return await spine.office.key(ANYBODY, record.id), told

    record = in_database(settings, work)
    warning = "warning: the database went away before the audit had this: key_created, key 1 was made\n"
    assert warning == capsys.readouterr().err
    postgres().start()
    assert (record, []) == in_database(settings, look)


async def test_a_database_without_room(log: Log) -> None:
    """A file that may not grow is a database that is away: calls go on, and their rows come when there is room."""
    async with fleet("openai") as running:
        books = running.gateway.spine.books

        async def may_have(pages: int) -> None:
            async with AsyncExitStack() as stack:
                # The bound is each connection's own: all that there are, at once.
                for _ in range(5):
                    connection = await stack.enter_async_context(books.database.reading())
                    await connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
            await books.database.write(lambda writer: writer.exec_driver_sql(f"PRAGMA max_page_count={pages}").close())

        await may_have(1)
        asked = 0
        while not books.shipper.trouble:
            assert 200 == (await running.ask(user="somebody " * 100)).status
            asked += 1
        assert "full" in books.shipper.trouble
        assert 200 == (await running.ask()).status
        await may_have(1 << 20)
        assert ["success"] * (asked + 1) == await recorded(running)
    assert "the ledger's database is back" in events(log)


# Redis.


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    """A server of the test's own."""
    with RedisServer() as server:
        yield server


def sharing(server: RedisServer, **environ: str) -> dict[str, str]:
    """The environment of a gateway that counts there."""
    return {"GENAI_REDIS_URL": server.url, **environ}


async def test_redis_is_down_at_start(redis: RedisServer, log: Log) -> None:
    """The gateway starts and says so; a caller with a budget is refused, told when to come again, and let in later."""
    redis.stop()
    async with fleet("openai", environ=sharing(redis, **LIMITED)) as running:
        assert (200, ["shared_state"]) == await degraded(running)
        answer = await running.ask(**CALL)
        assert (503, "shared_state_unavailable") == (answer.status, answer.json()["error"]["code"])
        assert int(answer.headers["retry-after"]) >= 1
        assert {} == running.called
        redis.start()
        while (await running.ask(**CALL)).status != 200:
            assert {} == running.called
        assert (200, []) == await degraded(running)
    told = events(log)
    assert 1 == sum(event.startswith("Redis cannot be reached") for event in told)
    assert 1 == told.count("Redis is back")


@pytest.mark.parametrize("how", [RedisServer.stop, RedisServer.pause], ids=["stopped", "hanging"])
async def test_redis_goes_away(redis: RedisServer, log: Log, how: Callable[[RedisServer], None]) -> None:
    """A caller with a limit is refused, soon also where the server just hangs; one without is served as ever."""
    rate = {"GENAI_RATE_LIMIT_REQUESTS_PER_MINUTE": "100"}
    async with (
        fleet("openai", environ=sharing(redis, **rate)) as limited,
        fleet("openai", environ=sharing(redis)) as free,
    ):
        assert 200 == (await limited.ask(**CALL)).status
        how(redis)
        assert (503, "shared_state_unavailable") == await refusal(limited)
        assert {"openai": 1} == limited.called
        assert 200 == (await free.ask(**CALL)).status
        assert (200, ["shared_state"]) == await degraded(limited)
        if how is RedisServer.pause:
            redis.resume()
        else:
            redis.start()
        while (await limited.ask(**CALL)).status != 200:
            pass
    assert "Redis is back" in events(log)


async def test_callers_pass_without_redis_where_that_is_wanted(redis: RedisServer) -> None:
    """With ``on_state_lost = "pass"`` nobody is refused; that a budget is not looked after is a warning."""
    async with fleet("openai", environ=sharing(redis, **LIMITED, GENAI_ON_STATE_LOST="pass")) as running:
        redis.stop()
        answer = await running.ask(**CALL)
        assert 200 == answer.status
        assert "budgets cannot be looked after now" in answer.headers["x-spine-warnings"]


@pytest.mark.parametrize("limit", ["GENAI_BUDGET_DAILY", "GENAI_RATE_LIMIT_REQUESTS_PER_MINUTE"])
async def test_whether_callers_pass_is_set_while_redis_is_away(redis: RedisServer, limit: str) -> None:
    """What becomes of callers with a limit is changed when it is needed, and changed back, without another start."""
    async with fleet("openai", environ=sharing(redis, **{limit: "100"})) as running:
        redis.stop()
        assert (503, "shared_state_unavailable") == await refusal(running)
        await change(running, "PUT", "/v1/admin/settings/on_state_lost", {"value": "pass"})
        assert 200 == (await running.ask(**CALL)).status
        await change(running, "DELETE", "/v1/admin/settings/on_state_lost")
        assert (503, "shared_state_unavailable") == await refusal(running)


async def test_redis_forgets(redis: RedisServer) -> None:
    """What was spent before counts on: it is asked of the ledger; till then callers with a budget wait."""
    async with fleet("openai", environ=sharing(redis, **LIMITED)) as running:
        while (await running.ask(**CALL)).status != 200:
            assert {} == running.called
        spent, _ = await standing(running)
        redis.forget()
        while (await running.ask(max_tokens=10_000_000)).status != 402:
            pass
        assert {"openai": 1} == running.called
        assert (spent, 0) == await standing(running)


async def test_redis_may_evict(redis: RedisServer, log: Log) -> None:
    """A server that forgets meters when its memory is full is told of, once; one without such a bound is not."""
    redis.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    async with fleet("openai", environ=sharing(redis)) as running:
        assert (200, []) == await degraded(running)
    redis.command("CONFIG", "SET", "maxmemory", "1gb")
    async with fleet("openai", environ=sharing(redis)) as running:
        answer = await running.call("GET", "/ready")
        assert 200 == answer.status
        assert "allkeys-lru" in answer.json()["degraded"]["shared_state"]
    redis.command("ACL", "SETUSER", "default", "-info")
    async with fleet("openai", environ=sharing(redis)) as running:
        assert (200, []) == await degraded(running)
    assert 1 == events(log).count("Redis is not set up to keep budgets and limits")


# The disk.


def journal_of(running: Fleet) -> Path:
    """The file that is written to."""
    journal = running.gateway.spine.ledger.journal
    assert journal is not None
    return segments(journal.folder)[-1]


async def test_a_disk_without_room(log: Log) -> None:
    """A call that cannot be written down is refused and not made; one that was begun before is recorded nonetheless."""
    async with fleet("openai") as running:
        service = running.services["openai"]
        running.script("openai", Scripted(silent_before=True))
        under_way = asyncio.create_task(running.ask(headers={"x-spine-timeout": "1"}))
        await service.until(lambda: len(service.received) == 1)
        journal = running.gateway.spine.ledger.journal
        assert journal is not None
        await journal.sync(journal.position)
        with replaced(journal_of(running), "/dev/full"):
            assert (503, "ledger_full") == await refusal(running)
            assert 504 == (await under_way).status
            assert {"openai": 1} == running.called
            assert ["timeout"] == await recorded(running)
        assert 200 == (await running.ask()).status
        assert ["success", "timeout"] == sorted(await recorded(running))
    told = events(log)
    assert "records are kept in memory, for the journal does not take them" in told
    assert "no records are kept in memory any more" in told


async def test_a_disk_that_fails(log: Log) -> None:
    """Where it does not keep what it is given another journal is begun, and what is open is written there again."""
    async with fleet("openai") as running:
        service, ledger = running.services["openai"], running.gateway.spine.ledger
        first = ledger.journal
        assert first is not None
        running.script("openai", Scripted(silent_before=True))
        with replaced(journal_of(running), "/dev/null"):
            under_way = asyncio.create_task(running.ask(headers={"x-spine-timeout": "1"}))
            await service.until(lambda: len(service.received) == 1)
            with pytest.raises(JournalError):
                await first.sync(first.position)
            assert 200 == (await running.ask()).status
            assert first is not ledger.journal
            assert 504 == (await under_way).status
        assert ["success", "timeout"] == sorted(await recorded(running))
        assert (200, []) == await degraded(running)
    assert "the journal's disk failed; another is begun" in events(log)


async def test_a_disk_that_stays_broken(tmp_path: Path) -> None:
    """Where no other journal can be begun no call is made: a 503 says so, and so does ``/ready``."""
    async with fleet("openai", environ={"GENAI_DATA_DIR": str(tmp_path / "data")}) as running:
        journals = running.gateway.spine.settings.journals
        with replaced(journal_of(running), "/dev/null"):
            aside = journals.rename(tmp_path / "aside")
            journals.write_text("no folder any more")
            await running.ask()
            assert (503, "ledger_failed") == await refusal(running)
            assert {"openai": 1} == running.called
            assert (503, ["journal"]) == await degraded(running)
            journals.unlink()
            aside.rename(journals)


async def test_a_data_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    """The gateway does not start, and says which folder it is."""
    (tmp_path / "data").write_text("no folder")
    settings = Settings({"GENAI_DATA_DIR": str(tmp_path / "data"), "GENAI_DATABASE_URL": await fresh_address("sqlite")})
    with pytest.raises(JournalError, match=r"no journal can be kept in .*data/journal"):
        await Spine(settings).__aenter__()


# Telemetry.


async def test_the_folder_of_metrics_is_gone(tmp_path: Path) -> None:
    """Requests are served, and what this worker counted is on its page."""
    folder = tmp_path / "metrics"
    folder.mkdir()
    metrics = PrometheusObserver(MetricFiles(folder, "1-1"))
    settings = Settings({"GENAI_PROBE_LOCAL": "false", "GENAI_DATABASE_URL": await fresh_address("sqlite")})
    async with Spine(settings, metrics=metrics) as spine:
        shutil.rmtree(folder)
        assert "Hello!" == (await spine.complete("Hello!")).content
        page = metrics.page().decode()
    assert 'genai_requests_total{door="library",outcome="success",provider="simulator"} 1.0' in page


def test_a_greeting_that_nobody_reads(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """A standard output that takes nothing is told in the log; the gateway serves."""
    with contextlib.suppress(OSError), Path("/dev/full").open("w", encoding="utf-8") as full:
        monkeypatch.setattr("sys.stdout", full)
        tell("GenAI Spine at http://127.0.0.1:8100", [])
    assert ["the greeting could not be printed"] == events(log)


# The clock.


async def test_the_clock_jumps() -> None:
    """Forward, a budget begins anew with its window; back, what was spent in a window counts in it again."""
    clock = ManualClock(1_800_000_000.0)
    async with fleet("openai", clock=clock, environ={"GENAI_BUDGET_HOURLY": "0.0001"}) as running:
        assert 200 == (await running.ask(**CALL)).status
        spent, _ = await standing(running)
        assert 0 < spent
        clock.set_now(1_800_000_000.0 + 7200)
        assert (0, 0) == await standing(running)
        assert 200 == (await running.ask(**CALL)).status
        clock.set_now(1_800_000_000.0)
        assert 402 == (await running.ask(max_tokens=1000)).status
        assert (await standing(running))[0] >= spent
        assert ["success"] * 2 == await recorded(running)


# A worker.


async def test_what_a_dead_worker_spent_counts(tmp_path: Path) -> None:
    """A budget that is told anew what was spent counts what dead workers had not brought to the database, too."""
    settings = {"GENAI_DATA_DIR": str(tmp_path), **LIMITED}
    async with fleet("openai", clock=ManualClock(NOON + 60), environ=settings) as running:
        dead = begun(running.gateway.spine.settings.journals)
        dollar = 10**12
        for entry in call("the-dead-one-1", at=NOON, cost=dollar):
            dead.append(BEGUN if isinstance(entry, CallBegun) else ENDED, encoded(entry))
        dead._lock.free()
        assert (402, "budget_exceeded") == await refusal(running)
        assert (10**9, 0) == await standing(running)
        assert {} == running.called
