"""What a conversation is made of: messages, and the parts that they hold.

``extras`` everywhere holds the fields that a dialect has and this vocabulary has not, under their wire names. They
belong to the dialect that the request or response came in (its ``dialect`` field): an encoder of that dialect writes
them back, any other drops them.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct, field

from genai_spine.types.json import JsonObject

__all__ = [
    "Audio",
    "CacheMark",
    "Document",
    "Image",
    "Media",
    "Message",
    "Opaque",
    "Part",
    "Refusal",
    "Role",
    "Text",
    "Thinking",
    "ToolCall",
    "ToolResult",
    "text_of",
]

Role: TypeAlias = Literal["system", "developer", "user", "assistant", "tool"]


class CacheMark(Struct, frozen=True, kw_only=True):
    """A caller's wish that the prompt up to here be cached.

    Attributes:
        ttl: How long, as the dialect writes it (``5m``, ``1h``); None for its default.
    """

    ttl: str | None = None


class Media(Struct, frozen=True, kw_only=True):
    """Where the bytes of an image, document or sound are; exactly one of ``data``, ``url``, ``file_id`` is set.

    Attributes:
        data: The bytes in base64, without a ``data:`` prefix.
        media_type: Such as ``image/png``; None where the sender did not say.
        url: An address that the provider, or else the gateway, fetches.
        file_id: A file that the provider holds already.
        filename: What the sender calls it.
    """

    data: str | None = None
    media_type: str | None = None
    url: str | None = None
    file_id: str | None = None
    filename: str | None = None


class Text(Struct, frozen=True, tag="text", kw_only=True):
    """Words. ``citations`` are the dialect's own records of where they come from."""

    text: str
    citations: list[JsonObject] | None = None
    cache: CacheMark | None = None
    extras: JsonObject = field(default_factory=dict)


class Image(Struct, frozen=True, tag="image", kw_only=True):
    """A picture; ``detail`` is how closely it should be looked at (``low``, ``high``, ``auto``)."""

    media: Media
    detail: str | None = None
    cache: CacheMark | None = None
    extras: JsonObject = field(default_factory=dict)


class Document(Struct, frozen=True, tag="document", kw_only=True):
    """A file to read: ``media`` for one in bytes, ``text`` for one in plain words; exactly one is set."""

    media: Media | None = None
    text: str | None = None
    title: str | None = None
    context: str | None = None
    cache: CacheMark | None = None
    extras: JsonObject = field(default_factory=dict)


class Audio(Struct, frozen=True, tag="audio", kw_only=True):
    """A sound recording; ``media.media_type`` is ``audio/wav`` or ``audio/mp3``."""

    media: Media
    extras: JsonObject = field(default_factory=dict)


class Thinking(Struct, frozen=True, tag="thinking", kw_only=True):
    """A model's reasoning, to be handed back to it unchanged.

    Attributes:
        text: The reasoning, or its summary; empty where the provider shows only a signature.
        signature: The provider's seal on it, opaque.
        redacted: The sealed reasoning itself where the provider shows none of it, opaque.
        wire_field: The field in which an OpenAI-compatible provider told it (``reasoning_content``, ``reasoning``).
    """

    text: str = ""
    signature: str | None = None
    redacted: str | None = None
    wire_field: str | None = None
    extras: JsonObject = field(default_factory=dict)


class ToolCall(Struct, frozen=True, tag="tool_call", kw_only=True):
    """A model's wish to have a tool called.

    Attributes:
        id: By which the result refers to it.
        arguments: JSON text as the model wrote it (for a ``custom`` tool, free text); ``{}`` where it wrote none.
        custom: The tool takes free text instead of JSON.
    """

    id: str
    name: str
    arguments: str = "{}"
    custom: bool = False
    cache: CacheMark | None = None
    extras: JsonObject = field(default_factory=dict)


class ToolResult(Struct, frozen=True, tag="tool_result", kw_only=True):
    """What a tool answered. ``name`` is the tool's, where the dialect tells it."""

    call_id: str
    parts: tuple[Part, ...] = ()
    name: str | None = None
    is_error: bool | None = None
    cache: CacheMark | None = None
    extras: JsonObject = field(default_factory=dict)


class Refusal(Struct, frozen=True, tag="refusal", kw_only=True):
    """The model's own words for declining."""

    text: str


class Opaque(Struct, frozen=True, tag="opaque", kw_only=True):
    """A part that only ``dialect`` knows (a server tool's call): echoed to it unchanged, dropped for others."""

    dialect: str
    data: JsonObject


Part: TypeAlias = Text | Image | Document | Audio | Thinking | ToolCall | ToolResult | Refusal | Opaque


class Message(Struct, frozen=True, kw_only=True):
    """One turn. Results of tools may stand in a ``tool`` message each, or together at the head of a ``user`` one."""

    role: Role
    parts: tuple[Part, ...] = ()
    name: str | None = None
    extras: JsonObject = field(default_factory=dict)


def text_of(parts: tuple[Part, ...]) -> str:
    """Return the words of ``parts`` joined, thinking and tools left out."""
    return "".join(part.text for part in parts if isinstance(part, Text))
