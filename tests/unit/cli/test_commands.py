"""The commands that do not serve: what they print, what they leave with."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner, Result

from genai_spine import __version__
from genai_spine.cli.main import app
from genai_spine.testing.upstream import ScriptedUpstream, json_reply
from tests.conftest import Gateways
from tests.published_prices import published


@pytest.fixture(autouse=True)
def _folder_and_width(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A folder without a spine.toml, and a terminal wide enough for every table."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")
    for name in ("GROQ_API_KEY", "SCW_SECRET_KEY", "AZURE_OPENAI_API_KEY", "OLLAMA_HOST"):
        monkeypatch.delenv(name, raising=False)


def run(*arguments: str, text: str | None = None, environ: dict[str, str] | None = None) -> Result:
    """Run ``spine``."""
    return CliRunner().invoke(app, arguments, input=text, env=environ)


def row(result: Result, name: str) -> Sequence[str]:
    """A table's row, by its first column."""
    return next(line.split() for line in result.stdout.splitlines() if line.split()[:1] == [name])


def test_help_names_every_command() -> None:
    """Each command is there with a line on what it does; called with nothing, the same is shown."""
    result = run("--help")
    assert result.exit_code == 0
    for command in ("serve", "providers", "models", "route", "chat", "usage", "audit", "prices", "config"):
        assert command in result.stdout
        inner = run(command, "--help")
        assert inner.exit_code == 0
        assert "Usage:" in inner.stdout
    assert "serve" in run().output


def test_the_version() -> None:
    """It is the package's."""
    result = run("--version")
    assert (0, f"spine {__version__}\n") == (result.exit_code, result.stdout)


@pytest.mark.parametrize("arguments", [["nonsense"], ["serve", "--prot", "1"], ["serve", "--port", "x"]])
def test_a_wrong_command_line(arguments: list[str]) -> None:
    """It leaves with status 2, as commands do."""
    assert run(*arguments).exit_code == 2


# providers


def test_providers() -> None:
    """All are listed: those in use with how they were found, the others with what would configure them."""
    result = run("providers", environ={"GROQ_API_KEY": "gsk_canary"})
    assert result.exit_code == 0
    assert ["groq", "ready", "llama-3.1-8b-instant", "found", "by", "GROQ_API_KEY"] == row(result, "groq")
    assert row(result, "openai")[1:3] == ["not", "configured"]
    assert "set OPENAI_API_KEY" in result.stdout
    assert row(result, "simulator")[1] == "ready"
    assert "canary" not in result.output


def test_providers_and_warnings() -> None:
    """A retired default is told on standard error."""
    result = run("providers", environ={"ANTHROPIC_API_KEY": "k"})
    assert "warning: anthropic has retired its default model" in result.stderr


@pytest.fixture
def acme(tmp_path: Path) -> str:
    """A configuration file with a provider of one's own."""
    file = tmp_path / "acme.toml"
    file.write_text('[providers.acme]\ndialect = "openai_chat"\nurl = "https://acme.example"\n')
    return str(file)


async def test_providers_of_a_running_gateway(gateways: Gateways, acme: str) -> None:
    """How each does there stands beside what is known here; so does who is known in one of the two places alone."""
    there = await gateways.start(OPENAI_API_KEY="sk-1", GROQ_API_KEY="gsk-1", GENAI_CIRCUIT_FAILURES="1")
    circuit = there.spine.guards.of(there.spine.registry.get("groq")).circuit
    circuit.enter().failure("provider")
    environ = {"GENAI_API_URL": there.url, "GENAI_API_KEYS": there.key, "GROQ_API_KEY": "gsk-1"}
    result = await asyncio.to_thread(run, "providers", "--config", acme, environ=environ)
    assert 0 == result.exit_code
    assert ["provider", "status", "health"] == result.stdout.split()[:3]
    assert f"health: at {there.url}" == result.stdout.splitlines()[-1].strip()
    assert ["openai", "not", "configured", "well", "gpt-4o-mini"] == row(result, "openai")[:5]
    assert "groq ready its circuit is open for 300 s llama-3.1-8b-instant" in " ".join(row(result, "groq"))
    assert ["acme", "not", "configured", "unknown", "there"] == row(result, "acme")[:5]
    assert ["anthropic", "not", "configured", "not", "configured"] == row(result, "anthropic")[:5]


async def test_providers_known_to_the_gateway_alone(upstream: ScriptedUpstream) -> None:
    """They are listed too, whatever stands in what it tells of them."""
    upstream.enqueue(json_reply([{"name": "acme", "status": "ready", "hint": "[red]found"}]))
    result = await asyncio.to_thread(run, "providers", "--url", upstream.url)
    assert ["acme", "unknown", "here", "well", "[red]found"] == row(result, "acme")


async def test_providers_and_a_gateway_that_refuses(gateways: Gateways) -> None:
    """One that is merely found is a warning; one that was named is the command's failure, as is that nobody answers."""
    there = await gateways.start()
    environ = {"GENAI_API_URL": there.url, "GENAI_API_KEYS": "wrong"}
    result = await asyncio.to_thread(run, "providers", environ=environ)
    assert 0 == result.exit_code
    assert "warning: the gateway at" in result.stderr
    assert ["simulator", "ready"] == row(result, "simulator")[:2]
    named = await asyncio.to_thread(run, "providers", "--url", there.url, "--key", "wrong")
    assert 2 == named.exit_code
    assert "is not one of the gateway's keys" in named.stderr
    nobody = await asyncio.to_thread(run, "providers", "--url", "http://127.0.0.1:9")
    assert (2, True) == (nobody.exit_code, "no gateway answers" in nobody.stderr)


def test_a_wrong_setting_is_told_in_plain_words() -> None:
    """Every command leaves with status 2 and names the setting, without a stack trace."""
    for command in (["providers"], ["models"], ["chat", "hi"], ["config", "check"]):
        result = run(*command, environ={"GENAI_API_PORT": "canary"})
        assert result.exit_code == 2
        assert "spine: GENAI_API_PORT" in result.stderr
        assert "canary" not in result.output


# models


def test_models_of_the_simulator() -> None:
    """With no provider configured its models are listed, at no price."""
    result = run("models")
    assert result.exit_code == 0
    assert ["simulator/echo", "0", "0", "?", "?"] == row(result, "simulator/echo")


def test_models_with_prices() -> None:
    """A provider's models with their prices per million tokens; what is not known is a question mark."""
    environ = {"OPENAI_API_KEY": "k", "OPENAI_MODELS": "gpt-4o-mini,no-such-model,o1-mini"}
    result = run("models", "openai", environ=environ)
    abilities = ["streaming", "structured_output", "tools", "vision"]
    assert ["openai/gpt-4o-mini", "0.15", "0.6", "128000", *abilities] == row(result, "openai/gpt-4o-mini")
    assert ["openai/no-such-model", "?", "?", "?", "?"] == row(result, "openai/no-such-model")
    assert "(retired)" == row(result, "openai/o1-mini")[1]


def test_models_as_json() -> None:
    """All that is known of each model, for programs."""
    environ = {"OPENAI_API_KEY": "k", "OPENAI_MODELS": "gpt-4o-mini,no-such-model"}
    result = run("models", "openai", "--json", environ=environ)
    known, unknown = msgspec.json.decode(result.stdout)
    assert ("openai/gpt-4o-mini", 128_000, "gpt-4o-mini") == (
        known["id"],
        known["max_input_tokens"],
        known["same_as"],
    )
    assert {"input": 0.15, "output": 0.6, "cache_read": 0.075} == known["usd_per_million"]
    assert ["streaming", "structured_output", "tools", "vision"] == known["abilities"]
    assert (None, None) == (unknown["usd_per_million"], unknown["quality_rank"])


def test_models_of_one_who_does_not_answer() -> None:
    """Asked by name, its failure is the command's; among others it is a line on standard error beside their models."""
    environ = {"OPENAI_API_KEY": "k", "OPENAI_API_URL": "http://127.0.0.1:9", "SCW_SECRET_KEY": "k"}
    named = run("models", "openai", environ=environ)
    assert named.exit_code == 2
    assert "refuses connections" in named.stderr
    everybody = run("models", environ=environ)
    assert everybody.exit_code == 0
    assert "openai: " in everybody.stderr
    assert "scaleway/llama-3.3-70b-instruct" in everybody.stdout


def test_models_of_nobody() -> None:
    """An unknown provider is told with those that there are."""
    result = run("models", "nobody")
    assert result.exit_code == 2
    assert "unknown provider 'nobody'; known providers: anthropic" in result.stderr


# prices


def test_prices_without_a_network(tmp_path: Path) -> None:
    """That they cannot be fetched is said in a line, with the address."""
    result = run(
        "prices", "refresh", "--url", "http://127.0.0.1:9/data.json", environ={"GENAI_DATA_DIR": str(tmp_path)}
    )
    assert result.exit_code == 2
    assert "spine: the prices could not be fetched from http://127.0.0.1:9/data.json" in result.stderr
    assert "Traceback" not in result.output


async def test_refreshed_prices(tmp_path: Path) -> None:
    """They are kept in the data folder, and it is told how many there are."""
    environ = {"GENAI_DATA_DIR": str(tmp_path)}
    async with ScriptedUpstream(lambda _: json_reply(msgspec.json.encode(published()))) as upstream:
        arguments = ("prices", "refresh", "--url", f"{upstream.url}/data.json")
        result = await asyncio.to_thread(run, *arguments, environ=environ)
    assert result.exit_code == 0
    assert re.fullmatch(r"\d+ prices of 15 providers, kept in .*\n", result.stdout)
    assert run("config", "check", environ=environ).exit_code == 0


def test_prices_alone() -> None:
    """It shows what it can do."""
    assert "refresh" in run("prices").output


# chat


def test_one_question() -> None:
    """The answer, then who gave it, its tokens and its cost; then it leaves."""
    result = run("chat", "Hello there!")
    assert result.exit_code == 0
    lines = [line for line in result.stdout.splitlines() if line]
    assert lines == ["Hello there!", "simulator/echo · 4 in, 3 out · 0 USD"]


def test_a_question_that_fails() -> None:
    """A failure is told, and the status says so."""
    result = run("chat", "Hello", "--model", "simulator/fail-500")
    assert result.exit_code == 2
    assert "the simulator fails, as it was asked to" in result.stderr


@pytest.mark.parametrize("end", ["\n", ""])
def test_a_conversation(end: str) -> None:
    """Each line is a turn, and each turn goes on from the ones before; an empty line or the end of input ends it."""
    result = run("chat", "--provider", "simulator", "--system", "Be brief.", text=f"first\nsecond\n{end}")
    assert result.exit_code == 0
    told = [line for line in result.stdout.splitlines() if "USD" in line]
    assert len(told) == 2
    counts = [int(line.split(" · ")[1].split(" ")[0]) for line in told]
    assert counts[0] < counts[1]
    assert "second" in result.stdout


def test_a_turn_that_fails() -> None:
    """The conversation goes on as if the turn had not been."""
    environ = {"GENAI_SIMULATOR_FAILURES": "500=0.5", "GENAI_RETRY_ATTEMPTS": "1"}
    result = run("chat", "--model", "simulator/flaky", text="one\ntwo\n", environ=environ)
    assert result.exit_code == 0
    assert "one" in result.stdout
    assert "provider_error: " in result.stdout


# config check


def test_good_settings() -> None:
    """Status 0, with the file, the folder and the providers that were found."""
    Path("spine.toml").write_text('default_provider = "groq"\n')
    result = run("config", "check", environ={"GROQ_API_KEY": "k", "GENAI_DATA_DIR": "/srv/spine"})
    assert result.exit_code == 0
    assert "spine.toml" in result.stdout
    assert "/srv/spine" in result.stdout
    assert "groq" in result.stdout
    assert "all settings are good" in result.stdout


def test_settings_with_warnings() -> None:
    """Status 1, with the warnings on standard error."""
    result = run("config", "check", environ={"GENAI_API_PROT": "1"})
    assert result.exit_code == 1
    assert "did you mean GENAI_API_PORT?" in result.stderr
    assert "none configured; simulator answers" in result.stdout
    assert "all settings are good" not in result.stdout


def test_wrong_settings() -> None:
    """Status 2, with what is wrong on standard error."""
    Path("bad.toml").write_text("prot = 1\n")
    result = run("config", "check", "--config", "bad.toml")
    assert result.exit_code == 2
    assert "did you mean port?" in result.stderr
    assert run("config", "check", "--config", "missing.toml").exit_code == 2


def test_config_check_of_workers() -> None:
    """More than one without Redis would not start, which the check says beforehand."""
    result = run("config", "check", environ={"GENAI_WORKERS": "2"})
    assert result.exit_code == 2
    assert "GENAI_REDIS_URL" in result.stderr
    redis = "redis://:canary-password@localhost"
    good = run("config", "check", environ={"GENAI_WORKERS": "2", "GENAI_REDIS_URL": redis})
    assert good.exit_code == 0
    assert "canary" not in good.output


def test_config_alone() -> None:
    """It shows what it can do."""
    assert "check" in run("config").output


# Where a request would go.

TWO = {"OPENAI_API_KEY": "sk-1", "GROQ_API_KEY": "gsk-1", "GENAI_FALLBACK_CHAIN": "groq"}


def test_route_names_the_first_candidate() -> None:
    """Alone it tells who would be asked; the prompt may come from the standard input."""
    result = run("route", "Hello", "--model", "gpt-4o", environ=TWO)
    assert (0, "openai/gpt-4o\n") == (result.exit_code, result.stdout)
    result = run("route", "-", "--hint", "cheapest", text="Hello", environ=TWO)
    assert (0, "groq/llama-3.1-8b-instant\n") == (result.exit_code, result.stdout)


def test_route_explains() -> None:
    """The strategy and who chose it, each candidate with what it was judged by, and who was left out and why."""
    arguments = ("--model", "gpt-4o", "--max-tokens", "1000", "--strategy", "quality", "--explain")
    result = run("route", "Hello", *arguments, "--max-cost", "0.001", environ=TWO)
    assert result.exit_code == 0
    assert "strategy: quality (by request)" in result.stdout
    assert "0.00008" in row(result, "groq/llama-3.1-8b-instant")[1]
    assert "left out: openai/gpt-4o: it would cost up to 0.01" in result.stdout
    assert "over the 0.001 allowed" in result.stdout


def test_route_as_json() -> None:
    """The same for programs; a fallback as in the header, preferences in their order."""
    result = run("route", "Hello", "--prefer", "openai", "--fallback", "false", "--json", environ=TWO)
    told = msgspec.json.decode(result.stdout)
    assert ("local_first", "configuration") == (told["strategy"], told["chosen_by"])
    assert ["openai"] == [one["provider"] for one in told["candidates"]]
    assert [("groq", "forbidden")] == [(one["provider"], one["kind"]) for one in told["dropped"]]


def test_route_to_nowhere() -> None:
    """What nobody understands is told in a line."""
    result = run("route", "Hello", "--strategy", "best", environ=TWO)
    assert 2 == result.exit_code
    assert "spine: unknown strategy 'best'; there are: " in result.stderr
    assert 2 == run("route", "Hello", "--provider", "nobody", environ=TWO).exit_code
