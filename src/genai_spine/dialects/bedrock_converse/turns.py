"""Bedrock Converse: the turns of a conversation, written.

One that came in this dialect goes on turn by turn. Any other is put into the order that the service demands: turns of
user and assistant alternate and begin with the user, all results of one turn's tool calls stand together at the head of
the next one, no block is empty, a document has words beside it, and every id is of the service's alphabet and given
once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from typing_extensions import override

from genai_spine.dialects.alternation import INSTRUCTING, Alternation, Turn, leading
from genai_spine.dialects.bedrock_converse.blocks import PLACEHOLDER, BlockWriter, tool_use_block
from genai_spine.dialects.losses import Losses
from genai_spine.types.completion import CompletionRequest
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.messages import Document, Message, Text, ToolCall, ToolResult

__all__ = ["called_tools", "encode_system", "encode_turns", "needs_thinking"]

_SEE_DOCUMENT: Final = "(see the document)"


def called_tools(request: CompletionRequest) -> list[str]:
    """Return the names of the tools that the conversation has calls of, each once."""
    calls = (part.name for message in request.messages for part in message.parts if isinstance(part, ToolCall))
    return list(dict.fromkeys(calls))


def encode_system(request: CompletionRequest, blocks: BlockWriter) -> list[Json]:
    """Write ``system``: the request's own instructions, then those at the head of a foreign conversation."""
    parts = request.system
    if not blocks.native:
        for message in request.messages[: leading(request.messages)]:
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


class _Turn(Turn):
    """A turn of the service's; a document in it must have words beside it."""

    def __init__(self, role: str) -> None:
        super().__init__(role)
        # A document has come; so have words.
        self.shows = self.tells = False

    @override
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
        self._turns = Alternation(_Turn)
        self._instructed = False

    def write(self, messages: Sequence[Message]) -> list[JsonObject]:
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
                    block = self._blocks.result(part, self._turns.answered(part.call_id))
                    turn.results += self._blocks.marked(block, part)
                case ToolCall():
                    block = tool_use_block(part, self._turns.called(part.id, turn), own=self._blocks.own)
                    turn.blocks += self._blocks.marked(block, part)
                case Text() if message.role in INSTRUCTING and self._instructed:
                    # Not every model takes instructions as such amid the conversation.
                    self._losses.change("messages", "instructions amid the conversation are told as the user's words")
                    turn.blocks.append({"text": f"<system>\n{part.text}\n</system>"})
                    turn.tells = True
                case _:
                    written = self._blocks.blocks(part)
                    turn.blocks += written
                    turn.shows = turn.shows or isinstance(part, Document)
                    turn.tells = turn.tells or (isinstance(part, Text) and bool(written))
