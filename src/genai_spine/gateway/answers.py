"""Answers that are kept for who was given them, so that a later request may go on from one by its id."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import msgspec

from genai_spine.dialects.base import Continues
from genai_spine.errors import SharedStateUnavailableError
from genai_spine.gateway.attempt import Question
from genai_spine.gateway.context import Call
from genai_spine.shared_state.base import SharedState
from genai_spine.types.principal import Principal

__all__ = ["KeptAnswers"]

SECONDS: Final = 30 * 24 * 3600.0
"""How long an answer is kept at most: as long as OpenAI keeps its own."""


class KeptAnswers:
    """Keeps answers, each under its id and the key of the caller: what is another's is not there."""

    def __init__(self, state: SharedState) -> None:
        self._state = state

    async def resume(self, principal: Principal, question: Question) -> Question:
        """Return the question with the conversation that it goes on from, and the items that it refers to, put into it.

        What of it is not kept here goes on as it came: the provider may know it.
        """
        door = question.door
        if not isinstance(door, Continues) or not (earlier := door.earlier_answers(question.envelope)):
            return question
        found = {answer: await self.find(principal, answer) for answer in earlier}
        records = {answer: record for answer, record in found.items() if record is not None}
        if not records:
            return question
        envelope = door.resume(question.envelope, records)
        return Question(door, envelope, msgspec.json.encode(envelope.fields))

    async def keep(self, call: Call, question: Question, told: bytes) -> None:
        """Keep an answer of which ``told`` is all, or the end; a provider that was passed through keeps its own."""
        if call.passthrough or not isinstance(question.door, Continues):
            return
        if (kept := question.door.keep(question.envelope, told)) is not None:
            # Who wants to go on from it later sends the conversation again.
            with suppress(SharedStateUnavailableError):
                await self._state.put(_key(call.principal, kept.id), kept.record, SECONDS)

    async def find(self, principal: Principal, answer_id: str) -> bytes | None:
        """Return what is kept of an answer that was given to ``principal``."""
        return await self._state.get(_key(principal, answer_id))

    async def forget(self, principal: Principal, answer_id: str) -> bool:
        """Keep an answer no longer; return whether it was kept."""
        return await self._state.delete(_key(principal, answer_id))


def _key(principal: Principal, answer_id: str) -> str:
    return f"answer:{principal.owner}:{answer_id}"
