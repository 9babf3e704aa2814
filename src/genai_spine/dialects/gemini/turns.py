"""Gemini: the turns of a conversation, read and written.

One that came in this dialect goes on turn by turn. Any other is put into the order that the service demands: one
instruction apart from the turns, turns of user and model in alternation, all results of one turn's calls together at
the head of the next one.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from genai_spine.dialects.base import Target
from genai_spine.dialects.fields import Fields
from genai_spine.dialects.gemini.media import MediaWriter
from genai_spine.dialects.gemini.parts import (
    ATTRIBUTES,
    SIGNATURE,
    call_part,
    children,
    decode_part,
    response_object_of,
    thinking_part,
)
from genai_spine.dialects.gemini.wire import merge
from genai_spine.dialects.losses import Losses
from genai_spine.errors import InvalidFieldError
from genai_spine.types.completion import CompletionRequest
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.messages import (
    Audio,
    Document,
    Image,
    Message,
    Opaque,
    Part,
    Refusal,
    Role,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    text_of,
)

__all__ = ["STAND_IN", "Turns", "decode_contents"]

STAND_IN: Final = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="
"""In place of the signature of a call that its model did not make: ``skip_thought_signature_validator`` in base64.

Source: https://ai.google.dev/gemini-api/docs/thought-signatures
"""

_POINTER: Final = "fileData"
_ROLES: Final[dict[str, Role]] = {"user": "user", "model": "assistant", "function": "user"}
_INSTRUCTING: Final = frozenset({"system", "developer"})


# Reading.


def decode_contents(fields: Fields) -> tuple[Message, ...]:
    """Take ``contents``."""
    links = _Links()
    return tuple(_decode_content(content, links) for content in children(fields, "contents"))


def _decode_content(fields: Fields, links: _Links) -> Message:
    told = fields.text("role") or "user"
    role = _ROLES.get(told)
    if role is None:
        message = f"must be user or model; got {told!r} (instructions go into systemInstruction)"
        fault = fields.wrong("role", message)
        raise fault
    parts = tuple(decode_part(part) for part in children(fields, "parts"))
    return Message(role=role, parts=links.link(parts), extras=fields.told())


class _Links:
    """Links results to calls: both may come without an id, told apart by the function's name and their order alone."""

    def __init__(self) -> None:
        self._count = 0
        self._calls: dict[str, str] = {}
        self._open: list[str] = []

    def link(self, parts: tuple[Part, ...]) -> tuple[Part, ...]:
        """Return the parts of one turn with an id for each call and result."""
        if any(isinstance(part, ToolCall) for part in parts):
            self._open = []
        return tuple(self._link(part) for part in parts)

    def _link(self, part: Part) -> Part:
        if isinstance(part, ToolCall):
            # Its place in the conversation, which stays the same as that grows.
            call_id = part.id or f"call_{self._count}"
            self._count += 1
            self._calls[call_id] = part.name
            self._open.append(call_id)
            return replace(part, id=call_id)
        if isinstance(part, ToolResult):
            call_id = part.call_id
            if call_id not in self._calls:
                call_id = next((known for known in self._open if part.name in {None, self._calls[known]}), call_id)
            if call_id in self._open:
                self._open.remove(call_id)
            return replace(part, call_id=call_id, name=part.name or self._calls.get(call_id))
        return part


# Writing.


class _Turn:
    """A turn while its parts are gathered; results come first in what is written."""

    def __init__(self, role: str) -> None:
        self.role = role
        self.results: list[Json] = []
        self.parts: list[Json] = []
        self.extras: JsonObject = {}


class Turns:
    """Writes the contents of one request.

    Args:
        request: Whose turns they are.
        target: To whom they go.
        losses: Where what cannot be said is put down.
        own: The extras are this dialect's.
        native: The request came in this dialect: nothing is mended, so that it goes on as it came.
    """

    def __init__(self, request: CompletionRequest, target: Target, losses: Losses, *, own: bool, native: bool) -> None:
        self._request = request
        self._facts = target.facts
        self._losses = losses
        self._own = own
        self._native = native
        self._media = MediaWriter(losses, native=native, fetches=target.quirks.image_urls)
        self._names: dict[str, str] = {}
        messages = request.messages
        leading = 0 if native else next((n for n, one in enumerate(messages) if one.role not in _INSTRUCTING), 0)
        self._head, self._told = messages[:leading], messages[leading:]

    def instruction(self) -> JsonObject | None:
        """Return ``systemInstruction``: the request's own instructions, then those at the head of the conversation."""
        parts = self._request.system + tuple(part for message in self._head for part in message.parts)
        written = [piece for part in parts for piece in self._pieces(part)]
        return {"parts": list[Json](written)} if written else None

    def contents(self) -> list[Json]:
        """Return ``contents``.

        Raises:
            InvalidFieldError: A result answers no call, or a part cannot be said.
        """
        turns = [self._one(message) for message in self._told] if self._native else self._merged()
        contents: list[JsonObject] = [
            {"role": turn.role, "parts": turn.results + _with_signatures(turn.parts), **turn.extras} for turn in turns
        ]
        if not contents:
            message = "messages: nothing is left to send; send at least one message with words"
            raise InvalidFieldError(message, param="messages")
        if self._facts.thinking == "level":
            # Those models are also the ones that ask for signatures.
            _seal_current_turn(contents)
        return list[Json](contents)

    def _one(self, message: Message) -> _Turn:
        turn = _Turn("model" if message.role == "assistant" else "user")
        turn.parts = [piece for part in message.parts for piece in self._pieces(part)]
        turn.extras = message.extras
        return turn

    def _merged(self) -> list[_Turn]:
        turns: list[_Turn] = []
        instructs = any(message.role not in _INSTRUCTING for message in self._told)
        for message in self._told:
            if message.name is not None:
                self._losses.drop("messages.name")
            role = "model" if message.role == "assistant" else "user"
            turn = turns[-1] if turns and turns[-1].role == role else _Turn(role)
            for part in message.parts:
                if isinstance(part, ToolResult):
                    response, *pictures = self._pieces(part)
                    turn.results.append(response)
                    turn.parts += pictures
                elif isinstance(part, Text) and message.role in _INSTRUCTING and instructs and part.text.strip():
                    self._losses.change("messages", "instructions amid the conversation are told as the user's words")
                    turn.parts.append({"text": f"<system>\n{part.text}\n</system>"})
                else:
                    turn.parts += self._pieces(part)
            if (turn.results or turn.parts) and (not turns or turns[-1] is not turn):
                turns.append(turn)
        return turns

    def _pieces(self, part: Part) -> list[JsonObject]:
        """Write one part: none where nothing is left of it, and more where a result's pictures stand beside it."""
        written: JsonObject
        match part:
            case Text():
                if not self._native and not part.text.strip() and SIGNATURE not in self._beside(part.extras):
                    return []
                written = {"text": part.text}
                merge(written, self._beside(part.extras))
            case Refusal():
                return [{"text": part.text}] if part.text.strip() else []
            case Thinking():
                # Words without a signature need not be sent again; those of another's thinking must not pass for ours.
                if not self._own or not (self._native or part.signature):
                    return []
                written = thinking_part(part, own=True)
                merge(written, self._beside(part.extras))
            case ToolCall():
                self._names[part.id] = part.name
                written = call_part(part, self._beside(part.extras))
            case ToolResult():
                return self._result(part)
            case Image() | Audio() | Document():
                written = self._media.part(part)
                beside = self._beside(part.extras)
                # What the gateway has fetched is pointed to no more.
                merge(written, {name: more for name, more in beside.items() if name != _POINTER or name in written})
            case Opaque():
                written = part.data
        return [written]

    def _beside(self, extras: JsonObject) -> JsonObject:
        """What stands beside a part's payload, or within it; of a request of no dialect only what is known as ours."""
        if self._native:
            return extras
        if not self._own:
            return {}
        return {name: value for name, value in extras.items() if name in ATTRIBUTES}

    def _result(self, part: ToolResult) -> list[JsonObject]:
        name = part.name or self._names.get(part.call_id)
        if name is None:
            message = (
                f"messages: the tool result for {part.call_id!r} answers no call before it; "
                "send the call with it, or leave the result out"
            )
            raise InvalidFieldError(message, param="messages")
        extras = part.extras if self._native else {}
        told = extras.get("functionResponse")
        inner: JsonObject = {"name": name}
        if not isinstance(told, dict) or "response" not in told:
            inner["response"] = response_object_of(text_of(part.parts), failed=part.is_error is True)
        if part.call_id:
            inner["id"] = part.call_id
        others = [piece for one in part.parts if not isinstance(one, Text) for piece in self._pieces(one)]
        beside: list[JsonObject] = []
        if others and (self._native or self._facts.media_results):
            inner["parts"] = list[Json](others)
        elif others:
            beside = [{"text": f"What the tool {name} returned:"}, *others]
        written: JsonObject = {"functionResponse": inner}
        merge(written, extras)
        return [written, *beside]


def _with_signatures(parts: list[Json]) -> list[Json]:
    """Put each signature that stands alone onto the part behind it."""
    if not any(_is_signature(part) for part in parts):
        return parts
    joined: list[Json] = []
    for part in parts:
        last = joined[-1] if joined else None
        if isinstance(part, dict) and isinstance(last, dict) and _is_signature(last) and SIGNATURE not in part:
            joined[-1] = {**part, **last}
        else:
            joined.append(part)
    return [{"text": "", **part} if isinstance(part, dict) and _is_signature(part) else part for part in joined]


def _is_signature(part: Json) -> bool:
    return isinstance(part, dict) and part.keys() == {SIGNATURE}


def _seal_current_turn(contents: list[JsonObject]) -> None:
    """Give a stand-in to each step of the current turn whose first call has no signature, which the service refuses.

    The current turn is all that follows the last words of the user's own. Calls have none where another model made
    them, or where the caller's dialect has no room for it.
    """
    begin = next((n for n in reversed(range(len(contents))) if _is_own_words(contents[n])), -1) + 1
    for content in contents[begin:]:
        if content["role"] != "model":
            continue
        for part in _parts(content):
            if "functionCall" in part:
                part.setdefault(SIGNATURE, STAND_IN)
                break


def _is_own_words(content: JsonObject) -> bool:
    return content["role"] == "user" and any("functionResponse" not in part for part in _parts(content))


def _parts(content: JsonObject) -> list[JsonObject]:
    parts = content["parts"]
    return [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
