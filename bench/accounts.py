"""What keeping account costs: ``python -m bench.accounts`` prints microseconds of CPU a pass-through request.

The data plane is asked in this process, without sockets: what is measured is what authentication, rate limits, budgets
and the ledger add to the same request. The upstream answers after a pause, as one does; the callers ask one after the
other. The best of several rounds is shown, for everything else that the machine does only ever adds.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

import uvloop
from typing_extensions import override

from genai_spine.assembly import Spine
from genai_spine.identity.api_keys import KeyRing
from genai_spine.redact import Secret
from genai_spine.server.app import create_app
from genai_spine.settings import Settings
from genai_spine.transport.base import Incoming, Outgoing, Timeouts, Transport

if TYPE_CHECKING:
    from starlette.types import Message

CALLERS: Final = (1, 16, 64)
REQUESTS: Final = 4000
ROUNDS: Final = 5
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
KINDS: Final[Mapping[str, tuple[bool, Mapping[str, str]]]] = {
    "nothing": (False, {"GENAI_LEDGER": "false"}),
    "authentication": (True, {"GENAI_LEDGER": "false"}),
    "and limits, budget": (True, {"GENAI_LEDGER": "false", **LIMITS}),
    "and ledger": (True, LIMITS),
}
"""Each adds to the one before: whether a key is asked for, and the settings."""


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
        if statuses != [200]:
            message = f"the gateway answered {statuses}"
            raise RuntimeError(message)

    async def cost(self, callers: int) -> float:
        """Return the CPU that a request takes, in microseconds, with so many callers."""

        async def caller() -> None:
            for _ in range(REQUESTS // callers // (8 if callers == 1 else 1)):
                await self.ask()

        began = time.process_time()
        await asyncio.gather(*(caller() for _ in range(callers)))
        return (time.process_time() - began) / (REQUESTS // (8 if callers == 1 else 1)) * 1e6


async def measure() -> None:
    """Print the table."""
    async with AsyncExitStack() as stack:
        gateways = {}
        for kind, (keys, environ) in KINDS.items():
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="spine-bench-")))
            gateway = gateways[kind] = Gateway(folder, keys=keys, environ=environ)
            await stack.enter_async_context(gateway.spine)
        best = {(kind, callers): float("inf") for kind in gateways for callers in CALLERS}
        for _ in range(ROUNDS):
            for kind, gateway in gateways.items():
                for callers in CALLERS:
                    best[kind, callers] = min(best[kind, callers], await gateway.cost(callers))
    print(f"{'us of CPU a request':<22}" + "".join(f"{callers:>6} callers" for callers in CALLERS))
    for kind in gateways:
        print(f"{kind:<22}" + "".join(f"{best[kind, callers]:>14.1f}" for callers in CALLERS))


if __name__ == "__main__":
    uvloop.run(measure())
