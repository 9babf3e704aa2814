"""What is special to Anthropic Messages: requests put into its order, its usage, stop reasons and errors."""

from __future__ import annotations

import msgspec
import pytest

from genai_spine.dialects.anthropic_messages.dialect import (
    COUNT_PATH,
    AnthropicMessages,
    decode_token_count,
    encode_token_count,
)
from genai_spine.dialects.base import Quirks, Reply, Target
from genai_spine.dialects.fields import response_object
from genai_spine.dialects.openai_chat.dialect import OpenAIChat
from genai_spine.dialects.tool_ids import word_characters
from genai_spine.errors import (
    AuthenticationError,
    ContentFilterError,
    ContextLengthError,
    InvalidFieldError,
    InvalidRequestError,
    MalformedResponseError,
    OverloadedError,
    PayloadTooLargeError,
    ProviderAuthenticationError,
    ProviderFailedError,
    ProviderPermissionError,
    ProviderTimeoutError,
    QuotaExhaustedError,
    RateLimitedError,
    SpineError,
    UnavailableError,
)
from genai_spine.types.completion import (
    Choice,
    CompletionRequest,
    CompletionResponse,
    FinishReason,
    OutputSchema,
    Reasoning,
)
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.messages import (
    CacheMark,
    Document,
    Image,
    Media,
    Opaque,
    Part,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from genai_spine.types.models import Model, ModelFacts
from genai_spine.types.tools import OpaqueTool, Tool, ToolChoice
from genai_spine.types.usage import Usage

DIALECT = AnthropicMessages()
TARGET = Target(model="claude", provider="anthropic")


def target(facts: ModelFacts) -> Target:
    """A target with these facts."""
    return Target(model="claude", provider="anthropic", facts=facts)


def written(request: CompletionRequest, to: Target = TARGET) -> JsonObject:
    """The body that ``request`` is written as."""
    return response_object(DIALECT.encode_request(request, to).body).rest()


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


# Envelopes and addresses.


def test_envelope_carries_the_dialects_headers() -> None:
    """The version and betas that the caller names go on; other headers do not."""
    headers = {"anthropic-version": "2026-10-21", "anthropic-beta": "a,b", "x-api-key": "k"}
    envelope = DIALECT.read_envelope(b'{"model":"m","max_tokens":1,"messages":[{"role":"user"}]}', headers)

    assert {"anthropic-version": "2026-10-21", "anthropic-beta": "a,b"} == envelope.headers
    assert envelope.headers == DIALECT.relay_request(envelope, TARGET).headers


def test_relay_names_a_version_where_the_caller_named_none() -> None:
    """The service demands a version; the body goes on with only the model changed."""
    envelope = DIALECT.read_envelope(b'{"model":"m","max_tokens":1,"messages":[{"role":"user"}],"zz":1}', {})
    sent = DIALECT.relay_request(envelope, TARGET)

    assert {"anthropic-version": "2023-06-01"} == sent.headers
    assert "/v1/messages" == sent.path
    assert b'{"model":"claude","max_tokens":1,"messages":[{"role":"user"}],"zz":1}' == sent.body


def test_relay_leaves_out_sampling_that_the_model_refuses() -> None:
    """A model without sampling gets none, and the caller is told."""
    body = b'{"max_tokens":1,"messages":[{"role":"user"}],"temperature":0.5}'
    sent = DIALECT.relay_request(DIALECT.read_envelope(body, {}), target(ModelFacts(sampling=False)))

    assert b"temperature" not in sent.body
    assert ("temperature: left out, anthropic does not know it",) == sent.warnings


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b'{"messages":[{"role":"user"}]}', "max_tokens"),
        (b'{"max_tokens":1,"messages":[]}', "messages"),
        (b'{"max_tokens":"x","messages":[{"role":"user"}]}', "max_tokens"),
        (b'{"max_tokens":1}', None),
    ],
)
def test_envelope_refuses_what_is_missing(body: bytes, param: str | None) -> None:
    """The fields that the dialect demands are checked at the door, by name."""
    with pytest.raises(InvalidFieldError) as caught:
        DIALECT.read_envelope(body, {})

    assert param == caught.value.param


def test_counting_tokens_needs_no_limit() -> None:
    """A request to count tokens has no ``max_tokens``, neither at the door nor upstream."""
    body = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
    envelope = DIALECT.read_count_envelope(body, {})
    relayed = DIALECT.relay_count_request(envelope, TARGET)
    encoded = DIALECT.encode_count_request(DIALECT.decode_request(body), TARGET)

    assert (COUNT_PATH, body.replace(b'"m"', b'"claude"')) == (relayed.path, relayed.body)
    assert (COUNT_PATH, body.replace(b'"m"', b'"claude"')) == (encoded.path, encoded.body)
    assert 7 == decode_token_count(encode_token_count(7))
    with pytest.raises(MalformedResponseError):
        decode_token_count(b"{}")


# Requests read.


@pytest.mark.parametrize(
    ("block", "part"),
    [
        (words("a"), Text(text="a")),
        (
            {**words("a"), "cache_control": {"type": "ephemeral", "ttl": "1h", "scope": "s"}},
            Text(text="a", cache=CacheMark(ttl="1h"), extras={"cache_control": {"scope": "s"}}),
        ),
        (
            {"type": "image", "source": {"type": "base64", "media_type": "image/gif", "data": "AA"}, "x": 1},
            Image(media=Media(data="AA", media_type="image/gif"), extras={"x": 1}),
        ),
        ({"type": "image", "source": {"type": "url", "url": "https://e/x"}}, Image(media=Media(url="https://e/x"))),
        ({"type": "image", "source": {"type": "file", "file_id": "f"}}, Image(media=Media(file_id="f"))),
        (
            {"type": "image", "source": {"type": "new"}},
            Opaque(dialect="anthropic_messages", data={"type": "image", "source": {"type": "new"}}),
        ),
        (
            {
                "type": "document",
                "source": {"type": "text", "media_type": "text/plain", "data": "d"},
                "title": "t",
                "context": "c",
                "citations": {"enabled": True},
            },
            Document(text="d", title="t", context="c", extras={"citations": {"enabled": True}}),
        ),
        (
            {"type": "document", "source": {"type": "content", "content": [words("a"), words("b")]}},
            Document(text="a\n\nb", extras={"source": {"type": "content", "content": [words("a"), words("b")]}}),
        ),
        (
            {"type": "thinking", "thinking": "", "signature": "s"},
            Thinking(signature="s"),
        ),
        ({"type": "redacted_thinking", "data": "d"}, Thinking(redacted="d")),
        (
            {"type": "tool_use", "id": "t", "name": "f", "input": {"a": [1]}, "caller": {"type": "direct"}},
            ToolCall(id="t", name="f", arguments='{"a":[1]}', extras={"caller": {"type": "direct"}}),
        ),
        (
            {"type": "tool_result", "tool_use_id": "t", "content": "r", "is_error": True},
            ToolResult(call_id="t", parts=(Text(text="r"),), is_error=True),
        ),
        (
            {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
            Opaque(
                dialect="anthropic_messages",
                data={"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
            ),
        ),
    ],
)
def test_blocks_are_read_and_written_back(block: JsonObject, part: Part) -> None:
    """Each block is the part that it means, and nothing of it is lost on the way back."""
    request = native({"messages": [turn("user", block)]})

    assert (part,) == request.messages[0].parts
    assert request.messages == DIALECT.decode_request(DIALECT.encode_request(request, TARGET).body).messages


def test_fields_are_read() -> None:
    """The dialect's fields are the vocabulary's, and what it has beyond them stays with the extras."""
    request = native(
        {
            "system": [words("s")],
            "metadata": {"user_id": "u", "z": 1},
            "stop_sequences": ["x"],
            "thinking": {"type": "adaptive", "display": "omitted"},
            "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {"a": 1}}, "task_budget": 5},
            "tools": [
                {"name": "f", "input_schema": {"type": "object", "properties": {}}},
                {"type": "bash_1", "name": "b"},
            ],
            "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": True},
            "service_tier": "auto",
            "stream": True,
        }
    )

    assert (Text(text="s"),) == request.system
    assert ("u", ("x",), True) == (request.user, request.stop, request.stream_usage)
    assert Reasoning(mode="adaptive", effort="low", display="omitted") == request.reasoning
    assert OutputSchema(schema={"a": 1}) == request.output_schema
    assert (
        Tool(name="f"),
        OpaqueTool(dialect="anthropic_messages", data={"type": "bash_1", "name": "b"}),
    ) == request.tools
    assert ToolChoice(mode="required", names=("f",)) == request.tool_choice
    assert request.parallel_tool_calls is False
    assert {"metadata": {"z": 1}, "output_config": {"task_budget": 5}, "service_tier": "auto"} == request.extras
    assert request == DIALECT.decode_request(DIALECT.encode_request(request, Target(model="m")).body)


def test_the_older_field_for_schemas_is_understood() -> None:
    """``output_format`` is ``output_config.format`` by its former name."""
    request = native({"output_format": {"type": "json_schema", "schema": {"a": 1}}})

    assert OutputSchema(schema={"a": 1}) == request.output_schema
    assert {"format": {"type": "json_schema", "schema": {"a": 1}}} == written(request)["output_config"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [turn("user", {"text": "x"})]}, "messages[0].content[0].type"),
        ({"thinking": {"type": "hard"}}, "thinking.type"),
        ({"tool_choice": {"type": "some"}}, "tool_choice.type"),
        ({"output_config": {"format": {"type": "xml"}}}, "output_config.format.type"),
        ({"messages": []}, "messages"),
    ],
)
def test_wrong_fields_are_named(body: JsonObject, param: str) -> None:
    """An error names the path of the field at fault."""
    with pytest.raises(InvalidFieldError) as caught:
        native(body)

    assert param == caught.value.param


# Answers.


@pytest.mark.parametrize(
    ("told", "reason", "back"),
    [
        ("end_turn", "stop", "end_turn"),
        ("max_tokens", "length", "max_tokens"),
        ("tool_use", "tool_calls", "tool_use"),
        ("pause_turn", "pause", "pause_turn"),
        ("refusal", "content_filter", "refusal"),
        ("model_context_window_exceeded", "length", "max_tokens"),
        ("something_new", "stop", "end_turn"),
    ],
)
def test_stop_reasons(told: str, reason: FinishReason, back: str) -> None:
    """Each reason has its meaning, comes back word for word in this dialect, and as the nearest word from another."""
    body = msgspec.json.encode({"id": "msg_1", "type": "message", "content": [], "stop_reason": told})
    response = DIALECT.decode_response(body, Quirks())
    elsewhere = CompletionResponse(choices=(Choice(finish_reason=reason),))

    assert reason == response.finish_reason
    assert told == msgspec.json.decode(DIALECT.encode_response(response, Reply()))["stop_reason"]
    assert back == msgspec.json.decode(DIALECT.encode_response(elsewhere, Reply()))["stop_reason"]


@pytest.mark.parametrize(
    "body",
    [
        b'{"type":"message","content":[],"stop_reason":null}',
        b'{"type":"message","stop_reason":"end_turn"}',
        b'{"type":"message","content":[{"type":"text"}],"stop_reason":"end_turn"}',
        b"[]",
        b"<html>",
    ],
)
def test_an_answer_that_is_none_is_an_error(body: bytes) -> None:
    """No reason to stop, no content, or no JSON: never a success, read in full or from the side."""
    with pytest.raises(MalformedResponseError):
        DIALECT.decode_response(body, Quirks())
    with pytest.raises(MalformedResponseError):
        DIALECT.check_response(b'{"content":[{}]}' if b'"text"' in body else body, Quirks())


def test_usage_counts_the_cache_as_input() -> None:
    """The service counts cached tokens apart; the vocabulary and other dialects count them as input."""
    told: JsonObject = {
        "input_tokens": 10,
        "cache_creation_input_tokens": 30,
        "cache_read_input_tokens": 5,
        "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 10},
        "output_tokens": 7,
        "output_tokens_details": {"thinking_tokens": 3},
        "service_tier": "standard",
    }
    body = msgspec.json.encode({"content": [], "stop_reason": "end_turn", "usage": told})
    response = DIALECT.decode_response(body, Quirks())
    usage = Usage(
        input_tokens=45,
        output_tokens=7,
        cache_read_tokens=5,
        cache_write_tokens=30,
        cache_write_1h_tokens=10,
        reasoning_tokens=3,
        extras={"service_tier": "standard", "cache_creation": {"ephemeral_5m_input_tokens": 20}},
    )

    assert usage == response.usage
    assert (usage, "stop") == DIALECT.check_response(body, Quirks())
    assert told == msgspec.json.decode(DIALECT.encode_response(response, Reply()))["usage"]
    assert 45 == msgspec.json.decode(OpenAIChat().encode_response(response, Reply()))["usage"]["prompt_tokens"]


def test_a_foreign_answer_is_whole() -> None:
    """An answer from elsewhere has all that clients rely on, and none of what only its own provider could verify."""
    response = CompletionResponse(
        id="chatcmpl-1",
        model="gpt",
        choices=(
            Choice(
                parts=(
                    Thinking(text="hm", signature="theirs"),
                    Thinking(redacted="sealed"),
                    Text(text=""),
                    Text(text="a"),
                    ToolCall(id="functions.f:0", name="f", arguments="oops"),
                    Opaque(dialect="gemini", data={}),
                ),
                finish_reason="tool_calls",
            ),
        ),
        usage=Usage(input_tokens=7, output_tokens=2, cache_read_tokens=5),
        dialect="openai_chat",
    )

    assert {
        "id": "msg_r1",
        "type": "message",
        "role": "assistant",
        "model": "gpt",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": ""},
            {"type": "text", "text": "a"},
            {"type": "tool_use", "id": word_characters("functions.f:0"), "name": "f", "input": {"raw": "oops"}},
        ],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 2,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 5,
            "output_tokens": 2,
        },
    } == msgspec.json.decode(DIALECT.encode_response(response, Reply(request_id="r1")))


# Errors.


@pytest.mark.parametrize(
    ("status", "error", "headers", "expected"),
    [
        (400, {"type": "invalid_request_error", "message": "bad"}, {}, InvalidRequestError),
        (
            400,
            {"type": "invalid_request_error", "message": "prompt is too long: 3 tokens > 2 maximum"},
            {},
            ContextLengthError,
        ),
        (
            400,
            {"type": "invalid_request_error", "message": "blocked by content filtering policy"},
            {},
            ContentFilterError,
        ),
        (400, {"type": "invalid_request_error", "message": "Your credit balance is too low"}, {}, QuotaExhaustedError),
        (
            400,
            {"type": "invalid_request_error", "message": "You have reached your specified API usage limits."},
            {},
            QuotaExhaustedError,
        ),
        (401, {"type": "authentication_error", "message": "invalid x-api-key"}, {}, ProviderAuthenticationError),
        (402, {"type": "billing_error", "message": "pay"}, {}, QuotaExhaustedError),
        (403, {"type": "permission_error", "message": "no"}, {}, ProviderPermissionError),
        (
            400,
            {"type": "invalid_request_error", "message": "no", "details": {"error_code": "organization_on_hold"}},
            {},
            ProviderPermissionError,
        ),
        (413, {"type": "request_too_large", "message": "big"}, {}, PayloadTooLargeError),
        (429, {"type": "rate_limit_error", "message": "slow"}, {"retry-after": "7"}, RateLimitedError),
        (
            429,
            {"type": "rate_limit_error", "message": "cap", "details": {"error_code": "enforced_spend_limit_reached"}},
            {},
            QuotaExhaustedError,
        ),
        (
            429,
            {"type": "rate_limit_error", "message": "cap", "details": {"error_code": "enforced_spend_limit_reached"}},
            {"retry-after": "7"},
            RateLimitedError,
        ),
        (500, {"type": "api_error", "message": "oops"}, {}, ProviderFailedError),
        (504, {"type": "timeout_error", "message": "late"}, {}, ProviderTimeoutError),
        (529, {"type": "overloaded_error", "message": "busy"}, {}, OverloadedError),
    ],
)
def test_errors_are_classified(
    status: int, error: JsonObject, headers: dict[str, str], expected: type[SpineError]
) -> None:
    """Status, type and code say what a failure is; the wait that the service asks for is kept."""
    body = msgspec.json.encode({"type": "error", "error": error, "request_id": "req_1"})
    found = DIALECT.decode_error(status, headers, body, Quirks())

    assert expected is type(found)
    assert status == found.upstream_status
    assert (7 if expected is RateLimitedError else None) == found.retry_after


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"error":"text"}', b'{"message":"text"}', b"[]"])
def test_errors_without_the_dialects_shape_go_by_status(body: bytes) -> None:
    """A proxy between may answer in its own words."""
    assert OverloadedError is type(DIALECT.decode_error(529, {}, body, Quirks()))


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (InvalidFieldError("f", param="p"), 400, "invalid_request_error"),
        (AuthenticationError("f"), 401, "authentication_error"),
        (ProviderAuthenticationError("f"), 500, "api_error"),
        (QuotaExhaustedError("f"), 500, "api_error"),
        (PayloadTooLargeError("f"), 413, "request_too_large"),
        (RateLimitedError("f"), 429, "rate_limit_error"),
        (OverloadedError("f"), 529, "overloaded_error"),
        (UnavailableError("f"), 500, "api_error"),
        (ProviderTimeoutError("f"), 504, "timeout_error"),
    ],
)
def test_errors_are_told_with_the_services_own_statuses(error: SpineError, status: int, kind: str) -> None:
    """A caller sees only statuses that the service itself has, and never a blame for the gateway's own key."""
    answer = DIALECT.encode_error(error, "r1")
    inner: JsonObject = {"type": kind, "message": "f", "code": error.code}

    assert status == answer.status
    assert {
        "type": "error",
        "error": inner if error.param is None else {**inner, "param": "p"},
        "request_id": "r1",
    } == msgspec.json.decode(answer.body)


# Models.


def test_models_are_listed_in_the_dialects_form() -> None:
    """The list names its ends and each model's date; it is read back as it was."""
    models = [Model(id="a", created=1_700_000_000, display_name="A", lifecycle="deprecated"), Model(id="b")]
    body = DIALECT.encode_models(models)
    told = msgspec.json.decode(body)

    assert (False, "a", "b") == (told["has_more"], told["first_id"], told["last_id"])
    assert ["2023-11-14T22:13:20Z", "1970-01-01T00:00:00Z"] == [model["created_at"] for model in told["data"]]
    assert [models[0], Model(id="b", display_name="b")] == DIALECT.decode_models(body)
    assert {"data": [], "has_more": False, "first_id": None, "last_id": None} == msgspec.json.decode(
        DIALECT.encode_models([])
    )
