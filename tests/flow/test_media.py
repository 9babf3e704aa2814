"""Media by address, with the official packages, towards providers that fetch none: the gateway gets them, with care."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import anthropic
import openai
import pytest
from google import genai
from google.genai import types

from genai_spine.testing.gateway import RunningGateway
from genai_spine.testing.upstream import Received, Scripted, ScriptedUpstream, json_reply
from tests.conformance.services import SERVICES
from tests.conftest import Gateways
from tests.flow.scenes import PNG, PNG_TEXT

PDF: Final = b"%PDF-1.7\n1 0 obj\n%\xe2\xe3\xcf\xd3\nendobj\n"
PDF_TEXT: Final = base64.b64encode(PDF).decode()
WORDS: Final = "Grüße, Welt."
SECRET: Final = "signature-4711"

MODELS: Final = {
    "google": "google/gemini-3.1-flash-lite",
    "bedrock": "bedrock/anthropic.claude-3-sonnet-20240229-v1:0",
    "ollama": "ollama/llama3.2:latest",
}
_CONVERSED: Final = json_reply(
    {
        "output": {"message": {"role": "assistant", "content": [{"text": "Hello there."}]}},
        "stopReason": "end_turn",
        "usage": {"inputTokens": 5, "outputTokens": 3, "totalTokens": 8},
    }
)
_RESPONDED: Final = json_reply(
    {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "status": "completed",
        "model": "model-one",
        "output": [
            {
                "id": "msg_1",
                "type": "message",
                "role": "assistant",
                "status": "completed",
                "content": [{"type": "output_text", "text": "Hello there.", "annotations": []}],
            }
        ],
        "usage": {"input_tokens": 5, "output_tokens": 3, "total_tokens": 8},
    }
)


def _answer(received: Received) -> Scripted:
    if received.path.endswith("/converse"):
        return _CONVERSED
    if received.path.endswith(":countTokens"):
        return json_reply({"totalTokens": 258})
    if received.path.startswith("/v1beta/"):
        return SERVICES["gemini"](received)
    if received.path.endswith("/messages"):
        return SERVICES["anthropic_messages"](received)
    if received.path.endswith("/responses"):
        return _RESPONDED
    return SERVICES["ollama" if received.path.startswith("/api/") else "openai_chat"](received)


def _file(data: bytes, claimed: str) -> Scripted:
    return Scripted(headers={"content-type": claimed}, chunks=(data,))


def _moved(to: str) -> Scripted:
    return Scripted(status=302, headers={"location": to}, chunks=(b"over there",))


FILES: Final = {
    # What a host claims is often wrong.
    "/dot": _file(PNG, "image/jpeg"),
    "/paper.pdf": _file(PDF, "application/octet-stream"),
    "/notes.txt": _file(WORDS.encode(), "text/plain; charset=utf-8"),
    "/page": _file(b"<html>Sign in, please.</html>", "text/html"),
    "/bytes": _file(bytes(range(256)), "application/octet-stream"),
    "/packed": Scripted(headers={"content-encoding": "gzip"}, chunks=(PNG,)),
    "/large": _file(PNG + bytes(3000), "image/png"),
    "/long": Scripted(chunks=(PNG, *[bytes(1000)] * 3), streamed=True),
    "/cut": Scripted(chunks=(PNG,), cut=True),
    "/silent": Scripted(silent_before=True),
    "/stuck": Scripted(headers={"content-type": "image/png"}, chunks=(PNG,), streamed=True, silent_after=True),
    "/gone-after-silent": Scripted(status=404, after="/silent"),
    "/moved": _moved("/moved/again"),
    "/moved/again": _moved("./third"),
    "/moved/third": _moved("/dot"),
    "/circle": _moved("/circle"),
    "/astray": _moved(""),
    "/to-metadata": _moved("http://169.254.169.254/latest/meta-data/"),
    "/to-loopback": _moved("http://127.0.0.2/"),
    "/to-file": _moved("file:///etc/passwd"),
}


@pytest.fixture
async def files() -> AsyncIterator[ScriptedUpstream]:
    """A host of files, on loopback."""
    missing = Scripted(status=404, chunks=(b"no such file",))
    async with ScriptedUpstream(lambda received: FILES.get(received.path.partition("?")[0], missing)) as server:
        yield server


@pytest.fixture
async def providers() -> AsyncIterator[ScriptedUpstream]:
    """A service that plays all providers."""
    async with ScriptedUpstream(_answer) as server:
        yield server


Start = Callable[..., Awaitable[RunningGateway]]


@pytest.fixture
def start(gateways: Gateways, providers: ScriptedUpstream) -> Start:
    """Starts a gateway that may fetch from 127.0.0.1, unless told otherwise."""

    async def start(**environ: str) -> RunningGateway:
        return await gateways.before(
            providers,
            **{
                "GOOGLE_API_KEY": "google-key-0003",
                "GOOGLE_API_URL": providers.url,
                "BEDROCK_API_KEY": "bedrock-key-0004",
                "BEDROCK_API_URL": providers.url,
                "GENAI_FETCH_HOSTS": "127.0.0.1",
                **environ,
            },
        )

    return start


# What the packages ask.


async def by_chat(gateway: RunningGateway, model: str, *addresses: str, headers: dict[str, str] | None = None) -> str:
    """Show images through Chat Completions."""
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0) as client:
        parts: Any = [{"type": "image_url", "image_url": {"url": address}} for address in addresses]
        answer = await client.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": [{"type": "text", "text": "What is it?"}, *parts]}],
            extra_headers=headers,
        )
        return answer.choices[0].message.content or ""


async def by_responses(gateway: RunningGateway, model: str, *addresses: str, kind: str = "image") -> str:
    """Show images, or hand in files, through Responses."""
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0) as client:
        field = "image_url" if kind == "image" else "file_url"
        content: Any = [{"type": f"input_{kind}", field: address} for address in addresses]
        answer = await client.responses.create(
            model=model, input=[{"role": "user", "content": [{"type": "input_text", "text": "What is it?"}, *content]}]
        )
        return answer.output_text


async def by_messages(gateway: RunningGateway, model: str, *addresses: str, kind: Any = "image") -> str:
    """Show images, or hand in documents, through Anthropic's Messages."""
    async with anthropic.AsyncAnthropic(base_url=gateway.url, api_key=gateway.key, max_retries=0) as client:
        blocks: Any = [{"type": kind, "source": {"type": "url", "url": address}} for address in addresses]
        answer = await client.messages.create(
            model=model,
            max_tokens=50,
            messages=[{"role": "user", "content": [{"type": "text", "text": "What is it?"}, *blocks]}],
        )
        return "".join(block.text for block in answer.content if block.type == "text")


ASKING: Final[dict[str, Callable[..., Awaitable[str]]]] = {
    "chat": by_chat,
    "responses": by_responses,
    "messages": by_messages,
}


def sent(providers: ScriptedUpstream) -> list[tuple[str, str]]:
    """The media that the provider was sent last, each with its type; Ollama tells none."""
    body: Any = providers.received[-1].json()
    found: list[tuple[str, str]] = []
    for turn in body.get("contents", body.get("messages", [])):
        found += [("image", data) for data in turn.get("images", ())]
        pieces = turn.get("parts", turn["content"] if isinstance(turn.get("content"), list) else ())
        for piece in pieces:
            for kind in ("image", "document"):
                if kind in piece:
                    found.append((f"{kind}/{piece[kind]['format']}", piece[kind]["source"]["bytes"]))
            if "inlineData" in piece:
                found.append((piece["inlineData"]["mimeType"], piece["inlineData"]["data"]))
            if "file" in piece:
                found.append((piece["file"]["filename"], piece["file"]["file_data"]))
    return found


async def refused(gateway: RunningGateway, *addresses: str, headers: dict[str, str] | None = None) -> str:
    """Show images to a provider that fetches none; return why that was refused."""
    with pytest.raises(openai.UnprocessableEntityError) as caught:
        await by_chat(gateway, MODELS["ollama"], *addresses, headers=headers)
    body: Any = caught.value.body
    assert "image address" == body["param"]
    assert SECRET not in str(caught.value)
    return str(body["message"])


# What is fetched.


@pytest.mark.parametrize("provider", list(MODELS))
@pytest.mark.parametrize("door", list(ASKING))
async def test_an_image(
    start: Start, files: ScriptedUpstream, providers: ScriptedUpstream, door: str, provider: str
) -> None:
    """The provider is sent the bytes, by the type that they show, whatever the host of the file claims."""
    gateway = await start()
    assert "Hello there." == await ASKING[door](gateway, MODELS[provider], f"{files.url}/dot")
    kind = {"google": "image/png", "bedrock": "image/png", "ollama": "image"}[provider]
    assert [(kind, PNG_TEXT)] == sent(providers)


@pytest.mark.parametrize(
    ("provider", "expected"), [("google", ("application/pdf", PDF_TEXT)), ("bedrock", ("document/pdf", PDF_TEXT))]
)
async def test_a_document(
    start: Start, files: ScriptedUpstream, providers: ScriptedUpstream, provider: str, expected: tuple[str, str]
) -> None:
    """A PDF goes in as one."""
    gateway = await start()
    for asking, kind in ((by_responses, "file"), (by_messages, "document")):
        await asking(gateway, MODELS[provider], f"{files.url}/paper.pdf", kind=kind)
        assert [expected] == sent(providers)


async def test_a_document_for_chat_completions(
    start: Start, files: ScriptedUpstream, providers: ScriptedUpstream
) -> None:
    """Chat Completions fetch images and no files: a file goes in as bytes, under its own name."""
    await by_messages(await start(), "openai/gpt-4o-mini", f"{files.url}/paper.pdf?{SECRET}", kind="document")
    assert [("paper.pdf", f"data:application/pdf;base64,{PDF_TEXT}")] == sent(providers)


@pytest.mark.parametrize("model", [MODELS["ollama"], "openai/gpt-4o-mini"])
async def test_words(start: Start, files: ScriptedUpstream, providers: ScriptedUpstream, model: str) -> None:
    """Plain text is put among the words where the dialect has no documents for it."""
    await by_messages(await start(), model, f"{files.url}/notes.txt", kind="document")
    body = json.dumps(providers.received[-1].json(), ensure_ascii=False)
    assert WORDS in body
    assert "notes.txt" in body


async def test_a_pdf_for_ollama(start: Start, files: ScriptedUpstream, providers: ScriptedUpstream) -> None:
    """Nobody takes the words out of a PDF: that is said, and what to do."""
    with pytest.raises(openai.UnprocessableEntityError, match="document: ollama cannot do this; send the document's t"):
        await by_responses(await start(), MODELS["ollama"], f"{files.url}/paper.pdf", kind="file")
    assert [] == providers.received


async def test_a_picture_among_the_documents(
    start: Start, files: ScriptedUpstream, providers: ScriptedUpstream
) -> None:
    """What is called a document and turns out to be a picture is shown as one."""
    await by_messages(await start(), MODELS["bedrock"], f"{files.url}/dot", kind="document")
    assert [("image/png", PNG_TEXT)] == sent(providers)


async def test_an_address_that_the_provider_fetches(
    start: Start, files: ScriptedUpstream, providers: ScriptedUpstream
) -> None:
    """It goes on as it is, and nobody asks the host for it."""
    await by_messages(await start(), "openai/gpt-4o-mini", f"{files.url}/dot")
    assert f"{files.url}/dot".encode() in providers.received[-1].body
    assert [] == files.received


async def test_a_stream(start: Start, files: ScriptedUpstream, providers: ScriptedUpstream) -> None:
    """A stream waits for what must be fetched first."""
    gateway = await start()
    async with anthropic.AsyncAnthropic(base_url=gateway.url, api_key=gateway.key) as client:
        source: Any = {"type": "image", "source": {"type": "url", "url": f"{files.url}/dot"}}
        async with client.messages.stream(
            model=MODELS["google"], max_tokens=50, messages=[{"role": "user", "content": [source]}]
        ) as stream:
            assert "Hello there." == await stream.get_final_text()
    assert [("image/png", PNG_TEXT)] == sent(providers)


async def test_a_result_of_a_tool(start: Start, files: ScriptedUpstream, providers: ScriptedUpstream) -> None:
    """An image in what a tool returned is fetched like any other."""
    gateway = await start()
    async with anthropic.AsyncAnthropic(base_url=gateway.url, api_key=gateway.key) as client:
        result: Any = {
            "type": "tool_result",
            "tool_use_id": "toolu_1",
            "content": [{"type": "image", "source": {"type": "url", "url": f"{files.url}/dot"}}],
        }
        await client.messages.create(
            model=MODELS["ollama"],
            max_tokens=50,
            messages=[
                {"role": "user", "content": "Look."},
                {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}]},
                {"role": "user", "content": [result]},
            ],
        )
    assert [("image", PNG_TEXT)] == sent(providers)


async def test_a_count_of_tokens(start: Start, files: ScriptedUpstream, providers: ScriptedUpstream) -> None:
    """A provider that counts is shown the picture too."""
    gateway = await start()
    async with anthropic.AsyncAnthropic(base_url=gateway.url, api_key=gateway.key) as client:
        source: Any = {"type": "image", "source": {"type": "url", "url": f"{files.url}/dot"}}
        counted = await client.messages.count_tokens(
            model=MODELS["google"], messages=[{"role": "user", "content": [source]}]
        )
    assert 258 == counted.input_tokens
    assert PNG_TEXT.encode() in providers.received[-1].body


async def test_google_in_its_own_dialect(start: Start, files: ScriptedUpstream, providers: ScriptedUpstream) -> None:
    """What would pass through is looked into where it points to what Google does not fetch; its own files stay."""
    gateway = await start()
    held = "https://generativelanguage.googleapis.com/v1beta/files/abc"
    options = types.HttpOptions(base_url=gateway.url, retry_options=types.HttpRetryOptions(attempts=1))
    client = genai.Client(api_key=gateway.key, http_options=options).aio
    try:
        for uri in (f"{files.url}/dot", held):
            part = types.Part.from_uri(file_uri=uri, mime_type="image/png")
            await client.models.generate_content(model=MODELS["google"], contents=[part, types.Part(text="What?")])
    finally:
        await client.aclose()
    fetched, passed = providers.received
    assert {"inlineData": {"mimeType": "image/png", "data": PNG_TEXT}} in _parts(fetched)
    assert held.encode() in passed.body
    await gateway.recorder.until(2)
    assert [False, True] == [record.passthrough for record in gateway.recorder.records]


def _parts(received: Received) -> Any:
    body: Any = received.json()
    return body["contents"][0]["parts"]


@pytest.mark.parametrize(
    ("door", "dialect"),
    [("chat", "openai_chat"), ("responses", "openai_responses"), ("messages", "anthropic_messages")],
)
async def test_a_service_of_ones_own(
    start: Start, files: ScriptedUpstream, providers: ScriptedUpstream, tmp_path: Path, door: str, dialect: str
) -> None:
    """A row says that its service fetches nothing: then nothing that holds an address passes through to it."""
    row = f'[providers.mine]\ndialect = "{dialect}"\nurl = "{providers.url}"\nauth = "none"\n'
    file = tmp_path / "own.toml"
    for quirks, expected in (("", f"{files.url}/dot"), ("quirks = { image_urls = false }", PNG_TEXT)):
        file.write_text(row + quirks, encoding="utf-8")
        gateway = await start(GENAI_CONFIG=str(file))
        assert "Hello there." == await ASKING[door](gateway, "mine/model-one", f"{files.url}/dot")
        assert expected.encode() in providers.received[-1].body
    assert 1 == len(files.received)


async def test_the_same_address_twice(start: Start, files: ScriptedUpstream, providers: ScriptedUpstream) -> None:
    """It is fetched once, and stands in all places."""
    await by_chat(await start(), MODELS["google"], *[f"{files.url}/dot"] * 3)
    assert [("image/png", PNG_TEXT)] * 3 == sent(providers)
    assert 1 == len(files.received)


async def test_what_a_host_is_shown(start: Start, files: ScriptedUpstream) -> None:
    """The path and query as they were told, and nothing of the gateway's or the caller's."""
    await by_chat(await start(), MODELS["ollama"], f"{files.url}/dot?a=b%20c&{SECRET}#here", headers={"x-own": "1"})
    received = files.received[0]
    assert ("GET", f"/dot?a=b%20c&{SECRET}", b"") == (received.method, received.path, received.body)
    assert {"host", "accept", "accept-encoding", "connection", "user-agent"} == set(received.headers)
    assert files.url.removeprefix("http://") == received.headers["host"]
    assert "identity" == received.headers["accept-encoding"]


async def test_redirects(start: Start, files: ScriptedUpstream, providers: ScriptedUpstream) -> None:
    """Three are followed, relative ones too."""
    await by_chat(await start(), MODELS["ollama"], f"{files.url}/moved")
    assert [("image", PNG_TEXT)] == sent(providers)
    assert ["/moved", "/moved/again", "/moved/third", "/dot"] == [received.path for received in files.received]


# What is refused.


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/none", "it answered with the status 404"),
        ("/page", "what came is no PNG, JPEG, GIF or WebP image"),
        ("/paper.pdf", "what came is no PNG, JPEG, GIF or WebP image"),
        ("/bytes", "what came is no PNG, JPEG, GIF or WebP image"),
        ("/packed", "it answered with packed bytes"),
        ("/large", "it is larger than this gateway fetches for one request (2000 bytes)"),
        ("/long", "it is larger than this gateway fetches for one request (2000 bytes)"),
        ("/cut", "its answer broke off"),
        ("/silent", "it did not come within 0.2 seconds"),
        ("/stuck", "it did not come within 0.2 seconds"),
        ("/circle", "it redirects more than 3 times"),
        ("/astray", "it is no valid http or https address"),
        ("/to-file", "it is no valid http or https address"),
        ("/to-metadata", "this gateway fetches nothing from that host and port"),
        ("/to-loopback", "this gateway fetches nothing from that host and port"),
    ],
)
async def test_what_cannot_be_fetched(
    start: Start, files: ScriptedUpstream, providers: ScriptedUpstream, path: str, why: str
) -> None:
    """The field and the host are named, what went wrong, and what to do; no provider is asked."""
    gateway = await start(GENAI_FETCH_MAX_BYTES="2000", GENAI_FETCH_TIMEOUT="0.2")
    message = await refused(gateway, f"{files.url}{path}?{SECRET}")
    assert message.startswith("image address: could not be fetched")
    assert why in message
    assert message.endswith("mend the address, or send the bytes in base64")
    assert [] == providers.received
    await gateway.recorder.until(1)
    record = gateway.recorder.records[0]
    assert ("media_not_fetched", 422) == (record.error, record.status)


async def test_a_document_of_no_known_kind(start: Start, files: ScriptedUpstream) -> None:
    """Bytes that are no document and no text are refused by the name of the field."""
    with pytest.raises(anthropic.BadRequestError, match=r"document address: .* neither a document that is known nor"):
        await by_messages(await start(), MODELS["google"], f"{files.url}/bytes", kind="document")


async def test_the_requests_own_deadline(start: Start, files: ScriptedUpstream) -> None:
    """Fetching takes no longer than the caller allows for all of it."""
    message = await refused(await start(), f"{files.url}/silent", headers={"x-spine-timeout": "0.2"})
    assert "127.0.0.1: it did not come within 0." in message


@pytest.mark.parametrize("hosts", ["", "*", "*,files.example", "localhost"])
async def test_private_addresses(start: Start, files: ScriptedUpstream, hosts: str) -> None:
    """A host on a private address is not asked, unless it is named."""
    message = await refused(await start(GENAI_FETCH_HOSTS=hosts), f"{files.url}/dot")
    assert "127.0.0.1" in message
    assert [] == files.received


@pytest.mark.parametrize(
    "address",
    ["http://user:signature-4711@127.0.0.1/dot", "http://[::1/", "http:///dot", "https://a b/", "HTTP://\u2100/"],
)
async def test_odd_addresses(start: Start, files: ScriptedUpstream, address: str) -> None:
    """What is no address, or holds a password, is refused; it is not shown."""
    assert "signature" not in await refused(await start(), address)
    assert [] == files.received


async def test_too_many(start: Start, files: ScriptedUpstream) -> None:
    """So many addresses are fetched for one request and no more, and none if there are more."""
    gateway = await start(GENAI_FETCH_MAX_FILES="2")
    await by_chat(gateway, MODELS["ollama"], *[f"{files.url}/dot?{number}" for number in range(2)])
    assert 2 == len(files.received)
    message = await refused(gateway, *[f"{files.url}/dot?{number}" for number in range(3)])
    assert "at most 2 addresses for one request, and this one has 3" in message
    assert 2 == len(files.received)


async def test_too_much_together(start: Start, files: ScriptedUpstream) -> None:
    """The bound on bytes is one for all that a request wants."""
    gateway = await start(GENAI_FETCH_MAX_BYTES=str(2 * len(PNG)))
    await by_chat(gateway, MODELS["ollama"], *[f"{files.url}/dot?{number}" for number in range(2)])
    assert "larger than" in await refused(gateway, *[f"{files.url}/dot?{number}" for number in range(3)])


async def test_one_of_several(start: Start, files: ScriptedUpstream) -> None:
    """The first failure ends the others: nobody waits for what is of no use."""
    message = await refused(await start(), f"{files.url}/silent", f"{files.url}/gone-after-silent")
    assert "status 404" in message
    await files.until(lambda: files.hung_up == 1)


async def test_a_caller_who_leaves(start: Start, files: ScriptedUpstream) -> None:
    """Nothing more is fetched for him."""
    gateway = await start()
    asking = asyncio.create_task(by_chat(gateway, MODELS["ollama"], f"{files.url}/silent"))
    await files.until(lambda: len(files.received) == 1)
    asking.cancel()
    await files.until(lambda: files.hung_up == 1)
    await gateway.recorder.until(1)
    assert "cancelled" == gateway.recorder.records[0].outcome


async def test_switched_off(start: Start, files: ScriptedUpstream) -> None:
    """An operator may have none of it: then the provider's own limits are told."""
    message = await refused(await start(GENAI_FETCH_MEDIA="false"), f"{files.url}/dot")
    assert "image address: ollama cannot do this; send the image's bytes in base64" == message
    assert [] == files.received
