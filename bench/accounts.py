"""What keeping account costs: ``python -m bench.accounts`` prints microseconds of CPU a pass-through request.

The data plane is asked in this process, without sockets: what is measured is what authentication, rate limits, budgets
and the ledger add to the same request, and all of them where limits and budgets are counted at a Redis server. That is
started for it, and its own work is not in the figure. The upstream answers after a pause, as one does; the callers ask
one after the other. Of two dozen rounds, in turns, the best is shown: all else that the machine does only ever adds.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import uvloop
from typing_extensions import override

from genai_spine.assembly import Spine
from genai_spine.cli.worker import settle
from genai_spine.identity.api_keys import KeyRing
from genai_spine.redact import Secret
from genai_spine.server.app import create_app
from genai_spine.settings import Settings
from genai_spine.transport.base import Incoming, Outgoing, Timeouts, Transport

if TYPE_CHECKING:
    from starlette.types import Message

CALLERS: Final = (1, 16, 64)
REQUESTS: Final = 1500
ROUNDS: Final = 24
PAUSE: Final = 0.002
KEY: Final = "bench-key"
BODY: Final = json.dumps(
    {"model": "openai/gpt-4o-mini", "messages": [{"role": "user", "content": "x" * 900}], "max_tokens": 100}
).encode()
ANSWER: Final = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-4o-mini",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "y" * 900}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 225, "completion_tokens": 225, "total_tokens": 450},
    }
).encode()
LIMITS: Final = {
    "GENAI_BUDGET_HOURLY": "1000",
    "GENAI_RATE_LIMIT_REQUESTS_PER_MINUTE": "100000000",
    "GENAI_RATE_LIMIT_TOKENS_PER_MINUTE": "100000000000",
}
Kinds: TypeAlias = Mapping[str, tuple[bool, Mapping[str, str]]]
"""By name whether a key is asked for, and the settings."""

KINDS: Final[Kinds] = {
    "nothing": (False, {"GENAI_LEDGER": "false"}),
    "authentication": (True, {"GENAI_LEDGER": "false"}),
    "and limits, budget": (True, {"GENAI_LEDGER": "false", **LIMITS}),
    "and ledger": (True, LIMITS),
}
"""Each adds to the one before."""


class Answered(Incoming):
    """An answer that is there already."""

    status = 200
    headers: Mapping[str, str] = {"content-type": "application/json"}

    @override
    async def chunks(self) -> AsyncIterator[bytes]:
        yield ANSWER

    @override
    def close(self) -> None:
        """Nothing is held."""


class Upstream(Transport):
    """Answers after a pause."""

    @override
    async def send(self, outgoing: Outgoing, timeouts: Timeouts) -> Incoming:
        await asyncio.sleep(PAUSE)
        return Answered()

    @override
    async def close(self) -> None:
        """Nothing is held."""


class Gateway:
    """An application to be asked."""

    def __init__(self, folder: Path, *, keys: bool, environ: Mapping[str, str]) -> None:
        settings = Settings(
            {
                "OPENAI_API_KEY": "sk-bench",
                "GENAI_DATA_DIR": str(folder),
                "GENAI_PROBE_LOCAL": "false",
                **environ,
            }
        )
        self.spine = Spine(settings, transport=Upstream())
        ring = KeyRing([Secret(KEY)], open_to_all=not keys)
        self._app = create_app(self.spine, ring)

    async def ask(self) -> None:
        """Send one request, and see that it is answered."""
        if (status := await self._answered()) != HTTPStatus.OK:
            message = f"the gateway answered {status}"
            raise RuntimeError(message)

    async def _answered(self) -> int:
        """Send one request, and return the answer's status."""
        received = iter([{"type": "http.request", "body": BODY, "more_body": False}])
        statuses: list[int] = []

        async def receive() -> Message:
            message = next(received, None)
            return message if message is not None else await asyncio.get_running_loop().create_future()

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/v1/chat/completions",
            "query_string": b"",
            "headers": [(b"authorization", b"Bearer " + KEY.encode()), (b"content-type", b"application/json")],
        }
        await self._app(scope, receive, send)
        return statuses[0]

    async def begin(self) -> None:
        """Wait until it answers: a Redis server lets nobody with a budget in for its first seconds."""
        while await self._answered() == HTTPStatus.SERVICE_UNAVAILABLE:  # noqa: ASYNC110  # nobody tells when it is over
            await asyncio.sleep(0.1)

    async def cost(self, callers: int) -> float:
        """Return the CPU that a request takes, in microseconds, with so many callers."""

        async def caller() -> None:
            for _ in range(REQUESTS // callers // (8 if callers == 1 else 1)):
                await self.ask()

        began = time.process_time()
        await asyncio.gather(*(caller() for _ in range(callers)))
        # What is brought into the database in the background belongs to the requests that it is of.
        await self.spine.books.shipper.flush()
        return (time.process_time() - began) / (REQUESTS // (8 if callers == 1 else 1)) * 1e6


async def measure(kinds: Kinds) -> None:
    """Print the table."""
    async with AsyncExitStack() as stack:
        gateways = {}
        for kind, (keys, environ) in kinds.items():
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="spine-bench-")))
            gateway = gateways[kind] = Gateway(folder, keys=keys, environ=environ)
            await stack.enter_async_context(gateway.spine)
            await gateway.begin()
        settle()
        best = {(kind, callers): float("inf") for kind in gateways for callers in CALLERS}
        for _ in range(ROUNDS):
            for kind, gateway in gateways.items():
                for callers in CALLERS:
                    best[kind, callers] = min(best[kind, callers], await gateway.cost(callers))
    print(f"{'us of CPU a request':<22}" + "".join(f"{callers:>6} callers" for callers in CALLERS))
    nothing, *_ = gateways
    for kind in gateways:
        print(f"{kind:<22}" + "".join(f"{best[kind, callers]:>14.1f}" for callers in CALLERS))
    for kind in list(gateways)[1:]:
        added = (best[kind, callers] - best[nothing, callers] for callers in CALLERS)
        print(f"{'+ ' + kind:<22}" + "".join(f"{each:>+14.1f}" for each in added))


def main() -> None:
    """Start Redis, and measure."""
    from tests.redis_server import RedisServer  # noqa: PLC0415  # its packages are for tests

    with RedisServer() as redis:
        uvloop.run(measure({**KINDS, "the same, with Redis": (True, {**LIMITS, "GENAI_REDIS_URL": redis.url})}))


if __name__ == "__main__":
    main()
