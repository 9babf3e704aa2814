"""What a target cannot say is refused where it matters, else left out with a word."""

from __future__ import annotations

import pytest

from genai_spine.dialects.losses import Losses
from genai_spine.errors import InvalidFieldError
from genai_spine.types.completion import CompletionRequest
from genai_spine.types.json import JsonObject


def _request(dialect: str | None, extras: JsonObject) -> CompletionRequest:
    return CompletionRequest(messages=(), dialect=dialect, extras=extras)


def test_own_extras_pass() -> None:
    """A dialect's own extras, and those of a request that came in none, are kept without a word."""
    extras: JsonObject = {"audio": {"voice": "a"}, "odd": 1}
    for origin in ("openai_chat", None):
        losses = Losses("x")
        assert extras == losses.extras(_request(origin, extras), "openai_chat")
        assert losses.warnings == ()


@pytest.mark.parametrize(
    ("dialect", "name", "value"),
    [
        ("openai_chat", "audio", {"voice": "a"}),
        ("openai_chat", "functions", []),
        ("openai_chat", "web_search_options", {}),
        ("openai_chat", "modalities", ["text", "audio"]),
        ("anthropic_messages", "mcp_servers", []),
        ("ollama", "raw", True),
        ("gemini", "cachedContent", "cachedContents/1"),
    ],
)
def test_what_changes_the_answer_is_refused(dialect: str, name: str, value: JsonObject) -> None:
    """A field whose loss would change what comes back is a 422 that names it."""
    with pytest.raises(InvalidFieldError) as caught:
        Losses("x").extras(_request(dialect, {name: value}), "another")
    assert (name, "unsupported_by_provider") == (caught.value.param, caught.value.code)


def test_the_rest_is_left_out() -> None:
    """Harmless fields go silently, unknown ones with one warning each."""
    losses = Losses("acme")
    extras: JsonObject = {"metadata": {}, "modalities": ["text"], "prediction": {}}
    assert {} == losses.extras(_request("openai_chat", extras), "ollama")
    losses.drop("seed")
    losses.drop("seed")
    assert losses.warnings == (
        "prediction: left out, acme does not know it",
        "seed: left out, acme does not know it",
    )


def test_objects_are_accounted_for_field_by_field() -> None:
    """Of Gemini's configuration each field counts by itself: those that say nothing go silently."""
    losses = Losses("acme")
    extras: JsonObject = {"generationConfig": {"responseModalities": ["TEXT"], "speechConfig": {}}, "labels": {}}
    assert {} == losses.extras(_request("gemini", extras), "ollama")
    assert ("generationConfig.speechConfig: left out, acme does not know it",) == losses.warnings


def test_pictures_asked_for_are_refused() -> None:
    """An answer in pictures is no answer in words."""
    extras: JsonObject = {"generationConfig": {"responseModalities": ["TEXT", "IMAGE"]}}
    with pytest.raises(InvalidFieldError) as caught:
        Losses("acme").extras(_request("gemini", extras), "ollama")
    assert "generationConfig.responseModalities" == caught.value.param
