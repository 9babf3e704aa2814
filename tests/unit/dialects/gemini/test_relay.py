"""Gemini's requests at the door and passing through, and its counts of tokens."""

from __future__ import annotations

import json

import pytest

from genai_spine.dialects.base import CountsTokens, Quirks, Target
from genai_spine.dialects.gemini.dialect import Gemini, GeminiDoor
from genai_spine.errors import InvalidFieldError, MalformedResponseError
from genai_spine.types.completion import CompletionRequest
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.messages import Text
from tests.unit.dialects.gemini.wire import GEMINI, TARGET, fields_of, one_turn

_CONTENTS: list[Json] = [{"role": "user", "parts": [{"text": "Hi"}]}]
_BODY: JsonObject = {"contents": _CONTENTS, "generation_config": {"temperature": 1}, "provider": "google"}
_PLAIN = json.dumps(_BODY).encode()


@pytest.mark.parametrize(("stream", "method"), [(False, "generateContent"), (True, "streamGenerateContent?alt=sse")])
def test_the_path_tells_model_and_stream(stream: bool, method: str) -> None:  # noqa: FBT001  # a table of cases
    """What the address says of a request is in its envelope, in the request, and in where it goes on to."""
    door = GeminiDoor(model="fast", stream=stream, sse=True)
    envelope = door.read_envelope(_PLAIN, {})
    assert ("fast", "google", stream, True) == (
        envelope.model,
        envelope.wishes.provider,
        envelope.stream,
        envelope.wants_usage,
    )
    request = door.decode_request(_PLAIN)
    assert ("fast", stream, stream) == (request.model, request.stream, request.stream_usage)
    relayed = door.relay_request(envelope, TARGET)
    assert f"/v1beta/models/gemini-x:{method}" == relayed.path
    assert {"contents": _CONTENTS, "generation_config": {"temperature": 1}} == fields_of(relayed.body)


def test_the_model_may_be_left_out() -> None:
    """A door without one leaves it to the body, and that to the gateway."""
    body = json.dumps({"model": "slow", "contents": {"parts": {"text": "Hi"}}}).encode()
    for door in (GeminiDoor(), Gemini()):
        assert "slow" == door.read_envelope(body, {}).model
        assert door.read_envelope(_PLAIN, {}).model is None
        assert "slow" == door.decode_request(body).model


def test_the_provider_may_stand_in_a_header() -> None:
    """For clients that cannot add fields; an object of that name is none of ours."""
    headers = {"x-spine-provider": "openai"}
    body = json.dumps({"contents": _CONTENTS, "provider": {"order": []}}).encode()
    assert "openai" == GEMINI.read_envelope(body, headers).wishes.provider
    assert {"order": []} == fields_of(GEMINI.relay_request(GEMINI.read_envelope(body, {}), TARGET).body)["provider"]


def test_quirks_of_a_service() -> None:
    """What it refuses is left out in either spelling, with a word; what it knows under another name is renamed."""
    quirks = Quirks(drop=("generationConfig", "labels"), rename={"contents": "turns", "absent": "x"})
    relayed = GEMINI.relay_request(GEMINI.read_envelope(_PLAIN, {}), Target(model="m", provider="p", quirks=quirks))
    assert {"turns": _CONTENTS} == fields_of(relayed.body)
    assert ("generationConfig: left out, p does not know it",) == relayed.warnings


def test_it_counts_tokens() -> None:
    """The ability is told by the protocol."""
    assert isinstance(GEMINI, CountsTokens)


def test_a_count_of_words_alone() -> None:
    """Contents that stand alone are counted as they came."""
    body = json.dumps({"contents": _CONTENTS}).encode()
    door = GeminiDoor(model="fast")
    relayed = door.relay_count_request(door.read_count_envelope(body, {}), TARGET)
    assert ("/v1beta/models/gemini-x:countTokens", {"contents": _CONTENTS}) == (relayed.path, fields_of(relayed.body))
    encoded = door.encode_count_request(door.decode_request(body), TARGET)
    assert ("/v1beta/models/gemini-x:countTokens", {"contents": _CONTENTS}) == (encoded.path, fields_of(encoded.body))


@pytest.mark.parametrize("name", ["generateContentRequest", "generate_content_request"])
def test_a_count_of_a_whole_request(name: str) -> None:
    """Instructions and tools are counted only in a request that is handed over whole, for the model asked."""
    inner: JsonObject = {
        "model": "models/other",
        "contents": _CONTENTS,
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
    }
    body = json.dumps({name: inner}).encode()
    envelope = GEMINI.read_count_envelope(body, {})
    assert "models/other" == envelope.model
    expected = {"generateContentRequest": {**inner, "model": "models/gemini-x"}}
    assert expected == fields_of(GEMINI.relay_count_request(envelope, TARGET).body)
    assert expected == fields_of(GEMINI.encode_count_request(GEMINI.decode_request(body), TARGET).body)


def test_a_count_of_a_tuned_model() -> None:
    """Its name says what it is."""
    request = CompletionRequest(messages=one_turn(), system=(Text(text="a"),), temperature=1)
    encoded = GEMINI.encode_count_request(request, Target(model="tunedModels/a"))
    inner = fields_of(encoded.body)["generateContentRequest"]
    assert isinstance(inner, dict)
    assert {"model", "contents", "systemInstruction"} == set(inner)
    assert ("tunedModels/a", "/v1beta/tunedModels/a:countTokens") == (inner["model"], encoded.path)
    envelope = GEMINI.read_count_envelope(json.dumps({"contents": _CONTENTS, "tools": []}).encode(), {})
    relayed = fields_of(GEMINI.relay_count_request(envelope, Target(model="tunedModels/a")).body)
    assert {"generateContentRequest": {"contents": _CONTENTS, "tools": [], "model": "tunedModels/a"}} == relayed


def test_counts() -> None:
    """The number is read and written; a body without one is no answer."""
    assert 5 == GEMINI.decode_token_count(b'{"totalTokens": 5, "promptTokensDetails": []}')
    assert {"totalTokens": 7} == fields_of(GEMINI.encode_token_count(7))
    with pytest.raises(MalformedResponseError):
        GEMINI.decode_token_count(b"{}")


def test_a_count_of_nothing() -> None:
    """It is refused like any request without contents."""
    with pytest.raises(InvalidFieldError) as caught:
        GEMINI.read_count_envelope(b'{"generateContentRequest": {}}', {})
    assert "contents" == caught.value.param
