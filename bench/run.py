"""The one command: starts everything, asks every contestant in turn, prints the table and writes the JSON.

Two parts. In the first each contestant lives alone several times: start-up, idle memory, a thousand open streams. In
the second all live side by side and each workload goes round them in turn, so that a slow minute of the machine hits
all of them; figures are medians over the rounds, and ratios are taken within a round.
"""

from __future__ import annotations

import argparse
import contextlib
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import msgspec

from bench.contestants import CONTESTANTS, Contestant, LiteLlm, Naive, Nginx, Spine, caller_headers
from bench.load import Plan
from bench.measure import command_cpu, cpu_seconds, memory
from bench.processes import LoadGenerator, free_port, load_generator, started, upstream, wait_ready
from bench.report import DIRECT, Life, Report, Turn, machine, print_report, save
from bench.workloads import OPEN_STREAMS, REPLY_WORDS, Kind, Workload, select

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["main"]

_READY_SECONDS = 120.0
_SETTLE_SECONDS = 2.0
_OPENING_SECONDS = 40.0
_FILES = 16_384
_DIRECT_PACE = 20_000


class _Options(msgspec.Struct, frozen=True, kw_only=True):
    contestants: list[str]
    workloads: list[Workload]
    rounds: int
    lives: int
    streams: int
    spine_workers: int
    quick: bool


class _Stage(msgspec.Struct, frozen=True, kw_only=True):
    """What every measurement needs: the scripted upstream, the load generator and a folder for files."""

    options: _Options
    upstream_pid: int
    upstream_port: int
    load: LoadGenerator
    folder: Path


class _Target(msgspec.Struct, frozen=True, kw_only=True):
    """Something that can be asked: a port, and the process whose tree is measured."""

    name: str
    pid: int
    port: int
    pace: int
    specials: bool


def _options(arguments: list[str] | None) -> _Options:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    add = parser.add_argument
    add("--contestants", default=",".join(CONTESTANTS), help="comma-separated, default: %(default)s")
    add("--workloads", default="", help="comma-separated, such as chat,stream-16; default: all")
    add("--rounds", type=int, help="rounds of load; default 5, quick 3")
    add("--lives", type=int, help="rounds of start-up and memory; default 3, quick 1; 0 leaves them out")
    add("--open-streams", type=int, default=1000, help="streams held open at once, default: %(default)s")
    add("--spine-workers", type=int, default=1, help="worker processes of spine, default: %(default)s")
    add("--quick", action="store_true", help="a few minutes instead of a quarter of an hour: fewer requests and rounds")
    given = parser.parse_args(arguments)
    names = [name for name in given.contestants.split(",") if name]
    if unknown := [name for name in names if name not in CONTESTANTS]:
        parser.error(f"no such contestant: {', '.join(unknown)}; there are {', '.join(CONTESTANTS)}")
    try:
        workloads = select([name for name in given.workloads.split(",") if name])
    except ValueError as error:
        parser.error(str(error))
    quick: bool = given.quick
    return _Options(
        contestants=names,
        workloads=workloads,
        rounds=(3 if quick else 5) if given.rounds is None else given.rounds,
        lives=(1 if quick else 3) if given.lives is None else given.lives,
        streams=given.open_streams,
        spine_workers=given.spine_workers,
        quick=quick,
    )


def _contestants(options: _Options) -> tuple[list[Contestant], dict[str, str]]:
    """The chosen contestants that are there or could be installed, and their versions."""
    every: list[Contestant] = [Spine(options.spine_workers), Nginx(), Naive(), LiteLlm()]
    chosen, versions = [], {}
    for contestant in every:
        if contestant.name in options.contestants:
            try:
                versions[contestant.name] = contestant.prepare()
            except LookupError as error:
                _say(f"left out: {contestant.name}: {error}")
            else:
                chosen.append(contestant)
    return chosen, versions


@contextlib.contextmanager
def _serving(contestant: Contestant, stage: _Stage) -> Iterator[tuple[_Target, float]]:
    """The contestant, ready, and the seconds from exec to its first 200."""
    port = free_port()
    launch = contestant.launch(port, stage.upstream_port, stage.folder)
    log = stage.folder / f"{contestant.name}-{port}.log"
    began = time.perf_counter()
    with started(launch.argv, launch.env, log) as process:
        wait_ready(process, port, contestant.health, log, _READY_SECONDS)
        took = time.perf_counter() - began
        target = _Target(
            name=contestant.name,
            pid=process.pid,
            port=port,
            pace=contestant.pace,
            specials=contestant.specials,
        )
        yield target, took


def _plan(kind: Kind, port: int, callers: int, requests: int) -> Plan:
    return Plan(
        port=port,
        path=kind.path,
        headers=caller_headers(),
        body=kind.body(),
        callers=callers,
        requests=requests,
        words=kind.chunks or REPLY_WORDS,
        end=kind.end,
    )


def _live(contestant: Contestant, stage: _Stage, number: int) -> Life:
    """One life of a contestant: start-up, idle memory, then memory under open streams."""
    streams = stage.options.streams
    with _serving(contestant, stage) as (target, took):
        time.sleep(_SETTLE_SECONDS)
        idle = memory(target.pid)
        plan = _plan(OPEN_STREAMS, target.port, streams, streams)
        with stage.load.hold(msgspec.structs.replace(plan, deadline=_OPENING_SECONDS)) as tally:
            time.sleep(_SETTLE_SECONDS)
            loaded = memory(target.pid)
    return Life(
        contestant=contestant.name,
        round=number,
        start_s=took,
        idle=idle,
        asked=streams,
        streams=tally.answered,
        loaded=loaded,
        problem=tally.problem,
    )


def _turn(target: _Target, workload: Workload, stage: _Stage, number: int) -> Turn:
    requests = workload.requests(target.pace, quick=stage.options.quick)
    before = cpu_seconds(target.pid)
    tally = stage.load.run(_plan(workload.kind, target.port, workload.callers, requests))
    used = cpu_seconds(target.pid) - before
    return Turn(
        contestant=target.name,
        workload=workload.name,
        round=number,
        cpu_s=used,
        tally=tally,
    )


def _warm_up(target: _Target, workloads: list[Workload], load: LoadGenerator) -> None:
    """A second or so of each kind of request, not counted.

    Raises:
        RuntimeError: the first request fails, so that nothing else needs measuring.
    """
    kinds = {workload.kind.name: workload.kind for workload in workloads}
    for kind in kinds.values():
        if not kind.special or target.specials:
            requests = 16 if kind.chunks else max(32, target.pace // 4)
            tally = load.run(_plan(kind, target.port, 16, requests))
            if tally.answered == 0:
                message = f"{target.name} answered none of {requests} {kind.name} requests: {tally.problem}"
                raise RuntimeError(message)


def _measure_lives(contestants: list[Contestant], stage: _Stage) -> list[Life]:
    lives = []
    for number in range(stage.options.lives):
        for contestant in contestants:
            _say(f"life {number + 1} of {stage.options.lives}: {contestant.name}")
            lives.append(_live(contestant, stage, number))
    return lives


def _measure_load(contestants: list[Contestant], stage: _Stage) -> list[Turn]:
    options = stage.options
    direct = _Target(name=DIRECT, pid=stage.upstream_pid, port=stage.upstream_port, pace=_DIRECT_PACE, specials=False)
    turns = []
    with contextlib.ExitStack() as alive:
        targets = [direct] + [alive.enter_context(_serving(each, stage))[0] for each in contestants]
        for target in targets:
            _say(f"warm-up: {target.name}")
            _warm_up(target, options.workloads, stage.load)
        for number in range(options.rounds):
            for workload in options.workloads:
                asked = [target for target in targets if target.specials or not workload.kind.special]
                if asked:
                    _say(f"round {number + 1} of {options.rounds}: {workload.name}")
                    turns += [_turn(target, workload, stage, number) for target in asked]
    return turns


def _import_seconds(contestant: Contestant, times: int) -> dict[str, float]:
    """Median CPU seconds of each way of importing the contestant's library, less those of Python alone."""
    found = {}
    for launch in contestant.imports():
        command_cpu(launch.argv, launch.env)  # writes the byte code
        bare = [launch.argv[0], "-c", ""]
        without = statistics.median(command_cpu(bare, launch.env) for _ in range(times))
        found[launch.argv[-1]] = statistics.median(command_cpu(launch.argv, launch.env) for _ in range(times)) - without
    return found


def _measure(options: _Options) -> Report:
    contestants, versions = _contestants(options)
    imports = {each.name: _import_seconds(each, 3 if options.quick else 7) for each in contestants}
    with contextlib.ExitStack() as alive:
        folder = Path(alive.enter_context(tempfile.TemporaryDirectory(prefix="genai-spine-bench-")))
        pid, port = alive.enter_context(upstream(folder))
        load = alive.enter_context(load_generator(folder))
        stage = _Stage(options=options, upstream_pid=pid, upstream_port=port, load=load, folder=folder)
        lives = _measure_lives(contestants, stage)
        turns = _measure_load(contestants, stage)
    return Report(
        machine=machine(),
        versions=versions,
        quick=options.quick,
        spine_workers=options.spine_workers,
        imports=imports,
        lives=lives,
        turns=turns,
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _terminated(*_: object) -> NoReturn:
    """Turns SIGTERM into an exception, so that everything started is stopped."""
    sys.exit("terminated")


def _allow_files() -> None:
    """Raises the limit of open files, which the contestants inherit, as far as is permitted."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def main(arguments: list[str] | None = None) -> None:
    """Runs the benchmark; exits with a message if something could not be started."""
    options = _options(arguments)
    signal.signal(signal.SIGTERM, _terminated)
    _allow_files()
    try:
        report = _measure(options)
    except RuntimeError as error:
        sys.exit(str(error))
    except subprocess.CalledProcessError as error:
        sys.exit(f"{error}\n{error.output}")
    except KeyboardInterrupt:
        sys.exit("stopped")
    print_report(report)
    _say(f"written to {save(report)}")


if __name__ == "__main__":
    main()
