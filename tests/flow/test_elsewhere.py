"""The same model elsewhere answers well: what was asked passes, or is translated, as the next provider wants it."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest
from msgspec.structs import replace

from genai_spine.types.json import JsonObject
from tests.flow.answers import PROVIDERS, Said
from tests.flow.cells import NOT_POSSIBLE
from tests.flow.clients import CLIENTS, Ask, Round
from tests.flow.fleets import HELLO, failure, fleet, told
from tests.flow.scenes import CAPITAL, TWO_CALLS
from tests.flow.wire import READERS
from tests.flow.wiring import Wired, got, told_of

CLAUDE: Final = "claude-haiku-4-5"
AT_BEDROCK: Final = "global.anthropic.claude-haiku-4-5-20251001-v1:0"
TALKING: Final = tuple(client for client in CLIENTS if (client, "bedrock", "tools") not in NOT_POSSIBLE)
FIRST, SECOND = PROVIDERS["anthropic"], PROVIDERS["bedrock"]
GPT: Final = "gpt-oss-120b"
BODY: Final[dict[str, Any]] = {
    "messages": [{"role": "system", "content": "Sei brief."}, {"role": "user", "content": "Grüße, 世界 🌍"}],
    "seed": 7,
    "temperature": 0,
    "unheard_of": {"deep": [1, None]},
}


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("client", TALKING)
@pytest.mark.asyncio(loop_scope="module")
async def test_a_conversation_with_tools(wired: Wired, client: str, *, streamed: bool) -> None:
    """Claude is overloaded at Anthropic's; Bedrock's is asked the same, in Converse, and once more with the results."""
    spine = wired.gateway.spine
    spine.guards.of(spine.registry.get("anthropic")).reset()
    written = SECOND.stream if streamed else SECOND.whole
    asking = wired.clients[client].stream if streamed else wired.clients[client].complete
    path = f"/model/{AT_BEDROCK.replace(':', '%3A')}/converse{'-stream' if streamed else ''}"

    ask = Ask(
        prompt=f"Where is it warm, {client}?", system=f"Be brief{'' if streamed else ', please'}.", tools=(CAPITAL,)
    )
    said = replace(TWO_CALLS, model=AT_BEDROCK)
    wired.upstream.enqueue(FIRST.failure(529, "Overloaded"), written(said))
    handed = await asking(CLAUDE, ask)
    assert told_of(client, said, SECOND) == got(handed)
    refused, taken = wired.upstream.received
    assert ["/v1/messages", path] == [refused.path, taken.path]
    first, second = READERS["anthropic"](refused.json()), READERS["bedrock"](taken.json())
    assert replace(first, model="", stream=False) == replace(second, model="", stream=False)
    assert (ask.system, ask.tools) == (second.system, second.tools)

    wired.upstream.enqueue(written(Said(text="In Paris.", model=AT_BEDROCK)))
    assert "In Paris." == (await asking(CLAUDE, replace(ask, rounds=(Round(handed, ("Paris", "Lima")),)))).text
    assert path == wired.upstream.received[-1].path
    results = READERS["bedrock"](wired.upstream.received[-1].json()).turns[-1].results
    assert ["Paris", "Lima"] == [result.text for result in results]
    assert [(CLAUDE, "bedrock", AT_BEDROCK, 2, True, False), (CLAUDE, "bedrock", AT_BEDROCK, 1, False, True)] == [
        (one.asked_model, one.provider, one.model, one.attempts, one.fallback, one.affinity)
        for one in wired.gateway.recorder.records
    ]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_body_that_passes(*, stream: bool) -> None:
    """Both speak the caller's dialect: each is shown the body as it came, under its own name of the model."""
    async with fleet("groq", "cerebras") as running:
        running.script("groq", *[failure(500)] * 3)
        answer = await running.ask(GPT, stream=stream, **BODY)
        assert (200, "cerebras", "4", "true") == told(answer)
        assert GPT == answer.headers["x-spine-model"]
        assert HELLO in _text(answer.body, stream=stream)
        (taken,) = running.services["cerebras"].received
        refused = running.services["groq"].received[0]
        usage: JsonObject = {"stream_options": {"include_usage": True}} if stream else {}
        common = {**BODY, "stream": stream, **usage}
        assert {**common, "model": "openai/gpt-oss-120b"} == refused.json()
        assert {**common, "model": GPT} == taken.json()
        assert "Bearer sk-cerebras-canary-0001" == taken.headers["authorization"]


def _text(body: bytes, *, stream: bool) -> str:
    if not stream:
        content: str = json.loads(body)["choices"][0]["message"]["content"]
        return content
    chunks: list[Any] = [json.loads(line[6:]) for line in body.splitlines() if line.startswith(b"data: {")]
    return "".join(one["choices"][0]["delta"].get("content") or "" for one in chunks if one["choices"])
