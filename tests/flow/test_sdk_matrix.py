"""T2 with the official packages: any client dialect to any provider dialect; words, tools, images and documents.

Each test looks at both ends: what the provider was asked, read by the rules of its own dialect, and what the client's
package handed to its user. The gateway is one for all tests of a file, so each leaves it as it found it; failures,
which it may remember, are tested in ``test_sdk_errors.py`` on gateways of their own. Further features stand in
``test_sdk_answers.py``, what is not possible in ``test_sdk_gaps.py``.
"""

from __future__ import annotations

import base64

import pytest
from msgspec.structs import replace

from genai_spine.testing.upstream import Scripted
from tests.flow.answers import PROVIDERS, Call, Said
from tests.flow.cells import cells
from tests.flow.clients import Ask, Round
from tests.flow.scenes import (
    ADDRESS,
    CAPITAL,
    COUNTRY,
    GUIDE,
    ONE_CALL,
    PDF,
    PNG,
    PNG_TEXT,
    STRICT,
    TWO_CALLS,
    calls_of,
)
from tests.flow.wire import Seen, Turn
from tests.flow.wiring import Wired, answer, ask_stream, ask_whole, asked_for, check_ids, got, history, told_of

pytestmark = pytest.mark.asyncio(loop_scope="module")


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
    assert (provider.asked_as, provider.model, "success") == (record.provider, record.model, record.outcome)
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
    """An image's address goes on to a provider that fetches it itself; another is sent what lies there."""
    provider = PROVIDERS[provider_name]
    fetched = provider_name in {"google", "bedrock", "ollama"}  # which fetch nothing
    ask = Ask(prompt="What is this?", image=f"{wired.upstream.url}/potato" if fetched else ADDRESS)
    if fetched:
        wired.upstream.enqueue(Scripted(chunks=(PNG,)))
    await ask_whole(wired, client_name, provider, ask, provider.whole(Said(text="A potato.")))
    turn = Turn(role="user", text=ask.prompt, images=(PNG_TEXT if fetched else ADDRESS,))
    assert asked_for(provider, ask, turns=(turn,)) == wired.asked(provider)


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
