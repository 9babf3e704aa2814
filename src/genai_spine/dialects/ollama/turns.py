"""Ollama: the turns of a conversation, written; and tool calls, read and written alike in requests and answers."""

from __future__ import annotations

from genai_spine.dialects.arguments import arguments_object
from genai_spine.dialects.fields import Fields, dump_text, load
from genai_spine.dialects.losses import Losses
from genai_spine.dialects.media import words_of
from genai_spine.types.completion import CompletionRequest
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.messages import (
    Audio,
    Document,
    Image,
    Media,
    Message,
    Part,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)

__all__ = ["Turns", "call_object", "decode_call"]


def decode_call(fields: Fields) -> ToolCall:
    """Read a tool call; the id of one without is empty, for the caller to make up."""
    call_id = fields.text("id") or ""
    inner = fields.need_child("function")
    inner.take("index")
    name = inner.need_text("name")
    value = inner.take("arguments")
    if isinstance(value, str):
        # A slip of clients that know OpenAI's form better.
        try:
            value = load(value) if value.strip() else None
        except (ValueError, RecursionError):
            value = False
    if value is not None and not isinstance(value, dict):
        wrong = inner.wrong("arguments", "must be an object")
        raise wrong
    arguments = dump_text(value or {})
    extras = fields.rest()
    if left := inner.rest():
        extras["function"] = left
    return ToolCall(id=call_id, name=name, arguments=arguments, extras=extras)


def call_object(call: ToolCall, index: int, *, own: bool) -> JsonObject:
    """Write a tool call, the ``index``-th of its turn; ``own`` keeps the extras."""
    extras = dict(call.extras) if own else {}
    function: JsonObject = {"index": index, "name": call.name, "arguments": arguments_object(call.arguments)}
    if isinstance(left := extras.pop("function", None), dict):
        function |= left
    return {"id": call.id, "function": function, **extras}


class Turns:
    """Writes the messages of one request: each is one string of words, its pictures beside it."""

    def __init__(self, request: CompletionRequest, losses: Losses, *, own: bool) -> None:
        self._request = request
        self._losses = losses
        self._own = own
        self._turns: list[Json] = []
        self._names: dict[str, str] = {}
        # Pictures that tools returned: they follow the last result, as the user's.
        self._pictures: list[Json] = []
        self._notes: list[str] = []

    def write(self, instruction: str = "") -> list[Json]:
        """Return the messages, the system's first; ``instruction`` is added to what it says."""
        system = self._words(self._request.system)
        if system:
            self._turns.append({"role": "system", "content": system})
        for message in self._request.messages:
            self._message(message)
        self._flush_pictures()
        if instruction:
            self._instruct(instruction)
        return self._turns

    def _instruct(self, instruction: str) -> None:
        """Add to the first turn where it is the system's: templates often keep no other."""
        first = self._turns[0] if self._turns else None
        if isinstance(first, dict) and first.get("role") == "system":
            said = first.get("content")
            first["content"] = f"{said}\n\n{instruction}" if said else instruction
        else:
            self._turns.insert(0, {"role": "system", "content": instruction})

    def _message(self, message: Message) -> None:
        results = [part for part in message.parts if isinstance(part, ToolResult)]
        others = tuple(part for part in message.parts if not isinstance(part, ToolResult))
        if not results:
            self._flush_pictures()
        for result in results:
            self._result(result, message if message.role == "tool" else None)
        if results and not others:
            return
        self._flush_pictures()
        turn: JsonObject = {
            "role": "system" if message.role == "developer" else message.role,
            "content": self._words(others),
        }
        if pictures := self._images(others):
            turn["images"] = pictures
        if message.role == "assistant":
            self._assistant(turn, others)
        if self._own:
            turn.update(message.extras)
        self._turns.append(turn)

    def _assistant(self, turn: JsonObject, parts: tuple[Part, ...]) -> None:
        # Its thinking bears no seal, so any model's may be shown to any other; sealed thinking has no words to show.
        if thinking := "".join(part.text for part in parts if isinstance(part, Thinking)):
            turn["thinking"] = thinking
        calls = [part for part in parts if isinstance(part, ToolCall)]
        self._names.update((call.id, call.name) for call in calls)
        if calls:
            turn["tool_calls"] = [call_object(call, index, own=self._own) for index, call in enumerate(calls)]

    def _result(self, result: ToolResult, message: Message | None) -> None:
        content = self._words(result.parts)
        if result.is_error:
            content = f"Error: {content}"
        turn: JsonObject = {"role": "tool", "content": content}
        if pictures := self._images(result.parts):
            if message is not None and self._request.dialect is not None and self._own:
                turn["images"] = pictures
            else:
                # Few templates show the pictures of a tool's turn.
                self._pictures += pictures
                self._notes.append(result.call_id)
                turn["content"] = content or "(shown in the next user message)"
        if name := result.name or self._names.get(result.call_id):
            turn["tool_name"] = name
        if result.call_id:
            turn["tool_call_id"] = result.call_id
        if message is not None and self._own:
            turn.update(message.extras)
        self._turns.append(turn)

    def _flush_pictures(self) -> None:
        if self._pictures:
            note = f"What the tool calls returned: {', '.join(self._notes)}"
            self._turns.append({"role": "user", "content": note, "images": self._pictures})
            self._pictures, self._notes = [], []

    def _words(self, parts: tuple[Part, ...]) -> str:
        """All words of a turn in one string, which is all that the dialect has room for."""
        said = [self._said(part) for part in parts]
        return "\n\n".join(text for text in said if text)

    def _said(self, part: Part) -> str:
        match part:
            case Text() | Refusal():
                return part.text
            case Document():
                return self._document(part)
            case Audio():
                refused = self._losses.refuse("audio", "send a transcript or choose another provider")
                raise refused
            case _:
                return ""

    def _document(self, part: Document) -> str:
        text = part.text
        media = part.media or Media()
        if text is None and media.data is not None and (media.media_type or "").startswith("text/"):
            text = words_of(media)
            if text is None:
                refused = self._losses.refuse("document", "it claims to be text but is not UTF-8 text in base64")
                raise refused
        if text is None:
            advice = "send the document's text, or choose a provider that reads documents"
            refused = self._losses.refuse("document", advice)
            raise refused
        return "\n\n".join(piece for piece in (part.title or media.filename, part.context, text) if piece)

    def _images(self, parts: tuple[Part, ...]) -> list[Json]:
        return [self._image(part.media) for part in parts if isinstance(part, Image)]

    def _image(self, media: Media) -> str:
        if media.data is not None:
            return media.data
        name = "image file id" if media.file_id is not None else "image address"
        raise self._losses.refuse(name, "send the image's bytes in base64")
