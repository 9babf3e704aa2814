"""Media by address, for a provider that fetches none: the gateway gets the bytes, and puts them into the request.

What the provider gets by itself is left as it is: bytes in base64 are a third longer.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from genai_spine.dialects.media import is_text, shown_type
from genai_spine.errors import InvalidFieldError
from genai_spine.gateway.context import Call
from genai_spine.gateway.fetching import Allowance, Fetched, Fetcher, Wanted, refusal
from genai_spine.providers.base import Provider, Relays, Wire
from genai_spine.types.completion import CompletionRequest
from genai_spine.types.messages import Audio, Document, Image, Media, Part, ToolResult

__all__ = ["Bounds", "MediaFetching"]

Medium: TypeAlias = Image | Document | Audio

_WEB: Final = ("http://", "https://")
_NOUNS: Final[dict[type[Medium], str]] = {Image: "image", Document: "document", Audio: "audio"}
# Kinds that begin in no way of their own; providers who take them judge for themselves.
_TRUSTED: Final = ("application/vnd.", "application/msword", "audio/", "video/")


class Bounds(Struct, frozen=True, kw_only=True):
    """How much is fetched for one request.

    Attributes:
        seconds: For all of it; the request's own deadline may shorten it.
    """

    max_bytes: int
    max_files: int
    seconds: float


class MediaFetching:
    """Puts bytes in the place of addresses."""

    def __init__(self, fetcher: Fetcher, bounds: Bounds) -> None:
        self._fetcher = fetcher
        self._bounds = bounds

    async def filled(
        self, call: Call, request: CompletionRequest, provider: Provider, seconds: float | None
    ) -> CompletionRequest:
        """Return the request with the bytes of all that the provider does not fetch by itself.

        Each address is fetched once in a request, however often it stands there and however many providers are tried.

        Raises:
            InvalidFieldError: Something could not be fetched, is not what it is said to be, or there is too much of it.
        """
        if not isinstance(provider, Relays):
            return request
        wire = provider.wire_for(request)
        lacking = _lacking(request, wire)
        if not lacking:
            return request
        await self._fetch(call, lacking, seconds)
        native = request.dialect == wire.dialect.name

        def fill(part: Medium) -> Medium:
            url = _address(part, wire)
            return part if url is None else _with_bytes(part, call.fetched[url], native=native)

        return replace(
            request,
            system=_changed(request.system, fill),
            messages=tuple(replace(message, parts=_changed(message.parts, fill)) for message in request.messages),
        )

    async def _fetch(self, call: Call, lacking: dict[str, Wanted], seconds: float | None) -> None:
        """Fetch what the call does not hold yet, all at once; the first failure ends it."""
        if len(lacking) > self._bounds.max_files:
            what = next(iter(lacking.values())).what
            message = (
                f"{what}: this gateway fetches at most {self._bounds.max_files} addresses for one request, "
                f"and this one has {len(lacking)}; send some of them in base64"
            )
            raise InvalidFieldError(message, code="too_many_media", param=what)
        bound = self._bounds.seconds if seconds is None else min(seconds, self._bounds.seconds)
        allowance = Allowance(self._bounds.max_bytes)

        async def fetch(wanted: Wanted) -> None:
            call.fetched[wanted.url] = _media(await self._fetcher.fetch(wanted, allowance, bound), wanted)

        try:
            async with asyncio.TaskGroup() as group:
                for wanted in lacking.values():
                    if wanted.url not in call.fetched:
                        group.create_task(fetch(wanted))
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None


# What to fetch.


def _lacking(request: CompletionRequest, wire: Wire) -> dict[str, Wanted]:
    """What a provider must be given the bytes of, by address; an address told twice is an image's if one of them is."""
    found: dict[str, Wanted] = {}
    for part in _media_of(request):
        url = _address(part, wire)
        if url is not None and (url not in found or isinstance(part, Image)):
            found[url] = Wanted(url, _NOUNS[type(part)])
    return found


def _media_of(request: CompletionRequest) -> Iterator[Medium]:
    yield from _media_in(request.system)
    for message in request.messages:
        yield from _media_in(message.parts)


def _media_in(parts: tuple[Part, ...]) -> Iterator[Medium]:
    for part in parts:
        if isinstance(part, Medium):
            yield part
        elif isinstance(part, ToolResult):
            yield from _media_in(part.parts)


def _address(part: Medium, wire: Wire) -> str | None:
    """The address of a part that the provider must be given the bytes of; None where there is none, or no need."""
    url = part.media.url if part.media else None
    if url is None or not url[:8].lower().startswith(_WEB) or wire.dialect.fetches(part, wire.quirks):
        return None
    return url


# What was fetched.


def _media(fetched: Fetched, wanted: Wanted) -> Media:
    """What was fetched as bytes of the type that they show.

    Raises:
        InvalidFieldError: They show none that anybody could read, or no image where one is wanted.
    """
    data = base64.b64encode(fetched.data).decode("ascii")
    kind = shown_type(data) or _kind(fetched)
    if wanted.noun == _NOUNS[Image] and not (kind or "").startswith("image/"):
        raise refusal(wanted, fetched.host, "what came is no PNG, JPEG, GIF or WebP image")
    if kind is None:
        raise refusal(wanted, fetched.host, "what came is neither a document that is known nor text in UTF-8")
    return Media(data=data, media_type=kind, filename=fetched.name)


def _kind(fetched: Fetched) -> str | None:
    """The type of bytes that begin in no known way: text, or what the host claims where that can be trusted."""
    claimed = fetched.claimed.partition(";")[0].strip().lower()
    if claimed.startswith(_TRUSTED):
        return claimed
    try:
        words = fetched.data.decode()
    except UnicodeDecodeError:
        return None
    if not words or "\0" in words:
        return None
    return claimed if is_text(claimed) else "text/plain"


def _with_bytes(part: Medium, media: Media, *, native: bool) -> Medium:
    """A part with its bytes; what they are decides of which kind it is.

    A request that came in the provider's dialect gets no name that its caller did not give.
    """
    kind = media.media_type or ""
    told = part.media.filename if part.media else None
    media = replace(media, filename=told or (None if native else media.filename))
    if kind.startswith("image/") and isinstance(part, Document):
        return Image(media=media, cache=part.cache, extras=part.extras)
    if kind.startswith("audio/") and isinstance(part, Document):
        return Audio(media=media, extras=part.extras)
    return replace(part, media=media)


def _changed(parts: tuple[Part, ...], change: Callable[[Medium], Medium]) -> tuple[Part, ...]:
    return tuple(_changed_part(part, change) for part in parts)


def _changed_part(part: Part, change: Callable[[Medium], Medium]) -> Part:
    if isinstance(part, Medium):
        return change(part)
    return replace(part, parts=_changed(part.parts, change)) if isinstance(part, ToolResult) else part
