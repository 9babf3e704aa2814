"""T2 with the official packages: any client dialect to any provider dialect, feature by feature.

Each test looks at both ends: what the provider was asked, read by the rules of its own dialect, and what the client's
package handed to its user. The gateway is one for all tests of the file, so each leaves it as it found it; failures,
which it may remember, are tested in ``test_sdk_errors.py`` on gateways of their own.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any, Final

import pytest
import pytest_asyncio
from msgspec.structs import replace
from pydantic import BaseModel

from genai_spine.testing.gateway import running_gateway
from genai_spine.testing.upstream import ScriptedUpstream
from genai_spine.types.json import JsonObject
from tests.flow.answers import PROVIDERS, Call, Provider, Said
from tests.flow.cells import cells, impossible, not_possible
from tests.flow.clients import CLIENTS, Ask, Round, connect
from tests.flow.published import faults_of
from tests.flow.wire import Seen, Turn
from tests.flow.wiring import (
    ADDRESS,
    CAPITAL,
    COUNTRY,
    PNG,
    PNG_TEXT,
    RAISED,
    STRICT,
    Wired,
    answer,
    ask_stream,
    ask_whole,
    asked_for,
    check_ids,
    environ_of,
    got,
    history,
    status_of,
    told_of,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")


class City(BaseModel):
    """What a structured answer must be."""

    city: str
    country: str


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def _wired(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Wired]:
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(ScriptedUpstream())
        gateway = await stack.enter_async_context(
            running_gateway(environ_of(upstream, tmp_path_factory.mktemp("matrix")))
        )
        clients = {name: connect(name, gateway.url, gateway.key) for name in CLIENTS}
        for client in clients.values():
            stack.push_async_callback(client.aclose)
        yield Wired(upstream, gateway, clients)


@pytest.fixture
def wired(_wired: Wired) -> Iterator[Wired]:
    """The gateway, with nothing left over from another test; all that its doors answer is of the published form."""
    _wired.upstream.received.clear()
    _wired.upstream._queue.clear()  # what a test that failed did not fetch
    _wired.gateway.recorder.records.clear()
    yield _wired
    for client in _wired.clients.values():
        heard, client.heard[:] = client.heard[:], []
        assert [] == [fault for one in heard for fault in faults_of(one)]


# Words.


def instructed(client: str) -> Ask:
    """A question with instructions, but for the one dialect that has none."""
    return Ask(system="" if client == "completions" else "Answer in one sentence.")


@cells("text")
async def test_complete(wired: Wired, client_name: str, provider_name: str) -> None:
    """Instructions and a question arrive; the answer, why it ended and what it took come back."""
    provider = PROVIDERS[provider_name]
    reply, said = answer(provider, "text", Said(text="The capital of France is Paris."))
    ask = instructed(client_name)
    told = await ask_whole(wired, client_name, provider, ask, reply)
    assert asked_for(provider, ask) == wired.asked(provider)
    assert told_of(client_name, said, provider) == got(told)
    await wired.gateway.recorder.until(1)
    record = wired.gateway.recorder.records[0]
    assert record.request_id == wired.clients[client_name].seen["x-request-id"]
    if client_name not in {"gemini", "ollama"}:
        # The packages' own documented way to learn the id.
        assert record.request_id == told.raw._request_id
    assert (provider.name, provider.model, "success") == (record.provider, record.model, record.outcome)
    assert (said.input_tokens, said.output_tokens) == (record.input_tokens, record.output_tokens)


@cells("stream")
async def test_stream(wired: Wired, client_name: str, provider_name: str) -> None:
    """A stream arrives piece by piece, and is the whole answer with its end and usage."""
    provider = PROVIDERS[provider_name]
    reply, said = answer(provider, "stream", Said(text="The capital of France is Paris."), stream=True)
    ask = instructed(client_name)
    told = await ask_stream(wired, client_name, provider, ask, reply)
    assert asked_for(provider, ask, stream=True) == wired.asked(provider)
    assert told_of(client_name, said, provider) == got(told)
    assert told.pieces >= min(2, len(said.text.split())), "the words must come in pieces, as the provider sent them"


# Tools.

ONE_CALL: Final = Said(calls=(Call("call_scripted_1", "get_user_country", {}),), finish="tool_calls")
TWO_CALLS: Final = Said(
    text="Let me look.",
    calls=(
        Call("call_scripted_1", "get_capital", {"country": "France"}),
        Call("call_scripted_2", "get_capital", {"country": "Peru"}),
    ),
    finish="tool_calls",
)


def calls_of(provider: Provider) -> Said:
    """Two calls at once; Ollama's older versions give them no ids."""
    if provider.name != "ollama":
        return TWO_CALLS
    return replace(TWO_CALLS, calls=tuple(replace(call, id="") for call in TWO_CALLS.calls))


@cells("tools")
async def test_tools(wired: Wired, client_name: str, provider_name: str) -> None:
    """A tool is offered and called; its result goes back with its call, and words come of it."""
    provider = PROVIDERS[provider_name]
    reply, said = answer(provider, "tools", ONE_CALL)
    ask = Ask(prompt="Where am I?", tools=(COUNTRY, CAPITAL))
    told = await ask_whole(wired, client_name, provider, ask, reply)
    assert asked_for(provider, ask) == wired.asked(provider)
    assert told_of(client_name, said, provider) == got(told)
    check_ids(client_name, said, told)

    last = Said(text="You are in Mexico.")
    ask = replace(ask, rounds=(Round(told, ("Mexico",)),))
    told = await ask_whole(wired, client_name, provider, ask, provider.whole(last))
    assert asked_for(provider, ask, turns=history(client_name, provider, ask)) == wired.asked(provider)
    assert told_of(client_name, last, provider) == got(told)


@cells("tools_stream")
async def test_tools_in_a_stream(wired: Wired, client_name: str, provider_name: str) -> None:
    """A call's arguments, which may come in pieces, are whole in the end."""
    provider = PROVIDERS[provider_name]
    one = Said(calls=(Call("call_scripted_1", "get_capital", {"country": "France"}),), finish="tool_calls")
    reply, said = answer(provider, "tools_stream", one, stream=True)
    ask = Ask(tools=(CAPITAL,))
    told = await ask_stream(wired, client_name, provider, ask, reply)
    assert asked_for(provider, ask, stream=True) == wired.asked(provider)
    assert told_of(client_name, said, provider) == got(told)
    check_ids(client_name, said, told)


@cells("parallel_tools")
async def test_parallel_tools(wired: Wired, client_name: str, provider_name: str) -> None:
    """Several calls of one turn keep their order; their results go back together, each with its call."""
    provider = PROVIDERS[provider_name]
    reply, said = answer(provider, "parallel_tools", calls_of(provider))
    ask = Ask(tools=(CAPITAL, COUNTRY))
    told = await ask_whole(wired, client_name, provider, ask, reply)
    assert len(told.calls) > 1
    assert told_of(client_name, said, provider) == got(told)
    check_ids(client_name, said, told)

    results = tuple(f"result {number}" for number in range(len(told.calls)))
    ask = replace(ask, rounds=(Round(told, results),))
    reply, last = answer(provider, "parallel_results", Said(text="Paris and Lima."))
    told = await ask_whole(wired, client_name, provider, ask, reply)
    assert asked_for(provider, ask, turns=history(client_name, provider, ask)) == wired.asked(provider)
    assert told_of(client_name, last, provider) == got(told)


@cells("parallel_tools_stream")
async def test_parallel_tools_in_a_stream(wired: Wired, client_name: str, provider_name: str) -> None:
    """Words and several calls of one streamed turn are told apart; results go back in a stream too."""
    provider = PROVIDERS[provider_name]
    said = calls_of(provider)
    ask = Ask(tools=(CAPITAL,))
    told = await ask_stream(wired, client_name, provider, ask, provider.stream(said))
    assert told_of(client_name, said, provider) == got(told)
    check_ids(client_name, said, told)

    last = Said(text="Paris and Lima.")
    ask = replace(ask, rounds=(Round(told, ("Paris", "Lima")),))
    told = await ask_stream(wired, client_name, provider, ask, provider.stream(last))
    expected = asked_for(provider, ask, turns=history(client_name, provider, ask), stream=True)
    assert expected == wired.asked(provider)
    assert told_of(client_name, last, provider) == got(told)


async def _choose(wired: Wired, client_name: str, provider_name: str, choice: str) -> Seen:
    provider = PROVIDERS[provider_name]
    said = Said(text="Paris.") if choice == "none" else replace(calls_of(provider), text="")
    ask = Ask(tools=(CAPITAL, COUNTRY), choice=choice)
    told = await ask_whole(wired, client_name, provider, ask, provider.whole(said))
    assert told_of(client_name, said, provider) == got(told)
    return wired.asked(provider)


@cells("tool_choice_required")
async def test_some_tool_must_be_called(wired: Wired, client_name: str, provider_name: str) -> None:
    """That some tool must be called is said in the provider's word."""
    seen = await _choose(wired, client_name, provider_name, "required")
    assert ((CAPITAL, COUNTRY), "required") == (seen.tools, seen.choice)


@cells("tool_choice_named")
async def test_one_tool_must_be_called(wired: Wired, client_name: str, provider_name: str) -> None:
    """That a certain tool must be called is said in the provider's word."""
    seen = await _choose(wired, client_name, provider_name, "get_capital")
    assert ((CAPITAL, COUNTRY), "get_capital") == (seen.tools, seen.choice)


@cells("tool_choice_none")
async def test_no_tool_may_be_called(wired: Wired, client_name: str, provider_name: str) -> None:
    """That no tool may be called is said, or else none is offered."""
    seen = await _choose(wired, client_name, provider_name, "none")
    wordless = provider_name in {"bedrock", "ollama"}
    assert (() if wordless else (CAPITAL, COUNTRY), None if wordless else "none") == (seen.tools, seen.choice)


@cells("one_call")
async def test_one_call_at_a_time(wired: Wired, client_name: str, provider_name: str) -> None:
    """That calls may not come in parallel reaches the provider."""
    provider = PROVIDERS[provider_name]
    ask = Ask(tools=(CAPITAL,), one_call=True)
    await ask_whole(wired, client_name, provider, ask, provider.whole(ONE_CALL))
    assert wired.asked(provider).one_call is True


@cells("strict_tools")
async def test_strict_tools(wired: Wired, client_name: str, provider_name: str) -> None:
    """That the model is bound to a tool's schema reaches the provider."""
    provider = PROVIDERS[provider_name]
    ask = Ask(tools=(STRICT,))
    await ask_whole(wired, client_name, provider, ask, provider.whole(TWO_CALLS))
    assert (STRICT,) == wired.asked(provider).tools


@cells("failed_tool")
async def test_a_tool_that_failed(wired: Wired, client_name: str, provider_name: str) -> None:
    """That a tool failed is told by the provider's mark for it; where it has none, in words."""
    provider = PROVIDERS[provider_name]
    ask = Ask(tools=(CAPITAL,))
    told = await ask_whole(wired, client_name, provider, ask, provider.whole(TWO_CALLS))
    ask = replace(ask, rounds=(Round(told, ("Paris", "no such country")),), failed=True)
    await ask_whole(wired, client_name, provider, ask, provider.whole(Said(text="Paris.")))
    first, second = wired.asked(provider).turns[-1].results
    assert ("Paris", False) == (first.text, first.failed)
    if provider_name in {"anthropic", "google", "bedrock"}:
        assert ("no such country", True) == (second.text, second.failed)
    else:
        assert "Error: no such country" == second.text


# Images.


@cells("image")
async def test_image(wired: Wired, client_name: str, provider_name: str) -> None:
    """The bytes of an image arrive beside the question."""
    provider = PROVIDERS[provider_name]
    reply, said = answer(provider, "image", Said(text="A potato."))
    ask = Ask(prompt="What is this?", image=PNG)
    told = await ask_whole(wired, client_name, provider, ask, reply)
    turn = Turn(role="user", text=ask.prompt, images=(PNG_TEXT,))
    assert asked_for(provider, ask, turns=(turn,)) == wired.asked(provider)
    assert told_of(client_name, said, provider) == got(told)


@cells("image_url")
async def test_image_by_address(wired: Wired, client_name: str, provider_name: str) -> None:
    """An image's address goes on to a provider that fetches it itself."""
    provider = PROVIDERS[provider_name]
    ask = Ask(prompt="What is this?", image=ADDRESS)
    await ask_whole(wired, client_name, provider, ask, provider.whole(Said(text="A potato.")))
    turn = Turn(role="user", text=ask.prompt, images=(ADDRESS,))
    assert asked_for(provider, ask, turns=(turn,)) == wired.asked(provider)


PDF: Final = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
GUIDE: Final = "The capital of France is Paris."


@cells("document")
async def test_document(wired: Wired, client_name: str, provider_name: str) -> None:
    """The bytes of a document arrive beside the question."""
    provider = PROVIDERS[provider_name]
    ask = Ask(prompt="What does it say?", document=PDF)
    told = await ask_whole(wired, client_name, provider, ask, provider.whole(Said(text="Nothing.")))
    turn = Turn(role="user", text=ask.prompt, documents=(base64.b64encode(PDF).decode(),))
    assert asked_for(provider, ask, turns=(turn,)) == wired.asked(provider)
    assert "Nothing." == told.text


@cells("text_document")
async def test_document_of_words(wired: Wired, client_name: str, provider_name: str) -> None:
    """A document that is words arrives as one, or else among the user's words."""
    provider = PROVIDERS[provider_name]
    ask = Ask(prompt="What does it say?", document=GUIDE)
    await ask_whole(wired, client_name, provider, ask, provider.whole(Said(text="Paris.")))
    (turn,) = wired.asked(provider).turns
    assert "user" == turn.role
    assert ask.prompt in turn.text
    assert GUIDE in "".join((*turn.documents, turn.text))


@cells("image_in_result")
async def test_image_in_a_tool_result(wired: Wired, client_name: str, provider_name: str) -> None:
    """An image that a tool returned is shown: in the result, or by the user right after all results."""
    provider = PROVIDERS[provider_name]
    ask = Ask(tools=(CAPITAL,))
    told = await ask_whole(wired, client_name, provider, ask, provider.whole(TWO_CALLS))
    ask = replace(ask, rounds=(Round(told, ("Paris", "a picture of Lima")),), result_image=PNG)
    await ask_whole(wired, client_name, provider, ask, provider.whole(Said(text="Paris and Lima.")))
    seen = wired.asked(provider)
    results = [turn for turn in seen.turns if turn.role == "tool"]
    assert 1 == len(results)
    assert ["Paris", "a picture of Lima"] == [result.text for result in results[0].results]
    assert (PNG_TEXT,) == tuple(image for turn in seen.turns for image in turn.images)
    if provider_name not in {"openai", "ollama"} or (client_name, provider_name) == ("ollama", "ollama"):
        assert (PNG_TEXT,) == results[0].images
    else:
        assert ("user", (PNG_TEXT,)) == (seen.turns[-1].role, seen.turns[-1].images)


# Structured output.


def _open(schema: JsonObject | None) -> JsonObject:
    """What a schema says, without what the packages and providers add to it in words or to close it."""
    assert schema is not None
    properties = schema["properties"]
    assert isinstance(properties, dict)
    kinds: JsonObject = {name: value["type"] for name, value in properties.items() if isinstance(value, dict)}
    return {"type": schema["type"], "required": schema["required"], "properties": kinds}


CITY: Final[JsonObject] = {
    "type": "object",
    "required": ["city", "country"],
    "properties": {"city": "string", "country": "string"},
}


@cells("schema")
async def test_structured_output(wired: Wired, client_name: str, provider_name: str) -> None:
    """The schema reaches the provider in its own form; the package parses what comes back."""
    provider = PROVIDERS[provider_name]
    reply, said = answer(provider, "schema", Said(text='{"city": "Lima", "country": "Peru"}'))
    ask = Ask(prompt="Name a city.", shape=City)
    told = await ask_whole(wired, client_name, provider, ask, reply)
    seen = wired.asked(provider)
    assert CITY == _open(seen.schema)
    assert asked_for(provider, ask) == replace(seen, schema=None)
    assert told_of(client_name, said, provider) == got(told)
    assert City.model_validate_json(said.text) == told.parsed


@cells("schema_stream")
async def test_structured_output_in_a_stream(wired: Wired, client_name: str, provider_name: str) -> None:
    """Structured output may be streamed, and is parsed in the end."""
    provider = PROVIDERS[provider_name]
    said = Said(text='{"city": "Mexico City", "country": "Mexico"}')
    told = await ask_stream(wired, client_name, provider, Ask(shape=City), provider.stream(said))
    seen = wired.asked(provider)
    assert (CITY, True) == (_open(seen.schema), seen.stream)
    assert City(city="Mexico City", country="Mexico") == told.parsed


@cells("json_mode")
async def test_any_json_object(wired: Wired, client_name: str, provider_name: str) -> None:
    """Any JSON object is asked for by the provider's mode; where it has none, in the instructions."""
    provider = PROVIDERS[provider_name]
    said = Said(text='{"city": "Lima"}')
    more: dict[str, dict[str, Any]] = {
        "openai": {"response_format": {"type": "json_object"}},
        "responses": {"text": {"format": {"type": "json_object"}}},
        "gemini": {"response_mime_type": "application/json"},
        "ollama": {"format": "json"},
    }
    ask = Ask(system="Be brief.", more=more[client_name])
    told = await ask_whole(wired, client_name, provider, ask, provider.whole(said))
    seen = wired.asked(provider)
    assert told_of(client_name, said, provider) == got(told)
    if provider_name in {"anthropic", "bedrock"}:
        assert seen.schema is None
        assert seen.system.startswith("Be brief.")
        assert "JSON object" in seen.system
    else:
        assert ({}, "Be brief.") == (seen.schema, seen.system)


# How it ends, and what it took.


@cells("length")
async def test_cut_at_the_limit(wired: Wired, client_name: str, provider_name: str) -> None:
    """An answer cut at its limit says so, whole and streamed."""
    provider = PROVIDERS[provider_name]
    said = Said(text="The capital of", finish="length")
    ask = Ask(max_tokens=4)
    told = await ask_whole(wired, client_name, provider, ask, provider.whole(said))
    assert 4 == wired.asked(provider).max_tokens
    assert told_of(client_name, said, provider) == got(told)
    told = await ask_stream(wired, client_name, provider, ask, provider.stream(said))
    assert told_of(client_name, said, provider) == got(told)


@cells("refusal")
async def test_refused_by_the_model(wired: Wired, client_name: str, provider_name: str) -> None:
    """An answer that a filter ended says so, whole and streamed."""
    provider = PROVIDERS[provider_name]
    said = Said(text="I cannot help", finish="content_filter")
    told = await ask_whole(wired, client_name, provider, Ask(), provider.whole(said))
    assert told_of(client_name, said, provider) == got(told)
    told = await ask_stream(wired, client_name, provider, Ask(), provider.stream(said))
    assert told_of(client_name, said, provider) == got(told)


@cells("stop_sequence")
async def test_stop_sequence(wired: Wired, client_name: str, provider_name: str) -> None:
    """Stop sequences reach the provider; which of them it was only Anthropic tells, and only to its own."""
    provider = PROVIDERS[provider_name]
    stopped_by = "END" if provider_name == "anthropic" else None
    said = Said(text="One, two,", stopped_by=stopped_by)
    ask = Ask(stop=("END", "STOP"))
    told = await ask_whole(wired, client_name, provider, ask, provider.whole(said))
    assert asked_for(provider, ask) == wired.asked(provider)
    if (client_name, provider_name) == ("anthropic", "anthropic"):
        assert ("stop_sequence", "END") == (told.finish, told.raw.stop_sequence)
    else:
        assert told_of(client_name, said, provider) == got(told)


@cells("cached_usage")
async def test_cached_input(wired: Wired, client_name: str, provider_name: str) -> None:
    """Tokens from a cache are counted once: among the input towards most clients, apart towards Anthropic's."""
    provider = PROVIDERS[provider_name]
    written = 40 if provider_name == "anthropic" else None
    reply, said = answer(provider, "cached_usage", Said(text="Yes.", input_tokens=1500, cached=1024, written=written))
    told = await ask_whole(wired, client_name, provider, Ask(), reply)
    assert told_of(client_name, said, provider) == got(told)
    assert said.cached
    assert said.cached == told.cached
    if client_name == "gemini":
        assert said.input_tokens + said.output_tokens == told.raw.usage_metadata.total_token_count
    elif client_name != "anthropic":
        assert said.input_tokens + said.output_tokens == told.raw.usage.total_tokens
    else:
        assert said.input_tokens - said.cached - (said.written or 0) == told.raw.usage.input_tokens


@cells("cached_usage_stream")
async def test_cached_input_of_a_stream(wired: Wired, client_name: str, provider_name: str) -> None:
    """A stream counts the same way."""
    provider = PROVIDERS[provider_name]
    written = 40 if provider_name == "anthropic" else None
    said = Said(text="Yes.", input_tokens=1500, cached=1024, written=written)
    told = await ask_stream(wired, client_name, provider, Ask(), provider.stream(said))
    assert told_of(client_name, said, provider) == got(told)
    assert 1024 == told.cached


# Sampling and thinking.


def _options(client: str, **values: object) -> dict[str, Any]:
    """Arguments of the package; Ollama's stand in its options."""
    return {"options": values} if client == "ollama" else values


@cells("sampling")
async def test_sampling(wired: Wired, client_name: str, provider_name: str) -> None:
    """A temperature of 0 is a value, and reaches the provider."""
    provider = PROVIDERS[provider_name]
    ask = Ask(more=_options(client_name, temperature=0))
    await ask_whole(wired, client_name, provider, ask, provider.whole(Said(text="Paris.")))
    assert asked_for(provider, ask, temperature=0) == wired.asked(provider)


@cells("seed")
async def test_seed(wired: Wired, client_name: str, provider_name: str) -> None:
    """A seed reaches the provider."""
    provider = PROVIDERS[provider_name]
    ask = Ask(more=_options(client_name, seed=7))
    await ask_whole(wired, client_name, provider, ask, provider.whole(Said(text="Paris.")))
    assert asked_for(provider, ask, seed=7) == wired.asked(provider)


TWO_ANSWERS: Final[dict[str, dict[str, Any]]] = {
    "openai": {"n": 2},
    "completions": {"n": 2},
    "gemini": {"candidate_count": 2},
}


@cells("n")
async def test_several_answers(wired: Wired, client_name: str, provider_name: str) -> None:
    """Several answers to one request come back, in their order."""
    provider = PROVIDERS[provider_name]
    said = Said(text="Paris.", others=("It is Paris.",))
    told = await ask_whole(wired, client_name, provider, Ask(more=TWO_ANSWERS[client_name]), provider.whole(said))
    assert 2 == wired.asked(provider).n
    choices = told.raw.candidates if client_name == "gemini" else told.raw.choices
    texts = {
        "openai": lambda choice: choice.message.content,
        "completions": lambda choice: choice.text,
        "gemini": lambda choice: choice.content.parts[0].text,
    }
    assert ["Paris.", "It is Paris."] == [texts[client_name](choice) for choice in choices]
    assert [0, 1] == [choice.index for choice in choices]


WITH_LOGPROBS: Final[dict[str, dict[str, Any]]] = {
    "openai": {"logprobs": True},
    "responses": {"include": ["message.output_text.logprobs"]},
    "completions": {"logprobs": 1},
    "gemini": {"response_logprobs": True},
    "ollama": {"logprobs": True},
}
LIKELY: Final = Said(text="Paris is", logprobs=(("Paris", -0.125), (" is", -1.5)))


@cells("logprobs")
async def test_logprobs(wired: Wired, client_name: str, provider_name: str) -> None:
    """Each token's probability is told where it is asked for."""
    provider = PROVIDERS[provider_name]
    told = await ask_whole(wired, client_name, provider, Ask(more=WITH_LOGPROBS[client_name]), provider.whole(LIKELY))
    assert wired.asked(provider).logprobs is True
    assert LIKELY.logprobs == told.logprobs


@cells("logprobs_stream")
async def test_logprobs_of_a_stream(wired: Wired, client_name: str, provider_name: str) -> None:
    """A stream tells them with its words."""
    provider = PROVIDERS[provider_name]
    told = await ask_stream(wired, client_name, provider, Ask(more=WITH_LOGPROBS[client_name]), provider.stream(LIKELY))
    assert wired.asked(provider).logprobs is True
    assert LIKELY.logprobs == told.logprobs
    assert "Paris is" == told.text


@cells("effort")
async def test_effort(wired: Wired, client_name: str, provider_name: str) -> None:
    """How hard to think is said as the provider takes it; a model that is told a budget gets one below its limit."""
    provider = PROVIDERS[provider_name]
    ask = Ask(max_tokens=20_000, effort="high")
    await ask_whole(wired, client_name, provider, ask, provider.whole(Said(text="Paris.")))
    passed = (client_name, provider_name) == ("anthropic", "anthropic")
    expected = 16_384 if provider_name in {"anthropic", "bedrock"} and not passed else "high"
    assert asked_for(provider, ask, effort=expected) == wired.asked(provider)


THOUGHT: Final = Said(text="It is Paris.", thinking="The user asks for a capital.")


@cells("thinking")
async def test_thinking(wired: Wired, client_name: str, provider_name: str) -> None:
    """What a model thought is told apart from what it said."""
    provider = PROVIDERS[provider_name]
    told = await ask_whole(wired, client_name, provider, Ask(), provider.whole(THOUGHT))
    assert told_of(client_name, THOUGHT, provider) == got(told)
    assert THOUGHT.thinking == told.thinking


@cells("thinking_stream")
async def test_thinking_in_a_stream(wired: Wired, client_name: str, provider_name: str) -> None:
    """A stream keeps thoughts and words apart too."""
    provider = PROVIDERS[provider_name]
    told = await ask_stream(wired, client_name, provider, Ask(), provider.stream(THOUGHT))
    assert told_of(client_name, THOUGHT, provider) == got(told)
    assert THOUGHT.thinking == told.thinking


# What is not possible.


def _impossible_ask(client: str, feature: str) -> Ask:
    asks: dict[str, Ask] = {
        "tool_choice_required": Ask(tools=(CAPITAL, COUNTRY), choice="required"),
        "tool_choice_named": Ask(tools=(CAPITAL, COUNTRY), choice="get_capital"),
        "one_call": Ask(tools=(CAPITAL,), one_call=True),
        "strict_tools": Ask(tools=(STRICT,)),
        "image_url": Ask(image=ADDRESS),
        "seed": Ask(more=_options(client, seed=7)),
        "document": Ask(document=PDF),
        "stop_sequence": Ask(stop=("END",)),
        "n": Ask(more=TWO_ANSWERS.get(client, {})),
        "logprobs": Ask(more=WITH_LOGPROBS.get(client, {})),
        "logprobs_stream": Ask(more=WITH_LOGPROBS.get(client, {})),
    }
    return asks[feature]


@not_possible("refused")
async def test_refused(wired: Wired, client_name: str, provider_name: str, feature: str) -> None:
    """What would change the answer's meaning is refused before anything is sent, by the name of the field."""
    provider = PROVIDERS[provider_name]
    client = wired.clients[client_name]
    asking = client.stream if feature.endswith("_stream") else client.complete
    with pytest.raises(RAISED) as caught:
        await asking(f"{provider.name}/{provider.model}", _impossible_ask(client_name, feature))
    # Only OpenAI's own statuses know a 422.
    expected = 400 if client_name in {"anthropic", "gemini", "ollama"} else 422
    assert expected == status_of(caught.value)
    field = impossible(client_name, provider_name, feature).field
    assert f"{field}: {provider_name} cannot do this" in str(caught.value)
    assert [] == wired.upstream.received


@not_possible("warned")
async def test_warned(wired: Wired, client_name: str, provider_name: str, feature: str) -> None:
    """What can be left out, or said another way, is; the answer's headers say so."""
    provider = PROVIDERS[provider_name]
    ask = _impossible_ask(client_name, feature)
    said = replace(ONE_CALL, calls=TWO_CALLS.calls[:1]) if ask.tools else Said(text="Paris.")
    told = await ask_whole(wired, client_name, provider, ask, provider.whole(said))
    assert told_of(client_name, said, provider) == got(told)
    warnings = wired.clients[client_name].seen["x-spine-warnings"]
    assert f"{impossible(client_name, provider_name, feature).field}: " in warnings
    seen = wired.asked(provider)
    assert (False, None) == (seen.one_call, seen.seed)
    assert seen.choice in {None, "auto"}
    assert not any(tool.strict for tool in seen.tools)
    if feature == "tool_choice_named":
        assert (CAPITAL,) == seen.tools
        assert "get_capital" in seen.system
    elif feature == "tool_choice_required":
        assert (CAPITAL, COUNTRY) == seen.tools
        assert "at least one" in seen.system
