"""OpenAI Responses: streams, written."""

from __future__ import annotations

from typing import Final

from typing_extensions import override

from genai_spine.dialects.base import Reply, StreamEncoder
from genai_spine.dialects.fields import dump
from genai_spine.dialects.openai_errors import error_object
from genai_spine.dialects.openai_responses.items import (
    CALL_BODIES,
    CONTENT,
    NAME,
    SUMMARY,
    call_item,
    is_closed,
    item_of,
    message_item,
    reasoning_item,
    segment,
    text_piece,
    without_item,
)
from genai_spine.dialects.openai_responses.namespaces import calls_of
from genai_spine.dialects.openai_responses.response import CUT, Ids, encode_outcome, finished, whole_response
from genai_spine.dialects.seals import is_tag
from genai_spine.dialects.sse import frame
from genai_spine.errors import SpineError
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.stream import (
    Event,
    Extension,
    Failed,
    Finish,
    PartEnd,
    PartStart,
    Start,
    TextDelta,
    ThinkingDelta,
    ToolArguments,
    UsageTold,
)
from genai_spine.types.usage import Usage

__all__ = ["ResponsesEncoder", "encode_stream_error"]

_CALL_EVENTS: Final = {
    "function_call": "response.function_call_arguments",
    "custom_tool_call": "response.custom_tool_call_input",
}


class _Piece:
    """A piece of the item under way: words, a refusal, a segment of reasoning, or a call's arguments.

    Attributes:
        event: The first words of its events' names.
        field: Where its whole text stands in the event that ends it.
        where: What each of its events repeats: the item and the place in it.
        value: The piece itself, to be completed; None for a call's arguments, which are the item's own.
        home: The item's list that it stands in.
        part: The first words of the names of the events around it; empty where there are none.
    """

    __slots__ = ("event", "field", "home", "logprobs", "part", "texts", "value", "where")

    def __init__(self, event: str, field: str, where: JsonObject, value: JsonObject | None, home: str) -> None:
        self.event = event
        self.field = field
        self.where = where
        self.value = value
        self.home = home
        self.part = "" if value is None else "response.content_part"
        self.texts: list[str] = []
        self.logprobs: list[Json] = []


class ResponsesEncoder(StreamEncoder):
    """Writes a stream of events.

    An item ends when the next begins, or the answer does: only then is it known whether it was cut short.
    """

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self._calls = calls_of(reply.tools)
        self._ids = Ids(reply.request_id)
        self._sequence = -1
        self._head: JsonObject = {}
        self._own = False
        self._extras: JsonObject = {}
        self._output: list[Json] = []
        self._item: JsonObject | None = None
        self._item_id: Json = ""
        self._part: PartStart | None = None
        self._piece: _Piece | None = None
        self._usage: Usage | None = None
        self._finish: Finish | None = None

    @override
    def encode(self, event: Event) -> bytes:
        match event:
            case TextDelta():
                return self._text(event)
            case ToolArguments():
                return b"" if event.choice else self._delta(event.text)
            case ThinkingDelta():
                return self._thinking(event)
            case PartStart():
                return b"" if event.choice else self._begin() + self._part_start(event)
            case PartEnd():
                return b"" if event.choice else self._end_piece()
            case Finish():
                if event.choice == 0:
                    self._finish = event
            case UsageTold():
                self._usage = event.usage
            case Start():
                return self._start(event)
            case Extension():
                if self._own:
                    self._extras = self._extras | event.data
            case Failed():
                return encode_stream_error(event.error, self._reply.request_id)
        return b""

    @override
    def end(self) -> bytes:
        finish = self._finish or Finish(reason="error")
        before = self._begin() + self._end_piece() + self._end_item()
        kind = "incomplete" if finish.reason in CUT else "failed" if finish.reason == "error" else "completed"
        outcome = encode_outcome(finish.reason, finish.extras, own=self._own)
        return before + self._event(f"response.{kind}", {"response": self._response(outcome)})

    def _event(self, kind: str, body: JsonObject) -> bytes:
        self._sequence += 1
        return frame(dump({"type": kind, "sequence_number": self._sequence, **body}), kind)

    def _response(self, outcome: JsonObject) -> JsonObject:
        extras = self._extras if self._own else None
        return whole_response(self._head, self._output, self._usage, outcome, extras)

    def _start(self, event: Start) -> bytes:
        self._own = event.dialect == NAME
        self._extras = event.extras
        self._head = {
            "id": event.id if self._own and event.id else self._ids.response(),
            "created_at": event.created or self._reply.now,
            "model": event.model or self._reply.model,
        }
        response = self._response({"status": "in_progress"})
        return self._event("response.created", {"response": response}) + self._event(
            "response.in_progress", {"response": response}
        )

    def _begin(self) -> bytes:
        return b"" if self._head else self._start(Start())

    # Items.

    def _begin_item(self, item: JsonObject) -> bytes:
        before = self._end_item()
        item_id = item.get("id") or self._ids.item(item["type"], len(self._output))
        self._item_id = item_id
        self._item = item
        shown: JsonObject = {**item, "status": "in_progress"} if item["type"] != "custom_tool_call" else dict(item)
        if not (self._own and item["type"] in CALL_BODIES):
            shown["id"] = item_id
        for name in (CONTENT, SUMMARY):
            if name in shown:
                shown[name] = []
        return before + self._event("response.output_item.added", {"output_index": len(self._output), "item": shown})

    def _end_item(self) -> bytes:
        item, self._item = self._item, None
        if item is None:
            return b""
        cut = self._finish is not None and self._finish.reason in CUT
        whole = finished(item, str(self._item_id), own=self._own, cut=cut)
        return self._told_item(whole)

    def _told_item(self, item: JsonObject) -> bytes:
        number = len(self._output)
        self._output.append(item)
        return self._event("response.output_item.done", {"output_index": number, "item": item})

    # Parts.

    def _part_start(self, event: PartStart) -> bytes:
        before = self._end_piece()
        self._part = event
        marked = item_of(event.extras, own=self._own)
        match event.part:
            case "text" | "refusal":
                if marked is not None:
                    before += self._begin_item(message_item(marked))
                # The piece begins with its first words, if it has any.
                known = bool(without_item(event.extras, own=self._own))
                return before + (self._begin_words(event) if known else b"")
            case "thinking":
                if not self._own:
                    # It begins with its first words, if it has any to show.
                    return before
                if marked is not None or self._kind() != "reasoning":
                    before += self._begin_item(reasoning_item(marked))
                known = event.wire_field in {SUMMARY, CONTENT}
                return before + (self._begin_segment(event) if known else b"")
            case "tool_call":
                extras = event.extras if self._own else self._calls.get(event.name, {})
                item = call_item(event.id, event.name, "", custom=event.custom, extras=extras)
                return before + self._begin_item(item) + self._begin_arguments(item)
            case "opaque":
                return before + self._opaque(event)

    def _kind(self) -> Json:
        """The kind of the item under way."""
        return None if self._item is None else self._item["type"]

    def _where(self, name: str, number: int) -> JsonObject:
        return {"item_id": self._item_id, "output_index": len(self._output), name: number}

    def _place(self, home: str) -> int:
        pieces = self._item.setdefault(home, []) if self._item is not None else []
        return len(pieces) if isinstance(pieces, list) else 0

    def _begin_words(self, event: PartStart) -> bytes:
        before = b"" if self._kind() == "message" else self._begin_item(message_item(None))
        where = self._where("content_index", self._place(CONTENT))
        if event.part == "refusal":
            value: JsonObject = {"type": "refusal", "refusal": ""}
            return before + self._begin_piece(_Piece("response.refusal", "refusal", where, value, CONTENT))
        value = text_piece("", None, {"logprobs": [], **without_item(event.extras, own=self._own)})
        return before + self._begin_piece(_Piece("response.output_text", "text", where, value, CONTENT))

    def _begin_segment(self, event: PartStart) -> bytes:
        home = CONTENT if self._own and event.wire_field == CONTENT else SUMMARY
        value = segment(home, "", without_item(event.extras, own=self._own))
        where = self._where(f"{home}_index", self._place(home))
        if home == CONTENT:
            return self._begin_piece(_Piece("response.reasoning_text", "text", where, value, home))
        piece = _Piece("response.reasoning_summary_text", "text", where, value, home)
        piece.part = "response.reasoning_summary_part"
        return self._begin_piece(piece)

    def _begin_arguments(self, item: JsonObject) -> bytes:
        kind = str(item["type"])
        where: JsonObject = {"item_id": self._item_id, "output_index": len(self._output)}
        return self._begin_piece(_Piece(_CALL_EVENTS[kind], CALL_BODIES[kind], where, None, ""))

    def _begin_piece(self, piece: _Piece) -> bytes:
        self._piece = piece
        if piece.value is None:
            return b""
        return self._event(f"{piece.part}.added", {**piece.where, "part": piece.value})

    def _end_piece(self) -> bytes:
        piece, self._piece, self._part = self._piece, None, None
        if piece is None or self._item is None:
            return b""
        text = "".join(piece.texts)
        body: JsonObject = {**piece.where, piece.field: text}
        if piece.value is None:
            self._item[piece.field] = text
            if self._item["type"] == "function_call":
                body["name"] = self._item["name"]
            return self._event(f"{piece.event}.done", body)
        if piece.event == "response.output_text":
            body["logprobs"] = piece.logprobs
            piece.value = {**piece.value, "logprobs": piece.logprobs}
        whole: JsonObject = {**piece.value, piece.field: text}
        if isinstance(home := self._item[piece.home], list):
            home.append(whole)
        told = self._event(f"{piece.event}.done", body)
        return told + self._event(f"{piece.part}.done", {**piece.where, "part": whole})

    def _opaque(self, event: PartStart) -> bytes:
        if event.data is None or event.data.dialect != NAME:
            return b""
        item = event.data.data
        before = self._end_item()
        added = self._event("response.output_item.added", {"output_index": len(self._output), "item": item})
        return before + added + self._told_item(item)

    # Pieces.

    def _text(self, event: TextDelta) -> bytes:
        citations = event.citations if self._own else None
        if event.choice or not (event.text or event.logprobs or citations):
            return b""
        out = b""
        if self._piece is None and self._part is not None:
            out += self._begin_words(self._part)
        piece = self._piece
        if piece is None:
            return b""
        if piece.field != "text":
            return out + self._delta(event.text)
        if event.text or event.logprobs:
            piece.logprobs += event.logprobs or []
            out += self._delta(event.text, {"logprobs": list[Json](event.logprobs or [])})
        for citation in citations or ():
            out += self._annotation(piece, citation)
        return out

    def _annotation(self, piece: _Piece, citation: JsonObject) -> bytes:
        noted = piece.value.get("annotations") if piece.value is not None else None
        if not isinstance(noted, list):
            return b""
        body: JsonObject = {**piece.where, "annotation_index": len(noted), "annotation": citation}
        noted.append(citation)
        return self._event("response.output_text.annotation.added", body)

    def _thinking(self, event: ThinkingDelta) -> bytes:
        if event.choice or self._part is None:
            return b""
        out = b""
        told = event.signature or event.redacted
        seal = told if self._own or is_tag(told) else None
        if self._piece is None and (event.text or seal):
            if self._item is None or self._kind() != "reasoning" or is_closed(self._item, own=self._own):
                out += self._begin_item(reasoning_item(None))
            if event.text:
                out += self._begin_segment(self._part)
        out += self._delta(event.text)
        if seal is not None and self._item is not None:
            self._item["encrypted_content"] = f"{self._item.get('encrypted_content') or ''}{seal}"
        return out

    def _delta(self, text: str, more: JsonObject | None = None) -> bytes:
        piece = self._piece
        if piece is None or not (text or more):
            return b""
        piece.texts.append(text)
        body: JsonObject = {**piece.where, "delta": text}
        return self._event(f"{piece.event}.delta", body | more if more else body)


def encode_stream_error(error: SpineError, request_id: str) -> bytes:
    """Write an error inside a stream.

    It is told twice: as the dialect's reference has it, and as the object at whose sight the official client raises.
    It has no number of its own in the sequence, for whoever writes it need not know the stream.
    """
    body: JsonObject = {
        "type": "error",
        "sequence_number": 0,
        "code": error.code,
        "message": error.message,
        "param": error.param,
        **error_object(error, request_id),
    }
    return frame(dump(body), "error")
