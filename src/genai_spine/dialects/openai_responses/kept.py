"""OpenAI Responses: answers that are kept, so that a later request may go on from one by its id.

What is kept is the conversation as items of this dialect, each as it came or went, with the answer beside it. It is
whole in itself: an earlier answer may be forgotten, and the later ones can still be gone on from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from msgspec import Raw, Struct, structs

from genai_spine.dialects.base import Envelope, Kept
from genai_spine.dialects.fields import Fields, dump, load
from genai_spine.dialects.openai_responses.items import MADE_UP
from genai_spine.dialects.openai_responses.response import home_of
from genai_spine.dialects.sse import parse_frame
from genai_spine.errors import InvalidFieldError, NotFoundError
from genai_spine.types.json import Json, JsonObject

__all__ = [
    "answer_of",
    "earlier_answers",
    "encode_deleted",
    "encode_input_items",
    "keep",
    "resume",
    "unknown_answer",
]

EARLIER: Final = "previous_response_id"
REFERENCE: Final = "item_reference"
"""The kind of an item of which a request tells the id alone."""
MOST_LISTED: Final = 100

_GOOD: Final = frozenset({"completed", "incomplete"})
"""How an answer ended that may be gone on from."""
_ID_PREFIXES: Final = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "function_call_output": "fco",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctco",
}


class _Record(Struct):
    """What is kept: all that was read, earlier answers included, and what was answered."""

    input: list[Raw]
    answer: Raw


class _Answer(Struct):
    id: str
    status: str
    output: list[Raw]


class _End(Struct):
    """The event that ends a stream."""

    response: Raw


_record: Final = msgspec.json.Decoder(_Record)
_answer: Final = msgspec.json.Decoder(_Answer)
_end: Final = msgspec.json.Decoder(_End)


def earlier_answers(envelope: Envelope) -> Sequence[str]:
    """Return the ids of the answers that a request goes on from, or of whose items it tells the ids alone."""
    named = _earlier(envelope)
    told = bytes(envelope.fields.get("input", b""))
    items = _input(envelope) if REFERENCE.encode() in told else []
    homes = [home_of(item_id) for item in items if (item_id := _referred(item)) is not None]
    return [answer for answer in dict.fromkeys((named, *homes)) if answer]


def resume(envelope: Envelope, records: Mapping[str, bytes]) -> Envelope:
    """Put an earlier conversation before the request's own input, and items in the places of their ids."""
    found = {answer: _record.decode(record) for answer, record in records.items()}
    outputs = {answer: _answer.decode(record.answer).output for answer, record in found.items()}
    items = {item_id: item for output in outputs.values() for item in output if (item_id := _id(load(item)))}
    told = [items.get(_referred(item) or "", item) for item in _input(envelope)]
    fields = dict(envelope.fields)
    if (named := _earlier(envelope)) in found:
        del fields[EARLIER]
        told = [*found[named].input, *outputs[named], *told]
    fields["input"] = Raw(msgspec.json.encode(told))
    return structs.replace(envelope, fields=fields)


def _earlier(envelope: Envelope) -> str:
    value: Json = load(envelope.fields.get(EARLIER, b"null"))
    return value if isinstance(value, str) else ""


def _referred(item: Raw) -> str | None:
    """The id that stands for an item."""
    if REFERENCE.encode() not in bytes(item):
        return None
    value: Json = load(item)
    return _id(value) if isinstance(value, dict) and value.get("type") == REFERENCE else None


def _id(item: Json) -> str | None:
    told = item.get("id") if isinstance(item, dict) else None
    return told if isinstance(told, str) else None


def keep(envelope: Envelope, told: bytes) -> Kept | None:
    """Return what is to be kept of an answer, given whole or as the last bytes of a stream."""
    if bytes(envelope.fields.get("store", b"null")) == b"false":
        return None
    if not told.startswith(b"{"):
        last = parse_frame(told.rstrip(b"\n").rpartition(b"\n\n")[2])
        if last is None or last.event.removeprefix("response.") not in _GOOD:
            return None
        told = bytes(_end.decode(last.data).response)
    answer = _answer.decode(told)
    if answer.status not in _GOOD:
        return None
    return Kept(answer.id, msgspec.json.encode(_Record(_input(envelope), Raw(told))))


def _input(envelope: Envelope) -> list[Raw]:
    """A request's own input as items."""
    told = envelope.fields.get("input", Raw(b"null"))
    value: Json = load(told)
    if isinstance(value, str):
        return [Raw(dump({"type": "message", "role": "user", "content": value}))] if value else []
    return [] if value is None else msgspec.json.decode(told, type=list[Raw])


# What is kept, shown.


def unknown_answer(answer_id: str) -> NotFoundError:
    """Return the error for an answer that is asked for and not kept."""
    message = f"no answer with id {answer_id!r} is kept here; it was not to be stored, or is no longer"
    return NotFoundError(message, code="response_not_found", param="response_id")


def answer_of(record: bytes) -> bytes:
    """Return an answer as it was given."""
    return bytes(_record.decode(record).answer)


def encode_deleted(answer_id: str) -> bytes:
    """Write that an answer is no longer kept."""
    return dump({"id": answer_id, "object": "response", "deleted": True})


def encode_input_items(record: bytes, *, order: str = "desc", after: str | None = None, limit: int = 20) -> bytes:
    """Write the list of what a model had read when it answered.

    Args:
        record: What is kept of the answer.
        order: ``asc`` for the oldest first, ``desc`` for the newest.
        after: The id behind which to begin.
        limit: At most so many.

    Raises:
        InvalidFieldError: An argument is none of these.
    """
    if order not in {"asc", "desc"}:
        message = f"order: must be asc or desc; got {order!r}"
        raise InvalidFieldError(message, param="order")
    if not 1 <= limit <= MOST_LISTED:
        message = f"limit: must be from 1 to {MOST_LISTED}; got {limit}"
        raise InvalidFieldError(message, param="limit")
    found = _record.decode(record)
    own = _answer.decode(found.answer).id.removeprefix("resp_")
    items = [_shown(load(item), own, number) for number, item in enumerate(found.input)]
    ids = [item["id"] for item in items]
    if order == "desc":
        items.reverse()
        ids.reverse()
    if after is not None and after not in ids:
        message = f"after: {after!r} is none of the items listed"
        raise InvalidFieldError(message, param="after")
    begin = 0 if after is None else ids.index(after) + 1
    return dump(_page(items[begin : begin + limit], more=begin + limit < len(items)))


def _page(items: Sequence[JsonObject], *, more: bool) -> JsonObject:
    return {
        "object": "list",
        "data": list[Json](items),
        "first_id": items[0]["id"] if items else None,
        "last_id": items[-1]["id"] if items else None,
        "has_more": more,
    }


def _shown(item: Json, own: str, number: int) -> JsonObject:
    """An item as the list shows it: with an id, and words as a list of parts."""
    fields = Fields(item).rest()
    kind = fields.get("type") or "message"
    prefix = _ID_PREFIXES.get(kind, "item") if isinstance(kind, str) else "item"
    shown: JsonObject = {"type": kind, **fields}
    if shown.get("id") is None:
        shown["id"] = f"{prefix}{MADE_UP}{own}_in_{number}"
    if kind == "message" and isinstance(words := shown.get("content"), str):
        part = "output_text" if shown.get("role") == "assistant" else "input_text"
        shown["content"] = [{"type": part, "text": words}]
    return shown
