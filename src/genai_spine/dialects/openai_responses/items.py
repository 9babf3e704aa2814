"""OpenAI Responses: what a model says, as items; requests, answers and streams share them.

An item holds one or more parts. What the vocabulary has no word for (an item's own id, its ``phase``) stands in the
extras of the item's first part under ``item``, which so also marks where the next item begins. Kinds of items that only
this dialect knows are kept whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from msgspec import structs

from genai_spine.dialects.fields import Fields, dump_text, text_in
from genai_spine.dialects.openai_responses.namespaces import joint_name_of
from genai_spine.dialects.seals import is_tag
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.messages import Opaque, Part, Refusal, Text, Thinking, ToolCall

__all__ = [
    "CALL_BODIES",
    "CONTENT",
    "ITEM",
    "MADE_UP",
    "NAME",
    "SUMMARY",
    "ItemWriter",
    "call_item",
    "decode_item",
    "is_closed",
    "is_made_up",
    "item_fields",
    "item_of",
    "message_item",
    "reasoning_item",
    "says_something",
    "sealed",
    "segment",
    "segment_of",
    "text_piece",
    "without_item",
]

NAME: Final = "openai_responses"
ITEM: Final = "item"
"""The extra that holds an item's own fields."""
MADE_UP: Final = "_spine_"
"""Stands in the ids of items that were made up here, which no service knows."""
SUMMARY: Final = "summary"
CONTENT: Final = "content"
"""The two places where an item of reasoning holds words, which are also the wire fields of its parts."""

CALL_BODIES: Final = {"function_call": "arguments", "custom_tool_call": "input"}
"""The kinds of tool calls, and the field in which each holds what the model wrote."""

_SEGMENTS: Final = {SUMMARY: "summary_text", CONTENT: "reasoning_text"}
_WORDS: Final = frozenset({"output_text", "input_text", "text", "refusal"})


# Reading.


def decode_item(
    fields: Fields, *, apart: bool, keep_status: bool, logprobs: list[Json] | None = None
) -> tuple[Part, ...]:
    """Read an item that a model made.

    Args:
        fields: The item.
        apart: The part before it is of a message, so that this one, if it is a message, must be marked as another.
        keep_status: Whether the item's status is kept; an answer's items have theirs from the answer's own.
        logprobs: Where to put those of the words; they stay with the extras where this is None.
    """
    kind = fields.peek("type")
    if kind == "reasoning":
        return _reasoning_parts(fields, keep_status=keep_status)
    if isinstance(kind, str) and kind in CALL_BODIES:
        return (_call(fields, kind, keep_status=keep_status),)
    if (kind == "message" or (kind is None and "role" in fields)) and _is_plain(fields.peek("content")):
        return _message_parts(fields, apart=apart, keep_status=keep_status, logprobs=logprobs)
    return (Opaque(dialect=NAME, data=fields.rest()),)


def item_fields(fields: Fields, *, keep_status: bool = False) -> JsonObject:
    """Return the fields of an item whose content has been taken, without what is said otherwise."""
    fields.take("type")
    fields.take("role")
    if not keep_status:
        fields.take("status")
    return fields.told()


def _is_plain(content: Json) -> bool:
    """Whether a message holds nothing but words, so that the vocabulary can say it."""
    if not isinstance(content, list):
        return True
    return all(not isinstance(piece, dict) or text_in(piece, "type") in _WORDS for piece in content)


def _message_parts(fields: Fields, *, apart: bool, keep_status: bool, logprobs: list[Json] | None) -> tuple[Part, ...]:
    parts: list[Part] = []
    content = fields.peek("content")
    if content is None or isinstance(content, str):
        fields.take("content")
        if content:
            parts.append(Text(text=content))
    else:
        pieces = [_piece(piece, logprobs) for piece in fields.children("content")]
        parts = [piece for piece in pieces if says_something(piece)]
    item = item_fields(fields, keep_status=keep_status)
    marked: JsonObject = {ITEM: item} if item or (apart and parts) else {}
    first = parts[0] if parts else None
    if isinstance(first, Text):
        parts[0] = structs.replace(first, extras=marked | first.extras)
    elif marked:
        # Only words have room for the mark, so these are put before what has none.
        parts.insert(0, Text(text="", extras=marked))
    return tuple(parts)


def says_something(part: Text | Refusal) -> bool:
    """Whether a piece of a message is not empty."""
    return bool(part.text) or (isinstance(part, Text) and bool(part.extras or part.citations))


def _piece(fields: Fields, logprobs: list[Json] | None) -> Text | Refusal:
    if fields.text("type") == "refusal":
        return Refusal(text=fields.text("refusal") or "")
    text = fields.text("text") or ""
    citations = [citation.rest() for citation in fields.children("annotations")]
    if logprobs is not None:
        logprobs += fields.items("logprobs") or ()
    return Text(text=text, citations=citations or None, extras=fields.told())


def _reasoning_parts(fields: Fields, *, keep_status: bool) -> tuple[Part, ...]:
    """Each of its segments is a part; the seal stands with the last."""
    sealed = fields.text("encrypted_content")
    parts = [
        Thinking(text=segment_of(segment), wire_field=name, extras=segment.told())
        for name in (CONTENT, SUMMARY)
        for segment in fields.children(name)
    ]
    marked: JsonObject = {ITEM: item_fields(fields, keep_status=keep_status)}
    if not parts:
        return (Thinking(redacted=sealed, extras=marked),)
    parts[0] = structs.replace(parts[0], extras=marked | parts[0].extras)
    parts[-1] = structs.replace(parts[-1], signature=sealed)
    return tuple(parts)


def segment_of(fields: Fields) -> str:
    """Take the words of a segment of reasoning; its kind is known from its place."""
    fields.take("type")
    return fields.text("text") or ""


def _call(fields: Fields, kind: str, *, keep_status: bool) -> ToolCall:
    custom = kind == "custom_tool_call"
    body = CALL_BODIES[kind]
    call_id = fields.text("call_id")
    value = fields.peek(body)
    if isinstance(value, dict):
        # Some services send the object itself.
        fields.take(body)
        text = dump_text(value)
    else:
        text = fields.text(body) or ""
    call_id = fields.need_text("id") if call_id is None else call_id
    name, extras = joint_name_of(fields.need_text("name"), item_fields(fields, keep_status=keep_status))
    return ToolCall(
        id=call_id, name=name, arguments=text if custom or text.strip() else "{}", custom=custom, extras=extras
    )


# Writing.


def item_of(extras: JsonObject, *, own: bool) -> JsonObject | None:
    """Return the fields of the item that a part begins; None where it goes on with the one before."""
    item = extras.get(ITEM) if own else None
    return item if isinstance(item, dict) else None


def without_item(extras: JsonObject, *, own: bool) -> JsonObject:
    """Return the extras that are a part's own."""
    return {name: value for name, value in extras.items() if name != ITEM} if own else {}


def is_made_up(item: JsonObject | None) -> bool:
    """Whether an item bears an id that was made up here."""
    return item is not None and isinstance(told := item.get("id"), str) and MADE_UP in told


def message_item(item: JsonObject | None) -> JsonObject:
    """Begin a message."""
    return {"type": "message", "role": "assistant", "content": [], **(item or {})}


def reasoning_item(item: JsonObject | None) -> JsonObject:
    """Begin an item of reasoning."""
    return {"type": "reasoning", "summary": [], **(item or {})}


def call_item(call_id: str, name: str, text: str, *, custom: bool, extras: JsonObject) -> JsonObject:
    """Write a tool call."""
    kind = "custom_tool_call" if custom else "function_call"
    return {"type": kind, "call_id": call_id, "name": name, CALL_BODIES[kind]: text, **extras}


def text_piece(text: str, citations: Iterable[Json] | None, extras: JsonObject) -> JsonObject:
    """Write words of a message."""
    return {"type": "output_text", "text": text, "annotations": list(citations or ()), **extras}


def segment(name: str, text: str, extras: JsonObject) -> JsonObject:
    """Write a segment of reasoning."""
    return {"type": _SEGMENTS[name], "text": text, **extras}


class ItemWriter:
    """Writes a model's parts as items.

    Args:
        own: The parts' extras are this dialect's.
        call_id: Brings ids of tool calls into the form that the provider takes.
        calls: What calls of some tools must say, by the tools' names, where their own extras do not.
    """

    def __init__(
        self, *, own: bool, call_id: Callable[[str], str] = str, calls: Mapping[str, JsonObject] | None = None
    ) -> None:
        self.items: list[JsonObject] = []
        # Of which kind the last item is, if more may be added to it.
        self._open: str | None = None
        self._own = own
        self._call_id = call_id
        self._calls = calls or {}

    def add(self, part: Part, logprobs: list[Json] | None = None) -> None:
        """Write one part; ``logprobs`` are of its words."""
        match part:
            case Text():
                self._text(part, logprobs)
            case Refusal() if part.text:
                self._pieces(None).append({"type": "refusal", "refusal": part.text})
            case Thinking():
                self._thinking(part)
            case ToolCall():
                extras = part.extras if self._own else self._calls.get(part.name, {})
                call_id = self._call_id(part.id)
                self._begin(call_item(call_id, part.name, part.arguments, custom=part.custom, extras=extras), None)
            case Opaque() if part.dialect == NAME:
                self._begin(dict(part.data), None)
            case _:
                pass

    def _text(self, part: Text, logprobs: list[Json] | None) -> None:
        extras, citations = without_item(part.extras, own=self._own), part.citations if self._own else None
        marked = item_of(part.extras, own=self._own)
        if part.text or extras or citations:
            piece = text_piece(part.text, citations, extras)
            if logprobs is not None:
                piece["logprobs"] = logprobs
            self._pieces(marked).append(piece)
        elif marked is not None:
            self._pieces(marked)

    def _begin(self, item: JsonObject, kind: str | None) -> None:
        self.items.append(item)
        self._open = kind

    def _pieces(self, item: JsonObject | None) -> list[Json]:
        """The content of the message that the next words belong to."""
        if item is not None or self._open != "message":
            self._begin(message_item(item), "message")
        return _list(self.items[-1], "content")

    def _thinking(self, part: Thinking) -> None:
        told = part.signature or part.redacted
        seal = told if self._own or is_tag(told) else None
        if not (self._own or part.text or seal):
            return
        item = item_of(part.extras, own=self._own)
        if item is not None or self._open != "reasoning" or is_closed(self.items[-1], own=self._own):
            self._begin(reasoning_item(item), "reasoning")
        whole = self.items[-1]
        name = part.wire_field if self._own and part.wire_field in _SEGMENTS else None
        if name is not None or part.text:
            name = name or SUMMARY
            _list(whole, name).append(segment(name, part.text, without_item(part.extras, own=self._own)))
        if seal is not None:
            whole["encrypted_content"] = seal


def is_closed(item: JsonObject, *, own: bool) -> bool:
    """Whether the next reasoning is an item of its own: another dialect's each bears a seal of its own."""
    return not own and "encrypted_content" in item


def sealed(parts: tuple[Part, ...]) -> JsonObject | None:
    """Return the item of sealed reasoning, which is to be handed back as it came."""
    last = parts[-1]
    if not isinstance(last, Thinking) or (last.signature or last.redacted) is None:
        return None
    writer = ItemWriter(own=True)
    for part in parts:
        writer.add(part)
    return writer.items[-1]


def _list(item: JsonObject, name: str) -> list[Json]:
    """The list ``name`` of an item under way, made where it is not there yet."""
    value = item.setdefault(name, [])
    return value if isinstance(value, list) else []
