"""The load generator: a fixed number of requests over kept-alive connections, timed at the caller's side.

It reads one plan as a line of JSON from standard input, carries it out, writes one tally as a line of JSON, and waits
for the next; it ends when its input does. Every plan ends by itself: a failed request counts as sent, and a deadline
stops the rest.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import math
import socket
import sys
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

import httptools
import msgspec
import uvloop
from typing_extensions import override

from bench.workloads import WORD

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["Plan", "Tally", "hold", "main", "run"]

_WORD = WORD.encode()
_OPENING_AT_ONCE = 32


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to send, where, how often, and how to know a whole answer."""

    port: int
    path: str
    headers: dict[str, str]
    body: str
    callers: int
    requests: int
    words: int
    """How often a whole answer says the word."""
    end: str = ""
    """What a whole answer's last 64 bytes contain; empty for anything."""
    deadline: float = 120.0
    """Seconds after which what has not been answered counts as failed."""
    hold: bool = False
    """Open ``requests`` streams at once and keep them until the next line of input, instead of reading them out."""

    def wire(self) -> bytes:
        """The request's bytes, the same for every request of the plan."""
        body = self.body.encode()
        lines = [
            f"POST {self.path} HTTP/1.1",
            f"Host: 127.0.0.1:{self.port}",
            f"Content-Length: {len(body)}",
            *(f"{name}: {value}" for name, value in self.headers.items()),
        ]
        return "\r\n".join([*lines, "", ""]).encode() + body


class Tally(msgspec.Struct, kw_only=True):
    """What came back. Times are in seconds."""

    answered: int
    """Whole answers; for held streams, those that had their first chunk."""
    failed: int
    words: int
    elapsed: float
    p50: float
    p99: float
    first_p50: float
    """Median time to the answer's first word."""
    cpu: float
    """The load generator's own CPU time."""
    problem: str = ""
    """The first failure in words."""


def _percentile(ordered: list[float], share: float) -> float:
    """The nearest-rank percentile of sorted values; 0 if there are none."""
    return ordered[math.ceil(share * len(ordered)) - 1] if ordered else 0.0


class _Run:
    """The state that a plan's callers share."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.wire = plan.wire()
        self.end = plan.end.encode()
        self.to_send = plan.requests
        self.times: list[float] = []
        self.firsts: list[float] = []
        self.words = 0
        self.failed = 0
        self.problem = ""
        self.done = asyncio.Event()

    def take(self) -> bool:
        """Whether there is one more request to send."""
        if self.to_send == 0:
            return False
        self.to_send -= 1
        return True

    def succeed(self, took: float) -> None:
        self.times.append(took)
        self._check_done()

    def fail(self, problem: str) -> None:
        self.failed += 1
        self.problem = self.problem or problem
        self._check_done()

    def _check_done(self) -> None:
        if len(self.times) + self.failed == self.plan.requests:
            self.done.set()

    def tally(self, elapsed: float, cpu: float, *, held: bool = False) -> Tally:
        ordered = sorted(self.times)
        answered = len(self.firsts) if held else len(ordered)
        return Tally(
            answered=answered,
            failed=self.plan.requests - answered,
            words=self.words,
            elapsed=elapsed,
            p50=_percentile(ordered, 0.50),
            p99=_percentile(ordered, 0.99),
            first_p50=_percentile(sorted(self.firsts), 0.50),
            cpu=cpu,
            problem=self.problem or ("" if answered == self.plan.requests else "the deadline passed"),
        )


class _Caller(asyncio.Protocol):
    """One connection that sends a request, waits for the whole answer, and sends the next."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        self._parser = httptools.HttpResponseParser(self)
        self._busy = False
        self._began = 0.0
        self._words = 0
        self._tail = b""
        self.first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._send()

    def _send(self) -> None:
        if not self._run.take():
            self.transport.close()
            return
        self._busy = True
        self._words = 0
        self._tail = b""
        self._began = time.perf_counter()
        self.transport.write(self._run.wire)

    @override
    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(f"not HTTP: {error}")

    def on_body(self, body: bytes) -> None:
        # The last bytes of what came before, one fewer than the word has: it is found once, wherever it was cut.
        found = (self._tail[1 - len(_WORD) :] + body).count(_WORD)
        self._tail = (self._tail + body)[-64:]
        if found and self._words == 0:
            self._run.firsts.append(time.perf_counter() - self._began)
            if not self.first.done():
                self.first.set_result(None)
        self._words += found
        self._run.words += found

    def on_message_complete(self) -> None:
        run = self._run
        status = self._parser.get_status_code()
        if status != HTTPStatus.OK or self._words != run.plan.words or run.end not in self._tail:
            self._fail(f"status {status}, {self._words} of {run.plan.words} words, ending {self._tail!r}")
            return
        self._busy = False
        run.succeed(time.perf_counter() - self._began)
        if self._parser.should_keep_alive():
            self._send()
        else:
            self.transport.close()

    def _fail(self, problem: str) -> None:
        if self._busy:
            self._busy = False
            self._run.fail(problem)
        self.transport.close()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(f"hung up on after {self._words} words: {exc}")
        for future in (self.first, self.lost):
            if not future.done():
                future.set_result(None)


async def _open(run: _Run) -> _Caller | None:
    """A connected caller, or none if nobody listens, which counts as a failed request."""
    try:
        _, caller = await asyncio.get_running_loop().create_connection(lambda: _Caller(run), "127.0.0.1", run.plan.port)
    except OSError as error:
        if run.take():
            run.fail(f"cannot connect: {error}")
        return None
    return caller


async def _call(run: _Run) -> None:
    """Keeps one caller going, over a new connection if the old one was closed, until nothing is left to send."""
    while run.to_send:
        caller = await _open(run)
        if caller is not None:
            await caller.lost


async def run(plan: Plan) -> Tally:
    """Sends the plan's requests from its callers and reads the answers."""
    state = _Run(plan)
    cpu, began = time.process_time(), time.perf_counter()
    callers = [asyncio.ensure_future(_call(state)) for _ in range(min(plan.callers, plan.requests))]
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(plan.deadline):
            await state.done.wait()
    tally = state.tally(time.perf_counter() - began, time.process_time() - cpu)
    for caller in callers:
        caller.cancel()
    await asyncio.gather(*callers, return_exceptions=True)
    return tally


async def hold(plan: Plan, report: Callable[[Tally], Awaitable[None]]) -> None:
    """Opens the plan's streams, reports when each has its first chunk, and hangs up when the report returns."""
    state = _Run(plan)
    cpu, began = time.process_time(), time.perf_counter()
    opening = asyncio.Semaphore(_OPENING_AT_ONCE)
    opened: list[_Caller] = []

    async def open_one() -> None:
        async with opening:
            caller = await _open(state)
            if caller is not None:
                opened.append(caller)
                await caller.first

    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(plan.deadline):
            await asyncio.gather(*(open_one() for _ in range(plan.requests)))
    await report(state.tally(time.perf_counter() - began, time.process_time() - cpu, held=True))
    for caller in opened:
        caller.transport.abort()
    await asyncio.gather(*(caller.lost for caller in opened))


def _write(tally: Tally) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(tally) + b"\n")
    sys.stdout.buffer.flush()


async def _report_and_wait(tally: Tally) -> None:
    _write(tally)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.readline)


def main() -> None:
    """Carries out one plan for each line of standard input."""
    gc.disable()  # a collection in the midst of a run would be read as the server's latency
    while line := sys.stdin.buffer.readline():
        plan = msgspec.json.decode(line, type=Plan)
        if plan.hold:
            uvloop.run(hold(plan, _report_and_wait))
        else:
            _write(uvloop.run(run(plan)))
        gc.collect()


if __name__ == "__main__":
    main()
