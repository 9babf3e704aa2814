"""Anthropic Messages: the turns of a conversation, written.

One that came in this dialect goes on turn by turn. Any other is put into the order that the service demands: turns of
user and assistant alternate and begin with the user, all results of one turn's tool calls stand together at the head of
the next one, no block is empty, and every id is of the service's alphabet and given once.
"""

from __future__ import annotations

from typing import Final

from typing_extensions import override

from genai_spine.dialects.alternation import INSTRUCTING, Alternation, Turn, leading
from genai_spine.dialects.anthropic_messages.blocks import BlockWriter, plain, tool_use_block
from genai_spine.dialects.fields import text_in
from genai_spine.dialects.losses import Losses
from genai_spine.types.completion import CompletionRequest
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.messages import Message, Text, ToolCall, ToolResult

__all__ = ["encode_system", "encode_turns", "needs_thinking"]

PLACEHOLDER: Final = "(no content)"
"""Stands where a turn would be empty, which the service refuses."""


def encode_system(request: CompletionRequest, blocks: BlockWriter) -> Json:
    """Write ``system``: the request's own instructions, then those at the head of a foreign conversation."""
    parts = request.system
    if not blocks.native:
        for message in request.messages[: leading(request.messages)]:
            parts += message.parts
    written = blocks.content(parts)
    if not blocks.native and all(isinstance(part, Text) and part.cache is None and not part.extras for part in parts):
        return "\n\n".join(part.text for part in parts if isinstance(part, Text) and part.text.strip())
    return plain(written)


def encode_turns(request: CompletionRequest, blocks: BlockWriter, losses: Losses) -> list[JsonObject]:
    """Write ``messages``.

    Raises:
        InvalidFieldError: A tool call of a foreign conversation has no result, or a result no call.
    """
    if blocks.native:
        return [_native_turn(message, blocks) for message in request.messages]
    return _Turns(blocks, losses).write(request.messages)


def _native_turn(message: Message, blocks: BlockWriter) -> JsonObject:
    return {"role": message.role, "content": plain(blocks.content(message.parts)) or "", **message.extras}


def needs_thinking(turns: list[JsonObject]) -> bool:
    """Whether the turns end within a tool loop that holds no thinking block, so that thinking cannot be on."""
    within = False
    for turn in reversed(turns):
        if turn["role"] == "system":
            continue
        kinds = [text_in(block, "type") for block in _content(turn)]
        if turn["role"] != "assistant":
            if "tool_result" not in kinds:
                break
            within = True
        elif not within or {"thinking", "redacted_thinking"}.intersection(kinds):
            return False
    return within


def _content(turn: JsonObject) -> list[Json]:
    content = turn["content"]
    return content if isinstance(content, list) else []


class _Turn(Turn):
    """A turn of the service's."""

    @override
    def write(self) -> JsonObject:
        blocks = self.results + self.blocks or [{"type": "text", "text": PLACEHOLDER}]
        return {"role": self.role, "content": plain(blocks), **self.extras}


class _Turns:
    """Puts a foreign conversation in order."""

    def __init__(self, blocks: BlockWriter, losses: Losses) -> None:
        self._blocks = blocks
        self._losses = losses
        self._turns = Alternation(_Turn)
        self._instructed = False

    def write(self, messages: tuple[Message, ...]) -> list[JsonObject]:
        told = messages[leading(messages) :]
        self._instructed = any(message.role not in INSTRUCTING for message in told)
        for message in told:
            self._message(message)
        return self._turns.write()

    def _message(self, message: Message) -> None:
        if message.name is not None:
            self._losses.drop("messages.name")
        turn = self._turns.turn("assistant" if message.role == "assistant" else "user")
        if self._blocks.own:
            turn.extras.update(message.extras)
        for part in message.parts:
            match part:
                case ToolResult():
                    turn.results.append(self._blocks.result(part, self._turns.answered(part.call_id)))
                case ToolCall():
                    turn.blocks.append(tool_use_block(part, self._turns.called(part.id, turn), own=self._blocks.own))
                case Text() if message.role in INSTRUCTING and self._instructed:
                    # Not every model takes instructions as such amid the conversation.
                    self._losses.change("messages", "instructions amid the conversation are told as the user's words")
                    turn.blocks.append({"type": "text", "text": f"<system>\n{part.text}\n</system>"})
                case _ if (block := self._blocks.block(part)) is not None:
                    turn.blocks.append(block)
