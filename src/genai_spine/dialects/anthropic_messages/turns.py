"""Anthropic Messages: the turns of a conversation, written.

One that came in this dialect goes on turn by turn. Any other is put into the order that the service demands: turns of
user and assistant alternate and begin with the user, all results of one turn's tool calls stand together at the head of
the next one, no block is empty, and every id is of the service's alphabet and given once.
"""

from __future__ import annotations

from typing import Final

from genai_spine.dialects.anthropic_messages.blocks import BlockWriter, plain, tool_use_block
from genai_spine.dialects.losses import Losses
from genai_spine.dialects.tool_ids import word_characters
from genai_spine.errors import InvalidFieldError
from genai_spine.types.completion import CompletionRequest
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.messages import Message, Text, ToolCall, ToolResult

__all__ = ["encode_system", "encode_turns", "needs_thinking"]

PLACEHOLDER: Final = "(no content)"
"""Stands where a turn would be empty, which the service refuses."""

_INSTRUCTING: Final = frozenset({"system", "developer"})


def _leading(messages: tuple[Message, ...]) -> int:
    """How many messages at the head instruct; none if there are no others, for somebody must speak."""
    return next((number for number, message in enumerate(messages) if message.role not in _INSTRUCTING), 0)


def encode_system(request: CompletionRequest, blocks: BlockWriter) -> Json:
    """Write ``system``: the request's own instructions, then those at the head of a foreign conversation."""
    parts = request.system
    if not blocks.native:
        for message in request.messages[: _leading(request.messages)]:
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
        kinds = [block.get("type") for block in _content(turn) if isinstance(block, dict)]
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


class _Turn:
    """A turn while its blocks are gathered; results come first in what is written."""

    def __init__(self, role: str) -> None:
        self.role = role
        self.results: list[Json] = []
        self.blocks: list[Json] = []
        self.extras: JsonObject = {}
        # Calls that wait for their results: the ids they came with, and those they are written with.
        self.calls: dict[str, list[str]] = {}

    def write(self) -> JsonObject:
        blocks = self.results + self.blocks or [{"type": "text", "text": PLACEHOLDER}]
        return {"role": self.role, "content": plain(blocks), **self.extras}


class _Turns:
    """Puts a foreign conversation in order."""

    def __init__(self, blocks: BlockWriter, losses: Losses) -> None:
        self._blocks = blocks
        self._losses = losses
        self._turns: list[_Turn] = []
        self._ids: set[str] = set()
        self._instructed = False

    def write(self, messages: tuple[Message, ...]) -> list[JsonObject]:
        told = messages[_leading(messages) :]
        self._instructed = any(message.role not in _INSTRUCTING for message in told)
        for message in told:
            self._message(message)
        if not self._turns or self._turns[0].role != "user":
            self._turns.insert(0, _Turn("user"))
        self._check_answered(len(self._turns))
        last = self._turns[-1]
        if last.role == "assistant" and last.blocks and isinstance(block := last.blocks[-1], dict):
            # An answer to be continued may not end in white space.
            text = block.get("text")
            last.blocks[-1] = {**block, "text": text.rstrip()} if isinstance(text, str) else block
        return [turn.write() for turn in self._turns]

    def _message(self, message: Message) -> None:
        if message.name is not None:
            self._losses.drop("messages.name")
        turn = self._turn("assistant" if message.role == "assistant" else "user")
        if self._blocks.own:
            turn.extras.update(message.extras)
        for part in message.parts:
            match part:
                case ToolResult():
                    turn.results.append(self._blocks.result(part, self._answered(part.call_id)))
                case ToolCall():
                    turn.blocks.append(tool_use_block(part, self._called(part.id, turn), own=self._blocks.own))
                case Text() if message.role in _INSTRUCTING and self._instructed:
                    # Not every model takes instructions as such amid the conversation.
                    self._losses.change("messages", "instructions amid the conversation are told as the user's words")
                    turn.blocks.append({"type": "text", "text": f"<system>\n{part.text}\n</system>"})
                case _ if (block := self._blocks.block(part)) is not None:
                    turn.blocks.append(block)

    def _turn(self, role: str) -> _Turn:
        if not self._turns or self._turns[-1].role != role:
            self._turns.append(_Turn(role))
            self._check_answered(len(self._turns) - 2)
        return self._turns[-1]

    def _called(self, call_id: str, turn: _Turn) -> str:
        """Note a call; return the id to write, given to no other call before."""
        written, number = word_characters(call_id), 1
        while written in self._ids:
            number += 1
            written = word_characters(f"{call_id}_{number}")
        self._ids.add(written)
        turn.calls.setdefault(call_id, []).append(written)
        return written

    def _answered(self, call_id: str) -> str:
        """Return the id that the call was written with."""
        calls = self._turns[-2].calls if len(self._turns) > 1 else {}
        waiting = calls.get(call_id)
        if not waiting:
            message = (
                f"messages: the tool result for {call_id!r} answers no call of the assistant's turn before it; "
                "send the call with it, or leave the result out"
            )
            raise InvalidFieldError(message, param="messages")
        return waiting.pop(0)

    def _check_answered(self, before: int) -> None:
        """Check that every call in the turns before number ``before`` has its result."""
        for turn in self._turns[max(0, before - 2) : before]:
            for call_id, waiting in turn.calls.items():
                if waiting:
                    message = (
                        f"messages: the tool call {call_id!r} has no result; send its result right after it, "
                        "or leave the call out"
                    )
                    raise InvalidFieldError(message, param="messages")
