"""The metrics of several processes: each writes files of its own, which the Prometheus client knows to add up.

A process writes what it has counted from time to time, and always at its end; whoever is asked adds up all files. What
one that died had written stays, so that no counter ever falls; its gauges go.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.samples import Sample
from typing_extensions import override

from genai_spine.errors import ConfigurationError

__all__ = ["FIRST_BYTES", "HighestGauge", "MetricFiles", "MetricFolder"]

_SUM: Final = "livesum"
_HIGHEST: Final = "livemax"
_BUCKET: Final = "_bucket"
_COUNT: Final = "_count"

FIRST_BYTES: Final = 1 << 16
"""Of a new file; most never need more."""
ENTRY_BYTES: Final = 32
"""What an entry takes beside its key, at most."""


class HighestGauge(GaugeMetricFamily):
    """A gauge of which the highest of all processes counts. Others are added up."""


class _File(MmapedDict):
    """A file that has its place on the disk before it is written to.

    It is written by way of the memory, where a disk without room ends the process.
    """

    def __init__(self, path: str) -> None:
        with Path(path).open("ab") as file:
            _take_place(file.fileno(), max(file.tell(), FIRST_BYTES))
        super().__init__(path)  # type: ignore[no-untyped-call]  # as below

    @override
    def _init_value(self, key: str) -> None:
        capacity = self._capacity
        while self._used + len(key.encode()) + ENTRY_BYTES > capacity:
            capacity *= 2
        if capacity > self._capacity:
            _take_place(self._f.fileno(), capacity)
        super()._init_value(key)  # type: ignore[no-untyped-call]  # as below


class MetricFiles:
    """The files of one process. Its name must be its own, and hold no underscore."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name
        self._files: dict[str, MmapedDict] = {}
        self._written: dict[str, float] = {}

    def write(self, families: Iterable[Metric]) -> None:
        """Write down what has changed.

        Raises:
            OSError: There is no place for it, or the folder is gone; what was not written is, the next time.
        """
        for family in families:
            kind = _kind(family)
            for sample, value in _apart(family):
                names, values = list(sample.labels), list(sample.labels.values())
                key = mmap_key(family.name, sample.name, names, values, family.documentation)
                if self._written.get(key) != value:
                    self._file(kind).write_value(key, value, 0.0)  # type: ignore[no-untyped-call]  # the client library is typed in part
                    self._written[key] = value

    def _file(self, kind: str) -> MmapedDict:
        if (file := self._files.get(kind)) is None:
            file = self._files[kind] = _File(str(self._folder / f"{kind}_{self._name}.db"))
        return file

    def page(self) -> bytes:
        """Return what all processes have written, in Prometheus' text format."""
        registry = CollectorRegistry()
        MultiProcessCollector(registry, str(self._folder))  # type: ignore[no-untyped-call]  # as above
        return generate_latest(registry)

    def close(self) -> None:
        """Close the files; what is in them stays."""
        for file in self._files.values():
            file.close()  # type: ignore[no-untyped-call]  # as above
        self._files.clear()


class MetricFolder:
    """Where several processes keep their files.

    Attributes:
        path: Where it is.
    """

    def __init__(self, path: Path) -> None:
        """Make the folder; what an earlier service left there goes.

        Raises:
            ConfigurationError: It cannot be made.
        """
        self.path = path
        try:
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir(parents=True, mode=0o700)
        except OSError as error:
            message = f"the folder {path} cannot be made ({error.strerror}); set GENAI_DATA_DIR to another"
            raise ConfigurationError(message) from error

    def died(self, name: str) -> None:
        """Drop the gauges of a process that is no more."""
        mark_process_dead(name, str(self.path))  # type: ignore[no-untyped-call]  # as above

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.path, ignore_errors=True)


def _take_place(descriptor: int, size: int) -> None:
    """Make a file that large, with a place on the disk for all of it; raises ``OSError`` where there is none."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)


def _kind(family: Metric) -> str:
    if family.type != "gauge":
        return family.type
    return f"gauge_{_HIGHEST if isinstance(family, HighestGauge) else _SUM}"


def _apart(family: Metric) -> Iterator[tuple[Sample, float]]:
    """Yield samples with their values, as the files hold them.

    The buckets of histograms stand there each without those below it, and without the count of all.
    """
    below = 0.0
    for sample in family.samples:
        if family.type == "histogram" and sample.name.endswith(_BUCKET):
            yield sample, sample.value - below
            below = sample.value
        elif family.type == "histogram" and sample.name.endswith(_COUNT):
            # It stands behind its buckets; those of the next series begin anew.
            below = 0.0
        else:
            yield sample, sample.value
