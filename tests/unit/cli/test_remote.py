"""A running gateway, as commands ask it: what reaches it, what comes back, and what is told when it does not answer."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from genai_spine.cli.remote import Remote, remote_of
from genai_spine.errors import ConfigurationError, ConnectionFailedError, MalformedResponseError, SpineError
from genai_spine.identity.first_key import KEY_FILE
from genai_spine.redact import Secret
from genai_spine.settings import Settings
from genai_spine.testing.upstream import ScriptedUpstream, json_reply
from tests.conftest import Gateways


class Health(msgspec.Struct):
    """What is read of a provider's health."""

    name: str
    usable: bool


# What is asked.


async def test_an_answer_is_read(gateways: Gateways) -> None:
    """A real gateway answers with what was asked for; the rest of it is left."""
    running = await gateways.start()
    remote = Remote(running.url + "/", Secret(running.key))
    told = await asyncio.to_thread(remote.ask, Health, "/providers/simulator/health", query={"probe": "false"})
    assert Health(name="simulator", usable=True) == told


async def test_what_is_sent(upstream: ScriptedUpstream) -> None:
    """The method, the query and the body as JSON, with the key in its header."""
    upstream.enqueue(json_reply({"name": "x", "usable": True}))
    remote = Remote(upstream.url, Secret("spine-1"))
    await asyncio.to_thread(
        remote.ask, Health, "/v1/keys", method="POST", query={"by": "a b&c"}, body={"label": "mine"}
    )
    request = upstream.received[0]
    assert ("POST", "/v1/keys?by=a+b%26c", {"label": "mine"}) == (request.method, request.path, request.json())
    assert "Bearer spine-1" == request.headers["authorization"]
    assert "application/json" == request.headers["content-type"]


async def test_bytes_as_they_come(upstream: ScriptedUpstream) -> None:
    """What is no JSON is handed on; without a key none is sent."""
    upstream.enqueue(json_reply(b"day,cost\n"))
    assert b"day,cost\n" == await asyncio.to_thread(Remote(upstream.url).fetch, "/v1/usage")
    assert "authorization" not in upstream.received[0].headers


# What goes wrong.


async def test_a_refusal_is_told_in_the_gateways_words(gateways: Gateways) -> None:
    """With the code and the field, so that a command can act by them."""
    running = await gateways.start()
    with pytest.raises(SpineError, match="is not one of the gateway's keys") as refused:
        await asyncio.to_thread(Remote(running.url, Secret("wrong")).fetch, "/providers")
    assert "invalid_api_key" == refused.value.code
    remote = Remote(running.url, Secret(running.key))
    with pytest.raises(SpineError, match="no key with this fingerprint") as unknown:
        await asyncio.to_thread(remote.fetch, "/v1/admin/providers/simulator/reset", method="POST", query={"key": "0"})
    assert ("not_found", "key") == (unknown.value.code, unknown.value.param)


async def test_a_refusal_shows_no_key(upstream: ScriptedUpstream) -> None:
    """Whatever stands at the address, what it says is scrubbed."""
    upstream.enqueue(json_reply({"error": {"message": "your key spine-canary-1234 is bad"}}, 401))
    with pytest.raises(SpineError, match="is bad") as refused:
        await asyncio.to_thread(Remote(upstream.url, Secret("spine-canary-1234")).fetch, "/providers")
    assert "canary" not in refused.value.message


def test_nobody_answers() -> None:
    """It is told how to start a gateway, and how to name another."""
    with pytest.raises(ConnectionFailedError, match=r"no gateway answers at http://127\.0\.0\.1:9; start one"):
        Remote("http://127.0.0.1:9").fetch("/providers")


@pytest.mark.parametrize(("status", "body"), [(200, b"<html>"), (200, b'{"name": 1}'), (502, b"<html>"), (302, b"")])
async def test_somebody_else_answers(upstream: ScriptedUpstream, status: int, body: bytes) -> None:
    """What is no gateway's answer is told as that, whatever its status; a redirect is not followed."""
    upstream.enqueue(json_reply(body, status, {"location": upstream.url}))
    with pytest.raises(MalformedResponseError, match="is no gateway"):
        await asyncio.to_thread(Remote(upstream.url, Secret("k")).ask, Health, "/providers")
    assert 1 == len(upstream.received)


# Which gateway, and which key.


@pytest.mark.parametrize(
    ("environ", "url", "expected"),
    [
        ({}, None, "http://127.0.0.1:8100"),
        ({"GENAI_API_HOST": "0.0.0.0", "GENAI_API_PORT": "80"}, None, "http://127.0.0.1:80"),  # noqa: S104  # not bound
        ({"GENAI_API_HOST": "::"}, None, "http://[::1]:8100"),
        ({"GENAI_API_HOST": "spine.lan"}, None, "http://spine.lan:8100"),
        ({"GENAI_API_URL": "https://spine.example/"}, None, "https://spine.example"),
        ({"GENAI_API_URL": "https://spine.example"}, "http://other:1", "http://other:1"),
    ],
)
def test_the_address(environ: dict[str, str], url: str | None, expected: str, tmp_path: Path) -> None:
    """The option's, then the setting's, then where a gateway with these settings listens."""
    assert expected == remote_of(Settings({"GENAI_DATA_DIR": str(tmp_path), **environ}), url).url


async def _key_sent(upstream: ScriptedUpstream, remote: Remote) -> str | None:
    upstream.enqueue(json_reply({}))
    await asyncio.to_thread(remote.fetch, "/providers")
    return upstream.received[-1].headers.get("authorization")


async def test_the_key(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    """The option's, then the first that callers may present, then the one that was made at the first start, or none."""
    environ = {"GENAI_DATA_DIR": str(tmp_path), "GENAI_API_URL": upstream.url}
    assert await _key_sent(upstream, remote_of(Settings(environ))) is None
    path = tmp_path / KEY_FILE
    path.write_text("the-first-key\n")
    path.chmod(0o600)
    assert "Bearer the-first-key" == await _key_sent(upstream, remote_of(Settings(environ)))
    named = Settings({**environ, "GENAI_API_KEYS": "one,two"})
    assert "Bearer one" == await _key_sent(upstream, remote_of(named))
    assert "Bearer three" == await _key_sent(upstream, remote_of(named, key="three"))
    path.chmod(0o644)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        remote_of(Settings(environ))
