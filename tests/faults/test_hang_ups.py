"""Callers who hang up at any instant: the upstream is let go of, nothing is left behind, and each is recorded once."""

from __future__ import annotations

import asyncio
import gc
import json
import random
from collections import Counter
from collections.abc import AsyncIterator
from typing import Final

import pytest
from msgspec import Struct
from typing_extensions import override
from yarl import URL

from genai_spine.testing.gateway import RunningGateway
from genai_spine.testing.upstream import Received, Scripted, ScriptedUpstream
from tests.conftest import Gateways
from tests.faults.tools import DOORS, PROVIDERS, Door, Provider, raw_request, reset, streamed, whole

CALLERS: Final = 1000
AT_ONCE: Final = 50
# Far less than any of the provider's timeouts, far more than a turn of the loop takes.
SECONDS: Final = 20


class BusyUpstream(ScriptedUpstream):
    """An upstream that knows how many answers it is giving.

    Attributes:
        busy: Requests that it has taken and not answered whole.
    """

    busy: int = 0

    @override
    async def _respond(self, reply: Scripted, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        self.busy += 1
        try:
            return await super()._respond(reply, reader, writer)
        finally:
            self.busy -= 1
            self._changed.set()


class Plan(Struct, frozen=True, kw_only=True):
    """What one caller does.

    Attributes:
        lasts: The upstream never ends its answer.
        sent: Bytes of the request that are sent, from its end; 0 for all.
        bytes_read: How much of the answer is read before.
        turns: Turns of the loop that pass before.
        hard: The connection is reset, not closed.
    """

    name: str
    door: Door
    provider: Provider
    stream: bool
    lasts: bool
    cut: int
    bytes_read: int
    turns: int
    hard: bool


def _plans() -> list[Plan]:
    chance = random.Random("hang up")  # noqa: S311  # instants, no secrets
    return [
        Plan(
            name=f"caller-{number}",
            door=chance.choice(DOORS),
            provider=chance.choice(PROVIDERS),
            stream=chance.random() < 0.7,
            lasts=chance.random() < 0.8,
            cut=chance.choice((0, 0, 0, 0, 0, 0, 0, 0, 0, 30)),
            bytes_read=chance.choice((0, 0, 1, 200, 400, 450)),
            turns=chance.randrange(60),
            hard=chance.random() < 0.5,
        )
        for number in range(CALLERS)
    ]


def _answer(plans: dict[str, Plan], received: Received) -> Scripted:
    name = next(name for name in plans if f'"{name}"'.encode() in received.body)
    plan = plans[name]
    if not plan.stream:
        return Scripted(silent_before=True) if plan.lasts else whole(plan.provider)
    if plan.lasts:
        return streamed(plan.provider, *plan.provider.events[:-2], silent_after=True)
    return streamed(plan.provider, *plan.provider.events)


async def _call(gateway: RunningGateway, plan: Plan) -> None:
    address = URL(gateway.url)
    reader, writer = await asyncio.open_connection(address.host, address.port)
    body = json.dumps(plan.door.body(plan.provider.model, stream=plan.stream, words=plan.name)).encode()
    request = raw_request(plan.door.path, body, gateway.key, f"x-request-id: {plan.name}")
    writer.write(request[: len(request) - plan.cut])
    await writer.drain()
    if plan.stream and not plan.cut:
        seen = 0
        while seen < plan.bytes_read and (data := await reader.read(plan.bytes_read - seen)):
            seen += len(data)
    for _ in range(plan.turns):
        await asyncio.sleep(0)
    if plan.hard:
        reset(writer)
    else:
        writer.close()
    try:
        await writer.wait_closed()
    except ConnectionError:
        return


def _tasks() -> Counter[str]:
    """What the tasks do that run, but for those that hold the upstream's idle connections."""
    names = [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()]
    return Counter(name for name in names if "ScriptedUpstream" not in name)


def _objects() -> Counter[str]:
    """How many objects of each of the gateway's types there are, but for what is kept by intent."""
    gc.collect()
    kept = {"Connection", "RequestEnded", "Received", "Scripted", "Secret", "Candidate", "Target"}
    found = Counter(
        type(thing).__qualname__ for thing in gc.get_objects() if str(type(thing).__module__).startswith("genai_spine")
    )
    return Counter({name: count for name, count in found.items() if name not in kept})


@pytest.fixture
async def upstream() -> AsyncIterator[BusyUpstream]:
    """An upstream that answers each caller by his plan."""
    plans = {plan.name: plan for plan in _plans()}
    async with BusyUpstream(lambda received: _answer(plans, received)) as server:
        yield server


async def test_a_thousand_hang_up(gateways: Gateways, upstream: BusyUpstream) -> None:
    """A thousand callers leave before, in or after their answers; soon nothing is left of them but their records."""
    gateway = await gateways.before(upstream)
    plans = _plans()
    # The first of each kind fill the caches that are filled once.
    for plan in plans[:200]:
        await _call(gateway, plan)
    await _quiet(gateway, upstream, None)
    tasks, objects = _tasks(), _objects()
    for start in range(200, CALLERS, AT_ONCE):
        await asyncio.gather(*(_call(gateway, plan) for plan in plans[start : start + AT_ONCE]))
    await _quiet(gateway, upstream, tasks)
    assert 0 == upstream.busy
    gateway.recorder.attempts.clear()
    grown = _objects() - objects
    assert not grown, grown
    _check_records(gateway, upstream, {plan.name: plan for plan in plans})


async def _quiet(gateway: RunningGateway, upstream: BusyUpstream, tasks: Counter[str] | None) -> None:
    """Wait until all that the callers began is over, and just those tasks are left; some turns of the loop."""
    async with asyncio.timeout(SECONDS):
        await upstream.until(lambda: upstream.busy == 0)
        while (  # noqa: ASYNC110  # that a task is over is told by no event
            (tasks is not None and _tasks() != tasks) or len(gateway.recorder.records) < len(upstream.received)
        ):
            await asyncio.sleep(0)
    # What it follows of its own journal is complete then.
    await gateway.spine.books.shipper.flush()


def _check_records(gateway: RunningGateway, upstream: BusyUpstream, plans: dict[str, Plan]) -> None:
    records = {record.request_id: record for record in gateway.recorder.records}
    assert len(records) == len(gateway.recorder.records)
    # Whoever left before his request was read, or before it was sent on, needs none; whatever was sent on has one.
    asked = {name for received in upstream.received for name in plans if f'"{name}"'.encode() in received.body}
    assert asked <= set(records)
    assert len(asked) > CALLERS / 2
    for name, record in records.items():
        plan = plans[name]
        assert record.outcome in ({"cancelled"} if plan.lasts else {"cancelled", "success"}), (plan, record)
        assert not plan.cut
        assert "" == record.error
        if record.first_token_seconds is not None:
            assert record.output_tokens > 0, (plan, record)
    outcomes = Counter(record.outcome for record in records.values())
    assert outcomes["cancelled"] > CALLERS / 4
    assert outcomes["success"] > CALLERS / 50


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.name)
@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
async def test_what_was_delivered_is_counted(door: Door, provider: Provider, gateways: Gateways) -> None:
    """Who leaves in the middle of a stream is charged for what he got: guessed, but never nothing."""
    words = next(place for place, event in enumerate(provider.events) if b"Hello" in event)
    script = streamed(provider, *provider.events[: words + 2], silent_after=True)
    async with BusyUpstream(lambda _: script) as upstream:
        gateway = await gateways.before(upstream)
        address = URL(gateway.url)
        reader, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(raw_request(door.path, door.body(provider.model, stream=True), gateway.key))
        await reader.readuntil(b"rld")
        writer.transport.abort()
        async with asyncio.timeout(SECONDS):
            await gateway.recorder.until(1)
            await upstream.until(lambda: upstream.busy == 0)
        record = gateway.recorder.records[0]
        assert ("cancelled", 200) == (record.outcome, record.status)
        assert 0 < record.output_tokens < 10
        assert "" != record.cost_usd


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_hang_up_before_the_head(stream: bool, gateways: Gateways) -> None:  # noqa: FBT001  # a parameter
    """Who leaves before anything has come is a 499 in the records, and costs nothing that is known."""
    async with BusyUpstream(lambda _: Scripted(silent_before=True)) as upstream:
        gateway = await gateways.before(upstream)
        address = URL(gateway.url)
        for door in DOORS:
            before = len(upstream.received)
            _, writer = await asyncio.open_connection(address.host, address.port)
            writer.write(raw_request(door.path, door.body(PROVIDERS[0].model, stream=stream), gateway.key))
            await upstream.until(lambda before=before: len(upstream.received) > before)  # type: ignore[misc]  # bound
            writer.transport.abort()
            async with asyncio.timeout(SECONDS):
                await gateway.recorder.until(before + 1)
                await upstream.until(lambda: upstream.busy == 0)
            record = gateway.recorder.records[-1]
            assert ("cancelled", 499, 1) == (record.outcome, record.status, record.attempts)
            assert 0 == record.output_tokens
        assert 0 == upstream.open_connections
