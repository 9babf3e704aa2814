"""Requests of OpenAI Responses; pitfalls go by their numbers in the wire notes."""

from __future__ import annotations

import json

import pytest
from msgspec import structs

from genai_spine.dialects.anthropic_messages.dialect import AnthropicMessages
from genai_spine.dialects.base import CountsTokens, Quirks, Target
from genai_spine.dialects.openai_chat.dialect import OpenAIChat
from genai_spine.errors import InvalidFieldError, RequestError
from genai_spine.testing.dialects import check_envelope, check_relay, check_request
from genai_spine.types.completion import CompletionRequest, OutputSchema, Reasoning
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.messages import (
    Audio,
    Document,
    Image,
    Media,
    Message,
    Opaque,
    Part,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from genai_spine.types.models import ModelFacts
from genai_spine.types.tools import OpaqueTool, Tool, ToolChoice
from tests.unit.dialects.openai_responses.wire import (
    RESPONSES,
    body_of,
    call_item,
    encoded,
    message_item,
    parts_read,
    sent_fields,
    sent_items,
)

PNG = "iVBORw0KGgoAAAANSUhEUg=="
HELLO = (Message(role="user", parts=(Text(text="hi"),)),)


def read(*items: JsonObject, **fields: Json) -> CompletionRequest:
    """Read a request, and check that it is the same once written and read again."""
    body = body_of(*items, **fields)
    check_relay(RESPONSES, body)
    check_envelope(RESPONSES, [body])
    return check_request(RESPONSES, body)


def asked(*parts: Part, dialect: str | None = "openai_chat") -> CompletionRequest:
    """Return a request of one turn of the user's that came in ``dialect``."""
    return CompletionRequest(messages=(Message(role="user", parts=parts),), dialect=dialect)


def said(*parts: Part, dialect: str | None = "openai_chat") -> CompletionRequest:
    """Return a request of one turn of the assistant's that came in ``dialect``."""
    return CompletionRequest(messages=(Message(role="assistant", parts=parts),), dialect=dialect)


def test_a_prompt() -> None:
    """A string is a turn of the user's, and ``instructions`` stand before the conversation."""
    request = read(instructions="Be brief.")
    assert HELLO == request.messages
    assert (Text(text="Be brief."),) == request.system
    assert "openai_responses" == request.dialect


def test_14_calls_are_one_turn() -> None:
    """Reasoning, words and calls that follow one another are one turn, each result one of its own (WIRE 9, 12-14)."""
    reasoning: JsonObject = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "sealed"}
    turns = parts_read(
        {"role": "user", "content": "go"},
        reasoning,
        call_item("a"),
        call_item("b"),
        {"type": "function_call_output", "call_id": "a", "output": "1"},
        {"type": "function_call_output", "call_id": "b", "output": "2"},
        message_item(),
    )
    assert ["user", "assistant", "tool", "tool", "assistant"] == [role for role, _ in turns]
    assert (
        Thinking(redacted="sealed", extras={"item": {"id": "rs_1"}}),
        ToolCall(id="a", name="f", extras={"id": "fc_a"}),
        ToolCall(id="b", name="f", extras={"id": "fc_b"}),
    ) == turns[1][1]
    assert (ToolResult(call_id="b", parts=(Text(text="2"),)),) == turns[3][1]


def test_results_reach_anthropic_in_one_message() -> None:
    """Towards Anthropic the calls are one message, and so are their results."""
    request = RESPONSES.decode_request(
        body_of(
            {"role": "user", "content": "go"},
            call_item("a"),
            call_item("b"),
            {"type": "function_call_output", "call_id": "a", "output": "1"},
            {"type": "function_call_output", "call_id": "b", "output": "2"},
        )
    )
    turns = json.loads(AnthropicMessages().encode_request(request, Target(model="m")).body)["messages"]
    assert [["text"], ["tool_use", "tool_use"], ["tool_result", "tool_result"]] == [
        [block["type"] for block in turn["content"]] if isinstance(turn["content"], list) else ["text"]
        for turn in turns
    ]


def test_items_go_back_as_they_came() -> None:
    """Reasoning with all its segments and seal, phases, ids and kinds that only the dialect knows are kept."""
    items: list[JsonObject] = [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "go", "mark": 1}], "id": "u1"},
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "A"}, {"type": "summary_text", "text": "B"}],
            "encrypted_content": "sealed",
            "status": "completed",
        },
        {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": None},
        message_item(phase="commentary"),
        message_item(
            {"type": "refusal", "refusal": "No."},
            {"type": "output_text", "text": "Really.", "annotations": [{"type": "x"}], "logprobs": []},
        ),
        {"type": "message", "role": "assistant", "content": [{"type": "input_image", "image_url": "https://x"}]},
        {"type": "compaction", "id": "cmp_1", "encrypted_content": "small"},
        {"type": "item_reference", "id": "msg_9"},
        call_item("a", status="completed"),
        {"type": "custom_tool_call", "id": "ctc_1", "call_id": "c", "name": "sh", "input": "ls"},
        {"type": "function_call_output", "call_id": "a", "output": "1", "id": "fco_1"},
        {"type": "custom_tool_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "x", "y": 1}]},
    ]
    request = read(*items)
    assert items == sent_items(request)


def test_reasoning_read() -> None:
    """A segment is a part; the seal stands with the last, and on its own where there is no segment."""
    item: JsonObject = {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": "B"}],
        "content": [{"type": "reasoning_text", "text": "A"}],
        "encrypted_content": "sealed",
    }
    [(_, parts)] = parts_read(item)
    assert (
        Thinking(text="A", wire_field="content", extras={"item": {"id": "rs_1"}}),
        Thinking(text="B", wire_field="summary", signature="sealed"),
    ) == parts


def test_plain_messages_of_the_assistant() -> None:
    """Two messages stay two; an empty one without an id says nothing; unfit ones are named."""
    [(_, parts)] = parts_read({"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"})
    assert (Text(text="a"), Text(text="b", extras={"item": {}})) == parts
    request = read({"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"})
    assert [
        {"type": "message", "role": "assistant", "content": "a"},
        {"type": "message", "role": "assistant", "content": "b"},
    ] == sent_items(request)
    assert ["user"] == [role for role, _ in parts_read({"role": "assistant", "content": ""}, {"role": "user"})]
    empty = read(message_item({"type": "output_text", "text": ""}), {"role": "assistant", "content": "", "phase": "x"})
    assert [("msg_1", []), (None, [])] == [
        (item.get("id"), item.get("content")) for item in sent_items(empty) if isinstance(item, dict)
    ]


@pytest.mark.parametrize(
    ("item", "param"),
    [
        ({"id": "x"}, "input[0].type"),
        ({"type": 5}, "input[0].type"),
        ({"role": "juggler", "content": "x"}, "input[0].role"),
        ({"type": "message", "content": "x"}, "input[0].role"),
        ({"type": "function_call", "call_id": "a"}, "input[0].name"),
        ({"type": "function_call", "name": "a"}, "input[0].id"),
        ({"type": "function_call_output", "output": "x"}, "input[0].call_id"),
        ({"role": "user", "content": [{"type": "input_text"}]}, "input[0].content[0].text"),
        ({"role": "user", "content": [{"type": "input_file"}]}, "input[0].content[0].file_data"),
    ],
)
def test_items_that_are_wrong(item: JsonObject, param: str) -> None:
    """A fault in an item is told by its path."""
    with pytest.raises(InvalidFieldError) as caught:
        RESPONSES.decode_request(body_of(item))
    assert param == caught.value.param


def test_bodies_that_are_no_request() -> None:
    """Fields of the wrong type, and nothing asked, are refused at the door and by the reader alike."""
    bad: list[JsonObject] = [{}, {"input": 5}, {"input": [1]}, {"input": []}, {"input": None}, {"input": {"a": 1}}]
    bad += [{"input": "x", name: "no"} for name in ("max_output_tokens", "temperature", "tools")]
    check_envelope(RESPONSES, bad_requests=[json.dumps({"model": "m", **body}).encode() for body in bad])
    wrong: list[JsonObject] = [{"tool_choice": 5}, {"tool_choice": "maybe"}, {"tools": [{"name": "x"}]}]
    wrong.append({"text": {"format": {"type": "xml"}}})
    for fields in wrong:
        with pytest.raises(InvalidFieldError) as caught:
            RESPONSES.decode_request(body_of(**fields))
        assert (caught.value.param or "").startswith(next(iter(fields)))


def test_a_conversation_kept_elsewhere_needs_no_input() -> None:
    """``input`` may be left out where another field brings the conversation."""
    for name in ("previous_response_id", "conversation", "prompt"):
        body = json.dumps({"model": "m", name: "x"}).encode()
        request = check_request(RESPONSES, body)
        assert {name: "x"} == request.extras
        assert {"model": "m", name: "x"} == sent_fields(request)
        assert "m" == RESPONSES.read_envelope(body, {}).model
        with pytest.raises(RequestError, match=name):
            OpenAIChat().encode_request(request, Target(model="m"))
    assert () == RESPONSES.decode_request(body_of(input="")).messages[0].parts


def test_media() -> None:
    """Pictures, files and sounds by bytes, address and id, in messages and in the results of tools."""
    content: list[Json] = [
        {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}", "detail": "low"},
        {"type": "input_image", "file_id": "file_1"},
        {"type": "input_image", "image_url": "https://pictures.example/cat.png", "more": 1},
        {"type": "input_file", "file_data": "data:application/pdf;base64,JVBERi0x", "filename": "a.pdf"},
        {"type": "input_file", "file_data": "JVBERi0x"},
        {"type": "input_file", "file_data": "c29tZXRoaW5n"},
        {"type": "input_file", "file_data": "data:text/plain,hello"},
        {"type": "input_file", "file_url": "https://files.example/a.pdf", "detail": "high"},
        {"type": "input_file", "file_id": "file_2", "filename": "b.pdf"},
        {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav", "speed": 1}},
        {"type": "input_image"},
        {"type": "computer_screenshot", "image_url": "https://x"},
    ]
    request = read(
        {"role": "user", "content": content},
        {"type": "function_call_output", "call_id": "a", "output": content[:1]},
    )
    assert (
        Image(media=Media(data=PNG, media_type="image/png"), detail="low"),
        Image(media=Media(file_id="file_1")),
        Image(media=Media(url="https://pictures.example/cat.png"), extras={"more": 1}),
        Document(media=Media(data="JVBERi0x", media_type="application/pdf", filename="a.pdf")),
        Document(media=Media(data="JVBERi0x", media_type="application/pdf")),
        Document(media=Media(data="c29tZXRoaW5n")),
        Document(media=Media(url="data:text/plain,hello")),
        Document(media=Media(url="https://files.example/a.pdf"), extras={"detail": "high"}),
        Document(media=Media(file_id="file_2", filename="b.pdf")),
        Audio(media=Media(data="UklGRg==", media_type="audio/wav"), extras={"input_audio": {"speed": 1}}),
        Opaque(dialect="openai_responses", data={"type": "input_image"}),
        Opaque(dialect="openai_responses", data={"type": "computer_screenshot", "image_url": "https://x"}),
    ) == request.messages[0].parts
    sent = sent_items(request)
    assert {"type": "function_call_output", "call_id": "a", "output": content[:1]} == sent[1]


def test_26_media_from_elsewhere() -> None:
    """What another dialect shows is shown here, in the results of tools too (WIRE 9, 26)."""
    picture = Image(media=Media(data=PNG))
    shown = {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}", "detail": "auto"}
    request = CompletionRequest(
        messages=(
            Message(role="user", parts=(ToolResult(call_id="a", parts=(picture,)), Text(text="Well?")), name="Ann"),
            Message(role="user", parts=(Document(text="words", title="T"), Text(text=""), Refusal(text="no"))),
            Message(role="user", parts=(Document(media=Media(data="JVBERi0x")), Audio(media=Media(data="x")))),
            Message(role="user", parts=(Audio(media=Media(data="x", media_type="audio/mpeg")), Thinking(text="hm"))),
            Message(role="user", parts=(Document(media=Media(url="https://a"), title="t"), ToolCall(id="a", name="b"))),
            Message(role="user", parts=(Opaque(dialect="gemini", data={}), Text(text="x"))),
            Message(role="tool", parts=(ToolResult(call_id="b", parts=(Text(text="x"),), is_error=True),)),
            Message(role="tool", parts=(Text(text="lost"),)),
        ),
        dialect="anthropic_messages",
    )
    out = encoded(request)
    items = json.loads(out.body)["input"]
    assert {"type": "function_call_output", "call_id": "a", "output": [shown]} == items[0]
    assert {"type": "message", "role": "user", "content": "Well?"} == items[1]
    assert [{"type": "input_text", "text": "T\n\nwords"}, {"type": "input_text", "text": "no"}] == items[2]["content"]
    assert [
        {"type": "input_file", "file_data": "data:application/pdf;base64,JVBERi0x", "filename": "document.pdf"},
        {"type": "input_audio", "input_audio": {"data": "x", "format": "wav"}},
    ] == items[3]["content"]
    assert [{"type": "input_audio", "input_audio": {"data": "x", "format": "mp3"}}] == items[4]["content"]
    assert [{"type": "input_file", "file_url": "https://a", "filename": "t"}] == items[5]["content"]
    assert "x" == items[6]["content"]
    assert "Error: x" == items[7]["output"]
    assert {"type": "message", "role": "user", "content": "lost"} == items[8]
    lost = ("content of type unknown", "name")
    assert tuple(f"{name}: left out, acme does not know it" for name in lost) == out.warnings


def test_file_ids_belong_to_their_service() -> None:
    """An id of a file goes on from OpenAI's other dialect, and from no other."""
    picture, document = Image(media=Media(file_id="f")), Document(media=Media(file_id="f"))
    assert [
        {
            "type": "message",
            "role": "user",
            "content": [
                {"type": "input_image", "file_id": "f", "detail": "auto"},
                {"type": "input_file", "file_id": "f"},
            ],
        }
    ] == sent_items(asked(picture, document))
    for part in (picture, document):
        with pytest.raises(InvalidFieldError, match="file id"):
            encoded(asked(part, dialect="anthropic_messages"))


def test_thinking_from_elsewhere_stays_there() -> None:
    """Only reasoning that was made here goes back: the rest is sealed by others, or by nobody."""
    foreign = Thinking(text="hm", signature="theirs")
    ours = Thinking(text="hm", signature="ours", wire_field="summary", extras={"item": {"id": "rs_1"}})
    answer = Text(text="Hi")
    plain: JsonObject = {"type": "message", "role": "assistant", "content": "Hi"}
    assert [plain] == sent_items(said(foreign, answer, dialect="anthropic_messages"))
    assert [plain] == sent_items(said(foreign, answer, dialect=None))
    assert [
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "hm"}],
            "encrypted_content": "ours",
        },
        plain,
    ] == sent_items(said(ours, answer, dialect=None))


def test_the_assistant_from_elsewhere() -> None:
    """Words, refusals and calls are items; empty words and other dialects' own parts are not; long ids are cut."""
    long_id = "x" * 65
    request = CompletionRequest(
        messages=(
            Message(
                role="assistant",
                parts=(
                    Text(text=""),
                    Text(text="a"),
                    Refusal(text="b"),
                    Opaque(dialect="gemini", data={}),
                    ToolCall(id=long_id, name="f"),
                    ToolCall(id="c", name="g", arguments="ls", custom=True),
                    Image(media=Media(url="https://x")),
                ),
            ),
            Message(role="tool", parts=(ToolResult(call_id=long_id), ToolResult(call_id="c"))),
            Message(role="developer", parts=(Text(text="d"),)),
        ),
        dialect="openai_chat",
    )
    out = encoded(request)
    items = json.loads(out.body)["input"]
    content = [{"type": "output_text", "text": "a", "annotations": []}, {"type": "refusal", "refusal": "b"}]
    assert {"type": "message", "role": "assistant", "content": content} == items[0]
    assert {"type": "custom_tool_call", "call_id": "c", "name": "g", "input": "ls"} == items[2]
    assert items[1]["call_id"] == items[3]["call_id"]
    assert len(items[1]["call_id"]) <= 64
    assert ["function_call_output", "custom_tool_call_output"] == [item["type"] for item in items[3:5]]
    assert "system" == items[5]["role"]
    assert "developer" == sent_items(request, Quirks(developer_role=True))[5]["role"]  # type: ignore[call-overload,index]  # an object
    lost = ("content of type unknown", "media in an assistant's message")
    assert tuple(f"{name}: left out, acme does not know it" for name in lost) == out.warnings


def test_tools() -> None:
    """Functions, free-text tools with a grammar, and the provider's own."""
    tools: list[Json] = [
        {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True, "x": 1},
        {"type": "custom", "name": "c", "description": "d"},
        {"type": "custom", "name": "g", "format": {"type": "grammar", "syntax": "lark", "definition": "x"}},
        {"type": "custom", "name": "t", "format": {"type": "text"}},
        {"type": "web_search", "search_context_size": "low"},
    ]
    request = read(tools=tools, parallel_tool_calls=False)
    grammar: JsonObject = {"type": "grammar", "grammar": {"syntax": "lark", "definition": "x"}}
    assert (
        Tool(name="f", description="d", parameters={"type": "object"}, strict=True, extras={"x": 1}),
        Tool(name="c", description="d", grammar={}),
        Tool(name="g", grammar=grammar),
        Tool(name="t", grammar={"type": "text"}),
        OpaqueTool(dialect="openai_responses", data={"type": "web_search", "search_context_size": "low"}),
    ) == request.tools
    assert tools == sent_fields(request)["tools"]
    assert request.parallel_tool_calls is False
    chat = structs.replace(request, tools=request.tools[2:3])
    sent = json.loads(OpenAIChat().encode_request(chat, Target(model="m")).body)
    assert {"type": "custom", "custom": {"name": "g", "format": grammar}} == sent["tools"][0]


def test_tools_from_elsewhere() -> None:
    """Elsewhere a tool is lax unless it says strict, here it is strict unless it says lax."""
    request = CompletionRequest(messages=HELLO, tools=(Tool(name="f", extras={"x": 1}),), dialect="openai_chat")
    expected = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}, "strict": False}
    assert [expected] == sent_fields(request)["tools"]
    other = OpaqueTool(dialect="anthropic_messages", data={"type": "web_search_20250305"})
    with pytest.raises(InvalidFieldError, match="web_search"):
        encoded(CompletionRequest(messages=HELLO, tools=(other,)))


@pytest.mark.parametrize(
    ("told", "choice"),
    [
        ("none", ToolChoice(mode="none")),
        ("auto", ToolChoice(mode="auto")),
        ("required", ToolChoice(mode="required")),
        ({"type": "function", "name": "f"}, ToolChoice(mode="required", names=("f",))),
        ({"type": "custom", "name": "c"}, ToolChoice(mode="required", names=("c",))),
        (
            {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
            ToolChoice(mode="auto", names=("f",)),
        ),
        (
            {"type": "allowed_tools", "mode": "required", "tools": [{"type": "custom", "name": "c"}] * 2},
            ToolChoice(mode="required", names=("c", "c")),
        ),
        ({"type": "web_search"}, None),
        ({"type": "mcp", "server_label": "x"}, None),
        ({"type": "allowed_tools", "mode": "auto", "tools": [{"type": "web_search"}]}, None),
        ({"type": "allowed_tools", "mode": "auto"}, None),
    ],
)
def test_tool_choices(told: Json, choice: ToolChoice | None) -> None:
    """A choice is flat here; one that the vocabulary has no word for is kept, and never lost."""
    tools: list[Json] = [{"type": "function", "name": "f"}, {"type": "custom", "name": "c"}]
    request = read(tools=tools, tool_choice=told)
    assert choice == request.tool_choice
    assert told == sent_fields(request)["tool_choice"]
    if choice is None:
        with pytest.raises(InvalidFieldError, match="tool_choice"):
            OpenAIChat().encode_request(request, Target(model="m"))


def test_a_choice_without_tools_is_not_said() -> None:
    """Other dialects let a choice stand without tools."""
    request = CompletionRequest(messages=HELLO, tool_choice=ToolChoice(mode="none"), dialect="openai_chat")
    assert "tool_choice" not in sent_fields(request)


def test_fields() -> None:
    """Limits, sampling, output schema, reasoning, logprobs, and all that is kept for the dialect."""
    extras: JsonObject = {
        "store": True,
        "metadata": {"a": "b"},
        "truncation": "auto",
        "service_tier": "flex",
        "background": False,
        "stream_options": {"include_obfuscation": False},
    }
    schema: JsonObject = {"type": "object"}
    fields: JsonObject = {
        "max_output_tokens": 50,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_logprobs": 3,
        "user": "u",
        "stream": True,
        "include": ["reasoning.encrypted_content", "message.output_text.logprobs"],
        "reasoning": {"effort": "low", "summary": "auto", "context": "auto"},
        "text": {
            "format": {
                "type": "json_schema",
                "name": "n",
                "schema": schema,
                "strict": True,
                "description": "d",
                "x": 1,
            },
            "verbosity": "low",
        },
        **extras,
    }
    request = read(**fields)
    assert 50 == request.max_tokens
    assert (0.5, 0.9) == (request.temperature, request.top_p)
    assert (True, 3) == (request.logprobs, request.top_logprobs)
    assert OutputSchema(schema=schema, name="n", description="d", strict=True, extras={"x": 1}) == request.output_schema
    expected = Reasoning(effort="low", display="summarized", extras={"summary": "auto", "context": "auto"})
    assert expected == request.reasoning
    assert request.stream_usage
    assert extras | {"text": {"verbosity": "low"}, "include": ["reasoning.encrypted_content"]} == request.extras
    item: Json = [{"type": "message", "role": "user", "content": "hi"}]
    assert {"model": "m", "input": item, **fields} == sent_fields(request)
    chat = OpenAIChat().encode_request(request, Target(model="m", provider="acme"))
    named = [warning.partition(":")[0] for warning in chat.warnings]
    assert ["background", "service_tier", "text", "truncation"] == sorted(named)


def test_fields_that_ask_for_nothing() -> None:
    """Empty objects and the plain form of words are nothing."""
    request = read(reasoning={}, text={"format": {"type": "text"}}, include=[], logprobs=None)
    assert (None, None, None) == (request.reasoning, request.output_schema, request.logprobs)
    assert {} == request.extras
    assert OutputSchema() == read(text={"format": {"type": "json_object"}}).output_schema
    named = read(text={"format": {"type": "json_schema", "schema": {}}}).output_schema
    assert OutputSchema(schema={}, name="answer") == named


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (Reasoning(effort="high", display="summarized"), {"effort": "high", "summary": "auto"}),
        (Reasoning(mode="disabled"), {"effort": "none"}),
        (Reasoning(mode="enabled", budget_tokens=2048), {"effort": "low"}),
        (Reasoning(mode="enabled", budget_tokens=12_000), {"effort": "medium"}),
        (Reasoning(mode="enabled", budget_tokens=30_000), {"effort": "high"}),
        (Reasoning(mode="adaptive"), None),
    ],
)
def test_reasoning_asked_elsewhere(wanted: Reasoning, told: Json) -> None:
    """Budgets are efforts here, and to show thinking is to summarise it."""
    request = CompletionRequest(messages=HELLO, reasoning=wanted, dialect="anthropic_messages")
    assert told == sent_fields(request).get("reasoning")


def test_what_does_not_exist_here() -> None:
    """``stop`` and more than one answer are refused; seeds, penalties and ``top_k`` are left out with a warning."""
    for name, request in (
        ("stop", CompletionRequest(messages=HELLO, stop=("x",))),
        ("n", CompletionRequest(messages=HELLO, n=2)),
    ):
        with pytest.raises(InvalidFieldError) as caught:
            encoded(request)
        assert name == caught.value.param
    request = CompletionRequest(
        messages=HELLO, n=1, seed=1, top_k=2, presence_penalty=0.1, frequency_penalty=0.1, dialect="openai_chat"
    )
    out = encoded(request)
    assert {"model", "input", "store"} == set(json.loads(out.body))
    assert {"seed", "top_k", "presence_penalty", "frequency_penalty"} == {
        warning.partition(":")[0] for warning in out.warnings
    }


def test_requests_from_elsewhere_are_not_kept() -> None:
    """Only here is an answer stored unless the request says no, so for others it is said."""
    assert False is sent_fields(CompletionRequest(messages=HELLO))["store"]  # noqa: FBT003, RUF100  # expected first
    assert True is sent_fields(CompletionRequest(messages=HELLO, extras={"store": True}))["store"]
    assert "store" not in sent_fields(RESPONSES.decode_request(body_of()))
    schema = OutputSchema(schema={"type": "object"}, description="d", strict=False)
    form = {"type": "json_schema", "name": "answer", "schema": {"type": "object"}, "description": "d", "strict": False}
    assert {"format": form} == sent_fields(CompletionRequest(messages=HELLO, output_schema=schema))["text"]


def test_instructions_from_elsewhere() -> None:
    """Instructions of several parts are joined; a picture among them is refused."""
    request = CompletionRequest(messages=HELLO, system=(Text(text="a"), Text(text=""), Text(text="b")))
    assert "a\n\nb" == sent_fields(request)["instructions"]
    with pytest.raises(InvalidFieldError, match="system"):
        encoded(CompletionRequest(messages=HELLO, system=(Image(media=Media(url="https://x")),)))


def test_services_that_depart_from_the_dialect() -> None:
    """Fields are renamed or left out as the row says, and sampling where the model knows none."""
    quirks = Quirks(drop=("user",), rename={"max_output_tokens": "max_tokens"})
    body = body_of(max_output_tokens=5, temperature=0.5, user="u")
    target = Target(model="t", provider="acme", quirks=quirks, facts=ModelFacts(sampling=False))
    for out in (
        RESPONSES.encode_request(RESPONSES.decode_request(body), target),
        RESPONSES.relay_request(RESPONSES.read_envelope(body, {}), target),
    ):
        sent = json.loads(out.body)
        assert {"model": "t", "max_tokens": 5} == {name: sent[name] for name in sent if name != "input"}
        assert {"temperature", "user"} == {warning.partition(":")[0] for warning in out.warnings}
        assert "/responses" == out.path


def test_the_role_developer() -> None:
    """Where a service does not know the role, a body that holds it is not passed through."""
    body = body_of({"role": "developer", "content": "x"})
    assert RESPONSES.must_translate(body, Quirks())
    assert not RESPONSES.must_translate(body, Quirks(developer_role=True))
    assert not RESPONSES.must_translate(body_of(), Quirks())


def test_counting_tokens() -> None:
    """The question holds only what may stand in it; passing through it goes on as it came."""
    assert isinstance(RESPONSES, CountsTokens)
    body = body_of(max_output_tokens=5, instructions="x", store=True)
    target = Target(model="t")
    count = RESPONSES.encode_count_request(RESPONSES.decode_request(body), target)
    assert "/responses/input_tokens" == count.path
    assert {"model", "input", "instructions"} == set(json.loads(count.body))
    relayed = RESPONSES.relay_count_request(RESPONSES.read_count_envelope(body, {}), target)
    assert ("/responses/input_tokens", 5) == (relayed.path, json.loads(relayed.body)["max_output_tokens"])
    assert 12 == RESPONSES.decode_token_count(RESPONSES.encode_token_count(12))


def test_the_envelope() -> None:
    """The provider may be named in the body or in a header; OpenRouter's object of that name is its own."""
    assert "acme" == RESPONSES.read_envelope(body_of(provider="acme"), {}).wishes.provider
    other = RESPONSES.read_envelope(body_of(provider={"order": []}), {"x-spine-provider": "acme"})
    assert "acme" == other.wishes.provider
    assert other.wants_usage
