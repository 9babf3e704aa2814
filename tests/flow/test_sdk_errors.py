"""T2 and T4 with the official packages: whatever goes wrong, the client's package raises what its user expects."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Final, TypeAlias

import anthropic
import ollama
import openai
import pytest
import pytest_asyncio
from google.genai import errors as genai_errors
from msgspec.structs import replace

from genai_spine.testing.gateway import RunningGateway
from genai_spine.testing.upstream import Scripted, ScriptedUpstream
from tests.flow.answers import PROVIDERS, RECORDED, Call, Provider, Said, recorded
from tests.flow.cells import cells
from tests.flow.clients import Ask, Client, connect
from tests.flow.published import faults_of
from tests.flow.scenes import CAPITAL
from tests.flow.wiring import RAISED, Wired, status_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

Connect: TypeAlias = Callable[[str, RunningGateway], Client]

MANY: Final = 12
"""More answers than a gateway that tries again will fetch."""

OPENAI: Final[dict[str, tuple[int, type[Exception]]]] = {
    "bad_request": (400, openai.BadRequestError),
    "not_found": (404, openai.NotFoundError),
    "key": (502, openai.InternalServerError),
    "limit": (429, openai.RateLimitError),
    "failure": (502, openai.InternalServerError),
    "overload": (503, openai.InternalServerError),
    "gateway_key": (401, openai.AuthenticationError),
}
OUTCOMES: Final[dict[str, dict[str, tuple[int, type[Exception]]]]] = {
    "openai": OPENAI,
    "responses": OPENAI,
    "completions": OPENAI,
    "anthropic": {
        "bad_request": (400, anthropic.BadRequestError),
        "not_found": (404, anthropic.NotFoundError),
        "key": (500, anthropic.InternalServerError),
        "limit": (429, anthropic.RateLimitError),
        "failure": (500, anthropic.InternalServerError),
        "overload": (529, anthropic.OverloadedError),
        "gateway_key": (401, anthropic.AuthenticationError),
    },
    "gemini": {
        "bad_request": (400, genai_errors.ClientError),
        "not_found": (404, genai_errors.ClientError),
        "key": (502, genai_errors.ServerError),
        "limit": (429, genai_errors.ClientError),
        "failure": (502, genai_errors.ServerError),
        "overload": (503, genai_errors.ServerError),
        "gateway_key": (401, genai_errors.ClientError),
    },
    "ollama": {
        "bad_request": (400, ollama.ResponseError),
        "not_found": (404, ollama.ResponseError),
        "key": (502, ollama.ResponseError),
        "limit": (429, ollama.ResponseError),
        "failure": (502, ollama.ResponseError),
        "overload": (503, ollama.ResponseError),
        "gateway_key": (401, ollama.ResponseError),
    },
}
"""What each package raises for what goes wrong, and the status that it tells."""

STATUSES: Final = {"bad_request": 400, "not_found": 404, "key": 401, "limit": 429, "failure": 500}


@pytest_asyncio.fixture(loop_scope="module")
async def connected() -> AsyncIterator[Connect]:
    """Makes clients, and closes them; all that they were answered is of the published form."""
    made: list[Client] = []
    async with AsyncExitStack() as stack:

        def make(name: str, gateway: RunningGateway) -> Client:
            client = connect(name, gateway.url, gateway.key)
            stack.push_async_callback(client.aclose)
            made.append(client)
            return client

        yield make
    assert [] == [fault for client in made for heard in client.heard for fault in faults_of(heard)]


@pytest.fixture
def gateway(wired: Wired) -> RunningGateway:
    """The gateway of all tests here, which remembers no failure of another's."""
    spine = wired.gateway.spine
    for provider in spine.registry:
        spine.guards.of(provider).reset()
    return wired.gateway


@pytest.fixture
def upstream(wired: Wired) -> ScriptedUpstream:
    """The service before which it stands."""
    return wired.upstream


async def raised(asking: Awaitable[object]) -> Exception:
    """Return what the package raises."""
    try:
        await asking
    except RAISED as error:
        return error
    pytest.fail("the package took a failure for an answer")


def check(client: str, what: str, error: Exception) -> None:
    """It is the package's own class for it, with the status of the client's dialect."""
    assert OUTCOMES[client][what] == (status_of(error), type(error))


@cells("error")
async def test_requests_that_the_provider_refuses(
    upstream: ScriptedUpstream, gateway: RunningGateway, connected: Connect, client_name: str, provider_name: str
) -> None:
    """A request that is wrong is told as such, with the provider's words; and it is sent once."""
    provider = PROVIDERS[provider_name]
    client = connected(client_name, gateway)
    words = "messages[0].role does not support this" if provider.name == "ollama" else "does not support"
    bad = provider.failure(400, words)
    if (provider.name, "error") in RECORDED:
        bad, _ = recorded(provider, "error")
    model = f"{provider.asked_as}/{provider.model}"
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
    gateway: RunningGateway,
    connected: Connect,
    client_name: str,
    provider_name: str,
    what: str,
) -> None:
    """The package raises its own class for each; a wait that the provider asked for is told, a secret is not."""
    provider = PROVIDERS[provider_name]
    client = connected(client_name, gateway)
    status = STATUSES.get(what) or (529 if provider.name == "anthropic" else 503)
    upstream.enqueue(*[provider.failure(status, "Incorrect key: sk-upstream-openai-0001") for _ in range(MANY)])
    error = await raised(client.complete(f"{provider.asked_as}/{provider.model}", Ask()))
    check(client_name, what, error)
    assert "sk-upstream" not in str(error)
    if isinstance(error, openai.APIStatusError | anthropic.APIStatusError):
        assert provider.asked_as == error.response.headers["x-spine-provider"]
        assert error.request_id == error.response.headers["x-request-id"]
        # Bedrock tells nobody how long to wait.
        wait = "7" if what == "limit" and provider.name != "bedrock" else None
        assert wait == error.response.headers.get("retry-after")
        # The gateway has made its own attempts.
        assert ("true" if wait else "false") == error.response.headers["x-should-retry"]


@cells("error_in_stream")
async def test_a_failure_told_in_the_stream(
    upstream: ScriptedUpstream, gateway: RunningGateway, connected: Connect, client_name: str, provider_name: str
) -> None:
    """A failure after the first words is raised by the package, and recorded as one, with what had come by then."""
    provider = PROVIDERS[provider_name]
    upstream.enqueue(provider.stream_failure("the engine caught fire"))
    client = connected(client_name, gateway)
    error = await raised(client.stream(f"{provider.asked_as}/{provider.model}", Ask()))
    assert "the engine caught fire" in str(error)
    await gateway.recorder.until(1)
    (record,) = gateway.recorder.records
    # Words and failure may come in one read, and then nothing of the answer has begun.
    assert record.outcome in {"interrupted", "error"}
    assert record.output_tokens > 0, "what was delivered is never free"


def cut(whole: Scripted, left: int) -> Scripted:
    """The stream without its last chunks; the connection ends as if it were over."""
    return replace(whole, chunks=whole.chunks[:-left])


async def _cut_short(upstream: ScriptedUpstream, client: Client, provider: Provider, said: Said, ask: Ask) -> None:
    whole = provider.stream(said)
    for broken in (cut(whole, 1), cut(whole, 2), replace(cut(whole, 1), cut=True)):
        assert broken.chunks
        upstream.enqueue(broken)
        await raised(client.stream(f"{provider.asked_as}/{provider.model}", ask))


@cells("cut_stream")
async def test_a_stream_cut_short(
    upstream: ScriptedUpstream, gateway: RunningGateway, connected: Connect, client_name: str, provider_name: str
) -> None:
    """A stream without its end mark is an error to the package's user, whether the connection broke off or ended."""
    said = Said(text="One two three four")
    await _cut_short(upstream, connected(client_name, gateway), PROVIDERS[provider_name], said, Ask())
    await gateway.recorder.until(3)
    assert {"interrupted"} == {record.outcome for record in gateway.recorder.records}
    assert all(record.output_tokens > 0 for record in gateway.recorder.records), "what was delivered is never free"


@cells("cut_call")
async def test_a_call_cut_short(
    upstream: ScriptedUpstream, gateway: RunningGateway, connected: Connect, client_name: str, provider_name: str
) -> None:
    """Nobody is told to act on half a call: its stream without an end mark is an error too."""
    call = Call("call_1", "get_capital", {"country": "France"})
    said = Said(text="Let me look.", calls=(call,), finish="tool_calls")
    client = connected(client_name, gateway)
    await _cut_short(upstream, client, PROVIDERS[provider_name], said, Ask(tools=(CAPITAL,)))
    await gateway.recorder.until(3)
    assert {"interrupted"} == {record.outcome for record in gateway.recorder.records}


@cells("error")
async def test_the_gateway_refuses_a_key(
    upstream: ScriptedUpstream, gateway: RunningGateway, connected: Connect, client_name: str, provider_name: str
) -> None:
    """A wrong key of the gateway's is the package's authentication error, and nothing is sent."""
    provider = PROVIDERS[provider_name]
    client = connected(client_name, replace(gateway, key="no-such-key"))
    error = await raised(client.complete(f"{provider.asked_as}/{provider.model}", Ask()))
    check(client_name, "gateway_key", error)
    assert "no-such-key" not in str(error)
    assert [] == upstream.received
