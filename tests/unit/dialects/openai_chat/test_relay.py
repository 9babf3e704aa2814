"""OpenAI Chat Completions passing through, and lists of models."""

from __future__ import annotations

import json

import pytest

from genai_spine.dialects.base import Envelope, Quirks, Target
from genai_spine.errors import MalformedResponseError
from genai_spine.types.models import Model
from tests.unit.dialects.openai_chat.wire import (
    CHAT,
    DONE,
    MISTRAL,
    PLAIN,
    body_of,
    chunk_of,
)


def test_usage_is_asked_for_and_hidden() -> None:
    """Usage is asked of a service that may be asked; the extra chunk is kept from a caller who did not want it."""
    envelope = CHAT.read_envelope(body_of(stream=True, stream_options={"include_obfuscation": False}), {})
    sent = json.loads(CHAT.relay_request(envelope, Target(model="t")).body)
    assert {"include_obfuscation": False, "include_usage": True} == sent["stream_options"]
    unasked = Target(model="t", quirks=Quirks(stream_usage=False))
    plain = CHAT.read_envelope(body_of(stream=True), {})
    assert "stream_options" not in json.loads(CHAT.relay_request(plain, unasked).body)
    extra = chunk_of(None, usage={"prompt_tokens": 1, "completion_tokens": 1})
    body = chunk_of({"content": "a"}, "stop") + extra + DONE
    for wanted in (True, False):
        watch = CHAT.watch(Envelope(fields={}, stream=True, wants_usage=wanted), PLAIN)
        assert wanted == (extra in watch.feed(body))
        assert watch.usage is not None


def test_relay_quirks() -> None:
    """Fields that the service refuses go with a warning, others get its names."""
    envelope = CHAT.read_envelope(body_of(seed=3, user="u"), {})
    encoded = CHAT.relay_request(envelope, Target(model="t", provider="acme", quirks=MISTRAL))
    assert json.loads(encoded.body)["random_seed"] == 3
    assert encoded.warnings == ("user: left out, acme does not know it",)


def test_foreign_reasons_are_translated_in_passing() -> None:
    """A service's own finish reason reaches the caller in the dialect's words."""
    watch = CHAT.watch(Envelope(fields={}, stream=True), PLAIN)
    passed = watch.feed(chunk_of({"content": "a"}) + chunk_of({}, "eos") + DONE)
    assert b'"finish_reason":"stop"' in passed
    assert b"eos" not in passed


def test_openrouters_provider_is_not_ours() -> None:
    """``provider`` as a string chooses one here; as an object it is OpenRouter's and goes there."""
    ours = CHAT.read_envelope(body_of(provider="acme"), {})
    assert ours.wishes.provider == "acme"
    theirs = CHAT.read_envelope(body_of(provider={"order": ["x"]}), {})
    assert theirs.wishes.provider is None
    sent = json.loads(CHAT.relay_request(theirs, Target(model="t")).body)
    assert {"order": ["x"]} == sent["provider"]
    assert CHAT.read_envelope(body_of(), {"x-spine-provider": "acme"}).wishes.provider == "acme"


def test_models() -> None:
    """The list of models is read in both known forms, and written as it is read."""
    listed = b'{"object":"list","data":[{"id":"a","created":1,"owned_by":"o","odd":{}},{"id":"b"}]}'
    expected = [Model(id="a", created=1, owned_by="o"), Model(id="b")]
    assert expected == CHAT.decode_models(listed)
    assert expected == CHAT.decode_models(b' [{"id":"a","created":1,"owned_by":"o"},{"id":"b"}]')
    assert expected == CHAT.decode_models(CHAT.encode_models(expected))
    with pytest.raises(MalformedResponseError):
        CHAT.decode_models(b'{"data": [{"no": "id"}]}')
