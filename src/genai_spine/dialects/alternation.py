"""Foreign conversations, put into the order of services that want user and assistant to alternate (Anthropic, Bedrock).

Turns of one role that follow each other become one, the user begins, every call has its result in the turn after it,
and every call's id is of the services' alphabet and given once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

from genai_spine.dialects.tool_ids import word_characters
from genai_spine.errors import InvalidFieldError
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.messages import Message

__all__ = ["INSTRUCTING", "Alternation", "Turn", "leading"]

INSTRUCTING: Final = frozenset({"system", "developer"})
"""The roles whose words instruct."""


def leading(messages: Sequence[Message]) -> int:
    """Return how many messages at the head instruct; none if there are no others, for somebody must speak."""
    return next((number for number, message in enumerate(messages) if message.role not in INSTRUCTING), 0)


class Turn(ABC):
    """A turn while its blocks are gathered; results come first in what is written."""

    def __init__(self, role: str) -> None:
        self.role = role
        self.results: list[Json] = []
        self.blocks: list[Json] = []
        self.extras: JsonObject = {}
        # Calls that wait for their results: the ids they came with, and those they are written with.
        self.calls: dict[str, list[str]] = {}

    @abstractmethod
    def write(self) -> JsonObject:
        """Return the turn in the dialect's form."""


T = TypeVar("T", bound=Turn)


class Alternation(Generic[T]):
    """The turns of one conversation while they are put in order."""

    def __init__(self, make: Callable[[str], T]) -> None:
        """Begin; ``make`` opens a turn of a role."""
        self._make = make
        self._turns: list[T] = []
        self._ids: set[str] = set()

    def turn(self, role: str) -> T:
        """Return the turn that what ``role`` says next belongs to.

        Raises:
            InvalidFieldError: A call of a turn that can no longer be answered has no result.
        """
        if not self._turns or self._turns[-1].role != role:
            self._turns.append(self._make(role))
            self._check_answered(len(self._turns) - 2)
        return self._turns[-1]

    def called(self, call_id: str, turn: T) -> str:
        """Note a call; return the id to write, given to no other call before."""
        written, number = word_characters(call_id), 1
        while written in self._ids:
            number += 1
            written = word_characters(f"{call_id}_{number}")
        self._ids.add(written)
        turn.calls.setdefault(call_id, []).append(written)
        return written

    def answered(self, call_id: str) -> str:
        """Return the id that the call was written with.

        Raises:
            InvalidFieldError: The turn before holds no such call.
        """
        calls = self._turns[-2].calls if len(self._turns) > 1 else {}
        waiting = calls.get(call_id)
        if not waiting:
            message = (
                f"messages: the tool result for {call_id!r} answers no call of the assistant's turn before it; "
                "send the call with it, or leave the result out"
            )
            raise InvalidFieldError(message, param="messages")
        return waiting.pop(0)

    def write(self) -> list[JsonObject]:
        """Return all turns, written.

        Raises:
            InvalidFieldError: A call has no result.
        """
        if not self._turns or self._turns[0].role != "user":
            self._turns.insert(0, self._make("user"))
        self._check_answered(len(self._turns))
        last = self._turns[-1]
        if last.role == "assistant" and last.blocks and isinstance(block := last.blocks[-1], dict):
            # An answer to be continued may not end in white space.
            text = block.get("text")
            last.blocks[-1] = {**block, "text": text.rstrip()} if isinstance(text, str) else block
        return [turn.write() for turn in self._turns]

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
