"""T8: canary keys and a canary prompt go through success and failures, and are looked for in all that comes out."""

from __future__ import annotations

import io
import socket
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import aiohttp
import pytest
from msgspec import Struct

from genai_spine.assembly import Spine
from genai_spine.errors import ConfigurationError, SpineError
from genai_spine.settings import Settings
from genai_spine.telemetry.logging import LineWriter, LogObserver, logger
from genai_spine.testing.gateway import RunningGateway, running_gateway
from genai_spine.testing.upstream import Received, Scripted, ScriptedUpstream, json_reply
from genai_spine.types.json import JsonObject
from tests.conftest import ONE_CALL
from tests.faults.tools import DOORS, PROVIDERS, Ask, Door, Provider, ask, streamed, whole

# Of a well-known shape and of none: services' keys have many.
PROVIDER_KEYS: Final = {
    "known shape": "sk-canary-0f8b3d6e7a9c4b5d8e1f",
    "identifier": "0f8b3d6e-7a9c-4b5d-8e1f-canary000001",
    "plain": "canary+Key/With=Signs9",
}
GATEWAY_KEY: Final = "gateway~canary~7f3a9c"
PROMPT: Final = "canary prompt: the launch code is 4711"


class Bench(Struct):
    """A gateway that logs all that it can, and all that has come out of it."""

    gateway: RunningGateway
    upstream: ScriptedUpstream
    session: aiohttp.ClientSession
    key: str
    log: io.StringIO
    writer: LineWriter
    seen: list[str]

    async def ask(
        self, door: Door, provider: Provider, *scripts: Scripted, stream: bool, headers: dict[str, str] | None = None
    ) -> Ask:
        """Ask, and keep what came out."""
        self.upstream.enqueue(*scripts)
        body = door.body(provider.model, stream=stream, words=PROMPT)
        answer = await ask(self.session, self.gateway, door.path, body, headers)
        self.seen.append(f"{answer.headers} {answer.body.decode()}")
        return answer

    async def look(self) -> None:
        """Hold that no key came out anywhere, nor the prompt in the log."""
        async with self.session.get(f"{self.gateway.url}/metrics") as response:
            self.seen.append(await response.text())
        self.writer.close()
        log = self.log.getvalue()
        assert '"event":"request"' in log
        assert PROMPT not in log
        assert "launch code" not in log
        for place in (log, *self.seen):
            for canary in (self.key, GATEWAY_KEY, "launch code" if place is log else self.key):
                where = place.find(canary)
                assert where < 0, place[max(0, where - 200) : where + 100]


@pytest.fixture(params=list(PROVIDER_KEYS))
async def bench(request: pytest.FixtureRequest, log: tuple[io.StringIO, LineWriter]) -> AsyncIterator[Bench]:
    """What each test here needs, for each canary."""
    key = PROVIDER_KEYS[str(request.param)]
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(ScriptedUpstream())
        gateway = await stack.enter_async_context(
            running_gateway(_environment(upstream.url, key), key=GATEWAY_KEY, observers=[LogObserver(log[1])])
        )
        session = await stack.enter_async_context(aiohttp.ClientSession())
        yield Bench(gateway, upstream, session, key, *log, [])


def _environment(url: str, key: str) -> dict[str, str]:
    return {
        **ONE_CALL,
        "OPENAI_API_KEY": key,
        "OPENAI_API_URL": f"{url}/v1",
        "ANTHROPIC_API_KEY": key,
        "ANTHROPIC_API_URL": url,
        "OLLAMA_API_KEY": key,
        "OLLAMA_API_URL": url,
    }


def _echoes(key: str) -> Iterator[JsonObject]:
    """Errors that say the key again, in every field that there is."""
    for text in (
        f"Incorrect API key provided: {key}.",
        f"bad header Authorization: Bearer {key}",
        key,
    ):
        yield {"error": {"message": f"{text} for: {PROMPT}", "type": text, "code": text, "param": text}}
        yield {"type": "error", "error": {"type": text, "message": text, "details": {"error_code": text}}}
        yield {"error": f"{text} {PROMPT}"}
        yield {"detail": text}
        yield {"detail": [{"msg": text, "loc": [text]}]}
        yield {"object": "error", "message": text, "code": text}


async def test_the_key_reaches_the_upstream(bench: Bench) -> None:
    """The canary is really in use: the other tests here could pass for a wrong reason otherwise."""
    for provider in PROVIDERS[:2]:
        assert 200 == (await bench.ask(DOORS[0], provider, whole(provider), stream=False)).status
        assert bench.key in str(bench.upstream.received[-1].headers)
    await bench.look()


async def test_success_tells_nothing(bench: Bench) -> None:
    """Good answers, whole and streamed, and the catalogue's pages."""
    for door in DOORS:
        for provider in PROVIDERS:
            await bench.ask(door, provider, whole(provider), stream=False)
            await bench.ask(door, provider, streamed(provider, *provider.events), stream=True)
    for path in (
        "/providers",
        "/v1/models",
        "/ready",
        "/health",
        "/providers/openai/health",
        f"/v1/models?key={GATEWAY_KEY}",
    ):
        bench.upstream.enqueue(json_reply({"error": {"message": f"no {bench.key}"}}, 401))
        async with bench.session.get(bench.gateway.url + path, headers=bench.gateway.headers) as response:
            bench.seen.append(f"{response.headers} {await response.text()}")
    await bench.look()


async def test_errors_that_echo_the_key(bench: Bench) -> None:
    """An upstream that quotes the key in its error, whatever its status and form."""
    for door in DOORS:
        for provider in PROVIDERS:
            for status in (400, 401, 500):
                for body in _echoes(bench.key):
                    await bench.ask(door, provider, json_reply(body, status), stream=status == 400)
    await bench.look()


async def test_errors_in_band_that_echo_the_key(bench: Bench) -> None:
    """The same within a good answer, whole or streamed, at its beginning or in its middle."""
    for door in DOORS:
        for provider in PROVIDERS:
            for body in _echoes(bench.key):
                await bench.ask(door, provider, json_reply(body), stream=False)
                if "error" not in body:
                    continue  # these come with a status of their own, never inside a stream
                event = json_reply(body).chunks[0] + b"\n"
                framed = event if provider.name == "ollama" else b"data: " + event + b"\n"
                for place in (0, 3):
                    await bench.ask(door, provider, streamed(provider, *provider.events[:place], framed), stream=True)
            text = f"Bearer {bench.key}"
            await bench.ask(door, provider, streamed(provider, provider.error_event(text)), stream=True)
    await bench.look()


async def test_junk_that_echoes_the_key(bench: Bench) -> None:
    """Answers that are no dialect's, with the key in the midst of the junk."""
    key = bench.key.encode()
    for door in DOORS:
        for provider in PROVIDERS:
            for chunk in (
                key,
                b'{"a": "%b' % key,
                b'{"%b": 1}' % key,
                b'{"choices": "%b", "content": "%b"}' % (key, key),
            ):
                for status in (200, 500):
                    for stream in (False, True):
                        script = Scripted(status=status, headers={"content-type": "application/json"}, chunks=(chunk,))
                        await bench.ask(door, provider, script, stream=stream)
            headers = {"location": f"http://127.0.0.1/?key={bench.key}", "x-key": bench.key, "retry-after": bench.key}
            await bench.ask(door, provider, Scripted(status=302, headers=headers), stream=False)
            await bench.ask(door, provider, Scripted(status=429, headers=headers), stream=False)
    await bench.look()


async def test_broken_calls_tell_nothing(bench: Bench) -> None:
    """Cuts, callers without a good key and bodies that are none."""
    for door in DOORS:
        for provider in PROVIDERS:
            await bench.ask(door, provider, streamed(provider, *provider.events[:2], cut=True), stream=True)
            await bench.ask(door, provider, Scripted(cut=True, chunks=(b"{",)), stream=False)
        for headers in (
            {"authorization": f"Bearer {GATEWAY_KEY}x"},
            {"authorization": "Bearer ", "x-api-key": f"{GATEWAY_KEY}x"},
            {"x-request-id": GATEWAY_KEY[:-1]},
        ):
            answer = await ask(bench.session, bench.gateway, door.path, PROMPT.encode(), headers)
            assert answer.status in {400, 401}
            assert bench.key not in f"{answer.headers} {answer.body.decode()}"
        path = f"{door.path}/no-such-route?key={GATEWAY_KEY}"
        async with bench.session.post(bench.gateway.url + path, data=PROMPT) as response:
            bench.seen.append(f"{response.headers} {await response.text()}")
    await bench.look()


async def test_silence_tells_nothing(bench: Bench) -> None:
    """An upstream that says nothing until the caller's patience ends."""
    # More than enough for all: whether a call that ran out of time had reached the upstream is anybody's guess.
    bench.upstream.enqueue(*[Scripted(silent_before=True)] * 100)
    for door in DOORS:
        for provider in PROVIDERS:
            answer = await bench.ask(door, provider, stream=False, headers={"x-spine-timeout": "0.02"})
            assert answer.status >= 500
    await bench.look()


async def test_an_unreachable_upstream_tells_nothing(log: tuple[io.StringIO, LineWriter]) -> None:
    """A refused connection."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    environment = _environment(f"http://127.0.0.1:{port}", PROVIDER_KEYS["plain"])
    async with (
        ScriptedUpstream() as upstream,
        running_gateway(environment, key=GATEWAY_KEY, observers=[LogObserver(log[1])]) as gateway,
        aiohttp.ClientSession() as session,
    ):
        bench = Bench(gateway, upstream, session, PROVIDER_KEYS["plain"], *log, [])
        for door in DOORS:
            for provider in PROVIDERS:
                assert (await bench.ask(door, provider, stream=True)).status >= 500
        await bench.look()


def test_an_address_with_a_password_is_refused_without_it() -> None:
    """A password in an address would show in messages: it is refused, and not quoted."""
    password = "canary-password"
    settings = Settings({"OPENAI_API_KEY": "sk-x", "OPENAI_API_URL": f"http://user:{password}@127.0.0.1:9"})
    with pytest.raises(ConfigurationError) as caught:
        Spine(settings)
    assert password not in "".join(traceback.format_exception(caught.value))


async def test_a_fault_of_our_own_tells_nothing(log: tuple[io.StringIO, LineWriter]) -> None:
    """An error that nobody foresaw is logged with its place in the code, without what was in hand there."""
    key = PROVIDER_KEYS["plain"]

    def fault(secret: str, prompt: str) -> None:
        message = "a fault"
        assert secret
        assert prompt
        raise ZeroDivisionError(message)

    try:
        fault(key, PROMPT)
    except ZeroDivisionError:
        logger.exception("internal error")
    log[1].close()
    told = log[0].getvalue()
    assert "ZeroDivisionError" in told
    assert key not in told
    assert PROMPT not in told


async def test_objects_do_not_show_keys() -> None:
    """What a debugger, a report or a careless print shows of the objects that hold keys."""
    for key in PROVIDER_KEYS.values():
        settings = Settings({**_environment("http://127.0.0.1:9", key), "GENAI_API_KEYS": GATEWAY_KEY})
        async with Spine(settings) as spine:
            shown = [repr(spine), str(spine), repr(settings), repr(settings.values), repr(settings.keys)]
            shown += [repr(spine.registry), repr(spine.gateway), repr(spine.settings.provider("openai"))]
            for provider in spine.registry:
                shown += [repr(provider), str(provider), provider.hint, repr(getattr(provider, "keys", ()))]
            with pytest.raises(SpineError) as caught:
                await spine.complete(PROMPT, model="openai/gpt-4o-mini")
            shown += [repr(caught.value), str(caught.value), "".join(traceback.format_exception(caught.value))]
            for text in shown:
                assert key not in text
                assert GATEWAY_KEY not in text
                assert PROMPT not in text


async def test_the_library_s_errors_do_not_show_keys() -> None:
    """Errors raised to a program, with all that they were raised from, though the upstream quotes the key."""
    for key in PROVIDER_KEYS.values():

        def answer(_: Received, key: str = key) -> Scripted:
            return json_reply(
                {"error": {"message": f"no such key: {key}", "code": key, "type": key, "param": key}}, 400
            )

        async with ScriptedUpstream(answer) as upstream, Spine(Settings(_environment(upstream.url, key))) as spine:
            for model in (provider.model for provider in PROVIDERS):
                with pytest.raises(SpineError) as caught:
                    await spine.complete(PROMPT, model=model)
                error = caught.value
                told = f"{error!r} {error} {error.message} {error.code} {error.param}"
                assert key not in told + "".join(traceback.format_exception(error))
                with pytest.raises(SpineError) as caught:
                    _ = [event async for event in spine.stream(PROMPT, model=model)]
                error = caught.value
                told = f"{error!r} {error} {error.message} {error.code} {error.param}"
                assert key not in told + "".join(traceback.format_exception(error))


@pytest.mark.parametrize(
    "lines",
    [
        'api_keys = "KEY"',
        'api_key = ["KEY"]',
        'api_key = "KEY"\nquirks = "KEY"',
        'headers = ["KEY"]',
        'unknown = "KEY"',
        'api_key = "KEY',
    ],
)
def test_a_wrong_file_does_not_show_its_keys(lines: str, tmp_path: Path) -> None:
    """A file that cannot be read as settings is told with what is wrong, not with what stands there."""
    key = PROVIDER_KEYS["plain"]
    path = tmp_path / "spine.toml"
    path.write_text(f"[providers.openai]\n{lines.replace('KEY', key)}\n")
    with pytest.raises(ConfigurationError) as caught:
        Settings({}, path)
    assert key not in "".join(traceback.format_exception(caught.value))


def test_keys_of_the_file_are_not_shown(tmp_path: Path) -> None:
    """Keys that stand in the file are as secret as those in the environment."""
    key = PROVIDER_KEYS["plain"]
    path = tmp_path / "spine.toml"
    path.write_text(f'[providers.openai]\napi_key = "{key}"\napi_keys = ["{key}"]\nheaders = {{ x-key = "{key}" }}\n')
    settings = Settings({}, path)
    assert key == settings.provider("openai").keys[0].reveal()
    for shown in (settings, settings.values, settings.values.providers, settings.provider("openai"), settings.keys):
        assert key not in f"{shown!r} {shown}"
