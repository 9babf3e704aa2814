"""The simulator: what it answers follows from the request alone, and it fails just as it is told to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

import msgspec
import pytest
from hypothesis import given

from genai_spine import errors
from genai_spine.catalog.models import ModelCatalog
from genai_spine.catalog.prices import Prices
from genai_spine.errors import ConfigurationError, SpineError
from genai_spine.providers.base import CallOptions
from genai_spine.providers.http import HttpProvider
from genai_spine.providers.simulator import FAILURES, MODELS, RETRY_AFTER_SECONDS, SLOW_SECONDS, simulator
from genai_spine.testing.clock import ManualClock
from genai_spine.types.completion import CompletionRequest, CompletionResponse, OutputSchema
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.messages import Message, Text, ToolResult
from genai_spine.types.stream import Collector, Event, Failed, TextDelta
from genai_spine.types.tools import Tool, ToolChoice
from tests import virtual_time
from tests.schemas import faults, schemas

NOW: Final = 1_700_000_000
WEATHER: Final = Tool(
    name="get_weather",
    parameters={
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 3}},
        "required": ["city", "days"],
    },
)
TIME: Final = Tool(name="get_time")


def made(failures: Mapping[str, float] | None = None, chunk_seconds: float = 0) -> HttpProvider:
    """A simulator."""
    return simulator(
        failures=failures or {},
        chunk_seconds=chunk_seconds,
        catalog=ModelCatalog.builtin(),
        prices=Prices.builtin(),
        clock=ManualClock(now=NOW),
    )


def said(text: str, **fields: object) -> CompletionRequest:
    """A request in which the user says ``text``."""
    request = CompletionRequest(messages=(Message(role="user", parts=(Text(text=text),)),), model="echo")
    for name, value in fields.items():
        request = msgspec.structs.replace(request, **{name: value})
    return request


async def streamed(provider: HttpProvider, request: CompletionRequest) -> list[Event]:
    """All events of an answer."""
    return [event async for event in provider.stream_complete(request)]


def collected(events: list[Event]) -> CompletionResponse:
    """What they come to."""
    collector = Collector()
    for event in events:
        collector.add(event)
    return collector.response()


async def test_it_echoes() -> None:
    """The last thing the user said comes back, with tokens counted at four characters each, at no cost."""
    request = msgspec.structs.replace(
        said("first"),
        messages=(
            Message(role="user", parts=(Text(text="first"),)),
            Message(role="assistant", parts=(Text(text="answer"),)),
            Message(role="user", parts=(Text(text="Hello there!"),)),
        ),
        system=(Text(text="Be brief."),),
    )
    provider = made()
    answer = await provider.complete(request)
    assert ("Hello there!", "stop", "simulator", "echo") == (
        answer.content,
        answer.finish_reason,
        answer.provider,
        answer.model,
    )
    prompt = "Be brief.\nfirst\nanswer\nHello there!"
    assert (-(-len(prompt) // 4), 3) == (answer.input_tokens, answer.output_tokens)
    assert NOW == answer.created
    assert provider.calculate_cost("echo", 1000, 1000) == 0


async def test_the_same_again() -> None:
    """Two simulators asked the same give the same, to the last byte of the answer."""
    request = said("Hello", tools=(WEATHER,))
    assert await made().complete(request) == await made().complete(request)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"tools": (WEATHER, TIME)},
        {"n": 3},
        {"max_tokens": 2},
        {"output_schema": OutputSchema(schema=WEATHER.parameters)},
    ],
    ids=str,
)
async def test_a_stream_says_the_same(fields: dict[str, object]) -> None:
    """T3: the events of a stream collect to the whole answer."""
    request = said("One two  three,\nfour.", **fields)
    whole = await made().complete(request)
    events = await streamed(made(), request)
    answer = collected(events)
    assert (whole.choices, whole.usage, whole.id) == (answer.choices, answer.usage, answer.id)


async def test_words_come_one_by_one() -> None:
    """Each word is a piece of the stream of its own, blanks kept."""
    events = await streamed(made(), said(" One two  three."))
    assert [event.text for event in events if isinstance(event, TextDelta)] == [" ", "One ", "two  ", "three."]


async def test_it_calls_the_tools_it_is_offered() -> None:
    """One call for each tool, its arguments obeying the tool's schema, each with an id of its own."""
    answer = await made().complete(said("x", tools=(WEATHER, TIME)))
    assert ["get_weather", "get_time"] == [call.name for call in answer.tool_calls]
    assert answer.finish_reason == "tool_calls"
    assert {"city": "get_weather", "days": 3} == json.loads(answer.tool_calls[0].arguments)
    assert answer.tool_calls[1].arguments == "{}"
    assert len({call.id for call in answer.tool_calls}) == 2


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"parallel_tool_calls": False}, ["get_weather"]),
        ({"tool_choice": ToolChoice(mode="auto")}, ["get_weather", "get_time"]),
        ({"tool_choice": ToolChoice(mode="required")}, ["get_weather", "get_time"]),
        ({"tool_choice": ToolChoice(mode="required", names=("get_time",))}, ["get_time"]),
        ({"tool_choice": ToolChoice(mode="none")}, []),
    ],
)
async def test_the_choice_of_tools_is_obeyed(fields: dict[str, object], expected: list[str]) -> None:
    """None, one by name, or only one at a time, as the request says."""
    answer = await made().complete(said("x", tools=(WEATHER, TIME), **fields))
    assert expected == [call.name for call in answer.tool_calls]
    assert ("" if expected else "x") == answer.content


async def test_a_free_text_tool() -> None:
    """A tool that takes free text is called with text, not JSON."""
    answer = await made().complete(said("x", tools=(Tool(name="shell", grammar={}),)))
    assert [(True, "shell")] == [(call.custom, call.arguments) for call in answer.tool_calls]


async def test_results_are_answered() -> None:
    """After the results of tools it calls none again, but tells what all of the last turn's returned."""
    results = tuple(
        Message(role="tool", parts=(ToolResult(call_id=name, parts=(Text(text=f"{name} is fine"),)),))
        for name in ("call_a", "call_b")
    )
    asked = said("x", tools=(WEATHER,))
    called = (await made().complete(asked)).as_message()
    old = (*asked.messages, called, Message(role="tool", parts=(ToolResult(call_id="old"),)))
    request = msgspec.structs.replace(asked, messages=(*old, *asked.messages, called, *results))
    answer = await made().complete(request)
    assert ("call_a returned: call_a is fine\ncall_b returned: call_b is fine", "stop") == (
        answer.content,
        answer.finish_reason,
    )


@given(schemas)
def test_it_obeys_a_schema(schema: JsonObject) -> None:
    """Asked for a schema, the answer is JSON, and an independent validator finds nothing wrong with it."""
    request = said("Some words", output_schema=OutputSchema(schema={"type": "object", "properties": {"v": schema}}))
    answer, _ = virtual_time.run(lambda: made().complete(request))
    value: Json = json.loads(answer.content)
    assert isinstance(value, dict)
    assert faults(value.get("v"), schema) == []


async def test_any_json_object() -> None:
    """Asked for JSON without a schema, it wraps its words in an object."""
    answer = await made().complete(said("Hi", output_schema=OutputSchema()))
    assert {"answer": "Hi"} == json.loads(answer.content)


@pytest.mark.parametrize(
    ("fields", "content", "reason"),
    [
        ({"stop": (" four", " three")}, "One two", "stop"),
        ({"stop": ("zzz",)}, "One two three four", "stop"),
        ({"stop": ("One",)}, "", "stop"),
        ({"max_tokens": 2}, "One two ", "length"),
        ({"max_tokens": 5}, "One two three four", "stop"),
        ({"max_tokens": 1, "stop": ("two",)}, "One ", "stop"),
    ],
)
async def test_limits(fields: dict[str, object], content: str, reason: str) -> None:
    """It stops before the earliest stop text, and at the limit of tokens, and tells which it was."""
    answer = await made().complete(said("One two three four", **fields))
    assert (content, reason) == (answer.content, answer.finish_reason)


async def test_several_answers() -> None:
    """``n`` answers are all the same, and all are counted."""
    answer = await made().complete(said("abcd", n=3))
    assert (3, 3) == (len(answer.choices), answer.output_tokens)
    assert len(set(map(repr, answer.choices))) == 1


async def test_nobody_said_anything() -> None:
    """A conversation without a user's turn is answered with nothing, not with an error."""
    request = msgspec.structs.replace(said("x"), messages=(Message(role="assistant", parts=(Text(text="hm"),)),))
    assert (await made().complete(request)).content == ""


async def test_its_models() -> None:
    """It lists what it can be asked for, without being asked over any wire, and is healthy."""
    provider = made()
    assert list(MODELS) == [model.id for model in await provider.list_models()]
    assert await provider.validate_model("flaky")
    assert not await provider.validate_model("gpt-4o")
    assert (await provider.health()).healthy


async def test_who_answers_there_is_it() -> None:
    """Asked over its wire, it lists the same models."""
    listed = await made().probe()
    assert list(MODELS) == [model.id for model in listed or ()]


# Failures.


@pytest.mark.parametrize(
    ("model", "kind", "status"),
    [
        ("fail-401", errors.ProviderAuthenticationError, 401),
        ("fail-429", errors.RateLimitedError, 429),
        ("fail-500", errors.ProviderFailedError, 500),
        ("fail-529", errors.OverloadedError, 529),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_it_fails_with_a_status(model: str, kind: type[SpineError], status: int, *, stream: bool) -> None:
    """Each model that fails gives the error that such an upstream gives; only a limit tells when to come again."""
    request = said("x", model=model)
    provider = made()
    with pytest.raises(SpineError) as caught:
        await (streamed(provider, request) if stream else provider.complete(request))
    error = caught.value
    assert (kind, status, "simulator") == (type(error), error.upstream_status, error.provider)
    assert (RETRY_AFTER_SECONDS if status == 429 else None) == error.retry_after


def test_it_does_not_answer() -> None:
    """``fail-timeout`` lets the whole time pass, then fails as such an upstream does."""

    async def main() -> None:
        with pytest.raises(errors.ProviderTimeoutError):
            await made().complete(said("x", model="fail-timeout"), CallOptions(seconds=30))

    _, seconds = virtual_time.run(main)
    assert pytest.approx(30) == seconds


def test_it_answers_slowly() -> None:
    """``fail-slow`` is good, but late."""
    answer, seconds = virtual_time.run(lambda: made().complete(said("x", model="fail-slow")))
    assert answer.content == "x"
    assert pytest.approx(SLOW_SECONDS) == seconds


async def test_it_cuts_a_stream() -> None:
    """``fail-cut`` begins, and breaks off with words told and no end."""
    events = await streamed(made(), said("One two three four five six", model="fail-cut"))
    assert isinstance(events[-1], Failed)
    assert isinstance(events[-1].error, errors.StreamInterruptedError)
    words = "".join(event.text for event in events if isinstance(event, TextDelta))
    assert words
    assert "One two three four five six".startswith(words)


async def test_it_cuts_a_whole_answer() -> None:
    """Not streamed, half a body comes; that is an error too."""
    with pytest.raises(errors.StreamInterruptedError):
        await made().complete(said("x", model="fail-cut"))


def test_every_failure_has_a_model() -> None:
    """All ways to fail can be asked for by name."""
    assert {f"fail-{failure}" for failure in FAILURES} <= set(MODELS)


async def outcomes(failures: Mapping[str, float], calls: int) -> list[str]:
    """The upstream status, or 0 for success, of each of so many calls of ``flaky``."""
    provider = made(failures)
    found: list[str] = []
    for _ in range(calls):
        try:
            await provider.complete(said("x", model="flaky"))
            found.append("")
        except SpineError as error:
            found.append(str(error.upstream_status))
    return found


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.29, 0.5, 1.0])
async def test_a_rate_is_kept_exactly(rate: float) -> None:
    """Of 200 calls just the set share fails, spread evenly: the share of any first k calls is off by less than one."""
    found = await outcomes({"500": rate}, 200)
    for count in range(1, 201):
        failed = sum(outcome == "500" for outcome in found[:count])
        assert abs(failed - rate * count) < 1
    assert found == await outcomes({"500": rate}, 200)


async def test_several_rates_are_kept_together() -> None:
    """Two failures at a quarter each: each has its share, none hides the other."""
    found = await outcomes({"500": 0.25, "429": 0.25, "401": 0.1}, 200)
    assert (50, 50, 20, 80) == tuple(found.count(outcome) for outcome in ("500", "429", "401", ""))


async def test_rates_that_fill_all_calls() -> None:
    """Rates that come to 1 leave no call a success, and rates are counted over the calls of ``flaky`` alone."""
    provider = made({"500": 0.7, "529": 0.3})
    statuses: list[int | None] = []
    for _ in range(20):
        await provider.complete(said("x"))
        with pytest.raises(SpineError) as caught:
            await provider.complete(said("x", model="flaky"))
        statuses.append(caught.value.upstream_status)
    assert (14, 6) == (statuses.count(500), statuses.count(529))


async def test_only_flaky_is_flaky() -> None:
    """Rates do not touch the model that echoes."""
    provider = made({"500": 1.0})
    assert (await provider.complete(said("x"))).content == "x"


@pytest.mark.parametrize("failures", [{"418": 0.1}, {"500": 1.1}, {"500": -0.1}])
def test_a_wrong_rate_is_told(failures: Mapping[str, float]) -> None:
    """An unknown failure, or a rate that is none, is an error that says what may stand there."""
    with pytest.raises(ConfigurationError, match=r"simulator_failures: .* name one of 401, 429"):
        made(failures)


def test_rates_of_more_than_all() -> None:
    """No more calls can fail than there are."""
    with pytest.raises(ConfigurationError, match="more than 1 together"):
        made({"500": 0.6, "429": 0.6})


@pytest.mark.parametrize("pace", [0.0, 0.5])
def test_the_pace_of_a_stream(pace: float) -> None:
    """A stream takes the set pause before each of its pieces, and a stream without a pause takes no time."""
    events, seconds = virtual_time.run(lambda: streamed(made(chunk_seconds=pace), said("One two three four")))
    pieces = sum(isinstance(event, TextDelta) for event in events)
    assert pieces == 4
    assert pieces * pace <= seconds <= (pieces + 6) * pace
