"""What a client package is asked and what it hands over, free of any package."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Protocol

from msgspec import Struct
from pydantic import BaseModel

from tests.flow.published import Heard
from tests.flow.said import Call
from tests.flow.seen import ToolSpec

__all__ = ["Ask", "Client", "Round", "Told", "data_uri", "uri"]


class Told(Struct, frozen=True, kw_only=True):
    """What the package handed to its user.

    Attributes:
        finish: In the dialect's own word.
        input_tokens: All of them, cached ones too.
        cached: Of the input, read from a cache; None where the dialect cannot tell.
        pieces: In how many pieces words came.
        message: The package's own object, to be sent back in the next turn.
        parsed: The object that the package made of a structured answer.
        raw: The whole answer, as the package's own object.
    """

    text: str
    calls: tuple[Call, ...]
    finish: str | None
    input_tokens: int
    output_tokens: int
    model: str
    cached: int | None = None
    thinking: str = ""
    logprobs: tuple[tuple[str, float], ...] = ()
    pieces: int = 1
    message: Any = None  # Any: of another type in each package
    parsed: BaseModel | None = None
    raw: Any = None  # Any: as above


class Round(Struct, frozen=True):
    """A turn of the model's and what its tools answered, in the order of the calls."""

    told: Told
    results: tuple[str, ...]


class Ask(Struct, frozen=True, kw_only=True):
    """A request, free of any package.

    Attributes:
        image: A PNG, or an address.
        document: A PDF, or words.
        choice: ``auto``, ``none``, ``required`` or a tool's name.
        shape: What a structured answer must be.
        result_image: An image that the last tool answered beside its words.
        failed: The last tool failed; its words say how.
        more: Further arguments, in the package's own words.
    """

    prompt: str = "What is the capital of France?"
    system: str = ""
    max_tokens: int | None = 300
    image: bytes | str | None = None
    document: bytes | str | None = None
    tools: tuple[ToolSpec, ...] = ()
    choice: str | None = None
    one_call: bool = False
    rounds: tuple[Round, ...] = ()
    shape: type[BaseModel] | None = None
    result_image: bytes | None = None
    failed: bool = False
    stop: tuple[str, ...] = ()
    effort: str | None = None
    more: Mapping[str, Any] = {}  # Any: arguments of another type in each package


class Client(Protocol):
    """A package, in front of the gateway."""

    name: str
    seen: dict[str, str]
    """The headers of the last answer that ``complete`` was given."""
    heard: list[Heard]
    """All that came through a door whose answers are published as models, as it came."""

    async def complete(self, model: str, ask: Ask) -> Told:
        """Ask for a whole answer; with a ``shape`` by the package's own means for structured output."""
        ...

    async def stream(self, model: str, ask: Ask) -> Told:
        """Ask for a stream, and collect it by the package's own means where it has any."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...


def uri(image: bytes | str) -> str:
    """The address of an image: its own, or one that holds its bytes."""
    return image if isinstance(image, str) else f"data:image/png;base64,{base64.b64encode(image).decode()}"


def data_uri(document: bytes | str) -> str:
    """An address that holds a document: a PDF, or words."""
    raw, kind = (document.encode(), "text/plain") if isinstance(document, str) else (document, "application/pdf")
    return f"data:{kind};base64,{base64.b64encode(raw).decode()}"
