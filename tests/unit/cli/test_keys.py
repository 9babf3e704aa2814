"""``spine keys``, ``spine users`` and ``spine budgets``: on the database of the settings, without a gateway."""

from __future__ import annotations

import asyncio
import json
import os

import pytest
from typer.testing import CliRunner, Result

from genai_spine.cli.greeting import access_to
from genai_spine.cli.main import app
from genai_spine.clock import SystemClock
from genai_spine.identity.api_keys import is_secret, prefix_of
from genai_spine.settings import Settings
from genai_spine.storage.records import FoundKey
from genai_spine.storage.sql.engine import Database
from genai_spine.storage.sql.identities import Identities
from tests.conftest import Gateways
from tests.databases import KINDS, fresh_address


@pytest.fixture(autouse=True, params=KINDS)
def address(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A new database, told to the command by the environment."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")
    found = asyncio.run(fresh_address(request.param))
    monkeypatch.setenv("GENAI_DATABASE_URL", found)
    return found


def run(*arguments: str) -> Result:
    """Run ``spine``; its output and its errors are apart."""
    return CliRunner().invoke(app, arguments)


def cells(result: Result) -> list[list[str]]:
    """The rows of a table, without its head."""
    assert 0 == result.exit_code, result.output
    return [line.split() for line in result.stdout.splitlines()[1:]]


def found(address: str, key: str) -> FoundKey | None:
    """What the database knows of a key."""

    async def look() -> FoundKey | None:
        database = Database.at(address)
        try:
            prefix = prefix_of(key) or ""
            known = (await Identities(database, SystemClock()).find([prefix])).get(prefix)
            return known if known is not None and is_secret(key, known.secret) else None
        finally:
            await database.close()

    return asyncio.run(look())


def test_a_key_alone_is_printed(address: str) -> None:
    """The standard output is the key and nothing else, so that it can be piped; what is said of it is elsewhere."""
    assert 0 == run("users", "add", "ada", "--email", "ada@example.org").exit_code
    made = run(
        *("keys", "create", "laptop", "--user", "ada", "--scope", "inference", "--scope", "keys"),
        *("--provider", "simulator", "--model", "echo", "--tag", "team-a", "--expires", "30d"),
        *("--requests-per-minute", "60", "--max-concurrent", "2"),
    )
    assert 0 == made.exit_code, made.output
    known = found(address, made.stdout.strip())
    assert known is not None
    assert known.user is not None
    facts = known.key.facts
    assert ("laptop", "ada", ("inference", "keys")) == (facts.name, known.user.facts.name, facts.scopes)
    assert (("simulator",), ("echo",), ("team-a",)) == (facts.providers, facts.models, facts.tags)
    assert (60, None, 2) == (
        facts.rates.requests_per_minute,
        facts.rates.tokens_per_minute,
        facts.rates.max_concurrent,
    )
    assert facts.expires_at is not None
    assert 30 == round((facts.expires_at - known.key.created_at).total_seconds() / 86400)
    assert "shown this once" in made.stderr


def test_keys_are_listed_rotated_and_revoked(address: str) -> None:
    """The list has each key once, however often it was rotated, and no secret."""
    run("users", "add", "ada")
    first = run("keys", "create", "one", "--user", "ada").stdout.strip()
    other = run("keys", "create", "two").stdout.strip()
    rotated = run("keys", "rotate", "1", "--grace", "0s")
    newer = rotated.stdout.strip()
    assert found(address, first) is None
    assert found(address, newer) is not None
    listed = run("keys", "list")
    assert [["1", "one", prefix_of(newer)], ["2", "two", prefix_of(other)]] == [row[:3] for row in cells(listed)]
    assert all(key not in listed.output for key in (first, other, newer))
    assert ["1"] == [row[0] for row in cells(run("keys", "list", "--user", "ada"))]
    assert 0 == run("keys", "revoke", "1").exit_code
    assert [True, False] == ["revoked" in row for row in cells(run("keys", "list"))]


def test_users_are_changed_and_removed(address: str) -> None:
    """A user who is removed takes his keys with him."""
    run("users", "add", "ada", "--admin")
    key = run("keys", "create", "one", "--user", "ada", "--scope", "admin").stdout.strip()
    assert [["1", "ada", "admin", "active"]] == cells(run("users", "list"))
    changed = run("users", "change", "ada", "--role", "member", "--barred")
    assert 0 == changed.exit_code, changed.output
    assert [["1", "ada", "member", "barred"]] == cells(run("users", "list"))
    assert 0 == run("users", "remove", "ada").exit_code
    assert found(address, key) is None
    assert [] == cells(run("users", "list"))


def test_budgets_are_set_listed_and_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a gateway they are listed all the same, with those of the settings; what is spent is left out."""
    monkeypatch.setenv("GENAI_BUDGET_HOURLY", "3")
    run("users", "add", "ada")
    run("keys", "create", "laptop")
    assert "budget 1 is set" in run("budgets", "set", "12.5", "--window", "day").stderr
    run("budgets", "set", "1", "--window", "month", "--user", "ada", "--action", "warn")
    run("budgets", "set", "0.000000001", "--window", "none", "--key", "1")
    run("budgets", "set", "20", "--window", "day")
    listed = run("budgets", "list")
    expected = [
        ["settings", "everybody", "hour", "3", "block"],
        ["1", "everybody", "day", "20", "block"],
        ["2", "user", "1", "month", "1", "warn"],
        ["3", "key", "1", "none", "0.000000001", "block"],
    ]
    assert expected == cells(listed)
    assert "no gateway answers" in listed.stderr
    assert "budget 2 is removed" in run("budgets", "remove", "2").stderr
    assert ["settings", "1", "3"] == [row[0] for row in cells(run("budgets", "list"))]


def test_what_the_command_line_changes_is_in_the_audit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each change is in the chain, with whose command line it was; what fails is none."""
    monkeypatch.setenv("LOGNAME", "operator")
    for words in (
        "users add ada",
        "users change ada --barred",
        "keys create laptop --user ada",
        "keys rotate 1",
        "keys revoke 1",
        "keys revoke 7",
        "budgets set 1 --window day",
        "budgets remove 1",
        "users remove ada",
        "config set routing_strategy speed",
        "config unset routing_strategy",
    ):
        run(*words.split())
    told = [json.loads(line) for line in run("audit", "export").stdout.splitlines()]
    expected = [
        *("user_created", "user_changed", "key_created", "key_rotated", "key_revoked"),
        *("budget_changed", "budget_removed", "user_removed", "config_change", "config_change"),
    ]
    assert expected == [one["event"] for one in told]
    assert {("command line", "operator")} == {(one["details"]["actor"], one["details"]["account"]) for one in told}
    assert ("key 1 was revoked", "1") == (told[4]["reason"], told[4]["details"]["key"])
    assert 0 == run("audit", "verify").exit_code


def test_the_first_key_is_in_the_audit() -> None:
    """It may do everything, so that it was made is told, once."""
    settings = Settings(os.environ)
    for _ in range(2):
        access_to(settings, auth=True)
    (told,) = [json.loads(line) for line in run("audit", "export").stdout.splitlines()]
    assert ("key_created", "the first key was made") == (told["event"], told["reason"])


async def test_a_gateway_tells_how_they_stand(address: str, gateways: Gateways) -> None:
    """What is spent and set aside, what is left, and when each begins anew."""
    gateway = await gateways.start(GENAI_DATABASE_URL=address)
    await asyncio.to_thread(run, "budgets", "set", "2", "--window", "none")
    listed = await asyncio.to_thread(run, "budgets", "list", "--url", gateway.url, "--key", gateway.key)
    assert [["1", "everybody", "none", "2", "block", "0", "0", "2"]] == cells(listed)
    assert "" == listed.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("keys", "create", "x", "--user", "nobody"), "no user 'nobody'"),
        (("keys", "create", "x", "--scope", "all"), "inference, read, keys"),
        (("keys", "create", "x", "--provider", "opneai"), "openai"),
        (("keys", "create", "x", "--expires", "soon"), "30d"),
        (("keys", "rotate", "7"), "no API key 7"),
        (("keys", "revoke", "7"), "no API key 7"),
        (("users", "remove", "nobody"), "no user 'nobody'"),
        (("budgets", "set", "much", "--window", "day"), "'much' is not an amount"),
        (("budgets", "set", "1", "--window", "day", "--key", "7"), "no key 7"),
        (("budgets", "set", "1", "--window", "day", "--key", "7", "--user", "ada"), "--user or --key"),
        (("budgets", "remove", "7"), "no budget 7"),
        (("budgets", "list", "--url", "http://127.0.0.1:9"), "no gateway answers"),
    ],
    ids=str,
)
def test_a_mistake_is_told_in_a_line(arguments: tuple[str, ...], told: str) -> None:
    """It leaves with status 2, and nothing on the standard output that could be taken for a key."""
    result = run(*arguments)
    assert (2, "") == (result.exit_code, result.stdout)
    assert told in result.stderr
    assert 1 == len(result.stderr.splitlines())
