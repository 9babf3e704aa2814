"""Gemini: answers, read. A whole answer and a piece of a stream have one form, so one reader reads both.

Source: https://ai.google.dev/api/generate-content#GenerateContentResponse
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Final

from msgspec.structs import replace

from genai_spine.dialects.assembly import PartAssembler
from genai_spine.dialects.base import Quirks
from genai_spine.dialects.fields import Fields
from genai_spine.dialects.gemini.logprobs import decode_logprobs
from genai_spine.dialects.gemini.parts import AnswerPart, children, decode_answer_part
from genai_spine.dialects.gemini.usage import decode_usage
from genai_spine.dialects.gemini.wire import NAME
from genai_spine.dialects.limits import Held, News, check_choices
from genai_spine.errors import MalformedResponseError, ProviderFailedError, ProviderPermissionError
from genai_spine.types.completion import FinishReason
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.messages import Opaque, Text, Thinking, ToolCall
from genai_spine.types.stream import Event, Extension, Finish, Start, UsageTold
from genai_spine.types.usage import Usage

__all__ = ["AnswerReader", "decode_finish_reason", "encode_finish_reason", "is_blocked"]

_FINISH_REASONS: Final[dict[str, FinishReason]] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    # The limit of one call, which is to be made again to go on.
    "CONTINUATION": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "LANGUAGE": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "ESCALATION": "content_filter",
    "MODEL_ARMOR": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
    "IMAGE_OTHER": "content_filter",
    "MALFORMED_FUNCTION_CALL": "error",
    "MALFORMED_RESPONSE": "error",
    "UNEXPECTED_TOOL_CALL": "error",
    "TOO_MANY_TOOL_CALLS": "error",
    "MISSING_THOUGHT_SIGNATURE": "error",
    "OTHER": "error",
    "PUP_LIMITED_DISABLED": "error",
}
_WORDS: Final[dict[FinishReason, str]] = {
    "stop": "STOP",
    "tool_calls": "STOP",
    "length": "MAX_TOKENS",
    # The dialect has no word for it; that the answer is whole is what must not be said.
    "pause": "MAX_TOKENS",
    "content_filter": "SAFETY",
    "error": "OTHER",
}
_UNSPECIFIED: Final = "FINISH_REASON_UNSPECIFIED"
_LIMITED_ACCOUNT: Final = "PUP_LIMITED_DISABLED"


def decode_finish_reason(told: str, quirks: Quirks, *, with_calls: bool) -> FinishReason:
    """Return why a candidate ended: with tool calls it says ``STOP``. A reason that nobody knows is ``stop``.

    Raises:
        ProviderFailedError: The model failed while it wrote.
        ProviderPermissionError: The account may not go on.
    """
    reason = quirks.finish_reasons.get(told) or _FINISH_REASONS.get(told, "stop")
    if reason == "error":
        message = f"the provider reports that the model failed while writing (finishReason {told!r})"
        raise (ProviderPermissionError if told == _LIMITED_ACCOUNT else ProviderFailedError)(message, code=told)
    return "tool_calls" if with_calls and reason == "stop" else reason


def encode_finish_reason(reason: FinishReason) -> str:
    """Write why a candidate ended."""
    return _WORDS[reason]


def is_blocked(extras: JsonObject) -> bool:
    """Whether an answer's ``promptFeedback`` says that the prompt was blocked; no candidate comes then."""
    feedback = extras.get("promptFeedback")
    return isinstance(feedback, dict) and bool(feedback.get("blockReason"))


class _Candidate:
    """A candidate while its pieces come in."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.parts = PartAssembler(number)
        self.calls = 0
        self.told: str | None = None
        self.in_text = False
        self.logprobs: list[Json] = []
        self.extras: JsonObject = {}
        self.held = Held()


class AnswerReader:
    """Reads an answer, in one piece or in many."""

    def __init__(self, quirks: Quirks) -> None:
        self._quirks = quirks
        self._candidates: dict[int, _Candidate] = {}
        self._started = False
        self._id = ""
        self._news = News()
        self._usage: Usage | None = None

    @property
    def is_whole(self) -> bool:
        """Whether every candidate that has begun has told why it ended, or the prompt was blocked."""
        if is_blocked(self._news.fields):
            return True
        return bool(self._candidates) and all(one.told is not None for one in self._candidates.values())

    def read(self, fields: Fields, events: list[Event]) -> None:
        """Take the next piece, and add its events.

        Raises:
            MalformedResponseError: It is not of the dialect.
            ProviderError: It tells of a failure.
        """
        candidates = children(fields, "candidates")
        usage = fields.child("usageMetadata")
        self._head(fields, events)
        for position, candidate in enumerate(candidates):
            self._candidate(candidate, position, events)
        if usage is not None and (told := decode_usage(usage)) != self._usage:
            self._usage = told
            events.append(UsageTold(usage=told))

    def _head(self, fields: Fields, events: list[Event]) -> None:
        """Take what is no candidate's; later pieces repeat what the first one said, and only news is told."""
        response_id, model = fields.text("responseId") or "", fields.text("modelVersion") or ""
        created = _seconds(fields.peek("createTime"))
        news = self._news.add(fields.rest())
        if not self._started:
            self._started, self._id = True, response_id
            events.append(Start(id=response_id, model=model, created=created, dialect=NAME, extras=news))
        elif news:
            events.append(Extension(data=news))

    def _candidate(self, fields: Fields, position: int, events: list[Event]) -> None:
        told = fields.integer("index")
        number = position if told is None else told
        found = self._candidates.get(number)
        if found is None:
            found = self._candidates[number] = _Candidate(number)
            check_choices(self._candidates)
        if logprobs := decode_logprobs(fields):
            found.held.add(logprobs)
            found.logprobs += logprobs
        reason = fields.text("finishReason")
        if (content := fields.child("content")) is not None:
            content.take("role")
            for part in children(content, "parts"):
                if part.rest():
                    events += self._part(found, decode_answer_part(part))
            if left := content.told():
                fields.rest()["content"] = left
        if found.in_text and found.logprobs:
            # Those of tokens that show no words travel with words that show.
            events += self._words(found, "")
        if reason is not None and reason != _UNSPECIFIED:
            decode_finish_reason(reason, self._quirks, with_calls=False)
            found.told = reason
        # An empty object, sent with each piece, says nothing of what came before.
        if extras := {name: value for name, value in fields.told().items() if value or name not in found.extras}:
            found.held.add(extras)
            found.extras |= extras

    def _part(self, found: _Candidate, part: AnswerPart) -> list[Event]:
        """Take a part. Words go on where words were; one that bears a signature or the like is joined to nothing."""
        match part:
            case Text(extras=extras) if not extras:
                return self._words(found, part.text) if part.text else []
            case Thinking(extras=extras, signature=None) if not extras:
                found.in_text = False
                return found.parts.words("thinking", part.text) if part.text else []
            case Text():
                found.in_text = False
                return found.parts.whole(part, self._take_logprobs(found))
            case ToolCall():
                found.in_text = False
                found.calls += 1
                return found.parts.whole(_with_id(part, f"{self._id}\n{found.number}\n{found.calls}"))
            case Opaque() | Thinking():
                found.in_text = False
                return found.parts.whole(part)

    def _words(self, found: _Candidate, text: str) -> list[Event]:
        found.in_text = True
        return found.parts.words("text", text, logprobs=self._take_logprobs(found))

    @staticmethod
    def _take_logprobs(found: _Candidate) -> list[Json] | None:
        taken, found.logprobs = found.logprobs, []
        return taken or None

    def end(self, events: list[Event]) -> None:
        """Everything has come: add the last events.

        Raises:
            MalformedResponseError: The answer is not whole.
        """
        if not self.is_whole:
            what = "tells no finishReason" if self._candidates else "holds no candidates"
            message = f"the provider's answer {what}"
            raise MalformedResponseError(message)
        if not self._candidates:
            events.append(Finish(reason="content_filter"))
        for number in sorted(self._candidates):
            found = self._candidates[number]
            events += found.parts.finish()
            reason: FinishReason = "content_filter"
            if found.told is not None:
                reason = decode_finish_reason(found.told, self._quirks, with_calls=found.calls > 0)
                if found.told != encode_finish_reason(reason):
                    found.extras["finishReason"] = found.told
            events.append(Finish(reason=reason, choice=number, extras=found.extras))


def _with_id(call: ToolCall, place: str) -> ToolCall:
    """Return a tool call with an id, for older models give none.

    It is a function of what a streamed and a whole answer have in common; the answer's own id keeps it apart from the
    same call in another turn.
    """
    if call.id:
        return call
    told = f"{place}\n{call.name}\n{call.arguments}"
    return replace(call, id=f"call_{hashlib.blake2b(told.encode(errors='replace'), digest_size=12).hexdigest()}")


def _seconds(told: Json) -> int:
    """Return a time in the form of RFC 3339 in seconds since the Unix epoch; 0 for what is none."""
    if not isinstance(told, str):
        return 0
    try:
        time = datetime.fromisoformat(told)
    except ValueError:
        return 0
    return max(0, int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()))
