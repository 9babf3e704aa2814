"""A request that is wrong is refused at once, at each door in its dialect, and no upstream ever sees it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Final

import aiohttp
import pytest
from msgspec import Struct
from yarl import URL

from genai_spine.testing.gateway import RunningGateway
from genai_spine.testing.upstream import ScriptedUpstream
from genai_spine.types.json import Json, JsonObject
from tests.conftest import Gateways
from tests.faults.tools import DOORS, PROVIDERS, Ask, Door, Provider, ask, raw_request, whole

AT_EACH_DOOR: Final = pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
MODEL: Final = "openai/gpt-4o-mini"
MANY: Final = 100_000
LIMIT: Final = 4096


class Bench(Struct):
    """A caller, a gateway, and an upstream that answers well whatever it is asked."""

    session: aiohttp.ClientSession
    gateway: RunningGateway
    upstream: ScriptedUpstream

    async def refused(
        self,
        door: Door,
        body: JsonObject | bytes,
        *,
        status: int,
        code: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> str:
        """Ask, and hold that the request is refused by the door's table, with no call upstream; return the words."""
        answer = await ask(self.session, self.gateway, door.path, body, headers)
        place = (door.name, body[:200] if isinstance(body, bytes) else str(body)[:200], answer)
        return self.check(door, answer, status=status, code=code, place=place)

    def check(self, door: Door, answer: Ask, *, status: int, code: str | None = None, place: object = None) -> str:
        """Hold what ``refused`` does."""
        assert door.statuses.get(status, status) == answer.status, place
        message, _, told = door.read_error(answer.json())
        assert "application/json" == answer.headers["content-type"]
        assert "false" == answer.headers["x-should-retry"]
        assert code is None or code == told, place
        assert [] == self.upstream.received, place
        assert "Traceback" not in message
        return message

    async def served(self, door: Door, body: JsonObject | bytes, headers: dict[str, str] | None = None) -> JsonObject:
        """Ask, and hold that there is an answer; return what the upstream was asked."""
        answer = await ask(self.session, self.gateway, door.path, body, headers)
        assert 200 == answer.status, answer
        assert 1 == len(self.upstream.received)
        return self.upstream.received.pop().json()


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    """An upstream that answers well, so that a request which slips through is a success and is seen."""
    by_path = {"/v1/messages": 1, "/api/chat": 2, "/api/generate": 2}
    async with ScriptedUpstream(lambda request: whole(PROVIDERS[by_path.get(request.path, 0)])) as server:
        yield server


@pytest.fixture
async def bench(gateways: Gateways, upstream: ScriptedUpstream) -> AsyncIterator[Bench]:
    """What each test here needs."""
    gateway = await gateways.before(upstream, GENAI_MAX_BODY_BYTES=str(1024 * 1024))
    async with aiohttp.ClientSession() as session:
        yield Bench(session, gateway, upstream)


def _good(door: Door, provider: Provider = PROVIDERS[0]) -> JsonObject:
    return door.body(provider.model, stream=False)


@AT_EACH_DOOR
async def test_a_good_request_is_served(door: Door, bench: Bench) -> None:
    """The request that all others here are bad variants of is good."""
    for provider in PROVIDERS:
        asked = await bench.served(door, _good(door, provider))
        assert provider.model.partition("/")[2] == asked["model"]


@AT_EACH_DOOR
async def test_a_body_that_is_no_json(door: Door, bench: Bench) -> None:
    """Broken JSON, other than an object, text that is no UTF-8, nothing at all: 400."""
    good = json.dumps(_good(door)).encode()
    for body in (
        b"",
        b"   ",
        b"hello",
        b"{",
        good[:-1],
        good + b"}",
        good + good,
        b"null",
        b"[]",
        b'"text"',
        b"7",
        b"{'model': 'single quotes'}",
        b'{"model": NaN}',
        b"\xff\xfe" + good.decode().encode("utf-16-le"),
        good.replace(b"Say hello.", b"Say \xff hello."),
        good.replace(b"Say hello.", b"Say \xed\xa0\x80 hello."),
        good.replace(b"Say hello.", b"Say \x01 hello."),
        good.replace(b"{", b'{"\xff": 1, ', 1),
        b"\x1f\x8b\x08\x00" + good,
    ):
        await bench.refused(door, body, status=400, code="invalid_request")


@AT_EACH_DOOR
async def test_fields_of_the_wrong_type(door: Door, bench: Bench) -> None:
    """A field of the wrong type is a 422 that names it, whoever is to answer, streamed or not."""
    name = "prompt" if door.name == "ollama_generate" else "messages"
    wrong: list[tuple[str, Json]] = [("model", 7), ("model", ["m"]), ("model", {}), ("stream", "yes"), ("stream", 1)]
    wrong += [("provider", 7), ("provider", ["openai"]), ("tools", "all"), ("tools", [7]), (name, 7), (name, {})]
    if name == "messages":
        wrong += [(name, "hello"), (name, ["hello"]), (name, [[]]), (name, [{}]), (name, [{"role": 7}])]
        wrong += [(name, None)] if door.name != "ollama" else []
    if door.name.startswith("ollama"):
        wrong += [("options", "hot"), ("options", {"temperature": "hot"}), ("options", {"num_predict": "many"})]
    else:
        wrong += [("temperature", "hot"), ("temperature", [1]), ("max_tokens", "many"), ("max_tokens", 1.5)]
    for field, value in wrong:
        if (field, value) == ("tools", [7]) and door.name == "ollama_generate":
            continue
        message = await bench.refused(door, {**_good(door), field: value}, status=422, code="invalid_field")
        assert field in message, (field, value)


@AT_EACH_DOOR
async def test_deeper_fields_of_the_wrong_type(door: Door, bench: Bench) -> None:
    """What only a translation looks at is refused there, before anything is sent."""
    if door.name == "ollama_generate":
        return
    for provider in PROVIDERS:
        if provider.name in door.name:
            continue  # passing through leaves the finer points to the provider
        turns: tuple[JsonObject, ...] = ({"role": "user", "content": 7}, {"role": "juggler", "content": "x"})
        for turn in turns:
            await bench.refused(door, {**_good(door, provider), "messages": [turn]}, status=422)


@AT_EACH_DOOR
async def test_nothing_asked(door: Door, bench: Bench) -> None:
    """No messages, or no prompt, is a 422."""
    field = "prompt" if door.name == "ollama_generate" else "messages"
    for provider in PROVIDERS:
        good = _good(door, provider)
        empty: Json = "" if field == "prompt" else []
        assert field in await bench.refused(door, {**good, field: empty}, status=422)
        del good[field]
        assert field in await bench.refused(door, good, status=422)


async def test_an_anthropic_request_needs_a_limit(bench: Bench) -> None:
    """Anthropic's API demands ``max_tokens``, so its door does."""
    door = DOORS[1]
    good = _good(door)
    del good["max_tokens"]
    assert "max_tokens" in await bench.refused(door, good, status=422)


def _bombs(door: Door) -> Iterator[bytes]:
    """Bodies with arrays or objects within each other a hundred thousand deep, in every place."""
    good = json.dumps(_good(door)).encode()
    for opening, closing in ((b"[", b"]"), (b'{"a":', b"}"), (b'[{"a":', b"}]")):
        middle = b"1" if opening.endswith(b":") else b""
        bomb = opening * MANY + middle + closing * MANY
        yield bomb
        yield opening * MANY
        for field in ("x_unknown", "model", "messages", "prompt", "tools", "options", "stream", "provider", "metadata"):
            yield good[:-1] + b',"%b":%b}' % (field.encode(), bomb)
            yield b'{"%b":%b' % (field.encode(), opening * MANY)
        yield good.replace(b'"Say hello."', bomb)
        yield good.replace(b'"Say hello."', b'[{"type":"text","text":"hi","x":%b}]' % bomb)
        yield good.replace(b'"Say hello."', b'"hi", "x": %b' % bomb)


@AT_EACH_DOOR
async def test_nesting_without_end(door: Door, gateways: Gateways, upstream: ScriptedUpstream) -> None:
    """Nesting past all reason, wherever it stands, is refused at once and never breaks the gateway."""
    gateway = await gateways.before(upstream)
    async with aiohttp.ClientSession() as session:
        bench = Bench(session, gateway, upstream)
        for bomb in _bombs(door):
            answer = await ask(session, gateway, door.path, bomb)
            assert answer.status in {400, 422}, (bomb[:80], answer)
            door.read_error(answer.json())
            assert [] == upstream.received, bomb[:80]
        await bench.served(door, _good(door))


@AT_EACH_DOOR
async def test_nesting_before_another_dialect(door: Door, gateways: Gateways, upstream: ScriptedUpstream) -> None:
    """Nesting just short of the reader's limit may be too much once it is written within more: refused, never a 500."""
    gateway = await gateways.before(upstream)
    async with aiohttp.ClientSession() as session:
        for provider in PROVIDERS:
            good = json.dumps(_good(door, provider)).encode()
            for depth in (100, 900, *range(980, 1030, 5)):
                bomb = b"[" * depth + b"]" * depth
                for body in (
                    good[:-1] + b',"x":%b}' % bomb,
                    good[:-1] + b',"tools":[{"type":"function","name":"f","function":{"name":"f","parameters":'
                    b'{"x":%b}},"input_schema":{"x":%b}}]}' % (bomb, bomb),
                ):
                    answer = await ask(session, gateway, door.path, body)
                    assert answer.status in {200, 400, 422}, (provider.name, depth, answer)


async def test_a_body_that_is_too_large(gateways: Gateways, upstream: ScriptedUpstream) -> None:
    """A body over ``GENAI_MAX_BODY_BYTES`` is a 413, told by its length or found while it comes; one at it is read."""
    gateway = await gateways.before(upstream, GENAI_MAX_BODY_BYTES=str(LIMIT))
    async with aiohttp.ClientSession() as session:
        bench = Bench(session, gateway, upstream)
        for door in DOORS:
            good = json.dumps(_good(door)).encode()
            await bench.refused(door, good + b" " * (LIMIT + 1 - len(good)), status=413)
            for size in (LIMIT + 1, LIMIT * 100):
                url, headers = gateway.url + door.path, {"content-type": "application/json", **gateway.headers}
                async with session.post(url, data=_pieces(good, size), headers=headers) as response:
                    answer = Ask(response.status, dict(response.headers), await response.read())
                answer = Ask(
                    answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.body
                )
                bench.check(door, answer, status=413, place=size)
            await bench.served(door, good + b" " * (LIMIT - len(good)))


async def _pieces(start: bytes, size: int) -> AsyncIterator[bytes]:
    """A body of ``size`` bytes whose length is not told."""
    yield start
    left = size - len(start)
    while left > 0:
        yield b" " * min(1000, left)
        left -= 1000


async def test_a_body_that_is_too_large_is_not_awaited(gateways: Gateways, upstream: ScriptedUpstream) -> None:
    """The answer comes at once, though the caller has told of a gigabyte and sent none of it, or sends for ever."""
    gateway = await gateways.before(upstream, GENAI_MAX_BODY_BYTES=str(LIMIT))
    address = URL(gateway.url)
    for door in DOORS:
        for told in ("content-length: 1000000000", "transfer-encoding: chunked"):
            reader, writer = await asyncio.open_connection(address.host, address.port)
            writer.write(raw_request(door.path, b"", gateway.key).replace(b"content-length: 0", told.encode()))
            if "chunked" in told:
                writer.write(b"2000\r\n%b\r\n" % (b" " * 0x2000))
            await writer.drain()
            head = await reader.readuntil(b"\r\n\r\n")
            expected = door.statuses.get(413, 413)
            assert head.startswith(b"HTTP/1.1 %d " % expected), head
            writer.transport.abort()
    assert [] == upstream.received


@AT_EACH_DOOR
async def test_bodies_of_another_type(door: Door, bench: Bench) -> None:
    """What is not JSON by its content type, or is compressed, is a 415 that says what to send."""
    for content_type in ("text/plain", "multipart/form-data; boundary=x", "application/xml", "application/jsonx"):
        message = await bench.refused(door, _good(door), status=415, headers={"content-type": content_type})
        assert "application/json" in message
    for coding in ("gzip", "br", "deflate", "GZIP", "identity, gzip"):
        message = await bench.refused(door, _good(door), status=415, headers={"content-encoding": coding})
        assert "compressed" in message
    for content_type in ("application/json", "application/JSON; charset=utf-8", "application/vnd.api+json"):
        await bench.served(door, _good(door), {"content-type": content_type, "content-encoding": "identity"})


@AT_EACH_DOOR
async def test_an_unknown_provider(door: Door, bench: Bench) -> None:
    """A provider that does not exist is a 400 that lists those that do, in the body or in the header."""
    for headers, body in (({"x-spine-provider": "acme"}, {}), ({}, {"provider": "acme"})):
        asked: JsonObject = {**_good(door), "model": "gpt-4o-mini", **body}
        message = await bench.refused(door, asked, status=400, code="unknown_provider", headers=headers)
        for provider in PROVIDERS:
            assert provider.name in message


@AT_EACH_DOOR
async def test_a_provider_that_is_not_configured(door: Door, bench: Bench) -> None:
    """A provider without a key is a 503 that names the variable to set."""
    for asked in ({"model": "groq/llama-3.1-8b-instant"}, {"model": "llama-3.1-8b-instant", "provider": "groq"}):
        body: JsonObject = {**_good(door), **asked}
        message = await bench.refused(door, body, status=503, code="provider_not_configured")
        assert "GROQ_API_KEY" in message


@AT_EACH_DOOR
async def test_a_provider_that_contradicts_the_model(door: Door, bench: Bench) -> None:
    """``provider`` beside another provider's prefix is a 400."""
    body: JsonObject = {**_good(door), "provider": "anthropic"}
    message = await bench.refused(door, body, status=400)
    assert "anthropic" in message
    assert "openai" in message


@AT_EACH_DOOR
async def test_an_unknown_model(door: Door, gateways: Gateways, upstream: ScriptedUpstream) -> None:
    """A model that nobody serves is a 404 that names those spelt alike."""
    gateway = await gateways.start(OPENAI_API_KEY="sk-upstream-0001", OPENAI_API_URL=f"{upstream.url}/v1")
    async with aiohttp.ClientSession() as session:
        bench = Bench(session, gateway, upstream)
        body: JsonObject = {**_good(door), "model": "lama-3.3-70b-instruct"}
        message = await bench.refused(door, body, status=404, code="model_not_found")
        assert "llama-3.3-70b-instruct" in message
        await bench.refused(door, {**_good(door), "model": "no-such-thing"}, status=404, code="model_not_found")


async def test_an_unknown_route(bench: Bench) -> None:
    """A route that does not exist is a 404 in OpenAI's shape, with a hint at the one that was meant."""
    door = DOORS[0]
    for path, near in (
        ("/v1/chat/completion", "/v1/chat/completions"),
        ("/chat/completions", "/v1/chat/completions"),
        ("/v1/mesages", "/v1/messages"),
        ("/zzz", "/docs"),
    ):
        answer = await ask(bench.session, bench.gateway, path, {})
        assert near in bench.check(door, answer, status=404, code="not_found")


async def test_a_wrong_method(bench: Bench) -> None:
    """A method that a route does not take is a 405 that says so, in the dialect of the route."""
    for door in DOORS:
        for method in ("GET", "PUT", "DELETE", "PATCH"):
            url = bench.gateway.url + door.path
            async with bench.session.request(method, url, headers=bench.gateway.headers) as response:
                assert 405 == response.status, (method, door.name)
                message, _, code = door.read_error(await response.json())
                assert "method_not_allowed" == code
                assert method in message
    async with bench.session.post(f"{bench.gateway.url}/health", headers=bench.gateway.headers) as response:
        assert 405 == response.status
        assert "method_not_allowed" == (await response.json())["error"]["code"]


@AT_EACH_DOOR
async def test_no_key_or_a_wrong_one(door: Door, bench: Bench) -> None:
    """Who presents no key, or a wrong one, is a 401 before his body is looked at."""
    good = json.dumps(_good(door)).encode()
    for headers, code in (
        ({}, "missing_api_key"),
        ({"authorization": "Bearer "}, "missing_api_key"),
        ({"authorization": "Basic Z2F0ZXdheS10ZXN0LWtleQ=="}, "missing_api_key"),
        ({"authorization": "Bearer wrong"}, "invalid_api_key"),
        ({"authorization": f"Bearer {bench.gateway.key}x"}, "invalid_api_key"),
        ({"authorization": f"Bearer {bench.gateway.key[:-1]}"}, "invalid_api_key"),
        ({"x-api-key": "wrong"}, "invalid_api_key"),
        ({"x-goog-api-key": "wrong"}, "invalid_api_key"),
        ({"authorization": "Bearer wrong", "x-api-key": bench.gateway.key}, "invalid_api_key"),
        ({"authorization": "Bearer k\xe9y"}, "invalid_api_key"),
    ):
        for body in (good, b"{"):
            sent = {"content-type": "application/json", **headers}
            async with bench.session.post(bench.gateway.url + door.path, data=body, headers=sent) as response:
                told = {name.lower(): value for name, value in response.headers.items()}
                answer = Ask(response.status, told, await response.read())
            bench.check(door, answer, status=401, code=code, place=headers)
            assert bench.gateway.key.encode() not in answer.body


@AT_EACH_DOOR
async def test_each_place_of_the_key(door: Door, bench: Bench) -> None:
    """The key is taken wherever an official client puts it, and never sent on."""
    key = bench.gateway.key
    for headers in (
        {"authorization": f"Bearer {key}"},
        {"authorization": f"bearer {key}"},
        {"x-api-key": key},
        {"X-Goog-Api-Key": key},
    ):
        sent = {"content-type": "application/json", **headers}
        url = bench.gateway.url + door.path
        async with bench.session.post(url, json=_good(door), headers=sent) as response:
            assert 200 == response.status, headers
        received = bench.upstream.received.pop()
        assert key not in str(received.headers)


async def test_the_key_in_the_query(bench: Bench) -> None:
    """Routes of the control plane take ``?key=``, as Gemini's clients send it; a wrong one is a 401."""
    for key, status in ((bench.gateway.key, 200), ("wrong", 401), ("", 401)):
        async with bench.session.get(f"{bench.gateway.url}/v1/models?key={key}") as response:
            assert status == response.status
    async with bench.session.get(f"{bench.gateway.url}/v1/models") as response:
        assert 401 == response.status


@AT_EACH_DOOR
async def test_a_field_given_twice_smuggles_nothing(door: Door, bench: Bench) -> None:
    """Of a field given twice the last counts, for the gateway and for the upstream alike: it is sent once."""
    for provider in PROVIDERS:
        model = provider.model.partition("/")[2]
        good = json.dumps(_good(door, provider)).encode()
        for body in (
            b'{"model":"%b/other",' % provider.name.encode() + good[1:],
            b'{"mod\\u0065l":"other",' + good[1:],
            b'{"stream":true,"stream":true,' + good[1:],
        ):
            answer = await ask(bench.session, bench.gateway, door.path, body)
            assert 200 == answer.status, answer
            received = bench.upstream.received.pop()
            pairs: list[tuple[str, Json]] = json.loads(received.body, object_pairs_hook=list)
            names = [name for name, _ in pairs]
            assert sorted(set(names)) == sorted(names)
            assert model == dict(pairs)["model"]
            assert not dict(pairs).get("stream")


async def test_a_request_id_cannot_split_a_header(bench: Bench) -> None:
    """An id that would break a line, or hide in one, is replaced; one that is fit is kept, and told in each error."""
    address = URL(bench.gateway.url)
    for door in DOORS:
        for given in (b"a\rb", b"a\x00b", b"\xe4\xf6", b"a\x1b[31m", b"x" * 129, b"a\tb"):
            reader, writer = await asyncio.open_connection(address.host, address.port)
            extra = b"x-request-id: %b\r\nconnection: close\r\n\r\n" % given
            writer.write(raw_request(door.path, b"", "wrong").replace(b"\r\n\r\n", b"\r\n" + extra))
            head, _, _ = (await reader.read()).partition(b"\r\n\r\n")
            assert head.startswith((b"HTTP/1.1 401", b"HTTP/1.1 400")), head
            assert given not in head
            writer.transport.abort()
        answer = await ask(bench.session, bench.gateway, door.path, b"{", {"x-request-id": "mine-7"})
        assert "mine-7" == answer.headers["x-request-id"]
        assert b"mine-7" in answer.body


async def test_a_model_cannot_split_a_header(bench: Bench) -> None:
    """A model's name travels in a header of the answer; what it holds stays one line there."""
    for door in DOORS:
        for name in ("a\r\nset-cookie: x=1", "a\nb", "wörld \u2603", "\x00"):
            body: JsonObject = {**_good(door), "model": f"openai/{name}"}
            answer = await ask(bench.session, bench.gateway, door.path, body)
            assert "set-cookie" not in answer.headers
            assert answer.status in {200, 400, 404, 422}, (name, answer)
            bench.upstream.received.clear()


async def test_hostile_heads_are_refused(bench: Bench) -> None:
    """Requests that two servers might read differently are refused, and no upstream sees them."""
    address = URL(bench.gateway.url)
    good = json.dumps(_good(DOORS[0])).encode()
    start = f"POST {DOORS[0].path} HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {bench.gateway.key}\r\n".encode()
    start += b"content-type: application/json\r\n"
    for lines in (
        b"content-length: 5\r\ncontent-length: %d" % len(good),
        b"content-length: -1",
        b"content-length: five",
        b"content-length: %d\r\ntransfer-encoding: chunked" % len(good),
        b"transfer-encoding: chunked\r\ncontent-length: 5",
        b"bad header: x\r\ncontent-length: %d" % len(good),
        b"x" * 100_000 + b": 1",
    ):
        reader, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(start + lines + b"\r\nconnection: close\r\n\r\n" + good)
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 4"), (lines[:60], answer[:200])
        writer.transport.abort()
        assert [] == bench.upstream.received, lines[:60]
