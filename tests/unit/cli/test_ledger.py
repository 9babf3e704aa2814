"""The commands that read the ledger: usage as a table and for programs, and the audit examined and written out."""

from __future__ import annotations

import asyncio
import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner, Result

from genai_spine.cli.main import app
from genai_spine.storage.sql.engine import Database
from genai_spine.storage.sql.ledger import LedgerStore
from genai_spine.types.ledger import AuditEvent, CallBegun, CallEnded, Caller
from tests.databases import fresh_address
from tests.ledgers import NOON, call

TIME: Final = ("--since", "2027-01-15", "--until", "2027-01-16")


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """The address of a database with all tables, which the settings name."""
    found = asyncio.run(fresh_address("sqlite"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("GENAI_DATABASE_URL", found)
    return found


def run(*arguments: str) -> Result:
    """Run ``spine``."""
    return CliRunner().invoke(app, arguments)


def record(
    address: str, *, calls: Sequence[tuple[CallBegun, CallEnded]] = (), events: Sequence[tuple[str, AuditEvent]] = ()
) -> None:
    """Put something into the ledger."""

    async def work() -> None:
        database = Database.at(address)
        await LedgerStore(database).record(calls, [], events)
        await database.close()

    asyncio.run(work())


def change(address: str, statement: str) -> None:
    """Do to the database what nobody should."""

    async def work() -> None:
        database = Database.at(address)
        async with database.writing() as connection:
            await connection.execute(sa.text(statement))
        await database.close()

    asyncio.run(work())


def test_usage(address: str) -> None:
    """A table with a row for each group and one of all; CSV and JSON tell the same."""
    tags = Caller(tags=("[red]", "x"))
    record(address, calls=[call("a", caller=tags), call("b", provider="groq", outcome="error", cost=1)])
    shown = run("usage", "--by", "day,provider", *TIME)
    assert 0 == shown.exit_code, shown.output
    lines = [line.split() for line in shown.stdout.splitlines()]
    assert ["2027-01-15", "groq", "1", "1", "100", "20", "0.000000000001"] == lines[1][:7]
    assert ["2027-01-15", "openai", "1", "0", "100", "20", "0.000027"] == lines[2][:7]
    assert ["2", "1", "200", "40", "0.000027000001"] == lines[3][:5]
    assert "[red]" in run("usage", "--by", "tag", *TIME).stdout
    rows = list(csv.DictReader(run("usage", "--by", "provider", "--csv", *TIME).stdout.splitlines()))
    assert [("groq", "0.000000000001"), ("openai", "0.000027")] == [(row["provider"], row["cost_usd"]) for row in rows]
    told = json.loads(run("usage", "--json", "--provider", "groq", *TIME).stdout)
    assert (1, ["day"]) == (told["totals"]["calls"], told["by"])
    assert 0 == run("usage").exit_code
    wrong = run("usage", "--by", "colour")
    assert 2 == wrong.exit_code
    assert "colour" in wrong.stderr


def test_the_audit_is_examined(address: str) -> None:
    """What is whole is told with an anchor, which a later run takes; what was changed leaves with status 1."""
    empty = run("audit", "verify")
    assert (0, "") == (empty.exit_code, empty.stdout)
    record(address, events=[(f"e{number}", AuditEvent(at=NOON, event="nav")) for number in range(3)])
    whole = run("audit", "verify")
    anchor = whole.stdout.strip()
    assert 0 == whole.exit_code
    assert anchor.startswith("3:")
    record(address, events=[("e3", AuditEvent(at=NOON, event="nav"))])
    for option in ("--expect", "--since"):
        assert 0 == run("audit", "verify", option, anchor).exit_code
    change(address, "DELETE FROM audit WHERE sequence > 2")
    assert 0 == run("audit", "verify").exit_code
    for option in ("--expect", "--since"):
        assert 1 == run("audit", "verify", option, anchor).exit_code
    change(address, "UPDATE audit SET reason = 'nothing' WHERE sequence = 2")
    changed = run("audit", "verify")
    assert 1 == changed.exit_code
    assert "row 2 was changed; all that stands before is as it was written" in changed.stderr
    assert 2 == run("audit", "verify", "--expect", "3").exit_code


def test_the_audit_is_written_out(address: str) -> None:
    """A line of JSON for each event, the oldest first; options leave out the others."""
    kinds = ("nav", "budget", "nav")
    told = [(f"e{at}", AuditEvent(at=(NOON + at * 86400) * 1_000_000, event=kind)) for at, kind in enumerate(kinds)]
    record(address, events=told)

    def written(*options: str) -> list[int]:
        return [json.loads(line)["sequence"] for line in run("audit", "export", *options).stdout.splitlines()]

    assert [1, 2, 3] == written()
    assert [2] == written("--event", "budget")
    assert [1] == written(*TIME)
