"""The engine without a server: built from settings, asked in a program, open to providers of others."""

from __future__ import annotations

import inspect
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from typing_extensions import override

import genai_spine
from genai_spine import errors
from genai_spine.assembly import DIALECTS, Spine
from genai_spine.catalog.prices import estimate_cost_usd
from genai_spine.gateway.guards import Policies
from genai_spine.gateway.setup import policies_from
from genai_spine.resilience.breaker import CircuitPolicy
from genai_spine.resilience.faults import permanent_patterns
from genai_spine.resilience.keys import KeyPolicy
from genai_spine.resilience.retry import RetryPolicy
from genai_spine.settings import Settings
from genai_spine.telemetry.base import Observer
from genai_spine.telemetry.events import KeyFailed, RequestEnded
from genai_spine.testing.clock import ManualClock
from genai_spine.testing.gateway import Recorder
from genai_spine.testing.upstream import Scripted, ScriptedUpstream, json_reply
from genai_spine.transport.names import Resolver
from genai_spine.types.asking import Asking
from genai_spine.types.completion import CompletionRequest
from genai_spine.types.json import JsonObject
from genai_spine.types.messages import Document, Media, Message, Text
from genai_spine.types.stream import Collector, Finish, Start, TextDelta
from genai_spine.types.tools import Tool
from genai_spine.types.usage import Usage
from tests.providers import OwnProvider

QUIET = {"GENAI_RETRY_ATTEMPTS": "1", "GENAI_PROBE_LOCAL": "false"}
CHAT: JsonObject = {
    "id": "c1",
    "model": "gpt-4o-mini-2024-07-18",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1000, "completion_tokens": 100},
}


def before(upstream: ScriptedUpstream, **environ: str) -> Spine:
    """An engine whose providers openai and anthropic are the upstream."""
    return Spine.from_env(
        {
            **QUIET,
            "OPENAI_API_KEY": "sk-1",
            "OPENAI_API_URL": f"{upstream.url}/v1",
            "ANTHROPIC_API_KEY": "sk-2",
            "ANTHROPIC_API_URL": upstream.url,
            **environ,
        }
    )


class Names(Resolver):
    """Finds everybody at home."""

    @override
    async def addresses(self, host: str, port: int) -> list[str]:
        return ["127.0.0.1"]


# Building.


def test_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The process' own environment is read where none is handed over."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GROQ_API_KEY", "gsk_1")
    assert ["groq"] == [provider.name for provider in Spine.from_env().registry.configured()]
    assert [] == Spine.from_env({}).registry.configured()


def test_from_a_file(tmp_path: Path) -> None:
    """The file's settings count, and the environment over them."""
    path = tmp_path / "my.toml"
    path.write_text('default_provider = "groq"\n[providers.groq]\napi_key = "k"\n')
    spine = Spine.from_file(path, {})
    assert ("groq", path) == (spine.settings.values.default_provider, spine.settings.path)
    assert ["groq"] == [provider.name for provider in spine.registry.configured()]
    assert Spine.from_file(str(path), {"DEFAULT_PROVIDER": "xai"}).settings.values.default_provider == "xai"


@pytest.mark.parametrize(
    "variable", ["GENAI_DEFAULT_PROVIDER", "GENAI_GENERATE_DEFAULT_PROVIDER", "GENAI_FALLBACK_CHAIN"]
)
def test_a_default_provider_that_does_not_exist(variable: str) -> None:
    """It is found at start, not at the first request."""
    with pytest.raises(errors.SpineError, match="unknown provider 'nobody'"):
        Spine(Settings({variable: "nobody"}))


def test_a_strategy_that_does_not_exist() -> None:
    """It is found at start, with those that there are."""
    with pytest.raises(errors.ConfigurationError, match=r"GENAI_ROUTING_STRATEGY .*unknown strategy 'best'; there are"):
        Spine(Settings({"GENAI_ROUTING_STRATEGY": "best"}))


def test_an_alias_for_a_provider_that_does_not_exist(tmp_path: Path) -> None:
    """It is found at start; a model's own slash, and one that nobody can place yet, are none of that."""
    path = tmp_path / "my.toml"
    path.write_text('[aliases]\nfast = ["groq/openai/gpt-oss-120b", "openai/gpt-oss-120b", "my-own"]')
    assert Spine.from_file(path, {}).settings.values.aliases
    path.write_text('[aliases]\nfast = ["grok/llama-3"]')
    with pytest.raises(errors.ConfigurationError, match=r"aliases\.fast: 'grok/llama-3': unknown provider 'grok'"):
        Spine.from_file(path, {})


def test_what_should_be_looked_at() -> None:
    """Misspelt variables, and retired defaults of providers in use; of others nobody needs to hear."""
    spine = Spine.from_env({"GENAI_API_PROT": "1", "ANTHROPIC_API_KEY": "k"})
    assert len(spine.warnings) == 2
    assert "GENAI_API_PORT" in spine.warnings[0]
    assert "claude-3-5-sonnet-20241022" in spine.warnings[1]
    assert Spine.from_env({"GROQ_API_KEY": "k"}).warnings == ()


def test_dialects_are_by_their_names() -> None:
    """Each is found under the name that it has."""
    assert {name: dialect.name for name, dialect in DIALECTS.items()} == {name: name for name in DIALECTS}


# Asking.


async def test_complete(upstream: ScriptedUpstream) -> None:
    """The answer names who gave it and what it cost, exactly."""
    upstream.enqueue(json_reply(CHAT))
    async with before(upstream) as spine:
        answer = await spine.complete("Hello", model="openai/gpt-4o-mini", system="Be brief.", max_tokens=50)
    assert ("Hi.", "openai", "gpt-4o-mini-2024-07-18", True, 1) == (
        answer.content,
        answer.provider,
        answer.model,
        answer.success,
        answer.attempts,
    )
    assert (estimate_cost_usd("gpt-4o-mini", 1000, 100), True) == (answer.cost_usd, answer.price_known)
    sent = upstream.received[0].json()
    assert sent["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
    assert ("gpt-4o-mini", 0.7) == (sent["model"], sent["temperature"])
    assert 50 in {sent.get("max_tokens"), sent.get("max_completion_tokens")}


@pytest.mark.parametrize(
    ("model", "temperature", "expected"),
    [
        ("gpt-4o-mini", None, 0.7),
        ("gpt-4o-mini", 0.0, 0.0),
        ("gpt-4o-mini", 1.5, 1.5),
        ("o3-mini", None, None),
        ("gpt-5-mini", None, None),
    ],
)
async def test_the_temperature(
    upstream: ScriptedUpstream, model: str, temperature: float | None, expected: float | None
) -> None:
    """0.7 unless the caller says something, 0 is something, and a model that takes none is told none."""
    upstream.enqueue(json_reply(CHAT))
    async with before(upstream) as spine:
        await spine.complete("Hello", provider="openai", model=model, temperature=temperature)
    assert expected == upstream.received[0].json().get("temperature")


async def test_a_whole_request_is_taken_as_it_is(upstream: ScriptedUpstream) -> None:
    """A request of one's own keeps its fields; a model named beside it counts."""
    upstream.enqueue(json_reply(CHAT), json_reply(CHAT))
    request = CompletionRequest(
        messages=(Message(role="user", parts=(Text(text="Hello"),)),), model="gpt-4o", temperature=0.1, seed=7
    )
    async with before(upstream) as spine:
        await spine.complete(request)
        await spine.complete(request, model="openai/gpt-4.1")
    sent = [received.json() for received in upstream.received]
    assert [("gpt-4o", 0.1, 7), ("gpt-4.1", 0.1, 7)] == [(s["model"], s["temperature"], s["seed"]) for s in sent]


async def test_conversations_schemas_and_tools() -> None:
    """A conversation, a schema and tools reach the model."""
    async with Spine.from_env(QUIET) as spine:
        turns = [Message(role="user", parts=(Text(text=text),)) for text in ("one", "two")]
        assert (await spine.complete(turns)).content == "two"
        answer = await spine.complete("x", output_schema={"type": "object", "properties": {"n": {"type": "integer"}}})
        assert {"n": 1} == msgspec.json.decode(answer.content)
        called = await spine.complete("x", tools=[Tool(name="look")])
        assert ["look"] == [call.name for call in called.tool_calls]


@pytest.mark.parametrize("prompt", ["", []])
async def test_an_empty_prompt(prompt: str | list[Message]) -> None:
    """There is nothing to ask: told before anybody is called."""
    async with Spine.from_env(QUIET) as spine:
        with pytest.raises(errors.InvalidRequestError, match="empty"):
            await spine.complete(prompt)


async def test_without_a_provider_the_simulator_answers() -> None:
    """The quick start needs no key; the answer says who it was, and that it cost nothing."""
    async with Spine.from_env(QUIET) as spine:
        answer = await spine.complete("Hello!")
    assert ("Hello!", "simulator", "echo", Decimal(0), True) == (
        answer.content,
        answer.provider,
        answer.model,
        answer.cost_usd,
        answer.price_known,
    )


async def test_a_stream() -> None:
    """Events come as of any provider, and the words alone where only words are wanted."""
    async with Spine.from_env(QUIET) as spine:
        events = [event async for event in spine.stream("One two three")]
        words = [text async for text in spine.stream_text("One two three")]
    assert isinstance(events[0], Start)
    assert any(isinstance(event, Finish) for event in events)
    collector = Collector()
    for event in events:
        collector.add(event)
    assert collector.response().content == "One two three"
    assert [event.text for event in events if isinstance(event, TextDelta)] == words == ["One ", "two ", "three"]


async def test_the_words_alone_may_be_asked_for_with_every_wish() -> None:
    """Whatever ``stream`` takes: a model, a limit of time, a strategy; what is wrong is refused alike."""
    recorder = Recorder()
    async with Spine(Settings(QUIET), observers=[recorder]) as spine:
        wishes: Asking = {
            "model": "simulator/echo",
            "strategy": "quality",
            "timeout": 30,
            "max_cost_usd": "1",
            "fallback": False,
        }
        assert ["One"] == [text async for text in spine.stream_text("One", **wishes)]
        with pytest.raises(errors.InvalidFieldError, match="unknown strategy"):
            await anext(aiter(spine.stream_text("One", strategy="best")))
        assert ["quality", ""] == [record.strategy for record in recorder.records]
    assert set(inspect.signature(Spine.stream).parameters) - {"self", "prompt"} == set(Asking.__annotations__)


# Failures.


async def test_errors_are_raised_or_returned() -> None:
    """By default a failure is raised, typed; asked not to be, it is an answer without success that carries it."""
    async with Spine.from_env(QUIET) as spine:
        with pytest.raises(errors.RateLimitedError) as caught:
            await spine.complete("x", model="simulator/fail-429")
        assert caught.value.provider == "simulator"
        answer = await spine.complete("x", model="simulator/fail-429", raise_on_error=False)
    assert (False, "simulator", 1, "", "error") == (
        answer.success,
        answer.provider,
        answer.attempts,
        answer.content,
        answer.finish_reason,
    )
    assert isinstance(answer.error, errors.RateLimitedError)


async def test_a_stream_that_breaks_raises() -> None:
    """What came before is there, then the failure is raised."""
    async with Spine.from_env(QUIET) as spine:
        stream = aiter(spine.stream_text("One two three four five six", model="simulator/fail-cut"))
        assert await anext(stream) == "One "

        async def read_on() -> list[str]:
            return [text async for text in stream]

        with pytest.raises(errors.StreamInterruptedError):
            await read_on()


@pytest.mark.parametrize(
    ("model", "provider", "kind"),
    [
        ("no-such-model", None, errors.ModelNotFoundError),
        (None, "nobody", errors.UnknownProviderError),
        ("gpt-4o", None, errors.ProviderNotConfiguredError),
        ("anthropic/claude-3-opus", "openai", errors.InvalidRequestError),
    ],
)
async def test_what_cannot_be_placed(model: str | None, provider: str | None, kind: type[errors.SpineError]) -> None:
    """The rules' own errors reach the program, before anybody is called."""
    async with Spine.from_env(QUIET) as spine:
        with pytest.raises(kind):
            await spine.complete("x", model=model, provider=provider)
        answer = await spine.complete("x", model=model, provider=provider, raise_on_error=False)
        assert (kind, 0) == (type(answer.error), answer.attempts)


async def test_a_deadline() -> None:
    """The time allowed reaches the provider's call."""
    async with Spine.from_env(QUIET) as spine:
        spine.register_provider(mine := OwnProvider())
        await spine.complete("x", provider="mine", timeout=5)
        await spine.complete("x", provider="mine")
    allowed = mine.asked[0][1].seconds
    assert allowed is not None
    assert 0 < allowed <= 5
    assert mine.asked[1][1].seconds is None


# Providers of others.


async def test_a_provider_of_ones_own() -> None:
    """Registered, it serves at once: by name, by prefix, and where no model is named; it is priced and counted."""
    recorder = Recorder()
    spine = Spine(Settings(QUIET), observers=[recorder], clock=ManualClock())
    async with spine:
        assert (await spine.complete("x")).provider == "simulator"
        spine.register_provider(OwnProvider(usage=Usage(input_tokens=2, output_tokens=3)))
        answers = [
            await spine.complete("x"),
            await spine.complete("x", provider="mine"),
            await spine.complete("x", model="mine/mine-2"),
        ]
        streamed = [text async for text in spine.stream_text("x", provider="mine")]
    told = [(answer.content, answer.provider, answer.model) for answer in answers]
    assert [("Hello from mine.", "mine", model) for model in ("mine-1", "mine-1", "mine-2")] == told
    assert (Decimal("0.005"), True, ("noted",)) == (answers[0].cost_usd, answers[0].price_known, answers[0].warnings)
    assert ["Hello from mine."] == streamed
    assert ["simulator", "mine", "mine", "mine", "mine"] == [record.provider for record in recorder.records]
    assert b'provider="mine"' in spine.metrics.page()


async def test_a_provider_in_the_place_of_another() -> None:
    """One of the name of a built-in provider takes its place."""
    async with Spine.from_env(QUIET) as spine:
        spine.register_provider(OwnProvider(name="openai"))
        assert (await spine.complete("x", model="gpt-4o")).content == "Hello from mine."


async def test_a_failing_provider_of_ones_own() -> None:
    """Its errors go on as they are, with its name."""
    async with Spine.from_env(QUIET) as spine:
        spine.register_provider(mine := OwnProvider())
        mine.failure = errors.OverloadedError("full")
        with pytest.raises(errors.OverloadedError) as caught:
            await spine.complete("x", provider="mine")
    assert caught.value.provider == "mine"


# Defaults that were retired.


async def test_a_retired_default_is_replaced(upstream: ScriptedUpstream) -> None:
    """A call that names no model gets the successor and is told so; a model that the caller named is never replaced."""
    reply: JsonObject = {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "text", "text": "Hi."}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }
    upstream.enqueue(json_reply(reply), json_reply(reply))
    async with before(upstream) as spine:
        answer = await spine.complete("x", provider="anthropic")
        named = await spine.complete("x", provider="anthropic", model="claude-3-5-sonnet-20241022")
        successor = spine.registry.get("anthropic").default_model
    assert [successor, "claude-3-5-sonnet-20241022"] == [received.json()["model"] for received in upstream.received]
    assert any("claude-3-5-sonnet-20241022" in warning for warning in answer.warnings)
    assert not any("retired" in warning for warning in named.warnings)
    assert "temperature" not in upstream.received[0].json()


# How providers are guarded.


def test_when_keys_rest_and_circuits_open_is_set_by_the_operator() -> None:
    """Each setting reaches the policy that goes by it; what is left out is built in there and here alike."""
    assert Policies() == policies_from(Settings({}))
    patterns = permanent_patterns("key is void")
    expected = Policies(
        keys=KeyPolicy(
            max_failures_before_cooldown=4,
            default_cooldown=5,
            max_cooldown=6,
            max_key_attempts=7,
            patterns=patterns,
        ),
        circuit=CircuitPolicy(failures=8, open_seconds=9, patterns=patterns),
        retry=RetryPolicy(
            attempts=10, first_wait=11, longest_wait=12, patience=13, longest_silence=14, patterns=patterns
        ),
        retry_share=0.5,
    )
    environ = {
        "MAX_FAILURES_BEFORE_COOLDOWN": "4",
        "GENAI_DEFAULT_COOLDOWN": "5",
        "MAX_COOLDOWN_SECONDS": "6",
        "GENAI_MAX_KEY_ATTEMPTS": "7",
        "GENAI_CIRCUIT_FAILURES": "8",
        "GENAI_CIRCUIT_OPEN_SECONDS": "9",
        "GENAI_RETRY_ATTEMPTS": "10",
        "GENAI_RETRY_FIRST_WAIT": "11",
        "GENAI_RETRY_LONGEST_WAIT": "12",
        "GENAI_RETRY_PATIENCE": "13",
        "GENAI_RETRY_LONGEST_SILENCE": "14",
        "GENAI_RETRY_SHARE": "0.5",
        "GENAI_PERMANENT_ERROR_PATTERNS": "key is void",
    }
    assert expected == policies_from(Settings(environ))
    assert expected == Spine.from_env({**QUIET, **environ}).gateway.guards.policies


def test_observers_are_told_of_circuits_and_keys() -> None:
    """A circuit's change is told of its provider, and model where it is the model's; a key by its fingerprint."""
    recorder = Recorder()
    environ = {**QUIET, "OPENAI_API_KEY": "sk-canary-0001", "GENAI_CIRCUIT_FAILURES": "1"}
    spine = Spine(Settings(environ), clock=ManualClock(), observers=[recorder])
    guard = spine.guards.of(spine.registry.get("openai"))
    assert guard.keys is not None
    fingerprint = guard.keys.health()[0].fingerprint
    guard.keys.lease().failure("limited", 30)
    guard.model_circuit("vendor/sk-canary-0001").enter().failure("provider")
    guard.circuit.enter().failure("provider")
    guard.reset()
    assert [
        KeyFailed(provider="openai", key=fingerprint, fault="limited", status="cooling", usable_in=30)
    ] == recorder.keys
    assert [
        ("vendor/[redacted]", "closed", "open"),
        ("", "closed", "open"),
        ("", "open", "closed"),
        ("vendor/[redacted]", "open", "closed"),
    ] == [(change.model, change.before, change.after) for change in recorder.circuits]
    assert {"openai"} == {change.provider for change in recorder.circuits}
    page = spine.metrics.page().decode()
    assert 'genai_circuit_state{provider="openai"} 0.0' in page
    assert 'genai_key_failures_total{fault="limited",provider="openai"} 1.0' in page


# Life.


async def test_an_observer_that_fails_costs_nobody_an_answer() -> None:
    """Its fault is logged; the answer goes out, and other observers are told."""

    class Faulty(Observer):
        """Fails."""

        @override
        def request_ended(self, record: RequestEnded) -> None:
            raise RuntimeError(record.request_id)

    recorder = Recorder()
    async with Spine(Settings(QUIET), observers=[Faulty(), recorder]) as spine:
        assert (await spine.complete("x")).content == "x"
    assert len(recorder.records) == 1


async def test_local_providers_are_looked_for(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    """At start those that answer are ready; the looking ends with the engine."""
    path = tmp_path / "spine.toml"
    path.write_text(f'[providers.box]\ndialect = "ollama"\nurl = "{upstream.url}"\nlocal = true\n')
    upstream.enqueue(json_reply({"models": [{"name": "first:latest"}]}))
    environ = {f"{name}_API_URL": upstream.url for name in ("OLLAMA", "VLLM", "LMSTUDIO", "LLAMACPP")}
    environ |= {f"DEFAULT_{name}_MODEL": "m" for name in ("VLLM", "LMSTUDIO", "LLAMACPP")}
    spine = Spine.from_file(path, environ)
    states = [spine.open]
    async with spine:
        states.append(spine.open)
        assert spine.registry.get("box").default_model == "first:latest"
        await spine.start()
    assert [False, True, False] == [*states, spine.open]
    assert ["/api/tags"] == [received.path for received in upstream.received]
    await spine.close()


def test_costs_without_a_call() -> None:
    """The estimate is the price list's, exactly, and public."""
    assert genai_spine.estimate_cost_usd("gpt-4o-mini", 1000, 100) == Spine.from_env({}).estimate_cost_usd(
        "gpt-4o-mini", 1000, 100
    )


# Media.


async def test_media_in_the_library(upstream: ScriptedUpstream) -> None:
    """What a program asks is served as what callers ask: media are fetched, by the program's own names if it likes."""
    upstream.enqueue(Scripted(chunks=(b"%PDF-1.7",)), json_reply(CHAT))
    environ = {"OPENAI_API_KEY": "sk-1", "OPENAI_API_URL": f"{upstream.url}/v1", "GENAI_FETCH_HOSTS": "files.example"}
    paper = Document(media=Media(url=f"http://files.example:{upstream.url.rpartition(':')[2]}/paper.pdf"))
    async with Spine(Settings({**QUIET, **environ}), resolver=Names()) as spine:
        await spine.complete([Message(role="user", parts=(paper,))], model="gpt-4o-mini")
    assert "/paper.pdf" == upstream.received[0].path
    assert b"data:application/pdf;base64,JVBERi0xLjc=" in upstream.received[1].body


def test_a_host_that_is_none() -> None:
    """It stops the start."""
    with pytest.raises(errors.ConfigurationError, match=r"GENAI_FETCH_HOSTS: 'https://files\.example' is no host"):
        Spine(Settings({**QUIET, "GENAI_FETCH_HOSTS": "*, https://files.example"}))
