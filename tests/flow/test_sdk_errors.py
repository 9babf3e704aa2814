"""T2 and T4 with the official packages: whatever goes wrong, the client's package raises what its user expects.

Each test has a gateway of its own, for a gateway may remember failures.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Final, TypeAlias

import anthropic
import ollama
import openai
import pytest
from msgspec.structs import replace

from genai_spine.testing.gateway import RunningGateway
from genai_spine.testing.upstream import Scripted, ScriptedUpstream
from tests.conftest import Gateways
from tests.flow.answers import PROVIDERS, RECORDED, Call, Said, recorded
from tests.flow.cells import cells
from tests.flow.clients import Ask, Client, connect
from tests.flow.wiring import CAPITAL

Connect: TypeAlias = Callable[[str, RunningGateway], Client]

MANY: Final = 12
"""More answers than a gateway that tries again will fetch."""

RAISED: Final = (openai.APIError, anthropic.APIError, ollama.ResponseError)

OUTCOMES: Final[dict[str, dict[str, tuple[int, type[Exception]]]]] = {
    "bad_request": {
        "openai": (400, openai.BadRequestError),
        "anthropic": (400, anthropic.BadRequestError),
        "ollama": (400, ollama.ResponseError),
    },
    "not_found": {
        "openai": (404, openai.NotFoundError),
        "anthropic": (404, anthropic.NotFoundError),
        "ollama": (404, ollama.ResponseError),
    },
    "key": {
        "openai": (502, openai.InternalServerError),
        "anthropic": (500, anthropic.InternalServerError),
        "ollama": (502, ollama.ResponseError),
    },
    "limit": {
        "openai": (429, openai.RateLimitError),
        "anthropic": (429, anthropic.RateLimitError),
        "ollama": (429, ollama.ResponseError),
    },
    "failure": {
        "openai": (502, openai.InternalServerError),
        "anthropic": (500, anthropic.InternalServerError),
        "ollama": (502, ollama.ResponseError),
    },
    "overload": {
        "openai": (503, openai.InternalServerError),
        "anthropic": (529, anthropic.OverloadedError),
        "ollama": (503, ollama.ResponseError),
    },
}
"""What each package raises for what goes wrong, and the status that it tells."""

STATUSES: Final = {"bad_request": 400, "not_found": 404, "key": 401, "limit": 429, "failure": 500}
OVERLOADED: Final = {"openai": 503, "anthropic": 529, "ollama": 503}


@pytest.fixture
async def connected() -> AsyncIterator[Connect]:
    """Makes clients, and closes them."""
    async with AsyncExitStack() as stack:

        def make(name: str, gateway: RunningGateway) -> Client:
            client = connect(name, gateway.url, gateway.key)
            stack.push_async_callback(client.aclose)
            return client

        yield make


async def raised(asking: Awaitable[object]) -> Exception:
    """Return what the package raises."""
    try:
        await asking
    except RAISED as error:
        return error
    pytest.fail("the package took a failure for an answer")


def check(client: str, what: str, error: Exception) -> None:
    """It is the package's own class for it, with the status of the client's dialect."""
    status, kind = OUTCOMES[what][client]
    assert (status, kind) == (getattr(error, "status_code", None), type(error))


@cells("error")
async def test_requests_that_the_provider_refuses(
    upstream: ScriptedUpstream, gateways: Gateways, connected: Connect, client_name: str, provider_name: str
) -> None:
    """A request that is wrong is told as such, with the provider's words; and it is sent once."""
    provider = PROVIDERS[provider_name]
    client = connected(client_name, await gateways.before(upstream))
    words = "messages[0].role does not support this" if provider.name == "ollama" else "does not support"
    bad = provider.failure(400, words)
    if (provider.name, "error") in RECORDED:
        bad, _ = recorded(provider, "error")
    model = f"{provider.name}/{provider.model}"
    for ask in (client.complete, client.stream):
        upstream.enqueue(bad)
        error = await raised(ask(model, Ask()))
        check(client_name, "bad_request", error)
        assert words in str(error)
    assert 2 == len(upstream.received)
    upstream.enqueue(provider.failure(404, "no such model here"))
    error = await raised(client.complete(model, Ask()))
    check(client_name, "not_found", error)
    assert "no such model here" in str(error)


@pytest.mark.parametrize("what", ["key", "limit", "failure", "overload"])
@cells("error")
async def test_failures_of_the_provider(
    upstream: ScriptedUpstream,
    gateways: Gateways,
    connected: Connect,
    client_name: str,
    provider_name: str,
    what: str,
) -> None:
    """The package raises its own class for each; a wait that the provider asked for is told, a secret is not."""
    provider = PROVIDERS[provider_name]
    client = connected(client_name, await gateways.before(upstream))
    status = STATUSES.get(what) or OVERLOADED[provider.name]
    upstream.enqueue(*[provider.failure(status, "Incorrect key: sk-upstream-openai-0001") for _ in range(MANY)])
    error = await raised(client.complete(f"{provider.name}/{provider.model}", Ask()))
    check(client_name, what, error)
    assert "sk-upstream" not in str(error)
    if isinstance(error, openai.APIStatusError | anthropic.APIStatusError):
        assert provider.name == error.response.headers["x-spine-provider"]
        assert error.request_id == error.response.headers["x-request-id"]
        wait = "7" if what == "limit" else None
        assert wait == error.response.headers.get("retry-after")
        # The gateway has made its own attempts.
        assert ("true" if wait else "false") == error.response.headers["x-should-retry"]


@cells("error_in_stream")
async def test_a_failure_told_in_the_stream(
    upstream: ScriptedUpstream, gateways: Gateways, connected: Connect, client_name: str, provider_name: str
) -> None:
    """A failure after the first words is raised by the package, and recorded as one, with what had come by then."""
    provider = PROVIDERS[provider_name]
    gateway = await gateways.before(upstream)
    upstream.enqueue(provider.stream_failure("the engine caught fire"))
    client = connected(client_name, gateway)
    error = await raised(client.stream(f"{provider.name}/{provider.model}", Ask()))
    assert "the engine caught fire" in str(error)
    await gateway.recorder.until(1)
    (record,) = gateway.recorder.records
    # Words and failure may come in one read, and then nothing of the answer has begun.
    assert record.outcome in {"interrupted", "error"}
    assert record.output_tokens > 0, "what was delivered is never free"


def cut(whole: Scripted, left: int) -> Scripted:
    """The stream without its last chunks; the connection ends as if it were over."""
    return replace(whole, chunks=whole.chunks[:-left])


@pytest.mark.parametrize("calls", [False, True], ids=["words", "calls"])
@cells("cut_stream")
async def test_a_stream_cut_short(
    upstream: ScriptedUpstream,
    gateways: Gateways,
    connected: Connect,
    client_name: str,
    provider_name: str,
    *,
    calls: bool,
) -> None:
    """A stream without its end mark is an error to the package's user, whether the connection broke off or ended."""
    provider = PROVIDERS[provider_name]
    gateway = await gateways.before(upstream)
    client = connected(client_name, gateway)
    said = Said(text="One two three")
    ask = Ask()
    if calls:
        said = Said(calls=(Call("call_1", "get_capital", {"country": "France"}),), finish="tool_calls")
        ask = Ask(tools=(CAPITAL,))
    whole = provider.stream(said)
    for broken in (cut(whole, 1), cut(whole, 2), replace(cut(whole, 1), cut=True)):
        if len(broken.chunks) == 0:
            continue  # Ollama's whole call in one line: nothing came, so that another attempt would be made
        upstream.enqueue(broken)
        await raised(client.stream(f"{provider.name}/{provider.model}", ask))
    await gateway.recorder.until(2)
    assert {"interrupted"} == {record.outcome for record in gateway.recorder.records}


@cells("error")
async def test_the_gateway_refuses_a_key(
    upstream: ScriptedUpstream, gateways: Gateways, connected: Connect, client_name: str, provider_name: str
) -> None:
    """A wrong key of the gateway's is the package's authentication error, and nothing is sent."""
    provider = PROVIDERS[provider_name]
    gateway = await gateways.before(upstream)
    client = connected(client_name, replace(gateway, key="no-such-key"))
    error = await raised(client.complete(f"{provider.name}/{provider.model}", Ask()))
    kinds = {
        "openai": openai.AuthenticationError,
        "anthropic": anthropic.AuthenticationError,
        "ollama": ollama.ResponseError,
    }
    assert (401, kinds[client_name]) == (getattr(error, "status_code", None), type(error))
    assert "no-such-key" not in str(error)
    assert [] == upstream.received
