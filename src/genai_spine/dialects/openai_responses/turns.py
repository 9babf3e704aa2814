"""OpenAI Responses: the conversation of a request, its items read as turns and turns written as items."""

from __future__ import annotations

from typing import Final

from genai_spine.dialects.base import Quirks
from genai_spine.dialects.fields import Fields
from genai_spine.dialects.losses import Losses
from genai_spine.dialects.openai_responses.content import ContentWriter, decode_content
from genai_spine.dialects.openai_responses.items import (
    CONTENT,
    ITEM,
    NAME,
    SUMMARY,
    ItemWriter,
    decode_item,
    is_made_up,
    item_of,
)
from genai_spine.dialects.tool_ids import word_characters
from genai_spine.types.completion import CompletionRequest
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.messages import (
    Audio,
    Document,
    Image,
    Message,
    Part,
    Refusal,
    Role,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)

__all__ = ["Turns", "decode_input"]

_ROLES: Final[dict[str, Role]] = {
    "user": "user",
    "assistant": "assistant",
    "system": "system",
    "developer": "developer",
}
_RESULTS: Final = frozenset({"function_call_output", "custom_tool_call_output"})
MAX_CALL_ID: Final = 64
"""The longest ``call_id`` that the service takes."""


# Reading.


def decode_input(fields: Fields) -> tuple[Message, ...]:
    """Take ``input``: words, a list of items, or nothing."""
    value = fields.peek("input")
    if value is None or isinstance(value, str):
        fields.take("input")
        return () if value is None else (Message(role="user", parts=(Text(text=value),) if value else ()),)
    conversation = _Conversation()
    for item in fields.children("input"):
        conversation.add(item)
    return conversation.close()


class _Conversation:
    """Puts together what belongs to one turn of the assistant: here each of its tool calls is an item of its own."""

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._turn: list[Part] = []

    def add(self, fields: Fields) -> None:
        kind = fields.peek("type")
        if not isinstance(kind, str) and (kind is not None or "role" not in fields):
            fault = fields.wrong("type", "must be a string; it may be left out only beside a role")
            raise fault
        if kind in _RESULTS:
            self._flush()
            fields.take("type")
            call_id, parts = fields.need_text("call_id"), decode_content(fields, "output")
            extras = fields.told() if kind == "function_call_output" else {"type": kind, **fields.told()}
            self._messages.append(
                Message(role="tool", parts=(ToolResult(call_id=call_id, parts=parts, extras=extras),))
            )
            return
        if kind in {None, "message"}:
            role = _role(fields)
            if role != "assistant":
                self._flush()
                fields.take("type")
                fields.take("role")
                parts = decode_content(fields, "content")
                self._messages.append(Message(role=role, parts=parts, extras=fields.told()))
                return
        apart = bool(self._turn) and isinstance(self._turn[-1], Text | Refusal)
        self._turn += decode_item(fields, apart=apart, keep_status=True)

    def close(self) -> tuple[Message, ...]:
        self._flush()
        return tuple(self._messages)

    def _flush(self) -> None:
        if self._turn:
            self._messages.append(Message(role="assistant", parts=tuple(self._turn)))
            self._turn = []


def _role(fields: Fields) -> Role:
    name = fields.peek("role")
    role = _ROLES.get(name) if isinstance(name, str) else None
    if role is None:
        fault = fields.wrong("role", f"must be one of {', '.join(_ROLES)}; got {name!r}")
        raise fault
    return role


# Writing.


class Turns:
    """Writes the messages of one request."""

    def __init__(self, request: CompletionRequest, quirks: Quirks, losses: Losses) -> None:
        self._messages = request.messages
        self._quirks = quirks
        self._losses = losses
        self._own = request.dialect in {None, NAME}
        self._came_so = request.dialect == NAME
        self._content = ContentWriter(request.dialect, losses)
        self._custom: set[str] = set()
        # The reasoning under way is no service's own.
        self._foreign = False
        self._items: list[Json] = []

    def write(self) -> list[Json]:
        """Return the items.

        Raises:
            InvalidFieldError: One holds what the dialect cannot say and must not lose.
        """
        for message in self._messages:
            self._message(message)
        return self._items

    def _message(self, message: Message) -> None:
        results = [part for part in message.parts if isinstance(part, ToolResult)]
        others = tuple(part for part in message.parts if not isinstance(part, ToolResult))
        for result in results:
            self._result(result)
        if message.role == "assistant":
            self._assistant(others)
            return
        if results and not others:
            return
        if message.name is not None:
            self._losses.drop("name")
        turn: JsonObject = {"type": "message", "role": self._role(message.role), "content": self._content.write(others)}
        self._items.append(turn | message.extras if self._own else turn)

    def _role(self, role: Role) -> str:
        if role == "tool":
            return "user"
        return "system" if role == "developer" and not self._quirks.developer_role else role

    def _result(self, result: ToolResult) -> None:
        output = self._content.write(result.parts)
        if result.is_error and isinstance(output, str):
            output = f"Error: {output}"
        kind = "custom_tool_call_output" if result.call_id in self._custom else "function_call_output"
        item: JsonObject = {"type": kind, "call_id": self._call_id(result.call_id), "output": output}
        self._items.append(item | result.extras if self._own else item)

    def _assistant(self, parts: tuple[Part, ...]) -> None:
        writer = ItemWriter(own=self._own, call_id=self._call_id)
        for part in parts:
            if isinstance(part, ToolCall) and part.custom:
                self._custom.add(part.id)
            if isinstance(part, Image | Audio | Document):
                # An assistant's message holds words only.
                self._losses.drop("media in an assistant's message")
            elif self._says(part):
                writer.add(part)
        self._items += [_shortened(_without_made_up(item)) for item in writer.items]

    def _says(self, part: Part) -> bool:
        """Whether a part of the assistant's is said: another provider's reasoning is not, nor are empty words."""
        match part:
            case Thinking():
                if ITEM in part.extras:
                    self._foreign = is_made_up(item_of(part.extras, own=self._own))
                told = ITEM in part.extras or part.wire_field in {SUMMARY, CONTENT}
                return self._own and told and not self._foreign
            case Text():
                return bool(part.text) or (self._own and bool(part.extras))
            case _:
                return True

    def _call_id(self, call_id: str) -> str:
        return call_id if self._came_so or len(call_id) <= MAX_CALL_ID else word_characters(call_id)


def _without_made_up(item: JsonObject) -> JsonObject:
    return {name: value for name, value in item.items() if name != "id"} if is_made_up(item) else item


def _shortened(item: JsonObject) -> Json:
    """Say a message without an id of its own, and of nothing but words, as a string, which every service takes."""
    content = item.get("content")
    if item.get("type") != "message" or "id" in item or not isinstance(content, list) or len(content) != 1:
        return item
    match content[0]:
        case {"type": "output_text", "text": str(text), "annotations": [], **rest} if not rest:
            return {**item, "content": text}
        case _:
            return item
