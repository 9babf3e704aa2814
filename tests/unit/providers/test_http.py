"""A provider over HTTP: what it sends, what it makes of answers, and how it names itself in failures."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Final

import msgspec
import pytest

from genai_spine import errors
from genai_spine.catalog.prices import Cost
from genai_spine.dialects.base import Encoded
from genai_spine.providers.base import CallOptions, Relays
from genai_spine.providers.builtin import provider_from_row
from genai_spine.providers.http import HttpProvider
from genai_spine.providers.rows import Row, builtin_rows
from genai_spine.redact import Secret
from genai_spine.testing.upstream import Scripted, ScriptedUpstream, json_reply, sse_reply
from genai_spine.transport.http import HttpTransport
from genai_spine.types.completion import CompletionRequest
from genai_spine.types.json import JsonObject
from genai_spine.types.messages import Message, Text
from genai_spine.types.stream import Event, Failed, Start
from genai_spine.types.tools import OpaqueTool
from genai_spine.types.usage import CostByKind, Usage
from tests.context import context

ANSWER: Final[JsonObject] = {
    "id": "c1",
    "object": "chat.completion",
    "created": 5,
    "model": "gpt-4o-mini-2024-07-18",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}
HI: Final = CompletionRequest(messages=(Message(role="user", parts=(Text(text="Hi"),)),), model="gpt-4o-mini")


@pytest.fixture
async def transport() -> AsyncIterator[HttpTransport]:
    """A client, closed at the end."""
    client = HttpTransport()
    yield client
    await client.close()


def provider(
    upstream: ScriptedUpstream, transport: HttpTransport, row: Row | None = None, **environ: str
) -> HttpProvider:
    """The provider ``openai``, whose service is the upstream."""
    environ = {"OPENAI_API_URL": f"{upstream.url}/v1", "OPENAI_API_KEYS": "sk-first,sk-second", **environ}
    return provider_from_row("openai", row or builtin_rows()["openai"], context(environ, transport=transport))


def chunk(**fields: object) -> bytes:
    """One frame of a stream."""
    return b"data: " + msgspec.json.encode({"id": "c1", "model": "m", "choices": [], **fields}) + b"\n\n"


async def events(stream: AsyncIterator[Event]) -> list[Event]:
    """All of a stream's events."""
    return [event async for event in stream]


async def test_what_is_sent(upstream: ScriptedUpstream, transport: HttpTransport) -> None:
    """A POST to the dialect's path below the address, with the key, JSON, uncompressed, in the project's own name."""
    upstream.enqueue(json_reply(ANSWER))
    await provider(upstream, transport).complete(HI)
    sent = upstream.received[0]
    assert ("POST", "/v1/chat/completions") == (sent.method, sent.path)
    expected = {
        "authorization": "Bearer sk-first",
        "content-type": "application/json",
        "accept": "application/json",
        "accept-encoding": "identity",
        "user-agent": "genai-spine",
    }
    assert expected == {name: sent.headers.get(name) for name in expected}
    assert ("gpt-4o-mini", None) == (sent.json()["model"], sent.json().get("stream"))


async def test_what_comes_back(upstream: ScriptedUpstream, transport: HttpTransport) -> None:
    """The answer names provider and model, tells its usage, and carries the body as it came."""
    upstream.enqueue(json_reply(ANSWER))
    answer = await provider(upstream, transport).complete(HI)
    assert ("Hi.", "openai", "gpt-4o-mini-2024-07-18") == (answer.content, answer.provider, answer.model)
    assert (3, 2) == (answer.input_tokens, answer.output_tokens)
    assert answer.raw_response == ANSWER


async def test_the_chosen_key_is_the_one_sent(upstream: ScriptedUpstream, transport: HttpTransport) -> None:
    """Whoever plans the call picks the key; nobody below picks another."""
    upstream.enqueue(json_reply(ANSWER), json_reply(ANSWER))
    asked = provider(upstream, transport)
    for key in ("sk-second", "sk-first"):
        await asked.complete(HI, CallOptions(key=Secret(key)))
    assert ["Bearer sk-second", "Bearer sk-first"] == [sent.headers["authorization"] for sent in upstream.received]


@pytest.mark.parametrize(
    ("auth", "expected"),
    [
        ("bearer", {"authorization": "Bearer sk-first"}),
        ("x-api-key", {"x-api-key": "sk-first"}),
        ("api-key", {"api-key": "sk-first"}),
        ("none", {}),
    ],
)
async def test_how_the_key_is_sent(
    upstream: ScriptedUpstream, transport: HttpTransport, auth: str, expected: dict[str, str]
) -> None:
    """In the header that the row names, and in no other."""
    row = msgspec.convert({"dialect": "openai_chat", "auth": auth, "headers": {"X-Team": "blue"}}, Row)
    upstream.enqueue(json_reply(ANSWER))
    await provider(upstream, transport, row).complete(HI)
    headers = upstream.received[0].headers
    assert expected == {name: headers[name] for name in ("authorization", "x-api-key", "api-key") if name in headers}
    assert headers["x-team"] == "blue"


async def test_a_stream(upstream: ScriptedUpstream, transport: HttpTransport) -> None:
    """It is asked for as a stream with usage; what of the request was lost is told with its start."""
    upstream.enqueue(
        sse_reply(
            [
                chunk(choices=[{"index": 0, "delta": {"role": "assistant", "content": "Hi."}, "finish_reason": None}]),
                chunk(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}]),
                b"data: [DONE]\n\n",
            ]
        )
    )
    row = msgspec.structs.replace(builtin_rows()["groq"], url=f"{upstream.url}/v1")
    request = msgspec.structs.replace(HI, frequency_penalty=0.5)
    told = await events(provider(upstream, transport, row).stream_complete(request))
    sent = upstream.received[0]
    assert "text/event-stream" == sent.headers["accept"]
    assert (True, {"include_usage": True}) == (sent.json()["stream"], sent.json()["stream_options"])
    assert "frequency_penalty" not in sent.json()
    assert isinstance(told[0], Start)
    assert "frequency_penalty" in told[0].warnings[0]
    assert not any(isinstance(event, Failed) for event in told)


async def test_usage_is_not_asked_of_one_who_refuses_it(upstream: ScriptedUpstream, transport: HttpTransport) -> None:
    """A row can say that usage in streams must not be asked for."""
    upstream.enqueue(sse_reply([b"data: [DONE]\n\n"]))
    row = builtin_rows()["together"]
    await events(provider(upstream, transport, row).stream_complete(HI))
    assert "stream_options" not in upstream.received[0].json()


@pytest.mark.parametrize("stream", [False, True])
async def test_a_refusal_names_the_provider(
    upstream: ScriptedUpstream, transport: HttpTransport, *, stream: bool
) -> None:
    """Before the first event a failure is raised, stream or not, with provider, status and Retry-After."""
    upstream.enqueue(json_reply({"error": {"message": "slow down"}}, status=429, headers={"retry-after": "7"}))
    asked = provider(upstream, transport)
    with pytest.raises(errors.RateLimitedError) as caught:
        await (events(asked.stream_complete(HI)) if stream else asked.complete(HI))
    assert ("openai", 429, 7) == (caught.value.provider, caught.value.upstream_status, caught.value.retry_after)


@pytest.mark.parametrize("status", [301, 302, 304])
async def test_a_redirect_is_a_failure(upstream: ScriptedUpstream, transport: HttpTransport, status: int) -> None:
    """Keys are not carried to another address."""
    upstream.enqueue(Scripted(status=status, headers={"location": f"{upstream.url}/elsewhere"}))
    with pytest.raises(errors.SpineError):
        await provider(upstream, transport).complete(HI)
    assert len(upstream.received) == 1


async def test_an_answer_that_is_no_answer(upstream: ScriptedUpstream, transport: HttpTransport) -> None:
    """A good status with a body of something else is an error of the provider's."""
    upstream.enqueue(Scripted(chunks=(b"<html>",)))
    with pytest.raises(errors.MalformedResponseError) as caught:
        await provider(upstream, transport).complete(HI)
    assert caught.value.provider == "openai"


async def test_a_stream_that_breaks(upstream: ScriptedUpstream, transport: HttpTransport) -> None:
    """After the first event a failure is the last event, and names the provider."""
    words = chunk(choices=[{"index": 0, "delta": {"content": "Hi"}, "finish_reason": None}])
    upstream.enqueue(sse_reply([words], cut=True))
    told = await events(provider(upstream, transport).stream_complete(HI))
    assert isinstance(told[-1], Failed)
    assert isinstance(told[-1].error, errors.StreamInterruptedError)
    assert told[-1].error.provider == "openai"


async def test_a_stream_without_its_end_mark(upstream: ScriptedUpstream, transport: HttpTransport) -> None:
    """T4: a stream that ends in good order but without the dialect's end mark has failed."""
    upstream.enqueue(sse_reply([chunk(choices=[{"index": 0, "delta": {"content": "Hi"}, "finish_reason": None}])]))
    told = await events(provider(upstream, transport).stream_complete(HI))
    assert isinstance(told[-1], Failed)


async def test_a_connection_that_breaks_after_the_end_mark(
    upstream: ScriptedUpstream, transport: HttpTransport
) -> None:
    """What was whole stays whole."""
    upstream.enqueue(
        sse_reply(
            [chunk(choices=[{"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}]), b"data: [DONE]\n\n"],
            cut=True,
        )
    )
    told = await events(provider(upstream, transport).stream_complete(HI))
    assert not any(isinstance(event, Failed) for event in told)


async def test_closing_a_stream_hangs_up(upstream: ScriptedUpstream, transport: HttpTransport) -> None:
    """A reader who leaves after the first event ends the upstream's work at once."""
    words = chunk(choices=[{"index": 0, "delta": {"content": "Hi"}, "finish_reason": None}])
    upstream.enqueue(sse_reply([words], silent_after=True))
    stream = provider(upstream, transport).stream_complete(HI)
    async with contextlib.aclosing(stream) as reading:  # type: ignore[type-var]  # it is a generator
        assert isinstance(await anext(reading), Start)
    await upstream.until(lambda: upstream.hung_up == 1)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_request_that_it_cannot_be_told(
    upstream: ScriptedUpstream, transport: HttpTransport, *, stream: bool
) -> None:
    """What the dialect must not lose is refused before anything is sent, in the provider's name."""
    request = msgspec.structs.replace(HI, tools=(OpaqueTool(dialect="other", data={"type": "search"}),))
    asked = provider(upstream, transport)
    with pytest.raises(errors.InvalidFieldError) as caught:
        await (events(asked.stream_complete(request)) if stream else asked.complete(request))
    assert caught.value.provider == "openai"
    assert [] == upstream.received


async def test_not_configured(transport: HttpTransport) -> None:
    """Without a key nothing is sent; the error says which variable to set, and health is the same error."""
    asked = provider_from_row("openai", builtin_rows()["openai"], context(transport=transport))
    for call in (asked.complete(HI), asked.list_models(), events(asked.stream_complete(HI))):
        with pytest.raises(errors.ProviderNotConfiguredError, match="set OPENAI_API_KEY") as caught:
            await call
        assert caught.value.provider == "openai"
    health = await asked.health()
    assert (False, errors.ProviderNotConfiguredError) == (health.healthy, type(health.error))


async def test_the_list_of_models(upstream: ScriptedUpstream, transport: HttpTransport) -> None:
    """It is asked for with the key and the dialect's own headers; each model carries the provider's name."""
    upstream.enqueue(json_reply({"data": [{"id": "a", "created": 1, "owned_by": "them"}, {"id": "b"}]}))
    models = await provider(upstream, transport).list_models()
    assert [("a", "openai", "them"), ("b", "openai", "")] == [(m.id, m.provider, m.owned_by) for m in models]
    assert ("GET", "/v1/models", "Bearer sk-first") == (
        upstream.received[0].method,
        upstream.received[0].path,
        upstream.received[0].headers["authorization"],
    )


async def test_a_list_that_is_none(upstream: ScriptedUpstream, transport: HttpTransport) -> None:
    """An answer that is no list of models is an error in the provider's name; to a probe nobody is there."""
    upstream.enqueue(json_reply(["x"]), json_reply(["x"]))
    asked = provider(upstream, transport)
    with pytest.raises(errors.MalformedResponseError) as caught:
        await asked.list_models()
    assert caught.value.provider == "openai"
    assert await asked.probe() is None


async def test_models_that_were_set_are_not_asked_for(upstream: ScriptedUpstream, transport: HttpTransport) -> None:
    """The environment's list is the list."""
    asked = provider(upstream, transport, OPENAI_MODELS="a, b")
    assert ["a", "b"] == [model.id for model in await asked.list_models()]
    assert (True, False) == (await asked.validate_model("a"), await asked.validate_model("gpt-4o"))
    assert [] == upstream.received


async def test_health(upstream: ScriptedUpstream, transport: HttpTransport) -> None:
    """Healthy is who lists his models; who refuses is not, and the reason is there."""
    asked = provider(upstream, transport)
    upstream.enqueue(json_reply({"data": []}), json_reply({"error": {"message": "no"}}, status=401))
    assert (await asked.health()).healthy
    health = await asked.health()
    assert (False, errors.ProviderAuthenticationError) == (health.healthy, type(health.error))


async def test_a_list_that_breaks_off(upstream: ScriptedUpstream, transport: HttpTransport) -> None:
    """Half a list is an error in the provider's name."""
    upstream.enqueue(Scripted(chunks=(b'{"data": [',), cut=True))
    with pytest.raises(errors.StreamInterruptedError) as caught:
        await provider(upstream, transport).list_models()
    assert caught.value.provider == "openai"


def test_costs() -> None:
    """A hosted model costs by the price list, one without a price a stand-in's and says so, a local one nothing."""
    hosted = provider_from_row("openai", builtin_rows()["openai"], context())
    cost = hosted.cost_of("gpt-4o-mini", Usage(input_tokens=1_000_000))
    assert cost.known
    assert cost.usd > 0
    assert cost.usd == hosted.calculate_cost("gpt-4o-mini", 1_000_000, 0)
    cost = hosted.cost_of("no-such-model", Usage(input_tokens=1_000_000))
    assert not cost.known
    assert cost.usd > 0
    local = provider_from_row("ollama", builtin_rows()["ollama"], context())
    assert Cost(0, known=True, by_kind=CostByKind()) == local.cost_of("no-such-model", Usage(input_tokens=1_000_000))


def test_what_it_knows() -> None:
    """Its default, the models of its row, and those that the price list has for it."""
    groq = provider_from_row("groq", builtin_rows()["groq"], context())
    assert groq.knows("llama-3.1-8b-instant")
    assert groq.knows("openai/gpt-oss-120b")
    assert not groq.knows("gpt-4o")
    scaleway = provider_from_row("scaleway", builtin_rows()["scaleway"], context())
    assert scaleway.knows("mistral-nemo-instruct-2407")


def test_targets_are_remembered_within_bounds() -> None:
    """A thousand names that callers made up do not stay in memory for ever."""
    hosted = provider_from_row("openai", builtin_rows()["openai"], context())
    assert isinstance(hosted, Relays)
    wire = hosted.wire(None, "o3", tools=False, effort=None)
    target = hosted.target("o3", wire)
    assert ("o3", "openai", False) == (target.model, target.provider, target.facts.sampling)
    assert hosted.target("o3", wire) is target
    for number in range(1001):
        hosted.target(f"made-up-{number}", wire)
    assert hosted.target("o3", wire) is not target


async def test_headers_of_the_dialect_go_along(upstream: ScriptedUpstream, transport: HttpTransport) -> None:
    """What the encoded request brings is sent beside the provider's own headers."""
    upstream.enqueue(json_reply(ANSWER))
    encoded = Encoded("/chat/completions", b"{}", {"X-Beta": "1"}, ())
    openai = provider(upstream, transport)
    wire = openai.wire("openai_chat", "gpt-4o", tools=False, effort=None)
    incoming = await openai.open(wire, encoded, CallOptions(), stream=False)
    incoming.close()
    assert ("1", "Bearer sk-first") == (
        upstream.received[0].headers["x-beta"],
        upstream.received[0].headers["authorization"],
    )
