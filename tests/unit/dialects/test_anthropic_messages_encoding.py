"""Requests of other dialects put into the order and the words that Anthropic Messages demands."""

from __future__ import annotations

import base64

import msgspec
import pytest

from genai_spine.dialects.anthropic_messages.dialect import (
    AnthropicMessages,
)
from genai_spine.dialects.base import Target
from genai_spine.dialects.fields import response_object
from genai_spine.dialects.tool_ids import word_characters
from genai_spine.errors import (
    InvalidFieldError,
)
from genai_spine.types.completion import (
    CompletionRequest,
    OutputSchema,
    Reasoning,
)
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.messages import (
    Audio,
    Document,
    Image,
    Media,
    Message,
    Part,
    Role,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from genai_spine.types.models import ModelFacts
from genai_spine.types.tools import OpaqueTool, Tool, ToolChoice

DIALECT = AnthropicMessages()
TARGET = Target(model="claude", provider="anthropic")
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n0000").decode()
HI = (Message(role="user", parts=(Text(text="hi"),)),)


def target(facts: ModelFacts) -> Target:
    """A target with these facts."""
    return Target(model="claude", provider="anthropic", facts=facts)


def written(request: CompletionRequest, to: Target = TARGET) -> JsonObject:
    """The body that ``request`` is written as."""
    return response_object(DIALECT.encode_request(request, to).body).rest()


def foreign(*messages: Message, dialect: str | None = "openai_chat") -> Json:
    """The turns that a conversation of another dialect is written as."""
    return written(CompletionRequest(messages=messages, dialect=dialect))["messages"]


def said(role: Role, *parts: Part) -> Message:
    """A message."""
    return Message(role=role, parts=parts)


def native(body: JsonObject) -> CompletionRequest:
    """A request decoded at the door, its required fields added."""
    whole: JsonObject = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], **body}
    return DIALECT.decode_request(msgspec.json.encode(whole))


def turn(role: str, *blocks: JsonObject) -> JsonObject:
    """A turn as it is written."""
    return {"role": role, "content": list[Json](blocks)}


def words(text: str) -> JsonObject:
    """A block of words."""
    return {"type": "text", "text": text}


def use(call_id: str, **arguments: Json) -> JsonObject:
    """A block that calls the tool ``f``."""
    return {"type": "tool_use", "id": call_id, "name": "f", "input": arguments}


def result(call_id: str, content: Json) -> JsonObject:
    """A block with a tool's result."""
    return {"type": "tool_result", "tool_use_id": call_id, "content": content}


def call(call_id: str, arguments: str = "{}") -> ToolCall:
    """A call of the tool ``f``."""
    return ToolCall(id=call_id, name="f", arguments=arguments)


def answered(call_id: str, *parts: Part) -> ToolResult:
    """A tool's result."""
    return ToolResult(call_id=call_id, parts=parts or (Text(text="ok"),))


# Conversations of other dialects.


@pytest.mark.parametrize(
    ("messages", "turns"),
    [
        # All results of one turn in one message, before any words, wherever the words stood.
        (
            [
                said("user", Text(text="q")),
                said("assistant", call("a"), call("b", '{"x":1}')),
                said("tool", answered("a")),
                said("user", Text(text="and?")),
                said("tool", answered("b")),
            ],
            [
                {"role": "user", "content": "q"},
                turn("assistant", use("a"), use("b", x=1)),
                turn("user", result("a", "ok"), result("b", "ok"), words("and?")),
            ],
        ),
        # Turns of one role are one turn; calls that came in messages of their own too.
        (
            [
                said("user", Text(text="1")),
                said("user", Text(text="2")),
                said("assistant", call("a")),
                said("assistant", call("b")),
                said("tool", answered("b")),
                said("tool", answered("a")),
            ],
            [
                turn("user", words("1"), words("2")),
                turn("assistant", use("a"), use("b")),
                turn("user", result("b", "ok"), result("a", "ok")),
            ],
        ),
        # The user begins; an empty turn holds a placeholder, empty words go; an answer to be continued is trimmed.
        (
            [said("assistant", Text(text="a")), said("user", Text(text=" ")), said("assistant", Text(text="b \n"))],
            [
                {"role": "user", "content": "(no content)"},
                {"role": "assistant", "content": "a"},
                {"role": "user", "content": "(no content)"},
                {"role": "assistant", "content": "b"},
            ],
        ),
        # An id out of the alphabet is changed for call and result alike; one given twice is told apart.
        (
            [
                said("user", Text(text="q")),
                said("assistant", call("c:0")),
                said("tool", answered("c:0")),
                said("assistant", call("x")),
                said("tool", answered("x")),
                said("assistant", call("x")),
                said("tool", answered("x")),
            ],
            [
                {"role": "user", "content": "q"},
                turn("assistant", use(word_characters("c:0"))),
                turn("user", result(word_characters("c:0"), "ok")),
                turn("assistant", use("x")),
                turn("user", result("x", "ok")),
                turn("assistant", use("x_2")),
                turn("user", result("x_2", "ok")),
            ],
        ),
        # Instructions amid the conversation are told by the user, after results.
        (
            [
                said("user", Text(text="q")),
                said("assistant", call("a")),
                said("developer", Text(text="be brief")),
                said("tool", answered("a")),
            ],
            [
                {"role": "user", "content": "q"},
                turn("assistant", use("a")),
                turn("user", result("a", "ok"), words("<system>\nbe brief\n</system>")),
            ],
        ),
        # Nobody but the system spoke: its words are the prompt.
        ([said("system", Text(text="write"))], [{"role": "user", "content": "write"}]),
        # Reasoning of elsewhere is not shown to this service.
        (
            [said("user", Text(text="q")), said("assistant", Thinking(text="t", signature="s"), Text(text="a"))],
            [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}],
        ),
    ],
)
def test_foreign_turns_are_put_in_order(messages: list[Message], turns: list[Json]) -> None:
    """Whatever order another dialect allows, the service gets the one that it demands."""
    assert turns == foreign(*messages)


def test_leading_instructions_are_hoisted() -> None:
    """Instructions at the head of the conversation join the request's own, in order."""
    request = CompletionRequest(
        system=(Text(text="1"),),
        messages=(said("developer", Text(text="2")), said("system", Text(text="3")), *HI),
        dialect="openai_chat",
    )

    assert "1\n\n2\n\n3" == written(request)["system"]
    assert [{"role": "user", "content": "hi"}] == written(request)["messages"]


def test_own_turns_go_on_as_they_came() -> None:
    """A conversation in this dialect is the service's to judge: turns are neither merged nor moved nor mended."""
    turns: list[Json] = [
        {"role": "user", "content": "1"},
        {"role": "user", "content": "2"},
        turn("assistant", use("a:b")),
        {"role": "system", "content": "s"},
    ]

    assert turns == written(native({"messages": turns}))["messages"]


@pytest.mark.parametrize(
    "messages",
    [
        [said("user", Text(text="q")), said("assistant", call("a")), said("user", Text(text="?"))],
        [said("user", Text(text="q")), said("assistant", call("a"))],
        [said("user", Text(text="q")), said("tool", answered("a"))],
        [said("assistant", call("a")), said("tool", answered("a")), said("tool", answered("a"))],
        [
            said("assistant", call("a")),
            said("user", Text(text="?")),
            said("assistant", Text(text="!")),
            said("tool", answered("a")),
        ],
    ],
)
def test_orphans_are_refused(messages: list[Message]) -> None:
    """A call without a result, or a result without a call, is named instead of being sent to certain failure."""
    with pytest.raises(InvalidFieldError, match=r"'a'.*; send") as caught:
        foreign(*messages)

    assert "messages" == caught.value.param


@pytest.mark.parametrize(
    ("arguments", "custom", "expected"),
    [
        ('{"a":1}', False, {"a": 1}),
        ("", False, {}),
        ("[1]", False, {"value": [1]}),
        ('{"a":', False, {"raw": '{"a":'}),
        ('{"a":"1\n2"}', False, {"a": "1\n2"}),
        ("ls", True, {"raw": "ls"}),
    ],
)
def test_arguments_are_always_an_object(arguments: str, custom: bool, expected: JsonObject) -> None:  # noqa: FBT001  # a table
    """The service takes only objects: JSON of another kind, and text that is none, is wrapped."""
    made = ToolCall(id="a", name="f", arguments=arguments, custom=custom)

    assert [
        {"role": "user", "content": "q"},
        turn("assistant", use("a", **expected)),
        turn("user", result("a", "ok")),
    ] == foreign(said("user", Text(text="q")), said("assistant", made), said("tool", answered("a")))


@pytest.mark.parametrize(
    ("part", "block"),
    [
        (
            Image(media=Media(data=PNG, media_type="image/jpeg"), detail="low"),
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
        ),
        (Image(media=Media(url="https://e/x")), {"type": "image", "source": {"type": "url", "url": "https://e/x"}}),
        (
            Document(media=Media(data="JVBERi0x", filename="a.pdf")),
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0x"},
                "title": "a.pdf",
            },
        ),
        (
            Document(media=Media(data=base64.b64encode("é".encode()).decode(), media_type="text/csv")),
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "é"}},
        ),
    ],
)
def test_media_are_written_by_what_they_are(part: Part, block: JsonObject) -> None:
    """The type is what the bytes show, plain words go as words, and a tool may return pictures."""
    assert [turn("user", block)] == foreign(said("user", part))
    assert [
        {"role": "user", "content": "q"},
        turn("assistant", use("a")),
        turn("user", result("a", [block])),
    ] == foreign(said("user", Text(text="q")), said("assistant", call("a")), said("tool", answered("a", part)))


@pytest.mark.parametrize(
    "request_",
    [
        CompletionRequest(messages=HI, n=2),
        CompletionRequest(messages=HI, logprobs=True),
        CompletionRequest(messages=(said("user", Audio(media=Media(data="AA"))),)),
        CompletionRequest(messages=HI, tools=(Tool(name="f", grammar={}),)),
        CompletionRequest(messages=HI, tools=(OpaqueTool(dialect="gemini", data={"type": "x"}),)),
        CompletionRequest(messages=(said("user", Image(media=Media(file_id="f"))),), dialect="openai_chat"),
        CompletionRequest(messages=(said("user", Document(media=Media(data="AA", media_type="a/docx"))),)),
    ],
)
def test_what_must_not_be_lost_is_refused(request_: CompletionRequest) -> None:
    """What would change the answer is refused with a code that says why."""
    with pytest.raises(InvalidFieldError) as caught:
        DIALECT.encode_request(request_, TARGET)

    assert "unsupported_by_provider" == caught.value.code


def test_what_may_be_lost_is_told() -> None:
    """Fields that the dialect has not are left out with a warning each; a default spelt out goes without a word."""
    request = CompletionRequest(
        messages=HI,
        seed=1,
        presence_penalty=0.5,
        frequency_penalty=0,
        n=1,
        logprobs=False,
        temperature=1.7,
        stop=("\n",),
    )
    encoded = DIALECT.encode_request(request, TARGET)

    assert (
        "seed: left out, anthropic does not know it",
        "presence_penalty: left out, anthropic does not know it",
        "temperature: lowered to 1, the most that the provider takes",
    ) == encoded.warnings
    assert {
        "model": "claude",
        "max_tokens": 4096,
        "messages": [{"role": "user", "content": "hi"}],
        "temperature": 1,
    } == msgspec.json.decode(encoded.body)


# Tools, schemas, limits.


@pytest.mark.parametrize(
    ("choice", "parallel", "names", "expected"),
    [
        (None, None, ["f", "g"], None),
        (None, False, ["f", "g"], {"type": "auto", "disable_parallel_tool_use": True}),
        (ToolChoice(mode="required"), None, ["f", "g"], {"type": "any"}),
        (ToolChoice(mode="none"), False, ["f", "g"], {"type": "none"}),
        (
            ToolChoice(mode="required", names=("g",)),
            False,
            ["f", "g"],
            {"type": "tool", "name": "g", "disable_parallel_tool_use": True},
        ),
        (ToolChoice(mode="auto", names=("g",)), True, ["g"], {"type": "auto"}),
        (ToolChoice(mode="required", names=("g", "f")), None, ["f", "g"], {"type": "any"}),
    ],
)
def test_tool_choices(choice: ToolChoice | None, parallel: bool | None, names: list[str], expected: Json) -> None:  # noqa: FBT001  # a table
    """The choice among tools is said in the dialect's words; some of the tools are allowed by offering only those."""
    body = written(
        CompletionRequest(
            messages=HI, tools=(Tool(name="f"), Tool(name="g")), tool_choice=choice, parallel_tool_calls=parallel
        )
    )

    assert expected == body.get("tool_choice")
    assert [{"name": name, "input_schema": {"type": "object", "properties": {}}} for name in names] == body["tools"]


def test_foreign_schemas_are_closed() -> None:
    """The service demands that objects allow no further fields; a schema that leaves it open is closed, deeply."""
    inner: JsonObject = {"type": "object", "properties": {"properties": {"type": "string"}}}
    schema: JsonObject = {"type": "object", "properties": {"a": {"type": "array", "items": inner}}}
    body = written(CompletionRequest(messages=HI, output_schema=OutputSchema(schema=schema, name="n", strict=True)))

    closed: JsonObject = {**inner, "additionalProperties": False}
    expected: JsonObject = {
        "type": "object",
        "properties": {"a": {"type": "array", "items": closed}},
        "additionalProperties": False,
    }
    assert {"format": {"type": "json_schema", "schema": expected}} == body["output_config"]
    assert "additionalProperties" not in schema


def test_any_json_object_is_asked_for_in_words() -> None:
    """There is no mode for it, so the instructions say it."""
    request = CompletionRequest(messages=HI, system=(Text(text="s"),), output_schema=OutputSchema())
    system = written(request)["system"]

    assert isinstance(system, str)
    assert system.startswith("s\n\nAnswer with one JSON object")
    assert "output_config" not in written(request)


# Reasoning.

BUDGET = ModelFacts(thinking="budget")
ADAPTIVE = ModelFacts(thinking="adaptive")
FORCED = ToolChoice(mode="required")


@pytest.mark.parametrize(
    ("reasoning", "facts", "max_tokens", "thinking", "effort", "limit"),
    [
        (Reasoning(effort="high"), ModelFacts(), 100, None, None, 100),
        (Reasoning(effort="none"), ModelFacts(), 100, None, None, 100),
        (Reasoning(effort="none"), ADAPTIVE, 100, {"type": "disabled"}, None, 100),
        (Reasoning(effort="minimal"), ADAPTIVE, 100, {"type": "adaptive"}, "low", 100),
        (Reasoning(effort="max", display="omitted"), ADAPTIVE, 9, {"type": "adaptive", "display": "omitted"}, "max", 9),
        (Reasoning(mode="enabled", budget_tokens=5000), ADAPTIVE, 9, {"type": "adaptive"}, "medium", 9),
        (Reasoning(effort="low"), BUDGET, 9000, {"type": "enabled", "budget_tokens": 2048}, None, 9000),
        # Half of a limit that the wish does not fit into; a limit below the least is raised.
        (Reasoning(effort="high"), BUDGET, 4000, {"type": "enabled", "budget_tokens": 2000}, None, 4000),
        (Reasoning(effort="high"), BUDGET, 1500, {"type": "enabled", "budget_tokens": 1024}, None, 1500),
        (Reasoning(effort="high"), BUDGET, 100, {"type": "enabled", "budget_tokens": 1024}, None, 1124),
        (Reasoning(effort="high"), BUDGET, None, {"type": "enabled", "budget_tokens": 16384}, None, 20480),
        (
            Reasoning(budget_tokens=90_000),
            ModelFacts(thinking="budget", max_output_tokens=64_000),
            None,
            {"type": "enabled", "budget_tokens": 32_000},
            None,
            64_000,
        ),
    ],
)
def test_reasoning_is_said_as_the_model_takes_it(
    reasoning: Reasoning, facts: ModelFacts, max_tokens: int | None, thinking: Json, effort: str | None, limit: int
) -> None:
    """An effort becomes a budget or stays an effort by what the model knows; a budget stays below the limit."""
    body = written(
        CompletionRequest(messages=HI, reasoning=reasoning, max_tokens=max_tokens, dialect="openai_chat"), target(facts)
    )

    assert thinking == body.get("thinking")
    assert (None if effort is None else {"effort": effort}) == body.get("output_config")
    assert limit == body["max_tokens"]


def test_thinking_rules_out_sampling() -> None:
    """Beside thinking the service takes no temperature; a temperature of 1 is its default and goes without a word."""
    request = CompletionRequest(messages=HI, reasoning=Reasoning(effort="low"), temperature=0.2, top_p=0.5, top_k=3)
    encoded = DIALECT.encode_request(request, target(ADAPTIVE))

    assert not {"temperature", "top_p", "top_k"} & set(msgspec.json.decode(encoded.body))
    assert 3 == len(encoded.warnings)


@pytest.mark.parametrize(
    ("by_default", "thinking"),
    [(False, None), (True, {"type": "disabled"})],
)
def test_a_forced_tool_call_rules_out_thinking(by_default: bool, thinking: Json) -> None:  # noqa: FBT001  # a table
    """The service refuses both together; the call is what the caller must have."""
    request = CompletionRequest(
        messages=HI, tools=(Tool(name="f"),), tool_choice=FORCED, reasoning=Reasoning(effort="low")
    )
    facts = ModelFacts(thinking="budget", thinks_by_default=by_default)
    encoded = DIALECT.encode_request(request, target(facts))

    assert thinking == msgspec.json.decode(encoded.body).get("thinking")
    assert encoded.warnings[0].startswith("thinking: off")


@pytest.mark.parametrize(
    ("turns", "on"),
    [
        ([turn("assistant", use("a")), turn("user", result("a", "r"))], False),
        (
            [
                turn("assistant", {"type": "thinking", "thinking": "", "signature": "s"}, use("a")),
                turn("user", result("a", "r")),
            ],
            True,
        ),
        (
            [
                turn("assistant", {"type": "thinking", "thinking": "foreign", "signature": ""}, use("a")),
                turn("user", result("a", "r")),
            ],
            False,
        ),
        ([turn("assistant", use("a")), turn("user", result("a", "r")), turn("user", words("next"))], True),
    ],
)
def test_thinking_is_off_in_a_loop_that_began_without(turns: list[Json], on: bool) -> None:  # noqa: FBT001  # a table
    """A tool loop whose calls were made elsewhere has no signed thinking; asking for it would be refused."""
    request = native(
        {"messages": [turn("user", words("q")), *turns], "thinking": {"type": "enabled", "budget_tokens": 2000}}
    )

    assert on == ("thinking" in written(request))
