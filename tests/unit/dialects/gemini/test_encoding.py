"""Requests from other doors, written for Gemini."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genai_spine.dialects.anthropic_messages.dialect import AnthropicMessages
from genai_spine.dialects.base import Quirks, Target
from genai_spine.dialects.openai_chat.dialect import OpenAIChat
from genai_spine.errors import InvalidFieldError
from genai_spine.types.completion import CompletionRequest, OutputSchema, Reasoning
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.messages import (
    Audio,
    CacheMark,
    Document,
    Image,
    Media,
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
from tests.schemas import schemas
from tests.unit.dialects.gemini.wire import (
    BUDGET,
    GEMINI,
    LEVEL,
    TARGET,
    asked,
    config_of,
    encoded,
    one_turn,
    sent,
    turns_of,
)

_SKIP = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="
_CALL = ToolCall(id="call_1", name="weather", arguments='{"city": "Bern"}')
_OTHER = ToolCall(id="call_2", name="clock")
_RESULT = ToolResult(call_id="call_1", parts=(Text(text="sunny"),))
_PICTURE = Image(media=Media(data="iVBORw0KGgo", media_type="image/jpeg"))


def _request(*parts: Part, dialect: str | None = "openai_chat") -> CompletionRequest:
    return CompletionRequest(messages=one_turn(*parts), dialect=dialect)


# Where a request goes.


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("gemini-2.5-pro", "/v1beta/models/gemini-2.5-pro"),
        ("models/gemini-2.5-pro", "/v1beta/models/gemini-2.5-pro"),
        ("tunedModels/mine", "/v1beta/tunedModels/mine"),
        ("../../secrets?key=", "/v1beta/models/..%2F..%2Fsecrets%3Fkey%3D"),
    ],
)
def test_the_model_stands_in_the_path(model: str, path: str) -> None:
    """No model's name can lead anywhere else; a stream is always asked for in events."""
    request = _request()
    assert f"{path}:generateContent" == GEMINI.encode_request(request, Target(model=model)).path
    streamed = CompletionRequest(messages=request.messages, stream=True)
    assert f"{path}:streamGenerateContent?alt=sse" == GEMINI.encode_request(streamed, Target(model=model)).path


# Turns.


def test_instructions_stand_apart() -> None:
    """Those at the head become the instruction; later ones are told as the user's words, with a warning."""
    request = CompletionRequest(
        system=(Text(text="One"),),
        messages=(
            asked(Text(text="Two"), role="developer"),
            asked(Text(text="Hi")),
            asked(Text(text="Three"), role="system"),
        ),
        dialect="openai_chat",
    )
    written = encoded(request)
    body = json.loads(written.body)
    assert {"parts": [{"text": "One"}, {"text": "Two"}]} == body["systemInstruction"]
    assert [{"role": "user", "parts": [{"text": "Hi"}, {"text": "<system>\nThree\n</system>"}]}] == body["contents"]
    assert ("messages: instructions amid the conversation are told as the user's words",) == written.warnings


def test_somebody_must_speak() -> None:
    """Instructions alone are told by the user; nothing at all is refused."""
    assert [{"role": "user", "parts": [{"text": "Go"}]}] == turns_of(asked(Text(text="Go"), role="system"))
    with pytest.raises(InvalidFieldError) as caught:
        turns_of(asked(Text(text=" ")))
    assert "messages" == caught.value.param


def test_turns_of_one_side_are_joined() -> None:
    """Pitfall 12 for Gemini: all results stand together, at the head of one turn of the user's, then his words."""
    contents = turns_of(
        asked(Text(text="Hi")),
        asked(Text(text="")),
        asked(Refusal(text="No"), role="assistant"),
        asked(Text(text="Let me see"), _CALL, _OTHER, role="assistant"),
        asked(_RESULT, role="tool"),
        asked(Text(text="Go on")),
        asked(ToolResult(call_id="call_2", parts=(Text(text="late"),), is_error=True), role="tool"),
    )
    assert [
        {"role": "user", "parts": [{"text": "Hi"}]},
        {
            "role": "model",
            "parts": [
                {"text": "No"},
                {"text": "Let me see"},
                {"functionCall": {"id": "call_1", "name": "weather", "args": {"city": "Bern"}}},
                {"functionCall": {"id": "call_2", "name": "clock", "args": {}}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"name": "weather", "id": "call_1", "response": {"output": "sunny"}}},
                {"functionResponse": {"name": "clock", "id": "call_2", "response": {"error": "late"}}},
                {"text": "Go on"},
            ],
        },
    ] == contents


def test_a_result_must_answer_a_call() -> None:
    """The function's name, which the service demands, comes from the call."""
    with pytest.raises(InvalidFieldError, match="call_1") as caught:
        turns_of(asked(_RESULT, role="tool"))
    assert "messages" == caught.value.param


def test_arguments_that_are_no_object() -> None:
    """They are kept in one, for the dialect has no room for anything else."""
    turn = asked(ToolCall(id="1", name="x", arguments="half {"), role="assistant")
    assert [{"role": "model", "parts": [{"functionCall": {"id": "1", "name": "x", "args": {"raw": "half {"}}}]}] == (
        turns_of(turn)
    )


def test_names_of_speakers_are_lost() -> None:
    """The dialect has none, and says so."""
    request = OpenAIChat().decode_request(b'{"messages": [{"role": "user", "name": "Ann", "content": "Hi"}]}')
    assert any("messages.name" in warning for warning in encoded(request).warnings)


# Thought signatures.


def _history(*calls: ToolCall, dialect: str | None = "openai_chat") -> CompletionRequest:
    results = tuple(ToolResult(call_id=call.id, parts=(Text(text="ok"),)) for call in calls)
    messages = (asked(Text(text="Hi")), asked(*calls, role="assistant"), asked(*results))
    return CompletionRequest(messages=messages, dialect=dialect)


def _signatures(request: CompletionRequest, facts: ModelFacts | None = LEVEL) -> list[Json]:
    contents: list[JsonObject] = json.loads(encoded(request, facts).body)["contents"]
    turns = [turn["parts"] for turn in contents if turn["role"] == "model"]
    found: list[Json] = []
    for parts in turns:
        assert isinstance(parts, list)
        found += [part.get("thoughtSignature") for part in parts if isinstance(part, dict)]
    return found


def test_pitfall_7_a_signature_lost_is_stood_in_for() -> None:
    """Pitfall 7: callers' dialects lose signatures; the first call of each step of the current turn gets a stand-in."""
    assert [_SKIP, None] == _signatures(_history(_CALL, _OTHER))
    assert [None, None] == _signatures(_history(_CALL, _OTHER), BUDGET)


def test_pitfall_7_each_step_of_the_current_turn() -> None:
    """Pitfall 7: sequential calls are signed one by one; those of earlier turns need no signature."""
    first, second = _history(_CALL), _history(_OTHER)
    whole = CompletionRequest(
        messages=(*first.messages, *first.messages, *second.messages[1:]), dialect="anthropic_messages"
    )
    assert [None, _SKIP, _SKIP] == _signatures(whole)


def test_pitfall_7_a_signature_told_stays() -> None:
    """Pitfall 7: of parallel calls only the first is signed, and it keeps its own signature at its own place."""
    signed = ToolCall(id="1", name="x", extras={"thoughtSignature": "b3du"})
    for dialect in ("gemini", None):
        assert ["b3du", None] == _signatures(_history(signed, _OTHER, dialect=dialect))


def test_foreign_signatures_are_not_sent() -> None:
    """What another provider sealed is none of Google's: neither thinking nor seals of it go there."""
    parts = (
        Thinking(text="Well", signature="anthropic's"),
        Thinking(redacted="sealed"),
        Text(text="Yes", extras={"thoughtSignature": "no"}),
        ToolCall(id="1", name="x", extras={"thoughtSignature": "no"}),
    )
    contents = turns_of(asked(*parts, role="assistant"), dialect="anthropic_messages")
    assert [
        {"role": "model", "parts": [{"text": "Yes"}, {"functionCall": {"id": "1", "name": "x", "args": {}}}]}
    ] == contents


def test_signed_parts_of_a_request_of_no_dialect() -> None:
    """Who uses the library hands back what an answer held: signed parts, even empty ones, with fields known as ours."""
    parts = (
        Thinking(text="unsigned"),
        Thinking(text="Well", signature="MQ=="),
        Text(text="Yes", extras={"odd": 1}),
        Text(text="", extras={"thoughtSignature": "Mg=="}),
    )
    assert [
        {
            "role": "model",
            "parts": [
                {"text": "Well", "thought": True, "thoughtSignature": "MQ=="},
                {"text": "Yes"},
                {"text": "", "thoughtSignature": "Mg=="},
            ],
        }
    ] == turns_of(asked(*parts, role="assistant"), dialect=None)


# Media.


def test_media_are_written_by_what_they_are() -> None:
    """The type that the bytes show counts; words go in as a text file."""
    contents = turns_of(
        asked(
            _PICTURE,
            Audio(media=Media(data="AAAA", media_type="audio/mp3")),
            Document(media=Media(data="JVBERi0x", filename="a.pdf")),
            Document(text="Words", title="Title", context="Context"),
        )
    )
    words = base64.b64encode(b"Title\n\nContext\n\nWords").decode()
    assert [
        {
            "role": "user",
            "parts": [
                {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo"}},
                {"inlineData": {"mimeType": "audio/mp3", "data": "AAAA"}},
                {"inlineData": {"mimeType": "application/pdf", "data": "JVBERi0x"}},
                {"inlineData": {"mimeType": "text/plain", "data": words}},
            ],
        }
    ] == contents


@pytest.mark.parametrize(
    ("media", "expected"),
    [
        (Media(url="https://www.youtube.com/watch?v=a"), {"fileUri": "https://www.youtube.com/watch?v=a"}),
        (
            Media(url="https://youtu.be/a", media_type="video/mp4"),
            {"fileUri": "https://youtu.be/a"} | {"mimeType": "video/mp4"},
        ),
        (Media(file_id="gs://a/b.PDF"), {"fileUri": "gs://a/b.PDF", "mimeType": "application/pdf"}),
        (
            Media(url="https://generativelanguage.googleapis.com/v1beta/files/a"),
            {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/a"},
        ),
    ],
)
def test_what_google_holds_is_pointed_to(media: Media, expected: JsonObject) -> None:
    """Its own files, its storage and YouTube are read by the service itself, whoever asks."""
    quirks = Quirks(image_urls=False)
    body = sent(_request(Document(media=media)), quirks=quirks)
    assert [{"role": "user", "parts": [{"fileData": expected}]}] == body["contents"]


def test_other_addresses() -> None:
    """They pass where the service fetches any address, and are refused where it does not."""
    picture = Image(media=Media(url="https://pictures.example/cat.png?size=1"))
    expected = {"fileUri": "https://pictures.example/cat.png?size=1", "mimeType": "image/png"}
    assert [{"role": "user", "parts": [{"fileData": expected}]}] == sent(_request(picture))["contents"]
    with pytest.raises(InvalidFieldError) as caught:
        sent(_request(picture), quirks=Quirks(image_urls=False))
    assert "image address" == caught.value.param


def test_files_of_others_are_refused() -> None:
    """An id of a file that another provider holds says nothing to Google."""
    with pytest.raises(InvalidFieldError) as caught:
        sent(_request(Document(media=Media(file_id="file-123"))))
    assert "document file id" == caught.value.param


def test_pictures_in_results() -> None:
    """Models that take them in a function's response get them there; for others they follow, and are introduced."""
    result = ToolResult(call_id="call_1", parts=(Text(text="see"), _PICTURE))
    turns = (asked(_CALL, role="assistant"), asked(result, role="tool"))
    picture = {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo"}}
    response: JsonObject = {"name": "weather", "response": {"output": "see"}, "id": "call_1"}
    assert {"role": "user", "parts": [{"functionResponse": {**response, "parts": [picture]}}]} == _last(
        turns_of(*turns, facts=LEVEL)
    )
    assert {
        "role": "user",
        "parts": [{"functionResponse": response}, {"text": "What the tool weather returned:"}, picture],
    } == _last(turns_of(*turns))


def _last(turns: Json) -> Json:
    assert isinstance(turns, list)
    return turns[-1]


def test_content_that_only_others_know() -> None:
    """It is left out with a word; what is the service's own goes back."""
    written = encoded(_request(Text(text="Hi"), Opaque(dialect="anthropic_messages", data={"type": "search_result"})))
    assert ("content of type search_result: left out, google does not know it",) == written.warnings
    own: JsonObject = {"executableCode": {"code": "1"}}
    assert [{"role": "user", "parts": [own]}] == turns_of(asked(Opaque(dialect="gemini", data=own)))


# Tools.


def test_tools_are_told_in_json_schema() -> None:
    """Pitfall 27: schemas go in as JSON Schema, whose every word is known; an empty one is left out."""
    schema: JsonObject = {"$schema": "x", "type": ["object", "null"], "oneOf": [{"const": 1}], "propertyNames": {}}
    request = CompletionRequest(
        messages=one_turn(),
        dialect="openai_chat",
        tools=(
            Tool(name="x", description="X", parameters=schema, strict=True, cache=CacheMark(), extras={"odd": 1}),
            Tool(name="y", parameters={}),
        ),
        tool_choice=ToolChoice(mode="auto", names=("x",)),
        parallel_tool_calls=False,
    )
    written = encoded(request)
    body = json.loads(written.body)
    assert [
        {"functionDeclarations": [{"name": "x", "description": "X", "parametersJsonSchema": schema}, {"name": "y"}]}
    ] == body["tools"]
    assert {"functionCallingConfig": {"mode": "VALIDATED", "allowedFunctionNames": ["x"]}} == body["toolConfig"]
    assert (
        "tools.strict: left out, google does not know it",
        "parallel_tool_calls: left out, google does not know it",
    ) == written.warnings


@settings(deadline=None, max_examples=50)
@given(schema=schemas)
def test_pitfall_27_any_schema_passes(schema: JsonObject) -> None:
    """Pitfall 27: no keyword of JSON Schema is lost or put where the service would refuse it."""
    request = CompletionRequest(
        messages=one_turn(),
        tools=(Tool(name="x", parameters=schema),),
        output_schema=OutputSchema(schema=schema, name="answer", strict=True),
        dialect="openai_chat",
    )
    body = json.loads(GEMINI.encode_request(request, TARGET).body)
    declared = body["tools"][0]["functionDeclarations"][0]
    assert (schema or None) == declared.get("parametersJsonSchema")
    assert "parameters" not in declared
    assert {"responseMimeType": "application/json", "responseJsonSchema": schema} == body["generationConfig"]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (ToolChoice(mode="auto"), {"mode": "AUTO"}),
        (ToolChoice(mode="none"), {"mode": "NONE"}),
        (ToolChoice(mode="required"), {"mode": "ANY"}),
        (ToolChoice(mode="required", names=("x",)), {"mode": "ANY", "allowedFunctionNames": ["x"]}),
    ],
)
def test_choices(choice: ToolChoice, expected: JsonObject) -> None:
    """Each choice has its mode; without a function to choose there is none to make."""
    with_tool = CompletionRequest(messages=one_turn(), tools=(Tool(name="x"),), tool_choice=choice)
    assert {"functionCallingConfig": expected} == sent(with_tool)["toolConfig"]
    assert "toolConfig" not in sent(CompletionRequest(messages=one_turn(), tool_choice=ToolChoice(mode="auto")))


def test_a_choice_among_tools_that_are_not_offered() -> None:
    """It is the caller's fault."""
    request = CompletionRequest(messages=one_turn(), tools=(Tool(name="x"),), tool_choice=_named("y"))
    with pytest.raises(InvalidFieldError) as caught:
        sent(request)
    assert "tool_choice" == caught.value.param


def _named(name: str) -> ToolChoice:
    return ToolChoice(mode="required", names=(name,))


@pytest.mark.parametrize(
    "tool", [Tool(name="x", grammar={}), OpaqueTool(dialect="openai_chat", data={"type": "web_search"})]
)
def test_tools_that_it_has_not(tool: Tool | OpaqueTool) -> None:
    """Tools that take free text, and those that another provider runs, are refused."""
    with pytest.raises(InvalidFieldError, match="tools"):
        sent(CompletionRequest(messages=one_turn(), tools=(tool,), dialect="openai_chat"))


# Configuration.


def test_configuration() -> None:
    """Every knob that both sides have is turned; the user's id, which only others have, goes silently."""
    request = CompletionRequest(
        messages=one_turn(),
        max_tokens=10,
        temperature=0,
        top_p=0.5,
        top_k=3,
        stop=("END",),
        seed=1,
        presence_penalty=0.1,
        frequency_penalty=0.2,
        n=2,
        logprobs=True,
        top_logprobs=4,
        output_schema=OutputSchema(),
        user="ann",
        dialect="openai_chat",
    )
    assert {
        "maxOutputTokens": 10,
        "temperature": 0,
        "topP": 0.5,
        "topK": 3,
        "stopSequences": ["END"],
        "seed": 1,
        "presencePenalty": 0.1,
        "frequencyPenalty": 0.2,
        "candidateCount": 2,
        "responseLogprobs": True,
        "logprobs": 4,
        "responseMimeType": "application/json",
    } == config_of(request)
    assert () == encoded(request).warnings
    plain = encoded(request, ModelFacts(sampling=False))
    assert 3 == len(plain.warnings)
    assert "temperature" not in json.loads(plain.body)["generationConfig"]


def test_quirks() -> None:
    """Fields that a service refuses are left out with a word, or said under its own name."""
    request = CompletionRequest(messages=one_turn(), system=(Text(text="Be brief."),), temperature=1)
    quirks = Quirks(drop=("generationConfig", "absent"), rename={"systemInstruction": "instruction", "absent": "x"})
    written = encoded(request, quirks=quirks)
    assert {"contents", "instruction"} == set(json.loads(written.body))
    assert ("generationConfig: left out, google does not know it",) == written.warnings


@pytest.mark.parametrize(
    ("reasoning", "facts", "expected"),
    [
        (Reasoning(effort="none"), LEVEL, {"thinkingLevel": "MINIMAL"}),
        (Reasoning(effort="minimal"), LEVEL, {"thinkingLevel": "MINIMAL", "includeThoughts": True}),
        (Reasoning(effort="high"), LEVEL, {"thinkingLevel": "HIGH", "includeThoughts": True}),
        (Reasoning(effort="max"), LEVEL, {"thinkingLevel": "HIGH", "includeThoughts": True}),
        (Reasoning(effort="odd"), LEVEL, {"thinkingLevel": "MEDIUM", "includeThoughts": True}),
        (Reasoning(effort="max"), ModelFacts(thinking="level"), {"thinkingLevel": "XHIGH", "includeThoughts": True}),
        (
            Reasoning(effort="medium"),
            ModelFacts(thinking="level", efforts=("low", "high")),
            {"thinkingLevel": "HIGH", "includeThoughts": True},
        ),
        (
            Reasoning(mode="enabled", budget_tokens=1024, display="omitted"),
            LEVEL,
            {"thinkingLevel": "LOW", "includeThoughts": False},
        ),
        (Reasoning(mode="enabled", budget_tokens=50_000), LEVEL, {"thinkingLevel": "HIGH", "includeThoughts": True}),
        (Reasoning(mode="adaptive"), LEVEL, {"includeThoughts": True}),
        (Reasoning(effort="low"), BUDGET, {"thinkingBudget": 1024, "includeThoughts": True}),
        (Reasoning(effort="max"), BUDGET, {"thinkingBudget": 32_768, "includeThoughts": True}),
        (Reasoning(budget_tokens=5), BUDGET, {"thinkingBudget": 128, "includeThoughts": True}),
        (Reasoning(mode="adaptive"), BUDGET, {"thinkingBudget": -1, "includeThoughts": True}),
        (Reasoning(mode="disabled"), BUDGET, {"thinkingBudget": 0}),
        (
            Reasoning(effort="none"),
            ModelFacts(thinking="budget", thinking_range=(128, 32_768), thinks_always=True),
            {"thinkingBudget": 128},
        ),
        (Reasoning(effort="max"), ModelFacts(thinking="budget"), {"thinkingBudget": 24_576, "includeThoughts": True}),
    ],
)
def test_reasoning(reasoning: Reasoning, facts: ModelFacts, expected: JsonObject) -> None:
    """A model that knows degrees is told the nearest, one that knows budgets a number within its range; never both."""
    request = CompletionRequest(messages=one_turn(), reasoning=reasoning, dialect="openai_chat")
    assert {"thinkingConfig": expected} == config_of(request, facts)


def test_reasoning_leaves_room_for_words() -> None:
    """A budget that would eat the whole answer is halved."""
    request = CompletionRequest(messages=one_turn(), reasoning=Reasoning(effort="high"), max_tokens=1000)
    assert {"maxOutputTokens": 1000, "thinkingConfig": {"thinkingBudget": 500, "includeThoughts": True}} == config_of(
        request, BUDGET
    )


def test_reasoning_of_models_that_do_not_think() -> None:
    """They are asked nothing; to be told so is only of interest to who asked for it."""
    for effort, count in (("high", 1), ("none", 0)):
        request = CompletionRequest(messages=one_turn(), reasoning=Reasoning(effort=effort))
        written = encoded(request)
        assert "generationConfig" not in json.loads(written.body)
        assert count == len(written.warnings)


def test_a_model_that_always_thinks_is_told_so() -> None:
    """That thinking cannot be turned off is worth a word."""
    facts = ModelFacts(thinking="level", thinks_always=True)
    request = CompletionRequest(messages=one_turn(), reasoning=Reasoning(effort="none"))
    assert 1 == len(encoded(request, facts).warnings)


# From door to provider.


def test_from_anthropic_to_gemini() -> None:
    """A whole conversation of another dialect arrives with its calls, results and thinking in their places."""
    body: JsonObject = {
        "model": "m",
        "max_tokens": 100,
        "system": "Be brief.",
        "messages": [
            {"role": "user", "content": "Weather?"},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "Hm", "signature": "theirs"},
                    {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}},
                ],
            },
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": '{"sky": 1}'}]},
        ],
        "tools": [{"name": "weather", "input_schema": {"type": "object", "properties": {}}}],
        "tool_choice": {"type": "any"},
    }
    request = AnthropicMessages().decode_request(json.dumps(body).encode())
    written = sent(request, LEVEL)
    assert {
        "contents": [
            {"role": "user", "parts": [{"text": "Weather?"}]},
            {
                "role": "model",
                "parts": [
                    {
                        "functionCall": {"id": "toolu_1", "name": "weather", "args": {}},
                        "thoughtSignature": _SKIP,
                    }
                ],
            },
            {
                "role": "user",
                "parts": [{"functionResponse": {"name": "weather", "response": {"sky": 1}, "id": "toolu_1"}}],
            },
        ],
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "tools": [{"functionDeclarations": [{"name": "weather"}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY"}},
        "generationConfig": {"maxOutputTokens": 100},
    } == written


@settings(deadline=None, max_examples=20)
@given(names=st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=5))
def test_results_find_their_calls_whatever_the_order(names: list[str]) -> None:
    """By order and name alone, what answers which call is the same on the way in as it was on the way out."""
    calls: list[Json] = [{"functionCall": {"name": name, "args": {"n": n}}} for n, name in enumerate(names)]
    results: list[Json] = [
        {"functionResponse": {"name": name, "response": {"output": str(n)}}} for n, name in enumerate(names)
    ]
    contents: list[Json] = [{"role": "model", "parts": calls}, {"role": "user", "parts": results}]
    read = GEMINI.decode_request(json.dumps({"contents": contents}).encode())
    made = [part.id for part in read.messages[0].parts if isinstance(part, ToolCall)]
    answered = [part.call_id for part in read.messages[1].parts if isinstance(part, ToolResult)]
    assert made == answered
