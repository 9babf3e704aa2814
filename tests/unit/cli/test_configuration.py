"""``spine config`` and ``spine db``: what is in effect, its changes, and the database's form."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from typer.testing import CliRunner, Result

from genai_spine.assembly import Spine
from genai_spine.cli.main import app
from genai_spine.configuration.changes import ProviderChange
from genai_spine.storage.sql.tables import HEAD


@pytest.fixture(autouse=True)
def _folder_and_width(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A folder of one's own, with a spine.toml, and a terminal wide enough for every table."""
    (tmp_path / "spine.toml").write_text('routing_strategy = "speed"\n[providers.openai]\nweight = 2\n', "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GENAI_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary-0123456")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")


def run(*arguments: str, text: str | None = None, **environ: str) -> Result:
    """Run ``spine``."""
    return CliRunner().invoke(app, arguments, input=text, env=environ)


def shown(*options: str, **environ: str) -> dict[str, tuple[object, str]]:
    """What ``spine config show`` tells: of each name the value, and who says it."""
    result = run("config", "show", "--json", *options, **environ)
    assert 0 == result.exit_code, result.output
    return {one["name"]: (one["value"], one["origin"]) for one in json.loads(result.stdout)}


def test_what_is_in_effect_is_shown_with_who_says_it() -> None:
    """File, environment and database, each value by the highest of them; keys are shown nowhere."""
    assert ("speed", "spine.toml") == shown()["routing_strategy"]
    assert ("quality", "GENAI_ROUTING_STRATEGY") == shown(GENAI_ROUTING_STRATEGY="quality")["routing_strategy"]
    assert 0 == run("config", "set", "routing_strategy", "weighted").exit_code
    assert ("weighted", "the database") == shown(GENAI_ROUTING_STRATEGY="quality")["routing_strategy"]
    assert (8100, "built in") == shown("--all")["port"]
    assert "port" not in shown()
    for options in ((), ("--origin",), ("--all", "--origin"), ("--json",)):
        result = run("config", "show", *options)
        assert "providers.openai.weight" in result.stdout
        assert ("the database" in result.stdout) == (options != ())
        assert "canary" not in result.output
    assert 0 == run("config", "unset", "routing_strategy").exit_code
    assert ("speed", "spine.toml") == shown()["routing_strategy"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("set", "retry_attempts", "0"), "retry_attempts: Input should be greater"),
        (("set", "routing_strategy", "best"), "routing_strategy: unknown"),
        (("set", "host", "0.0.0.0"), "set GENAI_API_HOST, or host in spine.toml"),  # noqa: S104  # never listened on
        (("unset", "retry_attempts"), "the database says nothing of retry_attempts"),
    ],
)
def test_a_change_that_cannot_be_is_told(arguments: tuple[str, ...], told: str) -> None:
    """In a line, and with a status of 2; nothing is changed."""
    result = run("config", *arguments)
    assert (2, True) == (result.exit_code, told in result.stderr), result.stderr
    assert "the database" not in {origin for _, origin in shown().values()}


def test_values_are_json_or_words() -> None:
    """A list is a list, a number a number, a word a word."""
    run("config", "set", "fallback_chain", '["openai", "groq"]')
    run("config", "set", "retry_attempts", "2")
    run("config", "set", "default_provider", "openai")
    found = shown()
    assert ["openai", "groq"] == found["fallback_chain"][0]
    assert (2, "openai") == (found["retry_attempts"][0], found["default_provider"][0])


def test_without_its_database_the_rest_is_shown(tmp_path: Path) -> None:
    """With a warning."""
    (tmp_path / "data").write_text("in the way", encoding="utf-8")
    result = run("config", "show", "--json", GENAI_DATABASE_URL=f"sqlite:///{tmp_path}/data/spine.db")
    assert (0, True) == (result.exit_code, "the database cannot be read" in result.stderr)
    assert "routing_strategy" in {one["name"] for one in json.loads(result.stdout)}


def test_a_new_key_is_one() -> None:
    """Another each time, of the form that encryption takes."""
    first, second = (run("config", "new-key").stdout.strip() for _ in range(2))
    assert first != second
    Fernet(first)


def test_the_key_is_exchanged() -> None:
    """What the old one encrypted is encrypted with the new one, and the old one can go."""
    old, new = (run("config", "new-key").stdout.strip() for _ in range(2))

    async def give() -> None:
        async with Spine.from_env({**os.environ, "GENAI_ENCRYPTION_KEY": old}) as spine:
            await spine.configuration.set_provider("groq", ProviderChange(api_keys=("gsk-canary-7654321",)))

    asyncio.run(give())
    keys = shown(GENAI_ENCRYPTION_KEY=old)["providers.groq.api_keys"]
    assert (1, "the database") == (len(str(keys[0]).split(",")), keys[1])
    assert 2 == run("config", "reseal", GENAI_ENCRYPTION_KEY=new).exit_code
    result = run("config", "reseal", GENAI_ENCRYPTION_KEY=f"{new},{old}")
    assert (0, True) == (result.exit_code, result.stdout.startswith("those of 1 providers"))
    assert keys == shown(GENAI_ENCRYPTION_KEY=new)["providers.groq.api_keys"]
    assert ([], "the database") == shown(GENAI_ENCRYPTION_KEY=old)["providers.groq.api_keys"]


def test_the_database_is_looked_after() -> None:
    """Its revision is told, brought up and back; what there is to lose is asked for."""
    result = run("db", "status")
    assert (1, True) == (result.exit_code, f"this version needs {HEAD}: spine db upgrade" in result.stdout)
    assert (0, "done\n") == (run("db", "upgrade").exit_code, run("db", "downgrade", "base", "--yes").stdout)
    assert "done\n" == run("db", "upgrade").stdout
    assert "there was nothing to do\n" == run("db", "upgrade").stdout
    assert (0, True) == ((found := run("db", "status")).exit_code, f"revision: {HEAD}" in found.stdout)
    assert 1 == run("db", "downgrade", "base", text="n\n").exit_code
    assert 0 == run("db", "status").exit_code
    assert "done" in run("db", "downgrade", "base", text="y\n").stdout
    assert 1 == run("db", "status").exit_code
    assert (2, True) == ((wrong := run("db", "upgrade", "nonsense")).exit_code, "spine: " in wrong.stderr)
