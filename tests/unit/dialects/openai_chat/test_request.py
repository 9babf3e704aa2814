"""Requests of OpenAI Chat Completions; pitfalls go by their numbers in the wire notes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings

from genai_spine.dialects.base import Quirks
from genai_spine.errors import InvalidFieldError
from genai_spine.testing.dialects import check_request
from genai_spine.types.completion import CompletionRequest, OutputSchema, Reasoning
from genai_spine.types.json import Json
from genai_spine.types.messages import (
    Document,
    Image,
    Media,
    Message,
    Text,
    Thinking,
    ToolResult,
)
from genai_spine.types.models import ModelFacts
from genai_spine.types.tools import Tool, ToolChoice
from tests.strategies import requests
from tests.unit.dialects.openai_chat.wire import (
    CHAT,
    MISTRAL,
    body_of,
    body_with,
    encoded,
    sent_fields,
    sent_turns,
)


@settings(deadline=None, max_examples=60)
@given(request=requests())
def test_nothing_of_a_request_is_lost(request: CompletionRequest) -> None:
    """All of the vocabulary that the dialect has arrives on the other side as it was."""
    read = check_request(CHAT, encoded(request, Quirks(developer_role=True)).body)
    for name in request.__struct_fields__:
        if name not in {"dialect", "model", "extras"}:
            assert getattr(request, name) == getattr(read, name), name


@pytest.mark.parametrize(
    "body",
    [
        body_of(unknown={"deep": [1, None]}, stream=True, stream_options={"include_obfuscation": False}),
        body_of(stream=False, stream_options={"include_usage": True}),
        body_of(response_format={"type": "json_object", "schema": {"type": "object"}}),
        body_of(response_format={"type": "json_schema", "json_schema": {"schema": {}, "x": 1}}),
        body_of(response_format={"type": "text"}, tools=[], stop=[], seed=None, tool_choice="auto"),
        body_of(tools=[{"type": "function", "function": {"name": "f", "x": 1}, "y": 2}, {"type": "web", "z": None}]),
        body_of(
            tools=[{"type": "custom", "custom": {"name": "f", "format": {"type": "text"}}}],
            tool_choice={"type": "custom", "custom": {"name": "f"}},
        ),
        body_of(
            tools=[{"type": "function", "function": {"name": "f"}}],
            tool_choice={
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "f"}}]},
            },
        ),
        body_with({"role": "user", "content": [{"type": "text", "text": ""}, {"type": "text", "text": "a", "x": 1}]}),
        body_with(
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:;base64,AAAA", "x": 1}}]}
        ),
        body_with({"role": "user", "content": [{"type": "image_url", "image_url": "https://a.example/b.png"}]}),
        body_with({"role": "user", "content": [{"type": "file", "file": {"file_data": "AAAA", "filename": "a.bin"}}]}),
        body_with(
            {"role": "user", "content": [{"type": "file", "file": {"file_data": "data:image/gif;base64,/9j/AAAA"}}]}
        ),
        body_with({"role": "user", "content": [{"type": "file", "file": {"file_data": "https://a.example/b.pdf"}}]}),
        body_with(
            {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}]}
        ),
        body_with({"role": "user", "content": [{"type": "odd", "x": {"y": 1}}]}),
        body_with(
            {
                "role": "assistant",
                "content": [{"type": "refusal", "refusal": "no"}, {"type": "text", "text": "but"}],
                "refusal": " way",
                "reasoning_content": "",
                "function_call": None,
                "audio": {"id": "x"},
            }
        ),
        body_with(
            {"role": "assistant", "content": [{"type": "thinking", "thinking": [{"type": "text", "text": "a"}]}]}
        ),
        body_with(
            {
                "role": "assistant",
                "content": None,
                "reasoning": "so",
                "reasoning_details": [{"type": "reasoning.text", "text": "so", "signature": "s"}],
                "tool_calls": [
                    {"id": "c", "type": "function", "function": {"name": "f", "arguments": ""}, "extra_content": {}}
                ],
            },
            {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "r"}], "name": "f"},
        ),
    ],
)
def test_round_trip_of_odd_requests(body: bytes) -> None:
    """T1: forms that only some send, and fields that nobody knows, are written back with the same meaning."""
    check_request(CHAT, body)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (body_of(messages=[]), "messages"),
        (body_of(messages="x"), "messages"),
        (body_with({"content": "x"}), "messages[0].role"),
        (body_with({"role": "function", "content": "x"}), "messages[0].role"),
        (body_with({"role": "tool", "content": "x"}), "messages[0].tool_call_id"),
        (body_with({"role": "user", "content": [{"type": "text"}]}), "messages[0].content[0].text"),
        (body_of(temperature="hot"), "temperature"),
        (body_of(tool_choice="perhaps"), "tool_choice"),
        (body_of(response_format={"type": "xml"}), "response_format.type"),
        (body_of(tools=[{"type": "function"}]), "tools[0].function"),
        (body_of(stream="yes"), "stream"),
    ],
)
def test_refused_requests(body: bytes, param: str) -> None:
    """What cannot be read is a 422 that names the field."""
    with pytest.raises(InvalidFieldError) as caught:
        CHAT.decode_request(body)
    assert param == caught.value.param


def test_old_token_limit() -> None:
    """The retired ``max_tokens`` is understood, and said in today's word, or in the one that the service knows."""
    request = CHAT.decode_request(body_of(max_tokens=9))
    assert sent_fields(request)["max_completion_tokens"] == 9
    assert sent_fields(request, Quirks(rename={"max_completion_tokens": "max_tokens"}))["max_tokens"] == 9


def test_null_is_not_passed_on() -> None:
    """Groq refuses ``function_call: null`` in an assistant's turn: nulls go no further."""
    body = body_with({"role": "assistant", "content": "a", "function_call": None, "audio": None})
    assert [{"role": "assistant", "content": "a"}] == sent_turns(CHAT.decode_request(body))


def test_developer_role() -> None:
    """``developer`` is ``system`` to all services that do not say that they know it."""
    request = CHAT.decode_request(body_with({"role": "developer", "content": "x"}))
    assert sent_turns(request)[0]["role"] == "system"
    assert sent_turns(request, Quirks(developer_role=True))[0]["role"] == "developer"


def test_13_each_result_keeps_its_own_id() -> None:
    """Results of parallel calls that came together in one message go out in a message each (WIRE 9, 13)."""
    results = tuple(ToolResult(call_id=f"c{number}", parts=(Text(text=str(number)),)) for number in range(3))
    request = CompletionRequest(
        messages=(Message(role="user", parts=(*results, Text(text="and now?"))),), dialect="anthropic_messages"
    )
    expected = [{"role": "tool", "tool_call_id": f"c{number}", "content": str(number)} for number in range(3)]
    assert [*expected, {"role": "user", "content": "and now?"}] == sent_turns(request)


def test_26_images_in_tool_results() -> None:
    """A picture that a tool returned follows in a user message, after all the results, naming its call (WIRE 9, 26)."""
    picture = Image(media=Media(data="iVBORw0KGgoAAA", media_type="image/png"))
    request = CompletionRequest(
        messages=(
            Message(role="tool", parts=(ToolResult(call_id="c1", parts=(picture,)),)),
            Message(role="tool", parts=(ToolResult(call_id="c2", parts=(Text(text="two"),)),)),
            Message(role="user", parts=(Text(text="next"),)),
        ),
        dialect="anthropic_messages",
    )
    turns = sent_turns(request)
    assert [("tool", "c1"), ("tool", "c2"), ("user", None), ("user", None)] == [
        (turn["role"], turn.get("tool_call_id")) for turn in turns
    ]
    assert turns[0]["content"]
    assert [
        {"type": "text", "text": "What the tool call c1 returned:"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgoAAA"}},
    ] == turns[2]["content"]


def test_tool_errors_are_told_in_words() -> None:
    """The dialect has no flag for a tool that failed: the text says it."""
    result = ToolResult(call_id="c1", parts=(Text(text="no such city"),), is_error=True)
    request = CompletionRequest(messages=(Message(role="tool", parts=(result,)),), dialect="anthropic_messages")
    assert sent_turns(request)[0]["content"] == "Error: no such city"


def test_30_deepseek_wants_its_reasoning_back() -> None:
    """A turn with tool calls carries ``reasoning_content``, even an empty one, whatever its name was (WIRE 9, 30)."""
    deepseek = Quirks(replay_reasoning=True)
    calls: Json = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    for told, expected in (({}, ""), ({"reasoning": "so"}, "so"), ({"reasoning_content": "so"}, "so")):
        body = body_with({"role": "assistant", "content": None, "tool_calls": calls, **told})
        turn = sent_turns(CHAT.decode_request(body), deepseek)[0]
        assert expected == turn["reasoning_content"]
        assert "reasoning" not in turn
    plain = CHAT.decode_request(body_with({"role": "assistant", "content": "a"}))
    assert "reasoning_content" not in sent_turns(plain, deepseek)[0]


def test_thinking_goes_back_under_its_own_name() -> None:
    """Without a quirk the field that the upstream used is written back; another dialect's thinking is not."""
    request = CHAT.decode_request(body_with({"role": "assistant", "content": "a", "reasoning": "so"}))
    assert sent_turns(request)[0]["reasoning"] == "so"
    foreign = CompletionRequest(
        messages=(Message(role="assistant", parts=(Thinking(text="so", signature="s"), Text(text="a"))),),
        dialect="anthropic_messages",
    )
    assert [{"role": "assistant", "content": "a"}] == sent_turns(foreign)


def test_31_mistral_requests() -> None:
    """Names on messages and unknown fields go, ``seed`` is ``random_seed``, ids have nine characters (WIRE 9, 31)."""
    calls: Json = [{"id": "call_long_one", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    body = body_with(
        {"role": "user", "content": "x", "name": "bob"},
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "tool_call_id": "call_long_one", "content": "r"},
        seed=3,
        user="u",
        tool_choice="any",
    )
    written = encoded(CHAT.decode_request(body), MISTRAL)
    sent = json.loads(written.body)
    assert sent["random_seed"] == 3
    assert not {"seed", "user", "name"} & (set(sent) | set(sent["messages"][0]))
    call_id = sent["messages"][1]["tool_calls"][0]["id"]
    assert call_id == sent["messages"][2]["tool_call_id"]
    assert len(call_id) == 9
    assert call_id.isalnum()
    assert written.warnings == ("user: left out, acme does not know it",)


def test_31_mistral_thinking_goes_back_among_the_words() -> None:
    """Thinking told as a field is handed back to Mistral as a piece of content (WIRE 9, 31)."""
    request = CHAT.decode_request(body_with({"role": "assistant", "content": "a", "reasoning_content": "so"}))
    assert [
        {"type": "thinking", "thinking": [{"type": "text", "text": "so"}]},
        {"type": "text", "text": "a"},
    ] == sent_turns(request, MISTRAL)[0]["content"]


def test_sampling_that_a_model_refuses() -> None:
    """A model without sampling is not sent any, and the caller is told."""
    written = encoded(CHAT.decode_request(body_of(temperature=0, top_p=0.5)), facts=ModelFacts(sampling=False))
    assert not {"temperature", "top_p"} & set(json.loads(written.body))
    assert len(written.warnings) == 2


@pytest.mark.parametrize(
    ("reasoning", "effort"),
    [
        (Reasoning(effort="xhigh"), "xhigh"),
        (Reasoning(mode="disabled"), "none"),
        (Reasoning(mode="enabled", budget_tokens=1024), "low"),
        (Reasoning(mode="enabled", budget_tokens=8000), "medium"),
        (Reasoning(mode="enabled", budget_tokens=32_000), "high"),
        (Reasoning(mode="adaptive"), None),
    ],
)
def test_reasoning_efforts(reasoning: Reasoning, effort: str | None) -> None:
    """A budget becomes the effort that usually has it."""
    request = CompletionRequest(messages=(Message(role="user"),), reasoning=reasoning, dialect="anthropic_messages")
    assert effort == sent_fields(request).get("reasoning_effort")


def test_what_the_dialect_cannot_say() -> None:
    """A document by address is refused by name, not dropped."""
    document = Document(media=Media(url="https://a.example/b.pdf"))
    request = CompletionRequest(messages=(Message(role="user", parts=(document,)),), dialect="anthropic_messages")
    with pytest.raises(InvalidFieldError) as caught:
        encoded(request)
    assert caught.value.param == "document address"


def test_library_requests() -> None:
    """A request made in Python gets what the service demands: a schema's name, one tool by name."""
    request = CompletionRequest(
        messages=(Message(role="user", parts=(Text(text="x"),)),),
        output_schema=OutputSchema(schema={"type": "object"}),
        tools=(Tool(name="f"),),
        tool_choice=ToolChoice(mode="required", names=("f",)),
    )
    sent = sent_fields(request)
    assert {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object"}}} == sent[
        "response_format"
    ]
    assert {"type": "function", "function": {"name": "f"}} == sent["tool_choice"]
    assert [{"type": "function", "function": {"name": "f"}}] == sent["tools"]
