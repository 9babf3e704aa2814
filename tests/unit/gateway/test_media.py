"""What of filling in media the front door cannot show: several providers in turn, and providers by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from genai_spine.assembly import Spine
from genai_spine.gateway.context import Call
from genai_spine.gateway.fetching import Fetcher, Hosts
from genai_spine.gateway.media import Bounds, MediaFetching
from genai_spine.settings import Settings
from genai_spine.testing.upstream import Scripted, ScriptedUpstream
from genai_spine.transport.http import HttpTransport
from genai_spine.transport.names import SystemResolver
from genai_spine.types.completion import CompletionRequest
from genai_spine.types.messages import Audio, Document, Image, Media, Message, Text, ToolResult
from tests.providers import OwnProvider

GIF = b"GIF89a" + bytes(10)
GIF_TEXT = "R0lGODlhAAAAAAAAAAAAAA=="


@pytest.fixture
async def media() -> AsyncIterator[MediaFetching]:
    """It may fetch from 127.0.0.1."""
    transport, resolver = HttpTransport(), SystemResolver()
    fetcher = Fetcher(transport, resolver, Hosts(("127.0.0.1",)))
    yield MediaFetching(fetcher, Bounds(max_bytes=1000, max_files=4, seconds=5))
    await transport.close()
    await resolver.close()


@pytest.fixture
def spine() -> Spine:
    """Whose providers are only looked at."""
    return Spine(Settings({"GENAI_PROBE_LOCAL": "false"}))


def call() -> Call:
    """A request."""
    return Call(request_id="req_1", door="library", started=0)


def showing(url: str) -> CompletionRequest:
    """A request that shows a picture everywhere."""
    picture = Image(media=Media(url=url), detail="low")
    result = ToolResult(call_id="1", parts=(Text(text="See:"), picture))
    message = Message(role="user", parts=(result, Text(text="And this:"), picture))
    return CompletionRequest(messages=(message,), system=(picture,), model="m", dialect="openai_chat")


async def test_one_provider_after_another(upstream: ScriptedUpstream, media: MediaFetching, spine: Spine) -> None:
    """What was fetched for the first is there for the second; one that fetches is still told the address."""
    upstream.enqueue(Scripted(chunks=(GIF,)))
    asked, request = call(), showing(f"{upstream.url}/a")
    for name in ("ollama", "google"):
        filled = await media.filled(asked, request, spine.registry.get(name), 5)
        for part in (filled.system[0], filled.messages[0].parts[2]):
            assert Image(media=Media(data=GIF_TEXT, media_type="image/gif"), detail="low") == part
        result = filled.messages[0].parts[0]
        assert isinstance(result, ToolResult)
        assert (Text(text="See:"), filled.system[0]) == result.parts
    assert 1 == len(upstream.received)
    assert request is await media.filled(asked, request, spine.registry.get("openai"), 5)


async def test_a_provider_by_hand(upstream: ScriptedUpstream, media: MediaFetching) -> None:
    """What it fetches is its own affair."""
    request = showing(f"{upstream.url}/a")
    assert request is await media.filled(call(), request, OwnProvider(), 5)
    assert [] == upstream.received


@pytest.mark.parametrize("url", ["s3://bucket/a.png", "data:image/svg+xml;utf8,<svg/>", "ftp://files.example/a", ""])
async def test_what_is_no_web_address(media: MediaFetching, spine: Spine, url: str) -> None:
    """It is left for the dialect to say or to refuse."""
    request = showing(url)
    assert request is await media.filled(call(), request, spine.registry.get("ollama"), 5)


@pytest.mark.parametrize(
    ("body", "claimed", "kind", "media_type"),
    [
        (GIF, "application/pdf", Image, "image/gif"),
        (b"%PDF-1.7", "text/html", Document, "application/pdf"),
        ("Grüße".encode(), "application/octet-stream", Document, "text/plain"),
        (b"a,b", "Text/CSV; charset=utf-8", Document, "text/csv"),
        (b'{"a": 1}', "application/json", Document, "application/json"),
        (
            b"PK\x03\x04\xff",
            "application/vnd.oasis.opendocument.text",
            Document,
            "application/vnd.oasis.opendocument.text",
        ),
        (b"\xff\xfb\x90", "audio/mpeg", Audio, "audio/mpeg"),
        (b"\x00\x00\x00\x18ftypmp42", "video/mp4", Document, "video/mp4"),
    ],
)
async def test_what_a_document_turns_out_to_be(
    upstream: ScriptedUpstream,
    media: MediaFetching,
    spine: Spine,
    body: bytes,
    claimed: str,
    kind: type,
    media_type: str,
) -> None:
    """The bytes tell its kind; where they cannot, the host does. It has the name at the end of its address."""
    upstream.enqueue(Scripted(headers={"content-type": claimed}, chunks=(body,)))
    part = Document(media=Media(url=f"{upstream.url}/b/my%20file.x?token=1"))
    request = replace(showing(""), system=(), messages=(Message(role="user", parts=(part,)),))
    filled = (await media.filled(call(), request, spine.registry.get("google"), 5)).messages[0].parts[0]
    assert isinstance(filled, Image | Document | Audio)
    assert kind is type(filled)
    assert filled.media is not None
    assert (media_type, "my file.x") == (filled.media.media_type, filled.media.filename)


async def test_names_are_not_made_up(upstream: ScriptedUpstream, media: MediaFetching, spine: Spine) -> None:
    """A request in the provider's own dialect gets no name that its caller did not give; a name given is kept."""
    google = spine.registry.get("google")
    for dialect, told, expected in (
        ("gemini", None, None),
        ("gemini", "mine", "mine"),
        ("openai_chat", "mine", "mine"),
    ):
        upstream.enqueue(Scripted(chunks=(b"%PDF-1.7",)))
        part = Document(media=Media(url=f"{upstream.url}/b.pdf", filename=told))
        request = CompletionRequest(messages=(Message(role="user", parts=(part,)),), model="m", dialect=dialect)
        filled = (await media.filled(call(), request, google, 5)).messages[0].parts[0]
        assert isinstance(filled, Document)
        assert filled.media is not None
        assert expected == filled.media.filename
