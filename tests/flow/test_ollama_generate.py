"""``/api/generate`` towards an Ollama: both ends speak it, so bodies pass as they come, whole and streamed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Final

import aiohttp
import ollama
import pytest
import pytest_asyncio

from genai_spine.testing.upstream import Scripted, ScriptedUpstream, json_reply
from genai_spine.types.json import Json, JsonObject
from tests.conftest import Gateways
from tests.flow.callers import Caller

_HEAD: Final[JsonObject] = {"model": "codellama:code", "created_at": "2026-01-02T03:04:05Z"}
_END: Final[JsonObject] = {"done": True, "done_reason": "stop", "context": [1, 2, 3], "prompt_eval_count": 21}
_WHOLE: Final[JsonObject] = {**_HEAD, "response": "  return a", **_END, "eval_count": 8}
_LINES: Final[tuple[JsonObject, ...]] = (
    {**_HEAD, "response": "  return", "done": False},
    {**_HEAD, "response": " a", "done": False},
    {**_HEAD, "response": "", **_END, "eval_count": 8},
)
_OWN: Final[dict[str, JsonObject]] = {
    "suffix": {"suffix": "\n}"},
    "raw": {"raw": True},
    "context": {"context": [1, 2]},
    "template": {"template": "{{ .Prompt }}"},
}


def _stream(*lines: JsonObject) -> Scripted:
    chunks = tuple(json.dumps(line).encode() + b"\n" for line in lines)
    return Scripted(headers={"content-type": "application/x-ndjson"}, chunks=chunks, streamed=True)


@pytest_asyncio.fixture
async def caller(upstream: ScriptedUpstream, gateways: Gateways) -> AsyncIterator[Caller]:
    """A caller with the gateway's key."""
    gateway = await gateways.before(upstream)
    async with aiohttp.ClientSession(gateway.url, headers=gateway.headers) as session:
        yield Caller(session, gateway, upstream)


def _asked(model: str, **more: Json) -> JsonObject:
    return {"model": model, "prompt": "def add(a):", **more}


@pytest.mark.parametrize("field", _OWN)
async def test_what_only_ollama_knows_passes(caller: Caller, field: str) -> None:
    """The body reaches the same route as it came, but for the model's name, and the answer's bytes are Ollama's own."""
    whole, stream = json_reply(_WHOLE), _stream(*_LINES)
    caller.upstream.enqueue(whole, stream)
    body = _asked("ollama/codellama:code", **_OWN[field])
    answers = [await caller.call("POST", "/api/generate", json={**body, "stream": wanted}) for wanted in (False, True)]

    assert [(200, b"".join(whole.chunks)), (200, b"".join(stream.chunks))] == [
        (answer.status, answer.body) for answer in answers
    ]
    for received, wanted in zip(caller.upstream.received, (False, True), strict=True):
        assert "/api/generate" == received.path
        assert {**body, "model": "codellama:code", "stream": wanted} == received.json()
    await caller.gateway.recorder.until(2)
    records = caller.gateway.recorder.records
    assert [("success", True, 21, 8)] * 2 == [
        (record.outcome, record.passthrough, record.input_tokens, record.output_tokens) for record in records
    ]


@pytest.mark.parametrize("field", _OWN)
async def test_what_only_ollama_knows_is_refused_elsewhere(caller: Caller, field: str) -> None:
    """No other provider can do it: the answer names the field, and nothing is sent."""
    body = _asked("openai/gpt-4o-mini", stream=False, **_OWN[field])
    answer = await caller.call("POST", "/api/generate", json=body)
    assert 400 == answer.status
    assert field in answer.json()["error"]
    assert not caller.upstream.received


async def test_the_package(caller: Caller) -> None:
    """Ollama's own client reads both; the tokens that stand for the conversation so far come back to it."""
    caller.upstream.enqueue(json_reply(_WHOLE), _stream(*_LINES))
    client = ollama.AsyncClient(host=caller.gateway.url, headers=caller.gateway.headers)
    answer = await client.generate("ollama/codellama:code", "def add(a):", suffix="\n}")
    assert ("  return a", "stop", [1, 2, 3], 8) == (
        answer.response,
        answer.done_reason,
        answer.context,
        answer.eval_count,
    )
    parts = [part async for part in await client.generate("ollama/codellama:code", "def add(a):", stream=True)]
    assert "  return a" == "".join(part.response or "" for part in parts)
    assert (True, 8) == (parts[-1].done, parts[-1].eval_count)
    await client.close()  # type: ignore[no-untyped-call]  # the package leaves this method without types


async def test_a_stream_that_breaks_off(caller: Caller) -> None:
    """T4: without its last line it is no whole answer; what came of it is told and counted."""
    caller.upstream.enqueue(_stream(*_LINES[:2]))
    answer = await caller.call("POST", "/api/generate", json=_asked("ollama/codellama:code", raw=True))
    *lines, last = [json.loads(line) for line in answer.body.splitlines()]
    assert [*_LINES[:2]] == lines
    assert "error" in last
    await caller.gateway.recorder.until(1)
    (record,) = caller.gateway.recorder.records
    assert ("interrupted", 3) == (record.outcome, record.output_tokens)


async def test_an_answer_that_is_none(caller: Caller) -> None:
    """T4: an answer without words, or one that has not ended, is a failure with a status of its own."""
    replies: list[JsonObject] = [{**_HEAD, "done": True}, {**_WHOLE, "done": False}, {"error": "no such model"}]
    for reply in replies:
        caller.upstream.enqueue(json_reply(reply))
        body = _asked("ollama/codellama:code", stream=False)
        answer = await caller.call("POST", "/api/generate", json=body)
        assert answer.status >= 400, reply
        assert answer.json()["error"]
