"""Every provider that ships keeps the contract, against a service that answers in its dialect."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from decimal import Decimal

import pytest
from typing_extensions import override

from genai_spine.catalog.prices import Cost
from genai_spine.errors import InvalidRequestError, ProviderFailedError
from genai_spine.providers.base import NO_OPTIONS, CallOptions, Health, Provider
from genai_spine.providers.builtin import providers
from genai_spine.providers.rows import builtin_rows
from genai_spine.testing.providers import (
    HELLO,
    check_closing,
    check_complete,
    check_cost,
    check_embeddings,
    check_health,
    check_identity,
    check_models,
    check_provider,
    check_stream,
)
from genai_spine.testing.upstream import ScriptedUpstream, json_reply
from genai_spine.transport.http import HttpTransport
from genai_spine.types.completion import Choice, CompletionRequest, CompletionResponse
from genai_spine.types.messages import Text
from genai_spine.types.models import Model
from genai_spine.types.stream import Event, Failed, Start, events_of
from genai_spine.types.usage import Usage
from tests.conformance.members import PROVIDERS, ProviderMember
from tests.conformance.services import SERVICES, unfinished
from tests.context import context

ROWS = builtin_rows()
KEY = "key-of-the-conformance-suite"


@pytest.fixture
async def transport() -> AsyncIterator[HttpTransport]:
    """A client, closed at the end."""
    client = HttpTransport()
    yield client
    await client.close()


def test_every_row_has_its_line() -> None:
    """A provider that ships takes the suite: rows and lines are the same, and each dialect has its service."""
    assert sorted(ROWS) == sorted(member.name for member in PROVIDERS)
    assert {row.dialect for row in ROWS.values()} == set(SERVICES)


@pytest.mark.parametrize("member", PROVIDERS, ids=lambda member: member.name)
async def test_a_provider_keeps_the_contract(member: ProviderMember, transport: HttpTransport) -> None:
    """The whole suite passes, at the path that the service documents, with the key where it wants it."""
    answer = SERVICES[ROWS[member.name].dialect]
    async with ScriptedUpstream(answer) as upstream:
        upper = member.name.upper()
        environ = {f"{upper}_API_URL": upstream.url, **({f"{upper}_API_KEY": KEY} if member.key[0] else {})}
        # Local ones have no default before they have been asked what they hold.
        environ |= (
            {} if ROWS[member.name].default_model else {f"{upper}_MODELS": "", f"DEFAULT_{upper}_MODEL": "model-one"}
        )
        built = {made.name: made for made in providers(context(environ, transport=transport))}
        await check_provider(built[member.name])
        posted = [received for received in upstream.received if received.method == "POST"]
        model = built[member.name].default_model
        paths = {path.format(model=model) for path in (member.path, member.stream_path or member.path)}
        assert paths == {received.path for received in posted}
        for received in upstream.received:
            headers = ("authorization", "x-api-key", "x-goog-api-key", "api-key")
            keys = {name: received.headers.get(name) for name in headers}
            header, scheme = member.key
            assert {name: f"{scheme}{KEY}" if name == header else None for name in keys} == keys
        upstream.enqueue(unfinished(answer(posted[-1])))
        await check_closing(built[member.name], lambda: upstream.until(lambda: upstream.hung_up == 1))


async def test_the_simulator_keeps_the_contract() -> None:
    """So does the provider that needs no service."""
    built = {made.name: made for made in providers(context())}
    await check_provider(built["simulator"])
    await check_embeddings(built["simulator"])


ROWS_OF_VECTORS = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
EMBEDDINGS = {
    "openai_chat": ("/chat/completions", "/embeddings", {"data": [{"embedding": row} for row in ROWS_OF_VECTORS]}),
    "gemini": (
        ":generateContent",
        ":batchEmbedContents",
        {"embeddings": [{"values": row} for row in ROWS_OF_VECTORS]},
    ),
    "ollama": ("/api/chat", "/api/embed", {"embeddings": ROWS_OF_VECTORS}),
}
"""By dialect: how the path of a completion ends, what stands there for embeddings, and an answer."""


@pytest.mark.parametrize("member", PROVIDERS, ids=lambda member: member.name)
async def test_a_provider_makes_embeddings(member: ProviderMember, transport: HttpTransport) -> None:
    """Where its dialect has them, they are asked for beside its completions; else it says that it has none."""
    upper = member.name.upper()
    async with ScriptedUpstream() as upstream:
        environ = {f"{upper}_API_URL": upstream.url, f"{upper}_API_KEY": KEY, f"DEFAULT_{upper}_MODEL": "model-one"}
        built = {made.name: made for made in providers(context(environ, transport=transport))}
        if (dialect := ROWS[member.name].dialect) not in EMBEDDINGS:
            with pytest.raises(InvalidRequestError, match=f"{member.name} has no embeddings"):
                await check_embeddings(built[member.name])
            assert [] == upstream.received
            return
        ending, instead, answer = EMBEDDINGS[dialect]
        upstream.enqueue(json_reply(json.dumps(answer).encode()))
        made = await check_embeddings(built[member.name])
        assert ROWS_OF_VECTORS == [list(vector) for vector in made.vectors]
        assert member.path.format(model="model-one").replace(ending, instead) == upstream.received[0].path
        header, scheme = member.key
        assert not header or f"{scheme}{KEY}" == upstream.received[0].headers[header]


# The suite itself finds what is wrong.


class Good(Provider):
    """A provider that keeps the contract, without any network."""

    name = "good"
    default_model = "m"
    models = ("m",)

    @override
    async def complete(self, request: CompletionRequest, options: CallOptions = NO_OPTIONS) -> CompletionResponse:
        choice = Choice(parts=(Text(text="Hello."),))
        usage = Usage(input_tokens=3, output_tokens=2)
        return CompletionResponse(model="m", provider=self.name, choices=(choice,), usage=usage)

    @override
    async def stream_complete(
        self, request: CompletionRequest, options: CallOptions = NO_OPTIONS
    ) -> AsyncIterator[Event]:
        for event in events_of(await self.complete(request, options)):
            yield event

    @override
    def calculate_cost(self, model: str, input_tokens: int, output_tokens: int) -> Decimal:
        return Decimal("0.000001") * (input_tokens + output_tokens)

    @override
    async def list_models(self) -> list[Model]:
        return [Model(id="m", provider=self.name)]

    @override
    async def health(self) -> Health:
        return Health(healthy=True, seconds=0.1)


async def released() -> None:
    """Whoever is left has noticed."""


async def test_a_good_provider_passes() -> None:
    """A provider written by hand that does all it should has nothing to fear."""
    await check_provider(Good(), until_released=released)


class NotReady(Good):
    """Not configured."""

    status = "not_configured"


class Slashed(Good):
    """Has a slash in its name."""

    name = "a/b"


class Forgetful(Good):
    """Does not know its own model."""

    @override
    def knows(self, model: str) -> bool:
        return False


@pytest.mark.parametrize(("cls", "told"), [(NotReady, "not configured"), (Slashed, "slash"), (Forgetful, "knows")])
def test_a_wrong_identity_is_found(cls: type[Provider], told: str) -> None:
    """Name, state and default model are looked at."""
    with pytest.raises(AssertionError, match=told):
        check_identity(cls())


class Free(Good):
    """Silently free without a known price."""

    @override
    def cost_of(self, model: str, usage: Usage) -> Cost:
        return Cost(0, known=False)


class Divided(Good):
    """Of two minds about a cost."""

    @override
    def cost_of(self, model: str, usage: Usage) -> Cost:
        return Cost(1, known=True)


class Entrance(Good):
    """Takes something for nothing."""

    @override
    def calculate_cost(self, model: str, input_tokens: int, output_tokens: int) -> Decimal:
        return Decimal(1)


class Discount(Good):
    """Gives much away for less than little."""

    @override
    def calculate_cost(self, model: str, input_tokens: int, output_tokens: int) -> Decimal:
        return Decimal(10_000 - input_tokens) if input_tokens else Decimal(0)


class Refunding(Good):
    """Gives money."""

    @override
    def calculate_cost(self, model: str, input_tokens: int, output_tokens: int) -> Decimal:
        return Decimal(-1)


class CostlyAtHome(Good):
    """Local, and not free."""

    local = True


@pytest.mark.parametrize(
    ("cls", "told"),
    [
        (Free, "silently free"),
        (Divided, "differ"),
        (Entrance, "no tokens"),
        (Discount, "never cost less"),
        (Refunding, "negative"),
        (CostlyAtHome, "local"),
    ],
)
def test_a_wrong_cost_is_found(cls: type[Provider], told: str) -> None:
    """Costs that cannot be are told."""
    with pytest.raises(AssertionError, match=told):
        check_cost(cls())


class Ill(Good):
    """Does not answer."""

    @override
    async def health(self) -> Health:
        return Health(healthy=False, error=ProviderFailedError("down"))


async def test_a_sick_provider_is_found() -> None:
    """Its reason is in the message."""
    with pytest.raises(AssertionError, match="down"):
        await check_health(Ill())


class Foreign(Good):
    """Lists another's models."""

    @override
    async def list_models(self) -> list[Model]:
        return [Model(id="m", provider="other")]


class Doubled(Good):
    """Lists one twice."""

    @override
    async def list_models(self) -> list[Model]:
        return [Model(id="m", provider="good")] * 2


class Credulous(Good):
    """Accepts any model."""

    @override
    async def validate_model(self, model: str) -> bool:
        return True


class Choosy(Good):
    """Refuses what it lists."""

    @override
    async def validate_model(self, model: str) -> bool:
        return False


@pytest.mark.parametrize(
    ("cls", "told"), [(Foreign, "other"), (Doubled, "twice"), (Credulous, "nobody has"), (Choosy, "refuses m")]
)
async def test_a_wrong_list_is_found(cls: type[Provider], told: str) -> None:
    """Lists that contradict the provider are told."""
    with pytest.raises(AssertionError, match=told):
        await check_models(cls())


class Nameless(Good):
    """Does not say who answered."""

    @override
    async def complete(self, request: CompletionRequest, options: CallOptions = NO_OPTIONS) -> CompletionResponse:
        return CompletionResponse(model="m", choices=(Choice(parts=(Text(text="x"),)),))


class Silent(Good):
    """Says nothing."""

    @override
    async def complete(self, request: CompletionRequest, options: CallOptions = NO_OPTIONS) -> CompletionResponse:
        return CompletionResponse(model="m", provider="good", choices=(Choice(),))


class Returning(Good):
    """Returns its failures."""

    @override
    async def complete(self, request: CompletionRequest, options: CallOptions = NO_OPTIONS) -> CompletionResponse:
        return CompletionResponse(model="m", provider="good", error=ProviderFailedError("down"))


@pytest.mark.parametrize(
    ("cls", "told"), [(Nameless, "name the provider"), (Silent, "says nothing"), (Returning, "raised, not returned")]
)
async def test_a_wrong_answer_is_found(cls: type[Provider], told: str) -> None:
    """Answers that lack what callers rely on are told."""
    with pytest.raises(AssertionError, match=told):
        await check_complete(cls())


class Startless(Good):
    """Begins in the middle."""

    @override
    async def stream_complete(
        self, request: CompletionRequest, options: CallOptions = NO_OPTIONS
    ) -> AsyncIterator[Event]:
        for event in events_of(await self.complete(request, options))[1:]:
            yield event


class Broken(Good):
    """Fails in the middle."""

    @override
    async def stream_complete(
        self, request: CompletionRequest, options: CallOptions = NO_OPTIONS
    ) -> AsyncIterator[Event]:
        yield Start()
        yield Failed(error=ProviderFailedError("down"))


class Endless(Good):
    """Never finishes."""

    @override
    async def stream_complete(
        self, request: CompletionRequest, options: CallOptions = NO_OPTIONS
    ) -> AsyncIterator[Event]:
        yield Start()


class Other(Good):
    """Streams something else than it answers whole."""

    @override
    async def stream_complete(
        self, request: CompletionRequest, options: CallOptions = NO_OPTIONS
    ) -> AsyncIterator[Event]:
        for event in events_of(CompletionResponse(choices=(Choice(parts=(Text(text="Other."),)),))):
            yield event


@pytest.mark.parametrize(
    ("cls", "told"), [(Startless, "begin with Start"), (Broken, "down"), (Endless, "without a finish"), (Other, "T3")]
)
async def test_a_wrong_stream_is_found(cls: type[Provider], told: str) -> None:
    """Streams that break the order, fail, do not end, or differ from the whole answer are told."""
    with pytest.raises(AssertionError, match=told):
        await check_stream(cls(), HELLO, await Good().complete(HELLO))


class _Unclosable:
    """An iterator that nobody can close."""

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        return Start()


class Deaf(Good):
    """Cannot be told that the reader left."""

    @override
    def stream_complete(self, request: CompletionRequest, options: CallOptions = NO_OPTIONS) -> AsyncIterator[Event]:
        return _Unclosable()


class _Stubborn(_Unclosable):
    """An iterator that goes on after it was closed."""

    async def aclose(self) -> None:
        """Pretend."""


class Stubborn(Good):
    """Goes on after its reader left."""

    @override
    def stream_complete(self, request: CompletionRequest, options: CallOptions = NO_OPTIONS) -> AsyncIterator[Event]:
        return _Stubborn()


@pytest.mark.parametrize(("cls", "told"), [(Deaf, "aclose"), (Stubborn, "goes on")])
async def test_a_stream_that_cannot_be_left_is_found(cls: type[Provider], told: str) -> None:
    """A stream that its reader cannot end is told."""
    with pytest.raises(AssertionError, match=told):
        await check_closing(cls(), released)
