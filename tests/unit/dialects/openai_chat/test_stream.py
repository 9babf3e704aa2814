"""Streams of OpenAI Chat Completions; pitfalls go by their numbers in the wire notes."""

from __future__ import annotations

import json

import pytest

from genai_spine.dialects.base import Quirks, Reply
from genai_spine.errors import ProviderError
from genai_spine.testing.dialects import check_response, check_stream
from genai_spine.types.completion import CompletionResponse
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.messages import (
    Refusal,
    Text,
    Thinking,
    ToolCall,
)
from genai_spine.types.stream import (
    Event,
    Extension,
    Failed,
    Finish,
    PartStart,
    Start,
    TextDelta,
    ToolArguments,
    UsageTold,
    events_of,
)
from tests.unit.dialects.openai_chat.wire import (
    CHAT,
    DONE,
    PLAIN,
    answer_of,
    call_of,
    chunk_of,
    collected,
    events_in,
    failure_of,
)


def test_9_name_and_arguments_in_one_chunk() -> None:
    """A first chunk that holds both the name and the arguments loses neither (WIRE 9, 9)."""
    body = chunk_of({"tool_calls": [call_of(0, "c1", "f", '{"a":1}')]}) + chunk_of({}, "tool_calls") + DONE
    check_stream(CHAT, body)
    assert collected(body).tool_calls == (ToolCall(id="c1", name="f", arguments='{"a":1}'),)


def test_10_a_call_without_arguments() -> None:
    """Arguments that never came, or came empty, are ``{}`` (WIRE 9, 10)."""
    for arguments in ("", None):
        body = chunk_of({"tool_calls": [call_of(0, "c1", "f", arguments)]}) + chunk_of({}, "tool_calls") + DONE
        check_stream(CHAT, body)
        assert collected(body).tool_calls == (ToolCall(id="c1", name="f", arguments="{}"),)
        whole = answer_of({"content": None, "tool_calls": [call_of(0, "c1", "f", arguments)]}, "tool_calls")
        assert check_response(CHAT, whole).tool_calls == (ToolCall(id="c1", name="f", arguments="{}"),)


def test_11_tool_index_counts_tools_only() -> None:
    """``tool_calls[].index`` starts at 0 whatever parts came before (WIRE 9, 11)."""
    answer = CompletionResponse(id="a", choices=())
    encoder = CHAT.stream_encoder(Reply())
    parts = (Thinking(text="t"), Text(text="x"), ToolCall(id="c1", name="f"), ToolCall(id="c2", name="g"))
    chunks: list[dict[str, Json]] = []
    for event in [Start(id=answer.id), *_events_of_parts(parts)]:
        raw = encoder.encode(event)
        chunks += [json.loads(line[6:]) for line in raw.splitlines() if line]
    indexes = [
        call["index"]
        for chunk in json.loads(json.dumps(chunks))
        for choice in chunk["choices"]
        for call in choice["delta"].get("tool_calls", ())
    ]
    assert [0, 0, 1, 1] == indexes


def _events_of_parts(parts: tuple[Thinking | Text | ToolCall, ...]) -> list[Event]:
    from_parts = CompletionResponse(
        choices=(CHAT.decode_response(answer_of({"content": "x"}), PLAIN).choices[0].__class__(parts=parts),)
    )
    return events_of(from_parts)[1:]


def test_21_azures_first_chunk() -> None:
    """A first chunk without choices, id or object neither crashes nor eats what follows (WIRE 9, 21)."""
    first = b'data: {"choices":[],"created":0,"id":"","model":"","object":"","prompt_filter_results":[{"p":0}]}\n\n'
    body = (
        first
        + chunk_of({"role": "assistant", "content": ""})
        + chunk_of({"content": "hi"})
        + chunk_of({}, "stop")
        + DONE
    )
    events = check_stream(CHAT, body)
    start = events[0]
    assert isinstance(start, Start)
    assert (start.id, start.model, start.extras) == ("a1", "m", {"prompt_filter_results": [{"p": 0}]})
    assert collected(body).content == "hi"


@pytest.mark.parametrize("quirks", [PLAIN, Quirks(end_mark=False)])
def test_22_a_cut_stream_is_no_stop(quirks: Quirks) -> None:
    """Half a tool call, or words without a reason to stop, end in Failed, with and without an end mark (WIRE 9, 22)."""
    deltas: list[JsonObject] = [{"tool_calls": [call_of(0, "c1", "f", '{"a"')]}, {"content": "half"}]
    for delta in deltas:
        failure = failure_of(chunk_of(delta), quirks=quirks)
        assert failure.code == "stream_interrupted"
    assert failure_of(chunk_of({"content": "half"}), DONE, quirks=quirks).code == "stream_interrupted"
    assert failure_of(chunk_of({"content": "all"}, "stop")).code == "stream_interrupted"


def test_22_empty_streams() -> None:
    """A stream that ends before it began is a failure, with an end mark too (WIRE 9, 22)."""
    for body in (b"", b"\n\n", b": keep-alive\n\n", DONE, chunk_of(None) + DONE):
        assert isinstance(failure_of(body), ProviderError)


def test_24_error_then_done() -> None:
    """``data: {"error"}`` followed by ``[DONE]`` keeps the error's own meaning: vLLM's 400 is a 400 (WIRE 9, 24)."""
    told = b'data: {"error": {"message": "bad n", "type": "BadRequestError", "param": null, "code": 400}}\n\n'
    failure = failure_of(told, DONE)
    assert (failure.kind, failure.status, failure.message) == ("invalid_request", 400, "bad n")
    begun = failure_of(chunk_of({"role": "assistant", "content": ""}), told, DONE)
    assert begun.status == 400


def test_error_events() -> None:
    """A frame named ``error`` is a failure whatever its data; nothing comes after it."""
    for data in (b'{"error": {"message": "x", "code": 503}}', b'{"message": "x"}', b"oops"):
        events = events_in(
            chunk_of({"content": "a"}), b"event: error\ndata: " + data + b"\n\n", chunk_of({"content": "b"})
        )
        assert isinstance(events[-1], Failed)
        failure_of(chunk_of({"content": "a"}), b"event: error\ndata: " + data + b"\n\n", DONE)


def test_31_mistral_streams() -> None:
    """A delta's content may be a list, of words and of thinking (WIRE 9, 31)."""
    thinking: list[Json] = [{"type": "thinking", "thinking": [{"type": "text", "text": "so"}]}]
    words: list[Json] = [{"type": "text", "text": "yes"}]
    body = chunk_of({"content": thinking}) + chunk_of({"content": words}) + chunk_of({"content": "!"}, "stop") + DONE
    check_stream(CHAT, body)
    answer = collected(body)
    assert (answer.thinking, answer.content) == ("so", "yes!")
    whole = check_response(CHAT, answer_of({"content": [*thinking, *words]}))
    written = json.loads(CHAT.encode_response(whole, Reply()))["choices"][0]["message"]
    assert ("so", "yes") == (written["reasoning_content"], written["content"])


def test_31_mistral_calls() -> None:
    """A tool call may lack its type and index, and its arguments may be an object (WIRE 9, 31)."""
    calls: Json = [
        {"id": "aaaaaaaa1", "function": {"name": "f", "arguments": {"a": 1}}},
        {"id": "aaaaaaaa2", "function": {"name": "g", "arguments": "{}"}},
    ]
    expected = (ToolCall(id="aaaaaaaa1", name="f", arguments='{"a":1}'), ToolCall(id="aaaaaaaa2", name="g"))
    assert expected == check_response(CHAT, answer_of({"content": "", "tool_calls": calls}, "tool_calls")).tool_calls
    assert expected == collected(chunk_of({"tool_calls": calls}, "tool_calls"), DONE).tool_calls


@pytest.mark.parametrize(
    "deltas",
    [
        [call_of(None, "c1", "f", '{"a"'), call_of(None, None, None, ":1}"), call_of(None, "c2", "g", "{}")],
        [call_of(None, "c1", "f", '{"a"'), call_of(None, "c1", None, ":1}"), call_of(None, "c2", "g", "{}")],
        [call_of(0, "c1", "f", '{"a":1}'), call_of(0, "c2", "g", "{}")],
        [call_of(0, "c1", "f", '{"a"'), call_of(1, "c2", "g", "{}"), call_of(0, None, None, ":1}")],
        [call_of(0, "c1", "f", '{"a"'), call_of(0, "c1", "f", ":1}"), call_of(1, "c2", "g", "{}")],
        [call_of(0, "c1", "f", '{"a"'), call_of(0, "", "", ":1}"), call_of(1, "c2", "g", "{}")],
        [call_of(3, "c1", "f", '{"a":1}'), call_of(5, "c2", "g", "{}")],
    ],
)
def test_ways_to_tell_calls_apart(deltas: list[Json]) -> None:
    """By index, by id, or by neither: fragments go to the call that they belong to."""
    body = b"".join(chunk_of({"tool_calls": [delta]}) for delta in deltas) + chunk_of({}, "tool_calls") + DONE
    check_stream(CHAT, body, cuts=4, cut_everywhere=0)
    assert collected(body).tool_calls == (
        ToolCall(id="c1", name="f", arguments='{"a":1}'),
        ToolCall(id="c2", name="g"),
    )


def test_whole_calls_without_index_or_id() -> None:
    """Calls sent whole, with no index and no id, are calls of their own, and get ids."""
    body = chunk_of({"tool_calls": [call_of(None, None, "f", "{}")]}) + chunk_of(
        {"tool_calls": [call_of(None, None, "f", "{}")]}
    )
    first, second = collected(body, chunk_of({}, "stop"), DONE).tool_calls
    assert first.id != second.id
    assert {"f"} == {first.name, second.name}


def test_a_call_without_a_name() -> None:
    """A call that nobody can make is malformed."""
    assert failure_of(chunk_of({"tool_calls": [call_of(0, "c1", None, "{}")]})).code == "malformed_response"


def test_reasons_told_more_than_once() -> None:
    """OpenRouter repeats the reason, and some go on after it: one Finish, at the end, and no word lost."""
    body = chunk_of({"content": "a"}, "stop") + chunk_of({"content": "b"}, "stop") + chunk_of({}, "length") + DONE
    events = check_stream(CHAT, body)
    assert [Finish(reason="length")] == [event for event in events if isinstance(event, Finish)]
    assert collected(body).content == "ab"


def test_an_empty_reason_is_none_while_words_come() -> None:
    """A service that writes an empty reason in each chunk ends with its last one."""
    body = chunk_of({"content": "a"}, "") + chunk_of({"content": "b"}, "") + chunk_of({}, "length") + DONE
    assert collected(body).finish_reason == "length"
    assert collected(body).content == "ab"


def test_the_end_mark_without_its_blank_line() -> None:
    """``[DONE]`` counts though the connection closed right after it; without an end mark so does a whole last chunk."""
    body = chunk_of({"content": "a"}, "stop")
    for end in (b"data: [DONE]", b"data: [DONE]\n", b"data: [DONE]\r\n", b"data:[DONE]"):
        assert collected(body + end).finish_reason == "stop"
        check_stream(CHAT, body + end, cuts=0, cut_everywhere=0)
    no_mark = Quirks(end_mark=False)
    assert collected(body.rstrip(), quirks=no_mark).content == "a"
    assert failure_of(body.rstrip()[:-1], quirks=no_mark).code == "stream_interrupted"
    check_stream(CHAT, body, no_mark, cuts=4)


def test_nothing_follows_the_end() -> None:
    """What comes after the end mark is ignored."""
    assert collected(chunk_of({"content": "a"}, "stop"), DONE, chunk_of({"content": "b"})).content == "a"


def test_usage_in_every_way() -> None:
    """On a chunk of its own, on the last choice's chunk, on every chunk, or inside ``x_groq``: the last one counts."""
    told: Json = {"prompt_tokens": 1, "completion_tokens": 2}
    early: Json = {"prompt_tokens": 1, "completion_tokens": 1}
    for body in (
        chunk_of({"content": "a"}, "stop", usage=None) + chunk_of(None, usage=told),
        chunk_of({"content": "a"}, "stop", usage=told),
        chunk_of({"content": "a"}, usage=early) + chunk_of({}, "stop", usage=told),
        chunk_of({"content": "a"}) + chunk_of({}, "stop", x_groq={"id": "r", "usage": told}),
    ):
        events = check_stream(CHAT, body + DONE, cuts=4, cut_everywhere=0)
        usage = [event.usage for event in events if isinstance(event, UsageTold)][-1]
        assert (1, 2) == (usage.input_tokens, usage.output_tokens)


def test_malformed_chunks() -> None:
    """A chunk that is not of the dialect is the provider's fault, never the caller's nor a crash."""
    for bad in (
        b"data: {\n\n",
        b"data: []\n\n",
        b'data: {"choices": 5}\n\n',
        b'data: {"choices": [{"delta": {"content": 5}}]}\n\n',
        b'data: {"choices": [], "usage": {"prompt_tokens": "x"}}\n\n',
        b'data: {"choices": [], "x_groq": {"usage": {"prompt_tokens": "x"}}}\n\n',
        b'data: {"choices": [{"delta": {"content": "\xff"}}]}\n\n',
        b"data: " + b"[" * 100_000 + b"\n\n",
    ):
        assert failure_of(chunk_of({"content": "a"}), bad, DONE).code == "malformed_response"


def test_logprobs_of_half_a_character() -> None:
    """A token without text of its own keeps its logprobs."""
    half: Json = {"content": [{"token": "x", "bytes": [240]}], "refusal": None}
    chunk: JsonObject = {"id": "a1", "model": "m", "created": 7, "choices": []}
    chunk["choices"] = [{"index": 0, "delta": {"content": ""}, "logprobs": half, "finish_reason": None}]
    body = b"data: " + json.dumps(chunk).encode() + b"\n\n" + chunk_of({"content": "ü"}) + chunk_of({}, "stop") + DONE
    check_stream(CHAT, body)
    assert collected(body).choices[0].logprobs == [{"token": "x", "bytes": [240]}]


def test_extras_are_told_once_and_last() -> None:
    """A field that changes in the stream ends with its last value, here and once passed through the encoder."""
    body = chunk_of({"content": "a"}, tier=1) + chunk_of({"content": "b"}, tier=2) + chunk_of({}, "stop", tier=2) + DONE
    events = check_stream(CHAT, body)
    assert [Extension(data={"tier": 2})] == [event for event in events if isinstance(event, Extension)]
    assert {"tier": 2} == collected(body).extras


def test_pieces_of_sound() -> None:
    """The pieces of an audio answer grow together, as they stand in the whole answer."""
    pieces: list[JsonObject] = [{"id": "x"}, {"data": "AA", "transcript": "he"}, {"data": "BB", "transcript": "llo"}]
    body = b"".join(chunk_of({"audio": piece}) for piece in pieces) + chunk_of({}, "stop") + DONE
    expected: Json = {"audio": {"id": "x", "data": "AABB", "transcript": "hello"}}
    assert expected == collected(body).choices[0].extras["message"]


def test_several_choices() -> None:
    """Choices that come in turn are kept apart."""
    pieces = [(0, "a"), (1, "x"), (0, "b"), (1, "y")]
    body = b""
    for number, text in pieces:
        body += b'data: {"id":"a1","choices":[{"index":%d,"delta":{"content":"%s"}}]}\n\n' % (number, text.encode())
    one_ends = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    assert failure_of(body, one_ends, DONE).code == "stream_interrupted"
    for number in (0, 1):
        body += b'data: {"id":"a1","choices":[{"index":%d,"delta":{},"finish_reason":"stop"}]}\n\n' % number
    check_stream(CHAT, body + DONE, cuts=4, cut_everywhere=0)
    assert ["ab", "xy"] == [
        "".join(p.text for p in c.parts if isinstance(p, Text)) for c in collected(body, DONE).choices
    ]


def test_refusals() -> None:
    """The model's words for declining are their own kind of part, whole and streamed."""
    body = chunk_of({"refusal": "I "}) + chunk_of({"refusal": "cannot"}) + chunk_of({}, "stop") + DONE
    check_stream(CHAT, body)
    assert collected(body).parts == (Refusal(text="I cannot"),)


def test_foreign_thinking_has_a_field_of_the_dialect() -> None:
    """Thinking from elsewhere is told as ``reasoning_content``, under whatever name it came."""
    encoder = CHAT.stream_encoder(Reply())
    start = PartStart(index=0, part="thinking", wire_field="thinking")
    events = [Start(), start, *_events_of_parts((Thinking(text="so", wire_field="thinking"),))[1:]]
    assert b'"reasoning_content":"so"' in b"".join(encoder.encode(event) for event in events)


def test_fragments_of_a_call_are_told_as_they_come() -> None:
    """Arguments are not held back: each fragment is an event when it arrives."""
    decoder = CHAT.stream_decoder(PLAIN)
    decoder.feed(chunk_of({"tool_calls": [call_of(0, "c1", "f", "")]}))
    assert [ToolArguments(index=0, text='{"a')] == decoder.feed(
        chunk_of({"tool_calls": [call_of(0, None, None, '{"a')]})
    )
    assert [TextDelta(index=0, text="a")] == CHAT.stream_decoder(PLAIN).feed(chunk_of({"content": "a"}))[-1:]
