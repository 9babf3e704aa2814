"""Ollama's dialect at its doors and towards a provider: requests, errors, lists, and what passes through."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import msgspec
import ollama
import pytest

from genai_spine.dialects.base import Quirks, Target
from genai_spine.dialects.ollama.dialect import Ollama, OllamaGenerate
from genai_spine.dialects.openai_chat.dialect import OpenAIChat
from genai_spine.errors import (
    InvalidFieldError,
)
from genai_spine.types.completion import CompletionRequest, OutputSchema, Reasoning
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.messages import (
    Audio,
    Document,
    Image,
    Media,
    Message,
    Part,
    Refusal,
    Role,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from genai_spine.types.models import ModelFacts
from genai_spine.types.tools import OpaqueTool, Tool, ToolChoice

CHAT, GENERATE, OPENAI = Ollama(), OllamaGenerate(), OpenAIChat()
TARGET = Target(model="llama3.2:latest", provider="ollama")
QUIRKS = Quirks()
PNG = "iVBORw0KGgoAAAANSUhEUg=="
SCHEMA: JsonObject = {"type": "object", "properties": {"city": {"type": "string"}}}
WEATHER = Tool(name="weather", description="Tells it", parameters=SCHEMA)
WEATHER_WIRE: JsonObject = {
    "type": "function",
    "function": {"name": "weather", "description": "Tells it", "parameters": SCHEMA},
}
CLOCK = Tool(name="clock")
RECORDINGS = Path(os.environ.get("GENAI_TEST_RECORDINGS", "../shared/recordings")) / "pydantic-ai" / "test_ollama"


def dump(value: object) -> bytes:
    """Write JSON."""
    return msgspec.json.encode(value)


def load(body: bytes) -> JsonObject:
    """Read a JSON object."""
    value: JsonObject = msgspec.json.decode(body)
    return value


def said(role: Role, *parts: Part | str) -> Message:
    """A turn; a string is its words."""
    return Message(role=role, parts=tuple(Text(text=part) if isinstance(part, str) else part for part in parts))


def asked(**fields: Json) -> bytes:
    """A request to ``/api/chat`` with one word, and ``fields``."""
    return dump({"model": "m", "messages": [{"role": "user", "content": "Hi"}], **fields})


def foreign(*messages: Message, **fields: object) -> CompletionRequest:
    """A request that came in another dialect."""
    given = {"messages": messages or (said("user", "Hi"),), "dialect": "openai_chat", **fields}
    return msgspec.structs.replace(CompletionRequest(messages=()), **given)


def sent(request: CompletionRequest, target: Target = TARGET) -> JsonObject:
    """The body that goes to the provider."""
    return load(CHAT.encode_request(request, target).body)


# Requests, read.

FIELDS: list[tuple[str, JsonObject, dict[str, object]]] = [
    ("stream by default", {}, {"stream": True, "stream_usage": True}),
    ("no stream", {"stream": False}, {"stream": False, "stream_usage": False}),
    ("limit", {"options": {"num_predict": 9}}, {"max_tokens": 9, "extras": {}}),
    ("no limit", {"options": {"num_predict": -1}}, {"max_tokens": None, "extras": {}}),
    (
        "sampling",
        {"options": {"temperature": 0, "top_k": 4, "top_p": 0.5}},
        {"temperature": 0, "top_k": 4, "top_p": 0.5},
    ),
    ("seed", {"options": {"seed": 7}}, {"seed": 7}),
    ("stop", {"options": {"stop": ["a", "b"]}}, {"stop": ("a", "b")}),
    (
        "penalties",
        {"options": {"presence_penalty": 0.1, "frequency_penalty": 0.2}},
        {"presence_penalty": 0.1, "frequency_penalty": 0.2},
    ),
    (
        "other options",
        {"options": {"num_ctx": 8192, "min_p": 0.1}},
        {"extras": {"options": {"num_ctx": 8192, "min_p": 0.1}}},
    ),
    ("think", {"think": True}, {"reasoning": Reasoning(mode="enabled")}),
    ("do not think", {"think": False}, {"reasoning": Reasoning(mode="disabled")}),
    ("think hard", {"think": "high"}, {"reasoning": Reasoning(effort="high")}),
    ("not a word on thinking", {"think": None}, {"reasoning": None}),
    ("any JSON", {"format": "json"}, {"output_schema": OutputSchema()}),
    ("a schema", {"format": SCHEMA}, {"output_schema": OutputSchema(schema=SCHEMA)}),
    ("no format", {"format": ""}, {"output_schema": None}),
    ("logprobs", {"logprobs": True, "top_logprobs": 3}, {"logprobs": True, "top_logprobs": 3}),
    (
        "extras",
        {"keep_alive": "5m", "truncate": True, "new": 1},
        {"extras": {"keep_alive": "5m", "truncate": True, "new": 1}},
    ),
    (
        "a tool of another kind",
        {"tools": [{"type": "web_search", "a": 1}]},
        {"tools": (OpaqueTool(dialect="ollama", data={"type": "web_search", "a": 1}),)},
    ),
    ("the gateway's own fields", {"provider": "ollama", "routing": {}}, {"extras": {}}),
    ("tools", {"tools": [WEATHER_WIRE]}, {"tools": (WEATHER,)}),
    (
        "a tool without its type",
        {"tools": [{"function": {"name": "f"}}]},
        {"tools": (Tool(name="f"),)},
    ),
]


@pytest.mark.parametrize(("wire", "meaning"), [row[1:] for row in FIELDS], ids=[row[0] for row in FIELDS])
def test_field_is_read(wire: JsonObject, meaning: dict[str, object]) -> None:
    """Each field of a request means what the table says."""
    request = CHAT.decode_request(asked(**wire))

    assert meaning == {name: getattr(request, name) for name in meaning}
    assert request.dialect == "ollama"


CALL_WIRE: JsonObject = {"function": {"name": "weather", "arguments": {"city": "Paris"}}}
CALL = ToolCall(id="call_0", name="weather", arguments='{"city":"Paris"}')

TURNS: list[tuple[str, list[JsonObject], list[Message]]] = [
    ("words", [{"role": "system", "content": "Be brief"}], [said("system", "Be brief")]),
    ("role in capitals", [{"role": "USER", "content": "Hi"}], [said("user", "Hi")]),
    ("no words", [{"role": "user", "content": ""}], [said("user")]),
    (
        "images after the words",
        [{"role": "user", "content": "What?", "images": [PNG, f"data:image/png;base64,{PNG}"]}],
        [said("user", "What?", Image(media=Media(data=PNG)), Image(media=Media(data=PNG)))],
    ),
    (
        "thinking, words, calls",
        [{"role": "assistant", "thinking": "hm", "content": "so", "tool_calls": [{"id": "c", **CALL_WIRE}]}],
        [said("assistant", Thinking(text="hm"), "so", ToolCall(id="c", name="weather", arguments='{"city":"Paris"}'))],
    ),
    (
        "result by id",
        [
            {"role": "assistant", "content": "", "tool_calls": [{"id": "c", **CALL_WIRE}]},
            {"role": "tool", "content": "19", "tool_call_id": "c"},
        ],
        [
            said("assistant", ToolCall(id="c", name="weather", arguments='{"city":"Paris"}')),
            said("tool", ToolResult(call_id="c", name="weather", parts=(Text(text="19"),))),
        ],
    ),
    (
        "results by name and order, as the official client sends them",
        [
            {"role": "assistant", "tool_calls": [CALL_WIRE, {"function": {"name": "clock", "arguments": {}}}]},
            {"role": "tool", "content": "noon", "tool_name": "clock"},
            {"role": "tool", "content": "19", "tool_name": "weather"},
            {"role": "assistant", "tool_calls": [CALL_WIRE]},
            {"role": "tool", "content": "20"},
        ],
        [
            said("assistant", CALL, ToolCall(id="call_1", name="clock")),
            said("tool", ToolResult(call_id="call_1", name="clock", parts=(Text(text="noon"),))),
            said("tool", ToolResult(call_id="call_0", name="weather", parts=(Text(text="19"),))),
            said("assistant", msgspec.structs.replace(CALL, id="call_2")),
            said("tool", ToolResult(call_id="call_2", name="weather", parts=(Text(text="20"),))),
        ],
    ),
    (
        "a result of nothing",
        [{"role": "tool", "content": "?", "tool_name": "gone", "images": [PNG]}],
        [said("tool", ToolResult(call_id="", name="gone", parts=(Text(text="?"), Image(media=Media(data=PNG)))))],
    ),
    (
        "arguments as text, and none",
        [
            {
                "role": "assistant",
                "tool_calls": [
                    {"function": {"name": "weather", "arguments": '{"city": "Paris"}'}},
                    {"function": {"name": "clock"}},
                ],
            }
        ],
        [said("assistant", CALL, ToolCall(id="call_1", name="clock", arguments="{}"))],
    ),
]


@pytest.mark.parametrize(("wire", "meaning"), [row[1:] for row in TURNS], ids=[row[0] for row in TURNS])
def test_turn_is_read_and_written(wire: list[Json], meaning: list[Message]) -> None:
    """Turns mean what the table says, and what is written of them means the same."""
    request = CHAT.decode_request(asked(messages=wire))

    assert tuple(meaning) == request.messages
    assert request == CHAT.decode_request(CHAT.encode_request(request, Target(model="m")).body)


@pytest.mark.parametrize("wire", [row[1] for row in FIELDS], ids=[row[0] for row in FIELDS])
def test_request_round_trip(wire: JsonObject) -> None:
    """A request written again means the same, in every field and with unknown ones at every level."""
    tool: JsonObject = {"type": "function", "a": 1, "function": {"name": "f", "b": 2}}
    call: JsonObject = {"id": "c", "d": 3, "function": {"name": "f", "arguments": {"x": 1.5}, "e": 4}}
    turns: list[Json] = [{"role": "user", "content": "Hi", "f": 5}, {"role": "assistant", "tool_calls": [call]}]
    request = CHAT.decode_request(dump({"model": "m", "tools": [tool], "messages": turns, "g": 6, **wire}))

    assert request == CHAT.decode_request(CHAT.encode_request(request, Target(model="m")).body)
    assert () == CHAT.encode_request(request, Target(model="m")).warnings


BROKEN: list[tuple[bytes, str]] = [
    (asked(messages=[]), "messages"),
    (asked(messages=[{"role": "function", "content": ""}]), "messages[0].role"),
    (asked(messages=[{"role": "user", "content": [{"type": "text"}]}]), "messages[0].content"),
    (
        asked(messages=[{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "[1"}}]}]),
        "messages[0].tool_calls[0].function.arguments",
    ),
    (asked(options={"num_predict": "many"}), "options.num_predict"),
    (asked(format="xml"), "format"),
    (asked(think="minimal"), "think"),
    (asked(think=1), "think"),
]


@pytest.mark.parametrize(("body", "param"), BROKEN)
def test_broken_request_names_the_field(body: bytes, param: str) -> None:
    """A field of the wrong type or value is refused by its path."""
    with pytest.raises(InvalidFieldError) as caught:
        CHAT.decode_request(body)

    assert param == caught.value.param


def test_envelope() -> None:
    """Without ``stream`` the caller wants one, always with usage; the header may name the provider."""
    envelope = CHAT.read_envelope(asked(), {"x-spine-provider": "ollama"})

    assert (True, True, "m", "ollama") == (
        envelope.stream,
        envelope.wants_usage,
        envelope.model,
        envelope.wishes.provider,
    )
    assert CHAT.read_envelope(asked(stream=False), {}).stream is False


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (asked(messages=[]), "messages"),
        (dump({"model": "m"}), "messages"),
        (asked(stream="no"), "stream"),
        (asked(options={"num_predict": "many"}), "options.num_predict"),
        (asked(messages=[{"content": "Hi"}]), "messages[0]"),
    ],
)
def test_envelope_checks_types(body: bytes, param: str) -> None:
    """What everybody sends is checked before anything is sent on."""
    with pytest.raises(InvalidFieldError) as caught:
        CHAT.read_envelope(body, {})

    assert param == caught.value.param


# Single prompts.


def test_generate_as_the_official_client_sends_it() -> None:
    """The client's empty fields say nothing; prompt, system and images make one turn."""
    wire = ollama._types.GenerateRequest(
        model="m",
        prompt="What?",
        suffix="",
        system="Be brief",
        template="",
        raw=False,
        stream=False,
        images=[ollama.Image(value=PNG)],
        options={"num_predict": 5, "num_ctx": 64},
    ).model_dump(exclude_none=True)
    request = GENERATE.decode_request(dump(wire))

    assert (
        CompletionRequest(
            messages=(said("user", "What?", Image(media=Media(data=PNG))),),
            model="m",
            system=(Text(text="Be brief"),),
            max_tokens=5,
            dialect="ollama",
            extras={"options": {"num_ctx": 64}},
        )
        == request
    )
    assert {
        "model": "llama3.2:latest",
        "messages": [
            {"role": "system", "content": "Be brief"},
            {"role": "user", "content": "What?", "images": [PNG]},
        ],
        "stream": False,
        "options": {"num_predict": 5, "num_ctx": 64},
    } == sent(request)


@pytest.mark.parametrize("fields", [{"suffix": "}"}, {"raw": True}, {"context": [1]}, {"template": "{{ .Prompt }}"}])
def test_generate_refuses_what_no_conversation_can_say(fields: JsonObject) -> None:
    """What only ``/api/generate`` means is refused, towards an Ollama and any other provider."""
    request = GENERATE.decode_request(dump({"model": "m", "prompt": "def f(", **fields}))
    for dialect in (CHAT, OPENAI):
        with pytest.raises(InvalidFieldError) as caught:
            dialect.encode_request(request, TARGET)

        assert next(iter(fields)) == caught.value.param


def test_generate_needs_a_prompt() -> None:
    """Without one Ollama would load or unload the model, which is not a caller's to do."""
    for read in (GENERATE.decode_request, lambda body: GENERATE.read_envelope(body, {})):
        with pytest.raises(InvalidFieldError, match="prompt"):
            read(dump({"model": "m", "keep_alive": 0}))

    assert GENERATE.read_envelope(dump({"model": "m", "prompt": "Hi"}), {}).stream is True


# Requests of other dialects, written.


def test_foreign_request_is_never_cut_silently() -> None:
    """Who does not speak Ollama does not expect it to cut what is too long; who does, has said so himself."""
    assert sent(foreign())["truncate"] is False
    assert sent(CompletionRequest(messages=(said("user", "Hi"),)))["truncate"] is False
    assert "truncate" not in sent(CHAT.decode_request(asked()))


WRITTEN: list[tuple[str, CompletionRequest, JsonObject]] = [
    (
        "limits",
        foreign(max_tokens=5, temperature=0.0, stop=("x",), user="u", stream=True),
        {"options": {"num_predict": 5, "temperature": 0.0, "stop": ["x"]}, "stream": True},
    ),
    ("no stream", foreign(), {"stream": False}),
    ("any JSON", foreign(output_schema=OutputSchema()), {"format": "json"}),
    ("a schema", foreign(output_schema=OutputSchema(schema=SCHEMA, name="n", strict=True)), {"format": SCHEMA}),
    ("effort none", foreign(reasoning=Reasoning(effort="none")), {"think": False}),
    ("effort minimal", foreign(reasoning=Reasoning(effort="minimal")), {"think": "low"}),
    ("effort medium", foreign(reasoning=Reasoning(effort="medium")), {"think": "medium"}),
    ("effort xhigh", foreign(reasoning=Reasoning(effort="xhigh")), {"think": "max"}),
    ("a budget", foreign(reasoning=Reasoning(mode="enabled", budget_tokens=2048)), {"think": True}),
    ("no budget", foreign(reasoning=Reasoning(budget_tokens=0)), {"think": False}),
    ("no thinking", foreign(reasoning=Reasoning(mode="disabled")), {"think": False}),
    (
        "a tool without arguments",
        foreign(tools=(CLOCK,)),
        {
            "tools": [
                {"type": "function", "function": {"name": "clock", "parameters": {"type": "object", "properties": {}}}}
            ]
        },
    ),
    (
        "chosen tools",
        foreign(tools=(WEATHER, CLOCK), tool_choice=ToolChoice(mode="auto", names=("weather",))),
        {"tools": [WEATHER_WIRE]},
    ),
    (
        "system and developer",
        foreign(said("developer", "B"), system=(Text(text="A1"), Text(text="A2"))),
        {"messages": [{"role": "system", "content": "A1\n\nA2"}, {"role": "system", "content": "B"}]},
    ),
    (
        "many parts",
        foreign(
            said("user", "See", Image(media=Media(data=PNG, media_type="image/png"), detail="low"), "this"),
            said("assistant", Thinking(text="hm", signature="s"), Thinking(redacted="r"), Refusal(text="No")),
        ),
        {
            "messages": [
                {"role": "user", "content": "See\n\nthis", "images": [PNG]},
                {"role": "assistant", "content": "No", "thinking": "hm"},
            ]
        },
    ),
    (
        "documents of words",
        foreign(
            said(
                "user",
                Document(text="body", title="Title", context="from a friend"),
                Document(
                    media=Media(
                        data=base64.b64encode("höhe".encode()).decode(), media_type="text/plain", filename="a.txt"
                    )
                ),
            )
        ),
        {"messages": [{"role": "user", "content": "Title\n\nfrom a friend\n\nbody\n\na.txt\n\nhöhe"}]},
    ),
    (
        "results, their pictures after them, their tools by name",
        foreign(
            said(
                "assistant",
                ToolCall(id="a", name="weather", arguments='{"city":"Paris"}'),
                ToolCall(id="b", name="clock", arguments="late"),
            ),
            said(
                "user",
                ToolResult(call_id="a", parts=(Image(media=Media(data=PNG)),)),
                ToolResult(call_id="b", parts=(Text(text="broken"),), is_error=True),
                Text(text="Well?"),
            ),
        ),
        {
            "messages": [
                {
                    "role": "assistant",
                    "content": "",
                    "tool_calls": [
                        {"id": "a", "function": {"index": 0, "name": "weather", "arguments": {"city": "Paris"}}},
                        {"id": "b", "function": {"index": 1, "name": "clock", "arguments": {"raw": "late"}}},
                    ],
                },
                {
                    "role": "tool",
                    "content": "(shown in the next user message)",
                    "tool_name": "weather",
                    "tool_call_id": "a",
                },
                {"role": "tool", "content": "Error: broken", "tool_name": "clock", "tool_call_id": "b"},
                {"role": "user", "content": "What the tool calls returned: a", "images": [PNG]},
                {"role": "user", "content": "Well?"},
            ]
        },
    ),
]


@pytest.mark.parametrize(("request_", "wire"), [row[1:] for row in WRITTEN], ids=[row[0] for row in WRITTEN])
def test_foreign_request_is_written(request_: CompletionRequest, wire: JsonObject) -> None:
    """What another dialect says is said in Ollama's words, without a warning."""
    encoded = CHAT.encode_request(request_, TARGET)
    body = load(encoded.body)

    assert wire == {name: body[name] for name in wire}
    assert ("/api/chat", ()) == (encoded.path, encoded.warnings)


class _Name(msgspec.Struct):
    """A tool's name."""

    name: str


class _Offer(msgspec.Struct):
    """A tool on offer."""

    function: _Name


class _Body(msgspec.Struct):
    """What a test reads of a body."""

    messages: list[dict[str, str]]
    tools: list[_Offer] = []


FORCED: list[tuple[str, ToolChoice, list[str], str]] = [
    ("none", ToolChoice(mode="none"), [], ""),
    ("auto", ToolChoice(mode="auto"), ["weather", "clock"], ""),
    (
        "any",
        ToolChoice(mode="required"),
        ["weather", "clock"],
        "You must answer by calling at least one of these tools: weather, clock.",
    ),
    ("one", ToolChoice(mode="required", names=("clock",)), ["clock"], 'You must answer by calling the tool "clock".'),
]


@pytest.mark.parametrize(
    ("choice", "names", "instruction"), [row[1:] for row in FORCED], ids=[row[0] for row in FORCED]
)
def test_tool_choice(choice: ToolChoice, names: list[str], instruction: str) -> None:
    """Only the tools chosen are offered; a call that must be made is asked for in words, with a warning."""
    for system in ((), (Text(text="Be brief"),)):
        encoded = CHAT.encode_request(foreign(tools=(WEATHER, CLOCK), tool_choice=choice, system=system), TARGET)
        body = msgspec.json.decode(encoded.body, type=_Body)
        offered = [tool.function.name for tool in body.tools]
        words = "\n\n".join(text for text in (*(part.text for part in system), instruction) if text)

        assert names == offered
        assert ({"role": "system", "content": words} if words else {"role": "user", "content": "Hi"}) == body.messages[
            0
        ]
        assert bool(instruction) == any(warning.startswith("tool_choice:") for warning in encoded.warnings)


WARNED: list[tuple[CompletionRequest, str]] = [
    (foreign(tools=(WEATHER,), parallel_tool_calls=False), "parallel_tool_calls"),
    (foreign(tools=(Tool(name="f", strict=True),)), "tools.strict"),
    (foreign(extras={"logit_bias": {"1": 2}}), "logit_bias"),
]


@pytest.mark.parametrize(("request_", "name"), WARNED)
def test_loss_is_told(request_: CompletionRequest, name: str) -> None:
    """What is left out, and may make a difference, is told by name."""
    assert (f"{name}: left out, ollama does not know it",) == CHAT.encode_request(request_, TARGET).warnings


REFUSED: list[tuple[CompletionRequest, str]] = [
    (foreign(n=2), "n"),
    (foreign(said("user", Image(media=Media(url="https://example.org/a.png")))), "image address"),
    (foreign(said("user", Image(media=Media(file_id="f")))), "image file id"),
    (foreign(said("user", Audio(media=Media(data="AA==", media_type="audio/wav")))), "audio"),
    (foreign(said("user", Document(media=Media(data="JVBERi0=", media_type="application/pdf")))), "document"),
    (foreign(said("user", Document(media=Media(data="/w==", media_type="text/plain")))), "document"),
    (foreign(tools=(Tool(name="f", grammar={}),)), "tools (custom)"),
    (foreign(tools=(OpaqueTool(dialect="anthropic_messages", data={"type": "web_search"}),)), "tools (web_search)"),
    (foreign(tools=(WEATHER,), tool_choice=ToolChoice(mode="required", names=("gone",))), "tool_choice"),
]


@pytest.mark.parametrize(("request_", "name"), REFUSED, ids=[row[1] for row in REFUSED])
def test_what_must_not_be_lost_is_refused(request_: CompletionRequest, name: str) -> None:
    """What would change the answer's meaning is a 422 that names it and says what to do."""
    with pytest.raises(InvalidFieldError) as caught:
        CHAT.encode_request(request_, TARGET)

    assert (name, 422) == (caught.value.param, caught.value.status)


def test_row_and_facts_are_obeyed() -> None:
    """Fields that the row renames or drops, and sampling that the model refuses, do not go out."""
    quirks = Quirks(drop=("logprobs",), rename={"keep_alive": "ttl"})
    target = Target(model="m", provider="p", quirks=quirks, facts=ModelFacts(sampling=False))
    body = asked(logprobs=True, keep_alive="5m", options={"temperature": 1})
    encoded = CHAT.encode_request(CHAT.decode_request(body), target)
    relayed = CHAT.relay_request(CHAT.read_envelope(body, {}), target)

    assert {"ttl"} == load(encoded.body).keys() - {"model", "messages", "stream"}
    assert ["temperature", "logprobs"] == [warning.partition(":")[0] for warning in encoded.warnings]
    assert {
        "model": "m",
        "messages": [{"role": "user", "content": "Hi"}],
        "options": {"temperature": 1},
        "ttl": "5m",
    } == load(relayed.body)


def test_relay_leaves_the_body_as_it_came() -> None:
    """Only the model is changed and the gateway's own fields go; each door to its own path."""
    body = asked(model="alias", provider="ollama", options={"num_ctx": 64}, routing={"strategy": "cheapest"})
    encoded = CHAT.relay_request(CHAT.read_envelope(body, {}), TARGET)
    prompt = GENERATE.read_envelope(dump({"model": "alias", "prompt": "Hi", "raw": True}), {})

    assert "/api/chat" == encoded.path
    assert load(asked(model="llama3.2:latest", options={"num_ctx": 64})) == load(encoded.body)
    assert "/api/generate" == GENERATE.relay_request(prompt, TARGET).path
