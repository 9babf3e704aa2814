"""OpenAI Chat Completions: the messages of a request, written."""

from __future__ import annotations

from typing import Final

from genai_spine.dialects.base import Target
from genai_spine.dialects.losses import Losses
from genai_spine.dialects.media import file_address, titled, to_address, words_of
from genai_spine.dialects.tool_ids import nine_characters
from genai_spine.types.completion import CompletionRequest
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.messages import (
    Audio,
    Document,
    Image,
    Media,
    Message,
    Opaque,
    Part,
    Refusal,
    Role,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)

__all__ = ["IN_CONTENT", "NAME", "REASONING_FIELDS", "Turns", "combined", "tool_call_object"]

NAME: Final = "openai_chat"
REASONING_FIELDS: Final = ("reasoning_content", "reasoning")
IN_CONTENT: Final = "content"
"""The wire field of thinking that stands among the words, in a list, as Mistral has it."""


class Turns:
    """Writes the messages of one request."""

    def __init__(self, request: CompletionRequest, target: Target, losses: Losses) -> None:
        self._request = request
        self._quirks = target.quirks
        self._losses = losses
        self._own = request.dialect in {None, NAME}
        self._came_so = request.dialect == NAME
        self._turns: list[Json] = []
        # Pictures that tools returned: no tool message may hold one, so they follow the last result.
        self._pictures: list[Json] = []

    def write(self) -> list[Json]:
        """Return the messages.

        Raises:
            InvalidFieldError: One holds what the dialect cannot say and must not lose.
        """
        if self._request.system:
            self._turns.append({"role": "system", "content": self._content(self._request.system)})
        for message in self._request.messages:
            self._message(message)
        self._flush_pictures()
        return self._turns

    def _message(self, message: Message) -> None:
        results = [part for part in message.parts if isinstance(part, ToolResult)]
        others = tuple(part for part in message.parts if not isinstance(part, ToolResult))
        if not results:
            self._flush_pictures()
        for result in results:
            self._result(result, message if message.role == "tool" else None)
        if results and not others:
            return
        turn: JsonObject = {"role": self._role(message.role)}
        if message.role == "assistant":
            self._assistant(turn, others)
        else:
            self._flush_pictures()
            turn["content"] = self._content(others)
        self._turns.append(self._named(turn, message))

    def _role(self, role: Role) -> str:
        return "system" if role == "developer" and not self._quirks.developer_role else role

    def _named(self, turn: JsonObject, message: Message) -> JsonObject:
        if message.name is not None and self._quirks.message_names:
            turn["name"] = message.name
        if self._own:
            turn.update(message.extras)
        return turn

    def _assistant(self, turn: JsonObject, parts: tuple[Part, ...]) -> None:
        calls: list[Json] = [
            tool_call_object(part, self._call_id(part.id), own=self._own)
            for part in parts
            if isinstance(part, ToolCall)
        ]
        words = tuple(
            part
            for part in parts
            if not isinstance(part, ToolCall | Refusal)
            and (not isinstance(part, Thinking) or self._thinks_in_content(part))
        )
        refusals = [part.text for part in parts if isinstance(part, Refusal)]
        turn["content"] = self._content(words) if words or not (calls or refusals) else None
        if refusals:
            turn["refusal"] = "".join(refusals)
        self._reasoning(turn, parts, with_calls=bool(calls))
        if calls:
            turn["tool_calls"] = calls

    def _reasoning(self, turn: JsonObject, parts: tuple[Part, ...], *, with_calls: bool) -> None:
        field = self._quirks.reasoning_field
        if not field or field == IN_CONTENT:
            return
        thoughts = [part for part in parts if isinstance(part, Thinking) and not self._thinks_in_content(part)]
        text = "".join(part.text for part in thoughts)
        if self._quirks.replay_reasoning:
            if with_calls or (self._own and text):
                turn[field] = text
        elif self._own and thoughts:
            told = thoughts[0].wire_field
            turn[told if told in REASONING_FIELDS else field] = text

    def _thinks_in_content(self, part: Thinking) -> bool:
        """Whether thinking stands in the list of content: it came so, or the service wants it so."""
        if self._quirks.replay_reasoning or not self._own:
            return False
        return IN_CONTENT in {part.wire_field, self._quirks.reasoning_field}

    def _result(self, result: ToolResult, message: Message | None) -> None:
        words = tuple(part for part in result.parts if not isinstance(part, Image | Document | Audio))
        shown: list[Json] = [self._part(part) for part in result.parts if isinstance(part, Image | Document | Audio)]
        content = self._content(words)
        if result.is_error and isinstance(content, str):
            content = f"Error: {content}"
        if shown:
            note = f"What the tool call {result.call_id} returned:"
            self._pictures += [{"type": "text", "text": note}, *shown]
            content = content or "(shown in the next user message)"
        turn: JsonObject = {"role": "tool", "tool_call_id": self._call_id(result.call_id), "content": content}
        self._turns.append(self._named(turn, message) if message else turn)

    def _flush_pictures(self) -> None:
        if self._pictures:
            self._turns.append({"role": "user", "content": self._pictures})
            self._pictures = []

    def _call_id(self, call_id: str) -> str:
        return nine_characters(call_id) if self._quirks.tool_call_id == "nine" else call_id

    def _content(self, parts: tuple[Part, ...]) -> Json:
        """A string where that says it all; a list where the parts must stay apart."""
        if not parts:
            return ""
        if len(parts) == 1 and isinstance(parts[0], Text) and not (self._own and parts[0].extras):
            return parts[0].text
        if not self._own and all(isinstance(part, Text) for part in parts):
            # Not every service takes lists of words, and one that came as a list elsewhere reads the same joined.
            return "\n\n".join(part.text for part in parts if isinstance(part, Text) and part.text)
        written = [self._part(part) for part in parts]
        return [part for part in written if part is not None]

    def _part(self, part: Part) -> Json:
        match part:
            case Text():
                return {"type": "text", "text": part.text, **self._extras(part.extras)}
            case Image():
                if part.media.file_id is not None:
                    refusal = self._losses.refuse("image file id", "send the image's bytes or its address")
                    raise refusal
                image: JsonObject = {"url": to_address(part.media, "" if self._came_so else "image/jpeg")}
                if part.detail is not None:
                    image["detail"] = part.detail
                return combined({"type": "image_url", "image_url": image}, self._extras(part.extras))
            case Audio():
                sound = (part.media.media_type or "audio/wav").removeprefix("audio/")
                inner: JsonObject = {"data": part.media.data, "format": "mp3" if sound == "mpeg" else sound}
                return combined({"type": "input_audio", "input_audio": inner}, self._extras(part.extras))
            case Document():
                return self._document(part)
            case Refusal():
                return {"type": "refusal", "refusal": part.text}
            case Thinking():
                thinking: JsonObject = {"type": "thinking", "thinking": [{"type": "text", "text": part.text}]}
                if part.signature is not None:
                    thinking["signature"] = part.signature
                return thinking | self._extras(part.extras)
            case Opaque():
                return part.data
            case ToolCall() | ToolResult():
                return None

    def _document(self, part: Document) -> Json:
        media = part.media or Media()
        # Files are for what is no text: few services read others than PDF.
        words = part.text if self._came_so else words_of(part, self._losses)
        if words is not None:
            return {"type": "text", "text": titled(part, words)}
        file: JsonObject
        if media.file_id is not None:
            file = {"file_id": media.file_id}
        elif media.data is not None and self._came_so:
            file = {"file_data": media.data if media.media_type is None else to_address(media, "")}
        elif media.data is not None:
            file = {"file_data": file_address(media, self._losses)}
        elif media.url is not None and self._came_so:
            file = {"file_data": media.url}
        else:
            refusal = self._losses.refuse("document address", "send the document's bytes in base64")
            raise refusal
        if (name := media.filename or part.title) is not None:
            file["filename"] = name
        elif not self._own:
            # The service demands a name beside bytes.
            file["filename"] = "document.pdf"
        return combined({"type": "file", "file": file}, self._extras(part.extras))

    def _extras(self, extras: JsonObject) -> JsonObject:
        return extras if self._own else {}


def tool_call_object(call: ToolCall, call_id: str, *, own: bool) -> JsonObject:
    """Write one finished tool call; ``own`` keeps the extras."""
    kind, body = ("custom", "input") if call.custom else ("function", "arguments")
    written: JsonObject = {"id": call_id, "type": kind, kind: {"name": call.name, body: call.arguments}}
    return combined(written, call.extras) if own else written


def combined(written: JsonObject, extras: Json) -> JsonObject:
    """Return an object with its extras, those of the objects within it in their places."""
    both = dict(written)
    for name, value in extras.items() if isinstance(extras, dict) else ():
        known = both.get(name)
        both[name] = {**known, **value} if isinstance(known, dict) and isinstance(value, dict) else value
    return both
