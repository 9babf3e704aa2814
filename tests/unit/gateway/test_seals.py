"""What the front door cannot show of seals: several answers at once, makers without a dialect, who an origin is."""

from __future__ import annotations

from typing import Final

from genai_spine.assembly import DIALECTS
from genai_spine.dialects.seals import is_tag, read_tag
from genai_spine.gateway.seals import Sealing, Seals, origin_of
from genai_spine.providers.base import NO_OPTIONS, CallOptions
from genai_spine.redact import Secret
from genai_spine.shared_state.memory import MemoryState
from genai_spine.testing.clock import ManualClock
from genai_spine.types.completion import Choice, CompletionRequest, CompletionResponse
from genai_spine.types.messages import Message, Opaque, Part, Text, Thinking, ToolCall
from genai_spine.types.principal import Principal
from genai_spine.types.stream import Collector, events_of
from tests.providers import OwnProvider

CALL: Final = ToolCall(id="call_1", name="weather", arguments='{"city":"Rome"}')
SIGNED: Final = ToolCall(id="call_2", name="weather", extras={"thoughtSignature": "c2ln"})
ORIGIN: Final = "0123456789abcdef"


def seals() -> Seals:
    """Seals in a place of their own."""
    return Seals(MemoryState(1024 * 1024, ManualClock()), DIALECTS)


def sealing(door: str, *, marks_calls: bool = False) -> Sealing:
    """What tags an answer on its way to a door."""
    return Sealing(DIALECTS[door], ORIGIN, DIALECTS, marks_calls=marks_calls)


def answer(dialect: str | None, *choices: tuple[Part, ...]) -> CompletionResponse:
    """A whole answer."""
    return CompletionResponse(choices=tuple(Choice(parts=parts) for parts in choices), dialect=dialect)


def test_a_stream_is_tagged_like_a_whole_answer() -> None:
    """Of several answers at once each is tagged for itself, streamed or not."""
    thinking = Thinking(text="Hm.", signature="c2ln")
    whole = answer("anthropic_messages", (thinking, Text(text="Hi"), CALL), (CALL,), (Thinking(redacted="cmVk"), CALL))
    collector, tagging = Collector(), sealing("openai_responses")
    for event in events_of(whole):
        for told in tagging.add(event):
            collector.add(told)
    tagged = sealing("openai_responses").response(whole)
    assert collector.response().choices == tagged.choices
    first, second, third = tagged.choices
    assert [Thinking, Text, ToolCall] == [type(part) for part in first.parts]
    assert (CALL,) == second.parts
    found = [part.signature for parts in (first, third) for part in parts.parts if isinstance(part, Thinking)]
    assert [True, True] == [is_tag(tag) for tag in found]
    data = [seal.data for tag in found if tag is not None and (seal := read_tag(tag)) is not None]
    assert {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"} == data[0]
    assert {"type": "redacted_thinking", "data": "cmVk"} == data[1]


def test_a_calls_seal_stands_before_it() -> None:
    """The seal of a call is that of empty reasoning before it; what follows moves up."""
    tagged = sealing("anthropic_messages").response(answer("gemini", (Text(text="Hi"), SIGNED, CALL)))
    assert [Text, Thinking, ToolCall, ToolCall] == [type(part) for part in tagged.parts]
    thought = tagged.parts[1]
    assert isinstance(thought, Thinking)
    assert "" == thought.text
    assert read_tag(thought.signature or "") is not None


def test_a_doors_own_seals_are_left_as_they_are() -> None:
    """An answer in the door's own dialect is handed on as it is."""
    own = answer("anthropic_messages", (Thinking(text="Hm.", signature="c2ln"), CALL))
    assert own is sealing("anthropic_messages", marks_calls=True).response(own)


def test_calls_of_a_maker_without_a_dialect_are_marked() -> None:
    """The calls of a provider of the user's own are marked as well, once in an answer."""
    tagged = sealing("gemini", marks_calls=True).response(answer(None, (CALL, CALL)))
    assert [Thinking, ToolCall, ToolCall] == [type(part) for part in tagged.parts]
    request = CompletionRequest(messages=(tagged.as_message(),))
    assert (CALL, CALL) == seals().opened(request, ORIGIN).messages[0].parts


async def test_where_kept_seals_stand() -> None:
    """What stood at the head of a turn is put back there, what stood behind words right before its call."""
    early, late = Thinking(text="One.", signature="c2ln"), Thinking(text="Two.", signature="c2ln")
    given = answer("bedrock_converse", (early, Text(text="Hi"), late, CALL))
    keeping, tagging, caller = seals(), sealing("openai_chat"), Principal("caller")
    shown = tagging.response(given)
    assert [None, None] == [part.signature for part in shown.parts if isinstance(part, Thinking)]
    await keeping.keep(caller, tagging)
    sent = CompletionRequest(messages=(Message(role="assistant", parts=(Text(text="Hello"), CALL)),))
    (message,) = (await keeping.to_provider(caller, DIALECTS["openai_chat"], sent, ORIGIN)).messages
    assert [Opaque, Text, Opaque, ToolCall] == [type(part) for part in message.parts]
    assert Text(text="Hello") == message.parts[1]
    expected: list[object] = [
        {"reasoningContent": {"reasoningText": {"text": text, "signature": "c2ln"}}} for text in ("One.", "Two.")
    ]
    assert expected == [part.data for part in message.parts if isinstance(part, Opaque)]
    for principal, origin in ((Principal("other"), ORIGIN), (caller, "fedcba9876543210")):
        assert sent == await keeping.to_provider(principal, DIALECTS["openai_chat"], sent, origin)


async def test_a_call_without_an_id_is_known_by_what_it_says() -> None:
    """Ollama's client names no call: it is known by tool and arguments, however these are written."""
    keeping, tagging, caller = seals(), sealing("ollama"), Principal("caller")
    tagging.response(answer("anthropic_messages", (Thinking(signature="c2ln"), CALL)))
    await keeping.keep(caller, tagging)
    for arguments, found in (('{ "city": "Rome" }', 2), ('{"city":"Oslo"}', 1), ("no JSON", 1)):
        sent = ToolCall(id="call_0", name="weather", arguments=arguments)
        request = CompletionRequest(messages=(Message(role="assistant", parts=(sent,)),))
        told = await keeping.to_provider(caller, DIALECTS["ollama"], request, ORIGIN)
        assert found == len(told.messages[0].parts)


def test_an_origin_is_a_provider_a_model_and_an_account() -> None:
    """Any of the three makes it another; a key chosen for the call counts before the provider's first."""
    provider, other = OwnProvider(), OwnProvider()
    provider.keys = (Secret("one-key-of-it"), Secret("another-key-of-it"))
    other.name, other.keys = "other", provider.keys
    chosen = CallOptions(key=provider.keys[1])
    origins = [
        origin_of(provider, "m", NO_OPTIONS),
        origin_of(provider, "n", NO_OPTIONS),
        origin_of(provider, "m", chosen),
        origin_of(other, "m", NO_OPTIONS),
    ]
    assert 4 == len({*origins})
    assert origins[0] == origin_of(provider, "m", CallOptions(key=provider.keys[0]))
