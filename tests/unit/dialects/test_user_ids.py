"""Ids of users that are too long for the service asked."""

from __future__ import annotations

import json

import pytest
from msgspec import structs

from genai_spine.dialects.base import Dialect, Target
from genai_spine.dialects.openai_chat.dialect import OpenAIChat
from genai_spine.dialects.openai_responses.dialect import OpenAIResponses
from genai_spine.types.completion import CompletionRequest
from genai_spine.types.messages import Message, Text


@pytest.mark.parametrize("dialect", [OpenAIChat(), OpenAIResponses()], ids=lambda dialect: dialect.name)
def test_long_ids(dialect: Dialect) -> None:
    """A foreign caller's id that is too long is told by its digest; one that fits, or is the dialect's own, stays."""

    def sent(user: str, origin: str | None = "anthropic_messages") -> str:
        asked = structs.replace(request, user=user, dialect=origin)
        told: str = json.loads(dialect.encode_request(asked, Target(model="m")).body)["user"]
        return told

    request = CompletionRequest(messages=(Message(role="user", parts=(Text(text="hi"),)),))
    assert "u" * 64 == sent("u" * 64)
    assert 64 == len(sent("u" * 65))
    assert 2 == len({sent("u" * 65), sent("u" * 65), sent("v" * 65)})
    assert "u" * 65 == sent("u" * 65, dialect.name)
