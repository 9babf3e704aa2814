"""A whole gateway on a port of loopback, inside the running event loop: for tests through the front door."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

from msgspec import Struct
from typing_extensions import override

from genai_spine.assembly import Spine
from genai_spine.clock import Clock
from genai_spine.identity.api_keys import KeyRing
from genai_spine.identity.office import Audit
from genai_spine.redact import Secret
from genai_spine.server.listening import listen
from genai_spine.server.serving import Server
from genai_spine.settings import Settings
from genai_spine.telemetry.base import Observer
from genai_spine.telemetry.events import AttemptEnded, CircuitChanged, KeyFailed, RequestEnded
from genai_spine.testing.databases import make_sqlite
from genai_spine.types.ledger import AuditEvent

__all__ = ["Recorder", "RunningGateway", "running_gateway"]


class Recorder(Observer):
    """An observer that keeps what it is told.

    Attributes:
        records: Of requests.
        attempts: Of their calls to providers.
        circuits: Of the changes of circuits.
        keys: Of the failures of keys.
        events: What an audit was told.
    """

    def __init__(self) -> None:
        self.records: list[RequestEnded] = []
        self.attempts: list[AttemptEnded] = []
        self.circuits: list[CircuitChanged] = []
        self.keys: list[KeyFailed] = []
        self.events: list[AuditEvent] = []
        self._changed = asyncio.Event()

    @override
    def request_ended(self, record: RequestEnded) -> None:
        self.records.append(record)
        self._changed.set()

    @override
    def attempt_ended(self, record: AttemptEnded) -> None:
        self.attempts.append(record)

    @override
    def circuit_changed(self, record: CircuitChanged) -> None:
        self.circuits.append(record)

    @override
    def key_failed(self, record: KeyFailed) -> None:
        self.keys.append(record)

    def heard(self, audit: Audit) -> Audit:
        """Return what tells an audit, and this recorder with it."""

        def tell(event: AuditEvent) -> None:
            self.events.append(event)
            audit(event)

        return tell

    async def until(self, count: int) -> None:
        """Wait until so many records are there."""
        while len(self.records) < count:
            self._changed.clear()
            await self._changed.wait()


class RunningGateway(Struct):
    """A gateway that serves.

    Attributes:
        url: Its address, without a path.
        key: A key that it accepts.
        recorder: What it told of its requests.
        server: What serves it, to be told to stop.
    """

    url: str
    key: str
    spine: Spine
    recorder: Recorder
    server: Server

    @property
    def headers(self) -> dict[str, str]:
        """The header that lets a caller in."""
        return {"authorization": f"Bearer {self.key}"}


@contextlib.asynccontextmanager
async def running_gateway(
    environ: Mapping[str, str],
    *,
    key: str = "gateway-test-key",
    other_keys: Sequence[str] = (),
    clock: Clock | None = None,
    observers: Sequence[Observer] = (),
) -> AsyncIterator[RunningGateway]:
    """Run a gateway with just this environment, which may name where it keeps its data; else it forgets them.

    Nobody is looked for on the machine unless the environment says so.
    """
    with tempfile.TemporaryDirectory(prefix="genai-spine-") as folder:
        own = {"GENAI_PROBE_LOCAL": "false", "GENAI_STOP_SECONDS": "5", "GENAI_DATA_DIR": folder, **environ}
        if not environ.keys() & {"GENAI_DATA_DIR", "GENAI_DATABASE_URL"}:
            own["GENAI_DATABASE_URL"] = await make_sqlite(Path(folder) / "spine.db")
        settings = Settings(own)
        recorder = Recorder()
        spine = Spine(settings, clock=clock, observers=[recorder, *observers])
        spine.office.audit = recorder.heard(spine.office.audit)
        ready = asyncio.Event()
        keys = KeyRing([Secret(one) for one in (key, *other_keys)])
        server = Server(spine, keys, ready.set)
        server.capture_signals = contextlib.nullcontext  # type: ignore[assignment]  # signals belong to the test runner
        listening = listen("127.0.0.1", 0)
        serving = asyncio.create_task(server.serve([listening]))
        up = asyncio.create_task(ready.wait())
        await asyncio.wait({serving, up}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            up.cancel()
            serving.result()
            message = "the gateway stopped while starting"
            raise RuntimeError(message)
        try:
            host, port = listening.getsockname()
            yield RunningGateway(url=f"http://{host}:{port}", key=key, spine=spine, recorder=recorder, server=server)
        finally:
            server.finish()
            await serving
