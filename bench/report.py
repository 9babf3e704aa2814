"""From single turns to medians, ratios and targets; the printed table and the JSON file."""

from __future__ import annotations

import datetime as dt
import os
import platform
import statistics
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from rich.console import Console
from rich.table import Table

from bench.measure import Memory
from bench.workloads import DOWN, WELL, Workload, select

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bench.load import Tally

__all__ = [
    "DIRECT",
    "Cell",
    "Footprint",
    "Goal",
    "Life",
    "Machine",
    "Report",
    "Turn",
    "cells",
    "footprints",
    "goals",
    "machine",
    "print_report",
    "save",
]

DIRECT = "direct"
"""The callers ask the upstream itself: what every added latency is added to."""
_JUDGED_STREAMS = {"stream-16", "stream-64"}
"""Not one caller alone: there each chunk also pays for waking an idle process, nginx's as much as ours."""
_RESULTS = Path(__file__).resolve().parent / "results"


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Where the figures were taken; they compare only with figures of the same run."""

    taken: str
    cores: int
    processor: str
    kernel: str
    python: str
    load_average: float
    """One-minute load average at the end of the run."""


class Life(msgspec.Struct, frozen=True, kw_only=True):
    """One life of a contestant: seconds to its first 200, and memory idle and under open streams."""

    contestant: str
    round: int
    start_s: float
    idle: Memory
    asked: int
    streams: int
    """How many of the streams asked for were open, each past its first chunk."""
    loaded: Memory
    problem: str = ""


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """One workload sent to one contestant in one round."""

    contestant: str
    workload: str
    round: int
    cpu_s: float
    """CPU seconds of the contestant's process tree while the load ran."""
    tally: Tally

    @property
    def cpu_us(self) -> float:
        """Microseconds of CPU for each answer."""
        return self.cpu_s / max(1, self.tally.answered) * 1e6


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was measured."""

    machine: Machine
    versions: dict[str, str]
    quick: bool
    spine_workers: int
    imports: dict[str, dict[str, float]]
    """By contestant and statement: CPU seconds of importing the library, those of Python itself taken off."""
    lives: list[Life]
    turns: list[Turn]


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One contestant under one workload: medians over the rounds. Latencies of streams are of the first chunk."""

    contestant: str
    workload: str
    callers: int
    cpu_us_per_request: float
    cpu_us_per_chunk: float | None
    """All CPU of the streams over their chunks, so the request's and the end's share too; None if it is no stream."""
    cpu_us_per_chunk_net: float | None
    """The same less one whole-answer request of the same contestant, callers and round."""
    requests_per_s: float
    p50_ms: float
    p99_ms: float | None
    added_p50_ms: float | None
    """Over the direct call of the same round."""
    added_p99_ms: float | None
    answered: int
    failed: int
    problem: str


class Footprint(msgspec.Struct, frozen=True, kw_only=True):
    """One contestant's start and memory: medians over its lives. Memory in megabytes."""

    contestant: str
    start_s: float
    idle: Memory
    asked: int
    streams: int
    loaded: Memory
    kb_per_stream: float
    """Growth of the proportional set, in kilobytes, for each stream that was open."""
    problem: str


class Goal(msgspec.Struct, frozen=True, kw_only=True):
    """A target of GenAI Spine and what was measured."""

    name: str
    limit: float
    measured: float
    at_least: bool = False
    """The limit is a floor, not a ceiling."""

    @property
    def met(self) -> bool:
        """Whether the measured value keeps to the limit."""
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit


def machine() -> Machine:
    """The machine's facts, now."""
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return Machine(
        taken=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        cores=len(os.sched_getaffinity(0)),
        processor=names[0] if names else platform.machine(),
        kernel=platform.release(),
        python=f"{platform.python_implementation()} {platform.python_version()}, {platform.python_compiler()}",
        load_average=os.getloadavg()[0],
    )


def _median(values: Iterable[float]) -> float | None:
    found = list(values)
    return statistics.median(found) if found else None


def _pairs(report: Report, contestant: str, workload: str, other: str, beside: str) -> list[tuple[Turn, Turn]]:
    """The turns of a contestant at a workload, each with the turn of ``other`` at ``beside`` in the same round."""
    turns = {(turn.contestant, turn.workload, turn.round): turn for turn in report.turns}
    return [
        (turn, turns[other, beside, turn.round])
        for turn in report.turns
        if (turn.contestant, turn.workload) == (contestant, workload) and (other, beside, turn.round) in turns
    ]


def cells(report: Report) -> list[Cell]:
    """The turns' medians, by workload and contestant in the order in which they were measured."""
    groups: dict[tuple[str, str], list[Turn]] = {}
    for turn in report.turns:
        groups.setdefault((turn.workload, turn.contestant), []).append(turn)
    return [_cell(report, select([name])[0], contestant, turns) for (name, contestant), turns in groups.items()]


def _cell(report: Report, workload: Workload, contestant: str, turns: list[Turn]) -> Cell:
    kind, callers = workload.kind, workload.callers
    direct = _pairs(report, contestant, workload.name, DIRECT, f"{kind.direct}-{callers}")
    whole = _pairs(report, contestant, workload.name, contestant, f"{kind.whole}-{callers}") if kind.chunks else []
    if contestant == DIRECT:
        direct = []
    if kind.chunks:
        p50, added = [one.tally.first_p50 for one in turns], [a.tally.first_p50 - b.tally.first_p50 for a, b in direct]
    else:
        p50, added = [one.tally.p50 for one in turns], [a.tally.p50 - b.tally.p50 for a, b in direct]
    p99 = [] if kind.chunks else [one.tally.p99 for one in turns]
    added_p99 = [] if kind.chunks else [a.tally.p99 - b.tally.p99 for a, b in direct]
    return Cell(
        contestant=contestant,
        workload=workload.name,
        callers=callers,
        cpu_us_per_request=statistics.median(one.cpu_us for one in turns),
        cpu_us_per_chunk=statistics.median(one.cpu_us for one in turns) / kind.chunks if kind.chunks else None,
        cpu_us_per_chunk_net=_median((a.cpu_us - b.cpu_us) / kind.chunks for a, b in whole),
        requests_per_s=statistics.median(one.tally.answered / one.tally.elapsed for one in turns),
        p50_ms=statistics.median(p50) * 1e3,
        p99_ms=_median(value * 1e3 for value in p99),
        added_p50_ms=_median(value * 1e3 for value in added),
        added_p99_ms=_median(value * 1e3 for value in added_p99),
        answered=sum(one.tally.answered for one in turns),
        failed=sum(one.tally.failed for one in turns),
        problem=next((one.tally.problem for one in turns if one.tally.problem), ""),
    )


def _median_memory(values: list[Memory]) -> Memory:
    return Memory(
        rss=statistics.median(each.rss for each in values), pss=statistics.median(each.pss for each in values)
    )


def footprints(report: Report) -> list[Footprint]:
    """The lives' medians, by contestant in the order in which they were measured."""
    groups: dict[str, list[Life]] = {}
    for life in report.lives:
        groups.setdefault(life.contestant, []).append(life)
    return [
        Footprint(
            contestant=contestant,
            start_s=statistics.median(life.start_s for life in lives),
            idle=_median_memory([life.idle for life in lives]),
            asked=lives[0].asked,
            streams=min(life.streams for life in lives),
            loaded=_median_memory([life.loaded for life in lives]),
            kb_per_stream=statistics.median(
                (life.loaded.pss - life.idle.pss) * 1e3 / max(1, life.streams) for life in lives
            ),
            problem=next((life.problem for life in lives if life.problem), ""),
        )
        for contestant, lives in groups.items()
    ]


def goals(report: Report) -> list[Goal]:
    """GenAI Spine's targets beside what was measured; those whose figures this run has."""
    found = []
    for callers in (1, 16, 64):
        chat = f"chat-{callers}"
        lite = _median(b.cpu_us / a.cpu_us for a, b in _pairs(report, "spine", chat, "litellm", chat))
        floor = _median(a.cpu_us / b.cpu_us for a, b in _pairs(report, "spine", chat, "nginx", chat))
        if lite is not None:
            name = f"times fewer CPU per chat request than LiteLLM, {callers} callers"
            found.append(Goal(name=name, limit=30, measured=lite, at_least=True))
        if floor is not None:
            found.append(Goal(name=f"times nginx's CPU per chat request, {callers} callers", limit=8, measured=floor))
    for callers in (1, 16):
        pairs = _pairs(report, "spine", f"{DOWN.name}-{callers}", "spine", f"{WELL.name}-{callers}")
        added = _median((down.tally.p50 - well.tally.p50) * 1e3 for down, well in pairs)
        if added is not None:
            name = f"ms added to the median while the first provider is down, {callers} callers"
            found.append(Goal(name=name, limit=1, measured=added))
    for cell in cells(report):
        if cell.contestant == "spine" and cell.workload in _JUDGED_STREAMS and cell.cpu_us_per_chunk is not None:
            name = f"CPU us per streamed chunk, {cell.callers} callers"
            found.append(Goal(name=name, limit=35, measured=cell.cpu_us_per_chunk))
    for own in footprints(report):
        if own.contestant == "spine":
            if own.streams == own.asked:
                found.append(Goal(name=f"MB with {own.streams} open streams", limit=200, measured=own.loaded.rss))
            found.append(Goal(name="MB idle", limit=120, measured=own.idle.rss))
    imports = report.imports.get("spine", {})
    found += [Goal(name=f"CPU s of {statement}", limit=0.5, measured=seconds) for statement, seconds in imports.items()]
    return found


def _number(value: float | None, digits: int = 0) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def _cells_table(report: Report, *, streams: bool) -> Table:
    title = (
        "Streams of 50 chunks, 20 ms apart; first: to the first chunk"
        if streams
        else "Answers in one piece, 1 KB asked, 1 KB answered"
    )
    table = Table(title=title, title_justify="left")
    columns = ["workload", "contestant", "CPU us/request"]
    columns += ["CPU us/chunk", "less a request", "first ms", "added"] if streams else []
    columns += [] if streams else ["requests/s", "p50 ms", "added", "p99 ms", "added"]
    for column in [*columns, "failed"]:
        left = column in {"workload", "contestant"}
        table.add_column(column, justify="left" if left else "right", no_wrap=left)
    previous = ""
    for cell in cells(report):
        if (cell.cpu_us_per_chunk is not None) == streams:
            if previous not in {"", cell.workload}:
                table.add_section()
            shown = cell.workload if cell.workload != previous else ""
            row = [shown, cell.contestant, _number(cell.cpu_us_per_request)]
            if streams:
                row += [_number(cell.cpu_us_per_chunk, 1), _number(cell.cpu_us_per_chunk_net, 1)]
                row += [_number(cell.p50_ms, 2), _number(cell.added_p50_ms, 2)]
            else:
                row += [_number(cell.requests_per_s), _number(cell.p50_ms, 2), _number(cell.added_p50_ms, 2)]
                row += [_number(cell.p99_ms, 2), _number(cell.added_p99_ms, 2)]
            table.add_row(*row, _number(cell.failed) if cell.failed else "")
            previous = cell.workload
    return table


def _footprints_table(report: Report) -> Table:
    table = Table(title="Start and memory (MB: resident / proportional)", title_justify="left")
    for column in ("contestant", "start s", "import CPU s", "idle MB", "streams open", "then MB", "kB/stream"):
        table.add_column(column, justify="left" if column == "contestant" else "right")
    for own in footprints(report):
        table.add_row(
            own.contestant,
            _number(own.start_s, 2),
            _number(next(reversed(report.imports.get(own.contestant, {}).values()), None), 2),
            f"{own.idle.rss:,.0f} / {own.idle.pss:,.0f}",
            f"{own.streams:,} of {own.asked:,}",
            f"{own.loaded.rss:,.0f} / {own.loaded.pss:,.0f}",
            _number(own.kb_per_stream, 1),
        )
    return table


def _goals_table(report: Report) -> Table:
    table = Table(title=f"Targets of GenAI Spine, worker processes: {report.spine_workers}", title_justify="left")
    for column in ("target", "limit", "measured", "met"):
        table.add_column(column, justify="left" if column == "target" else "right")
    for goal in goals(report):
        sign = ">=" if goal.at_least else "<="
        table.add_row(goal.name, f"{sign} {goal.limit:g}", _number(goal.measured, 2), "yes" if goal.met else "NO")
    return table


def print_report(report: Report) -> None:
    """The tables, to standard output."""
    console = Console(width=max(110, Console().width))
    facts = report.machine
    console.print(f"{facts.processor}, {facts.cores} cores, Linux {facts.kernel}, {facts.python}", highlight=False)
    console.print("; ".join(f"{name}: {text}" for name, text in report.versions.items()), highlight=False)
    tables = [
        _cells_table(report, streams=False),
        _cells_table(report, streams=True),
        _footprints_table(report),
        _goals_table(report),
    ]
    for table in tables:
        if table.row_count:
            console.print(table)
    problems = [f"{cell.contestant}, {cell.workload}: {cell.problem}" for cell in cells(report) if cell.problem]
    problems += [f"{own.contestant}, open streams: {own.problem}" for own in footprints(report) if own.problem]
    for problem in problems:
        console.print(problem, markup=False, highlight=False)


def save(report: Report) -> Path:
    """Writes everything measured and derived to ``bench/results`` and returns the file."""
    _RESULTS.mkdir(exist_ok=True)
    file = _RESULTS / f"{report.machine.taken.replace(':', '').replace('+0000', 'Z')}.json"
    derived = {
        "cells": cells(report),
        "footprints": footprints(report),
        "targets": [{**msgspec.structs.asdict(goal), "met": goal.met} for goal in goals(report)],
    }
    text = msgspec.json.encode({**derived, **msgspec.structs.asdict(report)})
    file.write_bytes(msgspec.json.format(text, indent=1))
    return file
