"""Metrics of several processes: whoever is asked tells those of all, and no counter falls when a process dies."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import msgspec
import pytest

from genai_spine.errors import ConfigurationError
from genai_spine.telemetry.events import KeyFailed, LedgerFault
from genai_spine.telemetry.metric_files import FIRST_BYTES, MetricFiles, MetricFolder
from genai_spine.telemetry.prometheus import WRITE_SECONDS, PrometheusObserver
from tests import virtual_time
from tests.unit.telemetry.records import ATTEMPT, OPENED, RECORD, ended, samples

GAUGE = 'genai_circuit_state{provider="openai"}'


class Processes:
    """Observers that stand for the processes of one service."""

    def __init__(self, path: Path, stack: ExitStack) -> None:
        self.folder = MetricFolder(path)
        self._stack = stack

    def start(self, name: str) -> PrometheusObserver:
        """Start another."""
        return self._stack.enter_context(closing(PrometheusObserver(MetricFiles(self.folder.path, name))))


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """A service without a process yet."""
    with ExitStack() as stack:
        yield Processes(tmp_path / "metrics", stack)


def observe(*observers: PrometheusObserver) -> None:
    """Let many things happen, each seen by the next of these."""
    for number in range(60):
        seen = observers[number % len(observers)]
        door, provider = f"door-{number % 3}", f"provider-{number % 2}"
        outcome = ("success", "error", "timeout")[number % 3]
        record = msgspec.structs.replace(RECORD, door=door, provider=provider, outcome=outcome, seconds=0.011 * number)
        seen.request_ended(msgspec.structs.replace(record, first_token_seconds=None if number % 4 else 0.01 * number))
        seen.attempt_ended(msgspec.structs.replace(ATTEMPT, provider=provider, retry=number % 5 == 0))
        seen.key_failed(KeyFailed(provider=provider, key="a", fault="limited", status="cooling", usable_in=1.0))
        seen.request_ended(msgspec.structs.replace(RECORD, status=401, attempts=0, error="missing_api_key"))
        seen.ledger_failed(LedgerFault(kind=("torn", "refused")[number % 2], count=2))


async def test_all_together_tell_what_one_would(processes: Processes) -> None:
    """Requests, tokens, calls and the buckets of times add up to the numbers of one process that saw it all."""
    alone, several = PrometheusObserver(), [processes.start(f"{number}-1") for number in (1, 2, 3)]
    observe(alone)
    observe(*several)
    for observer in several:
        observer.page()
    expected = samples(alone)
    assert len(expected) > 100
    for observer in several:
        assert expected == pytest.approx(samples(observer))


async def test_the_pages_look_the_same(processes: Processes) -> None:
    """Names, types and explanations are those of a page of one process."""
    alone, other = PrometheusObserver(), processes.start("1-1")
    observe(alone)
    observe(other)

    def explained(observer: PrometheusObserver) -> set[str]:
        alone.circuit_changed(OPENED)
        other.circuit_changed(OPENED)
        return {line for line in observer.page().decode().splitlines() if line.startswith("#")}

    assert explained(alone) == explained(other)


def test_others_learn_of_it_soon(processes: Processes) -> None:
    """What one counts is in the page of another within a moment, with one write for many changes."""

    async def main() -> tuple[dict[str, float], dict[str, float]]:
        one, other = processes.start("1-1"), processes.start("2-1")
        for _ in range(3):
            one.request_ended(RECORD)
        before = samples(other)
        await asyncio.sleep(WRITE_SECONDS)
        return before, samples(other)

    (before, after), _ = virtual_time.run(main)
    assert {} == before
    assert 3 == after[ended("success")]


async def test_one_that_dies(processes: Processes) -> None:
    """What it counted stays, and goes on in its successor; how its circuits stood is forgotten."""
    victim, other = processes.start("1-1"), processes.start("2-1")
    victim.request_ended(RECORD)
    victim.circuit_changed(OPENED)
    victim.page()
    other.request_ended(RECORD)
    assert (2, 2) == (samples(other)[ended("success")], samples(other)[GAUGE])
    processes.folder.died("1-1")
    successor = processes.start("1-2")
    successor.request_ended(RECORD)
    successor.page()
    assert 3 == samples(other)[ended("success")]
    assert GAUGE not in samples(other)


async def test_a_circuit_that_one_sees_open(processes: Processes) -> None:
    """A provider's circuit is shown as the worst that any process knows; closed where it is for all."""
    one, other = processes.start("1-1"), processes.start("2-1")
    one.circuit_changed(OPENED)
    other.circuit_changed(msgspec.structs.replace(OPENED, after="half_open"))
    one.page()
    assert {GAUGE: 2} == samples(other)
    one.circuit_changed(msgspec.structs.replace(OPENED, after="closed"))
    one.page()
    assert {GAUGE: 1} == samples(other)


async def test_what_is_counted_last(processes: Processes) -> None:
    """A process that ends in good order has written down all."""
    one, other = processes.start("1-1"), processes.start("2-1")
    one.request_ended(RECORD)
    one.close()
    assert 1 == samples(other)[ended("success")]


async def test_a_new_service_begins_anew(tmp_path: Path) -> None:
    """Nothing of an earlier one is counted, however it ended."""
    with ExitStack() as stack:
        former = Processes(tmp_path, stack)
        former.start("1-1").request_ended(RECORD)
    with ExitStack() as stack:
        latter = Processes(tmp_path, stack)
        assert {} == samples(latter.start("1-1"))


def test_a_folder_is_removed(tmp_path: Path) -> None:
    """Afterwards nothing is left."""
    folder = MetricFolder(tmp_path / "metrics" / "one")
    assert folder.path.is_dir()
    folder.remove()
    folder.remove()
    assert not folder.path.exists()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """It is told with the setting that chooses another."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="GENAI_DATA_DIR"):
        MetricFolder(tmp_path / "file" / "metrics")


async def test_files_have_their_place_on_the_disk(processes: Processes) -> None:
    """None has holes, grown ones neither: where they are written the disk must not turn out to be full."""
    one = processes.start("1-1")
    for number in range(600):
        one.request_ended(msgspec.structs.replace(RECORD, provider=f"provider-{number}"))
    one.page()
    sizes = [path.stat() for path in processes.folder.path.iterdir()]
    assert max(size.st_size for size in sizes) > FIRST_BYTES
    assert [] == [size for size in sizes if size.st_blocks * 512 < size.st_size]
