"""The benchmark counts what it claims to count: its load generator against its own scripted upstream."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from bench.load import Plan, Tally
from bench.measure import memory, tree
from bench.processes import LoadGenerator, free_port, load_generator, upstream
from bench.report import Report, Turn, goals, machine
from bench.workloads import REPLY_WORDS, REQUEST_BYTES, WORKLOADS, Kind

KINDS = list(dict.fromkeys(workload.kind for workload in WORKLOADS))
CHAT = Kind(name="chat")
STREAM = Kind(name="stream", chunks=5, pace_ms=1, end="[DONE]")


@pytest.fixture(name="server", scope="module")
def fixture_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    """The scripted upstream's process id and port."""
    with upstream(tmp_path_factory.mktemp("upstream")) as found:
        yield found


@pytest.fixture(name="load", scope="module")
def fixture_load(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoadGenerator]:
    """The load generator's process."""
    with load_generator(tmp_path_factory.mktemp("load")) as found:
        yield found


def plan(kind: Kind, port: int, *, callers: int, requests: int) -> Plan:
    """A plan that asks ``kind`` and expects a whole answer."""
    return Plan(
        port=port,
        path=kind.path,
        headers={"Content-Type": "application/json"},
        body=kind.body(),
        callers=callers,
        requests=requests,
        words=kind.chunks or REPLY_WORDS,
        end=kind.end,
        deadline=30,
    )


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_workload_asks_one_kilobyte(kind: Kind) -> None:
    """A request is as long as the tables say, whatever its dialect."""
    expected = REQUEST_BYTES
    assert expected == len(kind.body())


def turn(workload: str, number: int, p50: float) -> Turn:
    """A turn of spine's in a round."""
    tally = Tally(answered=9, failed=0, words=990, elapsed=1, p50=p50, p99=1, first_p50=p50, cpu=1)
    return Turn(contestant="spine", workload=workload, round=number, cpu_s=1, tally=tally)


def test_what_a_provider_that_is_down_adds() -> None:
    """It is the median of the differences within a round, so that a slow round hits both sides."""
    turns = [turn("well-1", 1, 0.001), turn("down-1", 1, 0.0015)]
    turns += [turn("well-1", 2, 0.009), turn("down-1", 2, 0.012)]
    turns += [turn("well-1", 3, 0.001), turn("down-1", 3, 0.003)]
    report = Report(machine=machine(), versions={}, quick=True, spine_workers=1, imports={}, lives=[], turns=turns)
    (goal,) = goals(report)
    assert pytest.approx(2.0) == goal.measured
    assert not goal.met


def test_whole_answers_are_counted(server: tuple[int, int], load: LoadGenerator) -> None:
    """Fifty requests from four callers bring fifty whole answers."""
    tally = load.run(plan(CHAT, server[1], callers=4, requests=50))
    expected = (50, 0, 50 * REPLY_WORDS, "")
    assert expected == (tally.answered, tally.failed, tally.words, tally.problem)
    assert 0 < tally.p50 <= tally.p99 <= tally.elapsed


def test_streamed_chunks_are_counted(server: tuple[int, int], load: LoadGenerator) -> None:
    """Six streams of five chunks bring thirty chunks and six ends."""
    tally = load.run(plan(STREAM, server[1], callers=3, requests=6))
    expected = (6, 0, 30, "")
    assert expected == (tally.answered, tally.failed, tally.words, tally.problem)


@pytest.mark.parametrize(
    "wrong", [{"words": 6}, {"end": "message_stop"}, {"path": "/elsewhere"}], ids=["short", "no end", "404"]
)
def test_a_wrong_answer_is_a_failure(server: tuple[int, int], load: LoadGenerator, wrong: dict[str, int | str]) -> None:
    """An answer with too few words, without its end mark or with another status counts as failed, and is explained."""
    tally = load.run(msgspec.structs.replace(plan(STREAM, server[1], callers=2, requests=4), **wrong))
    expected = (0, 4)
    assert expected == (tally.answered, tally.failed)
    assert tally.problem.startswith("status ")


def test_a_silent_port_ends_the_plan(load: LoadGenerator) -> None:
    """Where nobody listens every request fails and the plan ends by itself."""
    tally = load.run(plan(CHAT, free_port(), callers=2, requests=8))
    expected = (0, 8)
    assert expected == (tally.answered, tally.failed)
    assert tally.problem.startswith("cannot connect")


def test_streams_are_held_open(server: tuple[int, int], load: LoadGenerator) -> None:
    """Held streams are counted at their first chunk, long before they end, and the next plan finds all in order."""
    slow = Kind(name="slow", chunks=9000, pace_ms=60_000, end="[DONE]")
    with load.hold(plan(slow, server[1], callers=8, requests=8)) as tally:
        expected = (8, 0, "")
        assert expected == (tally.answered, tally.failed, tally.problem)
        assert memory(server[0]).rss > 0
    tally = load.run(plan(CHAT, server[1], callers=2, requests=2))
    expected = (2, 0, "")
    assert expected == (tally.answered, tally.failed, tally.problem)


def test_what_was_started_is_stopped(tmp_path: Path) -> None:
    """The upstream's process is alive within its block and gone after it."""
    with upstream(tmp_path) as (pid, _):
        assert [pid] == tree(pid)
        assert pid == os.getsid(pid)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
