"""What each dialect wants handed back, how it is written again, and what of other dialects' seals it shows."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from genai_spine.assembly import DIALECTS
from genai_spine.dialects.base import Quirks, Reply, Target
from genai_spine.dialects.seals import EMPTY, Seal, is_tag, tag_of
from genai_spine.types.completion import Choice, CompletionRequest, CompletionResponse
from genai_spine.types.json import JsonObject
from genai_spine.types.messages import Message, Opaque, Part, Text, Thinking, ToolCall
from tests.unit.dialects.gemini.wire import LEVEL, turns_of

CALL: Final = ToolCall(id="call_1", name="weather", arguments='{"city":"Rome"}')
SIGNED: Final = ToolCall(id="call_1", name="weather", extras={"thoughtSignature": "c2ln"})
ITEM: Final[JsonObject] = {
    "type": "reasoning",
    "summary": [{"type": "summary_text", "text": "One."}, {"type": "summary_text", "text": "Two."}],
    "id": "rs_1",
    "encrypted_content": "c2ln",
}
SEGMENTS: Final = (
    Thinking(text="One.", wire_field="summary", extras={"item": {"id": "rs_1"}}),
    Thinking(text="Two.", wire_field="summary", signature="c2ln"),
)
REDACTED: Final[JsonObject] = {"type": "reasoning", "summary": [], "id": "rs_1", "encrypted_content": "c2ln"}
TAG: Final = tag_of(Seal("origin", "somebody", {}))


@pytest.mark.parametrize(
    ("dialect", "parts", "expected"),
    [
        ("anthropic_messages", (Thinking(text="Hm."),), None),
        ("anthropic_messages", (CALL,), None),
        (
            "anthropic_messages",
            (Thinking(signature="c2ln"),),
            {"type": "thinking", "thinking": "", "signature": "c2ln"},
        ),
        ("anthropic_messages", (Thinking(redacted="c2ln"),), {"type": "redacted_thinking", "data": "c2ln"}),
        ("bedrock_converse", (Thinking(text="Hm."),), None),
        ("bedrock_converse", (Thinking(redacted="c2ln"),), {"reasoningContent": {"redactedContent": "c2ln"}}),
        ("gemini", (CALL,), None),
        ("gemini", (Thinking(text="Hm."),), None),
        ("gemini", (SIGNED,), {"thoughtSignature": "c2ln"}),
        ("gemini", (Text(text="", extras={"thoughtSignature": "c2ln"}),), {"thoughtSignature": "c2ln"}),
        (
            "gemini",
            (Thinking(text="Hm.", signature="c2ln"),),
            {"text": "Hm.", "thought": True, "thoughtSignature": "c2ln"},
        ),
        ("openai_responses", SEGMENTS[:1], None),
        ("openai_responses", SEGMENTS, ITEM),
        ("openai_responses", (Thinking(redacted="c2ln", extras={"item": {"id": "rs_1"}}),), REDACTED),
        ("openai_responses", (CALL,), None),
        ("openai_chat", (Thinking(text="Hm."),), {"text": "Hm."}),
        ("openai_chat", (CALL,), None),
        ("ollama", (Thinking(text="Hm."),), None),
    ],
)
def test_what_is_sealed(dialect: str, parts: tuple[Part, ...], expected: JsonObject | None) -> None:
    """What the provider wants back is told as it writes it; what bears no seal is not."""
    assert expected == DIALECTS[dialect].sealed(parts)


def _sent(dialect: str, *parts: Part, came: str = "ollama") -> Any:
    """An assistant's turn as it is sent."""
    request = CompletionRequest(
        messages=(Message(role="user", parts=(Text(text="Hi"),)), Message(role="assistant", parts=parts)), dialect=came
    )
    return json.loads(DIALECTS[dialect].encode_request(request, Target(model="m", quirks=Quirks())).body)


def test_what_was_sealed_is_written_in_its_place() -> None:
    """Opened again, it stands where it stood, whatever dialect the rest of the request came in."""
    claude = DIALECTS["anthropic_messages"]
    block: JsonObject = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
    told = _sent("anthropic_messages", claude.opened(block), Text(text="Hello."))
    assert [block, {"type": "text", "text": "Hello."}] == told["messages"][1]["content"]
    told = _sent("openai_responses", DIALECTS["openai_responses"].opened(ITEM), Text(text="Hello."))
    assert ITEM == told["input"][1]


def test_a_signature_alone_goes_onto_what_follows() -> None:
    """Gemini's signatures of words and calls stand with these again; one that nothing follows stands with no words."""
    signature = DIALECTS["gemini"].opened({"thoughtSignature": "c2ln"})
    told: Any = turns_of(
        Message(role="user", parts=(Text(text="Hi"),)),
        Message(role="assistant", parts=(signature, Text(text="Hello."), signature, CALL, signature)),
        facts=LEVEL,
    )
    words, call, bare = told[1]["parts"]
    assert {"text": "Hello.", "thoughtSignature": "c2ln"} == words
    assert ("c2ln", "weather") == (call["thoughtSignature"], call["functionCall"]["name"])
    assert {"text": "", "thoughtSignature": "c2ln"} == bare


def test_items_made_up_here_are_no_services_own() -> None:
    """Items go to a service without the ids that were made up here; reasoning that it did not seal does not go."""
    told = _sent(
        "openai_responses",
        Thinking(text="Hm.", wire_field="summary", extras={"item": {"id": "rs_spine_req_1_0"}}),
        Thinking(text="So.", wire_field="summary"),
        Text(text="Hello.", extras={"item": {"id": "msg_spine_req_1_1", "phase": "commentary"}}),
        *SEGMENTS,
        came="openai_responses",
    )
    _, message, reasoning = told["input"]
    assert ("id" in message, "commentary") == (False, message["phase"])
    assert ITEM == reasoning


@pytest.mark.parametrize("dialect", ["anthropic_messages", "gemini", "openai_responses"])
@pytest.mark.parametrize("tag", [TAG, EMPTY])
def test_tags_are_shown_and_foreign_seals_are_not(dialect: str, tag: str) -> None:
    """A door that carries tags shows them, also alone; the seal of another dialect as such it never shows."""
    door = DIALECTS[dialect]
    assert door.carries_seals
    for parts in (
        (Thinking(text="Hm.", signature=tag), Thinking(signature=tag), CALL),
        (Thinking(text="Hm.", signature="c2ln"), Thinking(signature="c2ln"), CALL),
    ):
        answer = CompletionResponse(choices=(Choice(parts=parts),), dialect="somebody")
        told = door.encode_response(answer, Reply(request_id="r1")).decode()
        assert (2 if is_tag(parts[0].signature) else 0) == told.count(f'"{parts[0].signature}"')


def test_plain_reasoning_is_opened_as_such() -> None:
    """What a service demands back without a seal is reasoning like any other; a tag that holds no words has none."""
    assert Thinking(text="Hm.") == DIALECTS["openai_chat"].opened({"text": "Hm."})
    assert Thinking() == DIALECTS["openai_chat"].opened({"text": 5})
    assert Opaque(dialect="ollama", data={"a": 1}) == DIALECTS["ollama"].opened({"a": 1})
