"""Gemini's requests, read at the door."""

from __future__ import annotations

import base64
import json

import pytest

from genai_spine.dialects.gemini.signatures import holds_unsigned_call
from genai_spine.errors import InvalidFieldError, InvalidRequestError
from genai_spine.testing.dialects import check_envelope, check_relay, check_request
from genai_spine.types.completion import OutputSchema, Reasoning
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.messages import Audio, Document, Image, Media, Opaque, Text, Thinking, ToolCall, ToolResult
from genai_spine.types.tools import OpaqueTool, Tool, ToolChoice
from tests.unit.dialects.gemini.wire import GEMINI, TARGET, decoded

_RICH: JsonObject = {
    "systemInstruction": {"role": "user", "parts": [{"text": "Be brief."}]},
    "contents": [
        {
            "role": "user",
            "parts": [{"text": "Weather?"}, {"inlineData": {"mimeType": "image/png", "data": "iVBORw0K"}}],
        },
        {
            "role": "model",
            "parts": [
                {"text": "Let me see", "thought": True, "thoughtSignature": "c2ln"},
                {"functionCall": {"name": "weather", "args": {"city": "Bern"}}, "thoughtSignature": "c2ln"},
                {"functionCall": {"name": "clock", "willContinue": False}},
                {"executableCode": {"code": "1", "language": "PYTHON"}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"name": "weather", "response": {"result": "sunny"}, "scheduling": "SILENT"}},
                {"functionResponse": {"name": "clock", "response": {"output": "12:00"}}},
                {"text": "Well?", "videoMetadata": {"fps": 1}},
            ],
            "x_unknown": 1,
        },
    ],
    "tools": [
        {"functionDeclarations": [{"name": "weather", "parametersJsonSchema": {"type": "object"}}]},
        {"googleSearch": {}},
        {"functionDeclarations": [{"name": "clock", "parameters": {"type": "OBJECT"}, "behavior": "BLOCKING"}]},
    ],
    "toolConfig": {
        "functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["weather"]},
        "retrievalConfig": {"languageCode": "de"},
    },
    "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
    "generationConfig": {
        "temperature": 0,
        "topP": 0.5,
        "topK": 40.0,
        "candidateCount": 2,
        "maxOutputTokens": 100,
        "stopSequences": ["END"],
        "seed": 7,
        "presencePenalty": 0.1,
        "frequencyPenalty": 0.2,
        "responseLogprobs": True,
        "logprobs": 3,
        "responseMimeType": "application/json",
        "responseSchema": {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}},
        "thinkingConfig": {"includeThoughts": True, "thinkingLevel": "LOW"},
        "mediaResolution": "MEDIA_RESOLUTION_LOW",
    },
    "labels": {"some_team": "a"},
}


def test_everything_is_kept() -> None:
    """T1: a request that uses all that the dialect has is the same once written and read again."""
    read = check_request(GEMINI, json.dumps(_RICH).encode())
    assert (100, 0, 0.5, 40, ("END",), 7, 2) == (
        read.max_tokens,
        read.temperature,
        read.top_p,
        read.top_k,
        read.stop,
        read.seed,
        read.n,
    )
    assert (0.1, 0.2, True, 3) == (read.presence_penalty, read.frequency_penalty, read.logprobs, read.top_logprobs)
    assert (Text(text="Be brief."),) == read.system
    assert Reasoning(effort="low", display="summarized") == read.reasoning
    assert ToolChoice(mode="required", names=("weather",)) == read.tool_choice
    assert {"safetySettings", "generationConfig", "toolConfig", "labels"} == set(read.extras)
    assert {"mediaResolution": "MEDIA_RESOLUTION_LOW"} == read.extras["generationConfig"]


def test_it_passes_through() -> None:
    """A request passes through with all its fields but the gateway's own, and a body of another kind is refused."""
    body = json.dumps(_RICH).encode()
    check_relay(GEMINI, body)
    bad: list[Json] = [
        {"contents": []},
        {},
        {"contents": 1},
        {"contents": [1]},
        {"contents": [{"parts": 1}]},
        {"contents": [{"parts": [{"text": 1}]}], "generationConfig": []},
        {"contents": [{"parts": []}], "generationConfig": {"temperature": "hot"}},
        {"contents": [{"parts": []}], "tools": "all"},
    ]
    check_envelope(GEMINI, [body], [json.dumps(one).encode() for one in bad])


def test_both_spellings_mean_the_same() -> None:
    """The protocol's JSON allows the names of its definition, and one object for an array of one."""
    snake = decoded(
        contents={"parts": {"file_data": {"file_uri": "gs://a/b.png", "mime_type": "image/png"}}},
        system_instruction={"parts": [{"text": "Be brief."}]},
        tools={"function_declarations": [{"name": "clock", "parameters_json_schema": {"some_key": 1}}]},
        generation_config={"max_output_tokens": 5, "thinking_config": {"thinking_budget": 0}},
    )
    camel = decoded(
        contents=[{"parts": [{"fileData": {"fileUri": "gs://a/b.png", "mimeType": "image/png"}}]}],
        systemInstruction={"parts": [{"text": "Be brief."}]},
        tools=[{"functionDeclarations": [{"name": "clock", "parametersJsonSchema": {"some_key": 1}}]}],
        generationConfig={"maxOutputTokens": 5, "thinkingConfig": {"thinkingBudget": 0}},
    )
    assert camel == snake
    assert Reasoning(mode="disabled") == snake.reasoning


def test_a_name_given_in_both_spellings_is_read_in_one() -> None:
    """The JSON's own spelling counts; the other is kept as it came."""
    read = decoded(cachedContent="a", cached_content="b")
    assert {"cachedContent": "a", "cached_content": "b"} == read.extras


def test_ids_that_are_absent_are_made_up() -> None:
    """Calls and results without an id are linked by name and order, and the ids stay the same as the turns grow."""
    call: Json = {"functionCall": {"name": "weather", "args": {"city": "Bern"}}}
    other: Json = {"functionCall": {"name": "clock"}}
    result: Json = {"functionResponse": {"name": "weather", "response": {"output": "a"}}}
    clock: Json = {"functionResponse": {"name": "clock", "response": {"output": "b"}}}
    read = decoded(
        contents=[
            {"role": "model", "parts": [call, other, call]},
            {"role": "user", "parts": [clock, result, result]},
            {"role": "model", "parts": [call]},
            {"role": "function", "parts": [result]},
        ]
    )
    calls = [part.id for turn in read.messages for part in turn.parts if isinstance(part, ToolCall)]
    results = [part.call_id for turn in read.messages for part in turn.parts if isinstance(part, ToolResult)]
    assert ["call_0", "call_1", "call_2", "call_3"] == calls
    assert ["call_1", "call_0", "call_2", "call_3"] == results


def test_ids_that_are_told_count() -> None:
    """A result goes to the call that it names; one with an id of its own making goes to the next call by that name."""
    read = decoded(
        contents=[
            {"role": "model", "parts": [{"functionCall": {"id": "a", "name": "x"}}, {"functionCall": {"name": "x"}}]},
            {
                "role": "user",
                "parts": [
                    {"functionResponse": {"id": "a", "response": {"output": "1"}}},
                    {"functionResponse": {"id": "odd", "name": "x", "response": {"output": "2"}}},
                    {"functionResponse": {"id": "none", "name": "y", "response": {}}},
                ],
            },
        ]
    )
    results = [part for part in read.messages[1].parts if isinstance(part, ToolResult)]
    assert [("a", "x"), ("call_1", "x"), ("none", "y")] == [(one.call_id, one.name) for one in results]


@pytest.mark.parametrize(
    ("response", "words", "failed"),
    [
        ({"output": "sunny"}, "sunny", None),
        ({"result": "sunny"}, "sunny", None),
        ({"output": {"a": 1}}, '{"a":1}', None),
        ({"error": "broken"}, "broken", True),
        ({"error": {"code": 1}}, '{"code":1}', True),
        ({"city": "Bern", "degrees": 5}, '{"city":"Bern","degrees":5}', None),
        ({"output": '{"a": 1}'}, '{"a": 1}', None),
        ({"output": "{no JSON"}, "{no JSON", None),
        ({}, "", None),
    ],
)
def test_results_are_told_in_words(response: JsonObject, words: str, failed: bool | None) -> None:  # noqa: FBT001  # a table of cases
    """What a tool answered is its words, or its object as JSON; the object itself survives the way back."""
    turn: Json = {"parts": [{"functionResponse": {"name": "x", "response": response}}]}
    body = json.dumps({"contents": [turn]}).encode()
    result = check_request(GEMINI, body).messages[0].parts[0]
    assert isinstance(result, ToolResult)
    assert ((Text(text=words),) if words else ()) == result.parts
    assert failed == result.is_error
    written = json.loads(GEMINI.encode_request(GEMINI.decode_request(body), TARGET).body)
    assert response == written["contents"][0]["parts"][0]["functionResponse"]["response"]


def test_media_are_what_their_type_says() -> None:
    """Pictures, sounds and all else; the alphabet of addresses becomes the standard one; files are told from pages."""
    data = base64.urlsafe_b64encode(b"\xff\xfe\xfd\xfc").decode().rstrip("=")
    held = "https://generativelanguage.googleapis.com/v1beta/files/a"
    turn: Json = {
        "parts": [
            {"inlineData": {"mimeType": "image/png", "data": data, "displayName": "a.png"}},
            {"inlineData": {"mimeType": "audio/wav", "data": "AAAA"}},
            {"inlineData": {"mimeType": "video/mp4", "data": "AAAA"}},
            {"fileData": {"fileUri": "https://pictures.example/a.png", "mimeType": "image/png"}},
            {"fileData": {"fileUri": held, "mimeType": "audio/wav"}},
            {"fileData": {"fileUri": "gs://a/b.pdf", "displayName": "b"}, "mediaResolution": {"level": "LOW"}},
        ]
    }
    body = json.dumps({"contents": [turn]}).encode()
    assert (
        Image(media=Media(data="//79/A==", media_type="image/png", filename="a.png")),
        Audio(media=Media(data="AAAA", media_type="audio/wav")),
        Document(media=Media(data="AAAA", media_type="video/mp4")),
        Image(media=Media(url="https://pictures.example/a.png", media_type="image/png")),
        Document(media=Media(file_id=held, media_type="audio/wav")),
        Document(media=Media(file_id="gs://a/b.pdf", filename="b"), extras={"mediaResolution": {"level": "LOW"}}),
    ) == check_request(GEMINI, body).messages[0].parts


def test_media_in_results() -> None:
    """A function's answer may hold pictures, and what nobody knows is kept."""
    picture: Json = {"inlineData": {"mimeType": "image/png", "data": "iVBORw0K"}}
    parts: list[Json] = [picture, {"odd": 1}]
    part = {"functionResponse": {"name": "x", "response": {"output": "see"}, "parts": parts}}
    body = json.dumps({"contents": [{"parts": [part]}]}).encode()
    result = check_request(GEMINI, body).messages[0].parts[0]
    assert isinstance(result, ToolResult)
    assert (
        Text(text="see"),
        Image(media=Media(data="iVBORw0K", media_type="image/png")),
        Opaque(dialect="gemini", data={"odd": 1}),
    ) == result.parts


def test_signatures_stay_on_their_parts() -> None:
    """Pitfall 7: a signature stays on the very part that it came on, and signed parts are not merged."""
    parts: list[Json] = [
        {"text": "a", "thoughtSignature": "MQ=="},
        {"text": "b"},
        {"functionCall": {"id": "1", "name": "x", "args": {}}, "thoughtSignature": "Mg=="},
        {"functionCall": {"id": "2", "name": "x", "args": {}}},
        {"text": "", "thoughtSignature": "Mw=="},
        {"text": "c", "thought": True, "thoughtSignature": "NA=="},
    ]
    contents: list[Json] = [{"role": "user", "parts": [{"text": "Hi"}]}, {"role": "model", "parts": parts}]
    read = GEMINI.decode_request(json.dumps({"contents": contents}).encode())
    assert Thinking(text="c", signature="NA==") == read.messages[1].parts[-1]
    assert contents == json.loads(GEMINI.encode_request(read, TARGET).body)["contents"]


def test_roles() -> None:
    """Who does not say is the user; the retired role ``function`` is the user's; others are refused."""
    read = decoded(contents=[{"parts": [{"text": "a"}]}, {"role": "function", "parts": []}, {"role": "model"}])
    assert ["user", "user", "assistant"] == [turn.role for turn in read.messages]
    with pytest.raises(InvalidFieldError, match="systemInstruction") as caught:
        decoded(contents=[{"role": "system", "parts": []}])
    assert "contents[0].role" == caught.value.param


def test_own_schemas_are_understood() -> None:
    """The service's own kind of schema becomes JSON Schema for others, and goes back as it came."""
    own: JsonObject = {
        "type": "OBJECT",
        "properties": {
            "a": {"type": "STRING", "nullable": True, "enum": ["x"], "example": "x"},
            "b": {"type": "ARRAY", "items": {"type": "INTEGER"}, "min_items": "1"},
            "c": {"any_of": [{"type": "STRING"}, True], "nullable": True},
            "d": {"type": "OBJECT", "additionalProperties": False, "maxProperties": 3, "title": "D"},
        },
        "propertyOrdering": ["a"],
        "required": ["a"],
    }
    read = decoded(
        tools=[{"functionDeclarations": [{"name": "x", "parameters": own}]}],
        generationConfig={"responseMimeType": "application/json", "responseSchema": own},
    )
    expected: JsonObject = {
        "type": "object",
        "properties": {
            "a": {"type": ["string", "null"], "enum": ["x", None]},
            "b": {"type": "array", "items": {"type": "integer"}, "minItems": 1},
            "c": {"anyOf": [{"anyOf": [{"type": "string"}, True]}, {"type": "null"}]},
            "d": {"type": "object", "additionalProperties": False, "maxProperties": 3, "title": "D"},
        },
        "required": ["a"],
    }
    assert (Tool(name="x", parameters=expected, extras={"parameters": own}),) == read.tools
    assert OutputSchema(schema=expected, extras={"responseSchema": own}) == read.output_schema
    written = json.loads(GEMINI.encode_request(read, TARGET).body)
    assert {"name": "x", "parameters": own} == written["tools"][0]["functionDeclarations"][0]
    assert {"responseMimeType": "application/json", "responseSchema": own} == written["generationConfig"]


def test_a_tool_entry_of_two_kinds() -> None:
    """Functions and a tool of the service's may stand in one entry."""
    read = decoded(tools=[{"functionDeclarations": [{"name": "x"}], "urlContext": {}}])
    assert (Tool(name="x"), OpaqueTool(dialect="gemini", data={"urlContext": {}})) == read.tools


@pytest.mark.parametrize(
    ("calling", "choice"),
    [
        ({"mode": "AUTO"}, ToolChoice(mode="auto")),
        ({"mode": "any"}, ToolChoice(mode="required")),
        ({"mode": "NONE"}, ToolChoice(mode="none")),
        ({"mode": "VALIDATED"}, ToolChoice(mode="auto")),
        ({"mode": "VALIDATED", "allowedFunctionNames": ["x"]}, ToolChoice(mode="auto", names=("x",))),
        ({"mode": "MODE_UNSPECIFIED"}, None),
        ({"allowedFunctionNames": ["x"]}, ToolChoice(mode="auto", names=("x",))),
        ({}, None),
    ],
)
def test_tool_choices(calling: JsonObject, choice: ToolChoice | None) -> None:
    """Each mode has its place in the vocabulary, and survives the way back."""
    body: JsonObject = {
        "contents": [{"parts": [{"text": "Hi"}]}],
        "tools": [{"functionDeclarations": [{"name": "x"}]}],
        "toolConfig": {"functionCallingConfig": calling},
    }
    assert choice == check_request(GEMINI, json.dumps(body).encode()).tool_choice


def test_a_mode_that_nobody_knows() -> None:
    """It is refused by its path."""
    with pytest.raises(InvalidFieldError) as caught:
        decoded(toolConfig={"functionCallingConfig": {"mode": "SOMETIMES"}})
    assert "toolConfig.functionCallingConfig.mode" == caught.value.param


@pytest.mark.parametrize(
    ("thinking", "reasoning"),
    [
        ({"thinkingBudget": -1}, Reasoning(mode="adaptive")),
        ({"thinkingBudget": 0}, Reasoning(mode="disabled")),
        ({"thinkingBudget": 500, "odd": 1}, Reasoning(mode="enabled", budget_tokens=500, extras={"odd": 1})),
        ({"thinkingLevel": "HIGH", "includeThoughts": False}, Reasoning(effort="high", display="omitted")),
        ({"thinkingLevel": "THINKING_LEVEL_UNSPECIFIED"}, None),
        ({"includeThoughts": True}, Reasoning(display="summarized")),
        ({"includeThoughts": False}, None),
        ({}, None),
    ],
)
def test_thinking(thinking: JsonObject, reasoning: Reasoning | None) -> None:
    """Levels are efforts, budgets are budgets, and both survive the way back."""
    body: JsonObject = {"contents": [{"parts": [{"text": "Hi"}]}], "generationConfig": {"thinkingConfig": thinking}}
    assert reasoning == check_request(GEMINI, json.dumps(body).encode()).reasoning


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        ({"responseMimeType": "application/json"}, OutputSchema()),
        ({"responseMimeType": "application/json", "responseJsonSchema": {}}, OutputSchema(schema={})),
        ({"responseMimeType": "text/plain"}, None),
        ({"responseMimeType": "text/x.enum", "responseSchema": {"type": "STRING", "enum": ["a"]}}, None),
    ],
)
def test_forms_of_the_answer(config: JsonObject, wanted: OutputSchema | None) -> None:
    """JSON is a form; words are none, and what asks for them is kept."""
    body: JsonObject = {"contents": [{"parts": [{"text": "Hi"}]}], "generationConfig": config}
    assert wanted == check_request(GEMINI, json.dumps(body).encode()).output_schema


def test_nested_too_deeply() -> None:
    """A body that nests contents hundreds of times is refused, not a fault of ours."""
    deep = b'{"contents": ' + b'[{"parts": ' * 400 + b"1" + b"}]" * 400 + b"}"
    with pytest.raises(InvalidRequestError, match="nested too deeply"):
        GEMINI.decode_request(deep)


def test_the_request_to_count_may_be_wrapped() -> None:
    """The request whose tokens are to be counted stands in the question, with its model."""
    inner: JsonObject = {"model": "models/gemini-x", "contents": [{"parts": [{"text": "Hi"}]}]}
    for name in ("generateContentRequest", "generate_content_request"):
        read = GEMINI.decode_request(json.dumps({name: inner}).encode())
        assert ("models/gemini-x", (Text(text="Hi"),)) == (read.model, read.messages[0].parts)


def test_a_turn_that_comes_back_in_pieces() -> None:
    """Clients send a model's turn back as its stream came; its words are one text again, but for what is signed."""
    told = [{"text": "Let"}, {"text": " me"}, {"text": " look.", "thoughtSignature": "s"}, {"text": " So"}]
    contents = [{"role": "user", "parts": [{"text": "a"}, {"text": "b"}]}, {"role": "model", "parts": told}]
    user, model = GEMINI.decode_request(json.dumps({"contents": contents}).encode()).messages
    assert ["a", "b"] == [part.text for part in user.parts if isinstance(part, Text)]
    assert ["Let me", " look.", " So"] == [part.text for part in model.parts if isinstance(part, Text)]


@pytest.mark.parametrize(
    ("parts", "unsigned"),
    [
        ([{"text": "Hi"}], False),
        ([{"functionCall": {"name": "f"}}], True),
        ([{"function_call": {"name": "f"}, "thought_signature": "s"}], False),
        # Of parallel calls only the first is signed.
        ([{"text": "x"}, {"functionCall": {"name": "f"}, "thoughtSignature": "s"}, {"functionCall": {}}], False),
        ([{"functionCall": {}}, {"functionCall": {"name": "f"}, "thoughtSignature": "s"}], True),
        ("functionCall", False),
        ([{"text": '"functionCall"'}], False),
    ],
)
def test_calls_without_a_signature_are_found(parts: Json, unsigned: bool) -> None:  # noqa: FBT001  # a table of cases
    """A step whose first call has no signature must not pass as it came; what cannot be read is not ours to judge."""
    body = json.dumps({"contents": [{"role": "model", "parts": parts}]}).encode()
    assert unsigned == holds_unsigned_call(body)
