"""What the callers ask, and what the scripted upstream is told to answer.

A request carries its own script in the caller's text (``chunks=50 pace=20``), which every gateway passes on, so the
upstream needs no side channel. Every answer repeats one word a known number of times, whatever dialect it ends up in,
so the load generator can tell a whole answer from a cut one without parsing it.
"""

from __future__ import annotations

import msgspec

__all__ = [
    "CHUNKS",
    "DOWN",
    "MODEL",
    "OPEN_STREAMS",
    "PACE_MS",
    "REPLY_WORDS",
    "REQUEST_BYTES",
    "WELL",
    "WORD",
    "WORKLOADS",
    "Kind",
    "Workload",
    "select",
]

MODEL = "openai/gpt-4o-mini"
WORD = "lorem"
REPLY_WORDS = 110
"""How often a whole, not streamed answer says ``WORD``; about 1 KB of JSON in all."""
REQUEST_BYTES = 1024
CHUNKS = 50
PACE_MS = 20
"""Pause between a stream's chunks in milliseconds: long enough that two chunks never share one read."""

_FILLER = "Say it plainly, in short sentences, and keep to what the question asks. "


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """One way of asking: the route, the dialect, and whether the answer is a stream."""

    name: str
    path: str = "/v1/chat/completions"
    chunks: int = 0
    """Chunks of a streamed answer; 0 for an answer in one piece."""
    pace_ms: int = 0
    end: str = ""
    """What a whole stream's last 64 bytes contain in the caller's dialect."""
    translated: bool = False
    """The caller speaks another dialect than the upstream."""
    model: str = MODEL

    @property
    def special(self) -> bool:
        """Whether it takes what not every contestant is set up for: another dialect, or a second provider."""
        return self.translated or self.model != MODEL

    @property
    def direct(self) -> str:
        """The kind that the upstream itself is asked, to compare latencies with."""
        return "stream" if self.chunks else "chat"

    @property
    def whole(self) -> str:
        """The kind that asks the same for an answer in one piece."""
        return "translated" if self.translated else "chat"

    def body(self) -> str:
        """The request's JSON, padded to ``REQUEST_BYTES``."""
        script = f"chunks={self.chunks} pace={self.pace_ms} "
        empty = self._body(script)
        padding = (_FILLER * 20)[: REQUEST_BYTES - len(empty)]
        return self._body(script + padding)

    def _body(self, text: str) -> str:
        fields: dict[str, object] = {
            "model": self.model,
            "messages": [{"role": "user", "content": text}],
            "max_tokens": 256,
            "temperature": 0.5,
        }
        if self.chunks:
            fields["stream"] = True
            if not self.translated:
                fields["stream_options"] = {"include_usage": True}
        return msgspec.json.encode(fields).decode()


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """One cell of the table: a kind of request from so many callers at once."""

    kind: Kind
    callers: int

    @property
    def name(self) -> str:
        """The name in the results, such as ``chat-16``."""
        return f"{self.kind.name}-{self.callers}"

    def requests(self, pace: int, *, quick: bool) -> int:
        """How many requests one turn sends, a fixed number.

        ``pace`` is what the contestant answers in about two seconds from 16 callers. One caller alone gets a quarter
        of it. A stream takes a second whatever the contestant, so streams are counted by caller: three, or one.
        """
        if self.kind.chunks:
            return self.callers * (1 if quick else 3)
        share = pace // 4 if self.callers == 1 else pace
        return max(self.callers, share // 4 if quick else share)


CHAT = Kind(name="chat")
STREAM = Kind(name="stream", chunks=CHUNKS, pace_ms=PACE_MS, end="[DONE]")
TRANSLATED = Kind(name="translated", path="/v1/messages", translated=True)
TRANSLATED_STREAM = Kind(
    name="translated-stream", path="/v1/messages", chunks=CHUNKS, pace_ms=PACE_MS, end="message_stop", translated=True
)
WELL = Kind(name="well", model="first-well")
"""An alias of two providers, the first of them healthy."""
DOWN = Kind(name="down", model="first-down")
"""The same, with nobody listening at the first: its circuit opens during the warm-up."""
OPEN_STREAMS = Kind(name="open", chunks=600, pace_ms=2000, end="[DONE]")
"""Streams that stay open until the caller hangs up: a chunk every two seconds, twenty minutes at most."""

WORKLOADS = [
    Workload(kind=kind, callers=callers)
    for kind in (CHAT, STREAM, TRANSLATED, TRANSLATED_STREAM)
    for callers in (1, 16, 64)
] + [Workload(kind=kind, callers=callers) for callers in (1, 16) for kind in (WELL, DOWN)]


def select(names: list[str]) -> list[Workload]:
    """The workloads of these names; a kind's name stands for all its caller counts. Empty: all of them.

    Raises:
        ValueError: a name that is neither.
    """
    known = {workload.name for workload in WORKLOADS} | {workload.kind.name for workload in WORKLOADS}
    if unknown := [name for name in names if name not in known]:
        message = f"no such workload: {', '.join(unknown)}; there are {', '.join(sorted(known))}"
        raise ValueError(message)
    return [each for each in WORKLOADS if not names or each.name in names or each.kind.name in names]
