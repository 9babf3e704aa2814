"""Bedrock Converse: the turns of a conversation, written.

One that came in this dialect goes on turn by turn. Any other is put into the order that the service demands: turns of
user and assistant alternate and begin with the user, all results of one turn's tool calls stand together at the head of
the next one, no block is empty, a document has words beside it, and every id is of the service's alphabet and given
once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from genai_spine.dialects.bedrock_converse.blocks import PLACEHOLDER, BlockWriter, tool_use_block
from genai_spine.dialects.losses import Losses
from genai_spine.dialects.tool_ids import word_characters
from genai_spine.errors import InvalidFieldError
from genai_spine.types.completion import CompletionRequest
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.messages import Document, Message, Text, ToolCall, ToolResult

__all__ = ["called_tools", "encode_system", "encode_turns", "needs_thinking"]

_SEE_DOCUMENT: Final = "(see the document)"
_INSTRUCTING: Final = frozenset({"system", "developer"})


def called_tools(request: CompletionRequest) -> list[str]:
    """Return the names of the tools that the conversation has calls of, each once."""
    calls = (part.name for message in request.messages for part in message.parts if isinstance(part, ToolCall))
    return list(dict.fromkeys(calls))


def _leading(messages: Sequence[Message]) -> int:
    """How many messages at the head instruct; none if there are no others, for somebody must speak."""
    return next((number for number, message in enumerate(messages) if message.role not in _INSTRUCTING), 0)


def encode_system(request: CompletionRequest, blocks: BlockWriter) -> list[Json]:
    """Write ``system``: the request's own instructions, then those at the head of a foreign conversation."""
    parts = request.system
    if not blocks.native:
        for message in request.messages[: _leading(request.messages)]:
            parts += message.parts
    return blocks.content(parts)


def encode_turns(request: CompletionRequest, blocks: BlockWriter, losses: Losses) -> list[JsonObject]:
    """Write ``messages``.

    Raises:
        InvalidFieldError: A tool call of a foreign conversation has no result, or a result no call.
    """
    if blocks.native:
        return [
            {"role": message.role, "content": blocks.content(message.parts), **message.extras}
            for message in request.messages
        ]
    return _Turns(blocks, losses).write(request.messages)


def needs_thinking(turns: Sequence[JsonObject]) -> bool:
    """Whether the turns end within a tool loop that holds no reasoning, so that a model cannot be made to think."""
    within = False
    for turn in reversed(turns):
        kinds = _kinds(turn["content"])
        if turn["role"] != "assistant":
            if "toolResult" not in kinds:
                break
            within = True
        elif not within or "reasoningContent" in kinds:
            return False
    return within


def _kinds(content: Json) -> set[str]:
    blocks = content if isinstance(content, list) else []
    return {kind for block in blocks if isinstance(block, dict) for kind in block}


class _Turn:
    """A turn while its blocks are gathered; results come first in what is written."""

    def __init__(self, role: str) -> None:
        self.role = role
        self.results: list[Json] = []
        self.blocks: list[Json] = []
        self.extras: JsonObject = {}
        # A document has come; so have words.
        self.shows = self.tells = False
        # Calls that wait for their results: the ids they came with, and those they are written with.
        self.calls: dict[str, list[str]] = {}

    def write(self) -> JsonObject:
        blocks = self.results + self.blocks
        if not blocks or (self.shows and not self.tells):
            blocks.append({"text": _SEE_DOCUMENT if self.shows else PLACEHOLDER})
        return {"role": self.role, "content": blocks, **self.extras}


class _Turns:
    """Puts a foreign conversation in order."""

    def __init__(self, blocks: BlockWriter, losses: Losses) -> None:
        self._blocks = blocks
        self._losses = losses
        self._turns: list[_Turn] = []
        self._ids: set[str] = set()
        self._instructed = False

    def write(self, messages: Sequence[Message]) -> list[JsonObject]:
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
                    block = self._blocks.result(part, self._answered(part.call_id))
                    turn.results += self._blocks.marked(block, part)
                case ToolCall():
                    block = tool_use_block(part, self._called(part.id, turn), own=self._blocks.own)
                    turn.blocks += self._blocks.marked(block, part)
                case Text() if message.role in _INSTRUCTING and self._instructed:
                    # Not every model takes instructions as such amid the conversation.
                    self._losses.change("messages", "instructions amid the conversation are told as the user's words")
                    turn.blocks.append({"text": f"<system>\n{part.text}\n</system>"})
                    turn.tells = True
                case _:
                    written = self._blocks.blocks(part)
                    turn.blocks += written
                    turn.shows = turn.shows or isinstance(part, Document)
                    turn.tells = turn.tells or (isinstance(part, Text) and bool(written))

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
