"""What a dialect is: one wire format, read and written both ways, without I/O.

A dialect stands at both ends of the gateway. At the door it decodes requests and encodes answers; towards a provider it
encodes requests and decodes answers. Where both ends speak it, the body passes as it came and a ``Watch`` reads the
answer from the side.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

from msgspec import Raw, Struct, field

from genai_spine.dialects.envelope import with_number
from genai_spine.errors import MalformedResponseError, SpineError
from genai_spine.types.completion import CompletionRequest, CompletionResponse, FinishReason
from genai_spine.types.json import JsonObject
from genai_spine.types.messages import Audio, Document, Image, Opaque, Part
from genai_spine.types.models import Model, ModelFacts
from genai_spine.types.routing import NO_WISHES, Wishes
from genai_spine.types.stream import Event, Failed
from genai_spine.types.tools import ToolOffer
from genai_spine.types.usage import Usage

__all__ = [
    "Continues",
    "CountsTokens",
    "Dialect",
    "Encoded",
    "Envelope",
    "ErrorAnswer",
    "Headers",
    "Kept",
    "Quirks",
    "Reply",
    "StreamDecoder",
    "StreamEncoder",
    "Target",
    "Watch",
]

Headers: TypeAlias = Mapping[str, str]
"""HTTP headers with lower-case names."""


class Quirks(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a service departs from the dialect that it speaks; each is a line of its row.

    Attributes:
        rename: Request fields that it knows under another name.
        drop: Request fields that it refuses, left out with a warning.
        passthrough: Whether its answers are close enough to the dialect to be handed on as they are.
        stream_usage: Whether usage in a stream must be, and may be, asked for.
        end_mark: Whether its streams end with the dialect's mark; where not, a finish reason must do.
        developer_role: Whether it knows the role ``developer``.
        message_names: Whether it accepts ``name`` on a message.
        reasoning_field: The field of an assistant message that carries reasoning, read and written.
        replay_reasoning: Whether an assistant turn with tool calls must carry that field, even empty.
        reasoning_apart: Whether its output count leaves the reasoning tokens out.
        tool_call_id: ``free``, or ``nine`` for exactly nine letters and digits.
        finish_reasons: Its own names for why a model stopped.
        error_kinds: Statuses that mean something else than usual: the status and the kind of error.
        image_urls: Whether it fetches images and documents by address; for one that does not, the gateway does.
    """

    rename: dict[str, str] = field(default_factory=dict)
    drop: tuple[str, ...] = ()
    passthrough: bool = True
    stream_usage: bool = True
    end_mark: bool = True
    developer_role: bool = False
    message_names: bool = True
    reasoning_field: str = "reasoning_content"
    replay_reasoning: bool = False
    reasoning_apart: bool = False
    tool_call_id: Literal["free", "nine"] = "free"
    finish_reasons: dict[str, FinishReason] = field(default_factory=dict)
    error_kinds: dict[str, str] = field(default_factory=dict)
    image_urls: bool = True


class Target(Struct, frozen=True, kw_only=True):
    """To whom a request is encoded.

    Attributes:
        model: The model's id, as the provider knows it.
        provider: The provider's name, for messages.
    """

    model: str
    provider: str = ""
    quirks: Quirks = field(default_factory=Quirks)
    facts: ModelFacts = field(default_factory=ModelFacts)


class Envelope(Struct, frozen=True, kw_only=True):
    """What must be known of a request before it is decided who serves it.

    Attributes:
        fields: The body's fields, each as it came.
        model: The model asked for; None leaves the choice to the gateway.
        wishes: What it says of where it shall go.
        tools: Tools are offered.
        images: There are pictures in it.
        schema: The answer must keep to a schema.
        max_tokens: The limit that it sets its answer.
        effort: How hard the model shall think, as the caller wrote it, where the dialect needs to know.
        wants_usage: The caller asked for usage in the stream, or its dialect always tells it.
        headers: The caller's headers that belong to the dialect and go on to a provider that speaks it.
    """

    fields: dict[str, Raw]
    model: str | None = None
    wishes: Wishes = NO_WISHES
    stream: bool = False
    tools: bool = False
    images: bool = False
    schema: bool = False
    max_tokens: int | None = None
    effort: str | None = None
    wants_usage: bool = True
    headers: Headers = field(default_factory=dict)


class Encoded(NamedTuple):
    """A request ready to be sent: path below the provider's address, body, the dialect's own headers, what was lost."""

    path: str
    body: bytes
    headers: Headers
    warnings: tuple[str, ...]


class Reply(Struct, frozen=True, kw_only=True):
    """What an encoder must know of the request that it answers.

    Attributes:
        model: Named in the answer where the provider names none.
        request_id: The gateway's own id of the request, which no other has.
        now: Seconds since the Unix epoch.
        wants_usage: The caller wants usage told in a stream.
        tools: Those that were offered.
    """

    model: str = ""
    request_id: str = ""
    now: int = 0
    wants_usage: bool = True
    tools: tuple[ToolOffer, ...] = ()


class Kept(NamedTuple):
    """What is kept of an answer, for ``Continues.resume`` to read, and the answer's id."""

    id: str
    record: bytes


class ErrorAnswer(NamedTuple):
    """An error, as a whole HTTP answer to the caller."""

    status: int
    body: bytes


class StreamDecoder(ABC):
    """Turns an upstream's bytes into events.

    Attributes:
        over: The stream's end, good or bad, has been read; nothing that follows counts.
    """

    over: bool = False

    def feed(self, data: bytes) -> list[Event]:
        """Return the events that ``data``, cut anywhere, completes; ``Failed`` is always the last."""
        events: list[Event] = []
        if not self.over:
            try:
                self._read(data, events)
            except (SpineError, RecursionError) as error:
                self._fail(error, events)
        return events

    def close(self) -> list[Event]:
        """The upstream has closed the stream: return the last events, ``Failed`` if its end mark never came."""
        events: list[Event] = []
        if not self.over:
            try:
                self._end(events)
            except (SpineError, RecursionError) as error:
                self._fail(error, events)
            self.over = True
        return events

    def _fail(self, error: SpineError | RecursionError, events: list[Event]) -> None:
        self.over = True
        events.append(Failed(error=error if isinstance(error, SpineError) else _too_deep()))

    @abstractmethod
    def _read(self, data: bytes, events: list[Event]) -> None:
        """Add the events that ``data`` completes; raises what the stream fails with."""

    @abstractmethod
    def _end(self, events: list[Event]) -> None:
        """Nothing more comes, and no end mark has come: add the last events, or raise why there is no whole answer."""


class StreamEncoder(ABC):
    """Turns events into the bytes of a stream to the caller."""

    @abstractmethod
    def encode(self, event: Event) -> bytes:
        """Return the bytes that tell ``event``; empty where the dialect has none for it, or not yet."""

    @abstractmethod
    def end(self) -> bytes:
        """Return the last bytes of a stream that did not fail."""


def _too_deep() -> SpineError:
    return MalformedResponseError("the provider's stream is nested too deeply")


class Watch(ABC):
    """Reads a stream that passes through, and lets on only whole frames.

    Attributes:
        usage: What the provider has told so far.
        finish_reason: Why the first choice stopped, once told.
        characters: Length of the words passed on so far, for the day the stream is cut.
        content: Something that a model wrote has come.
        over: The dialect's end mark has come; nothing that follows counts.
        failure: What the upstream told of, or why what it sent is no answer. What came before it has been let on;
            nothing follows.
    """

    def __init__(self) -> None:
        self.usage: Usage | None = None
        self.finish_reason: FinishReason | None = None
        self.characters = 0
        self.content = False
        self.over = False
        self.failure: SpineError | None = None

    def feed(self, data: bytes) -> bytes:
        """Return what of ``data`` and of what was held back may go to the caller now, up to a failure."""
        out: list[bytes] = []
        if not self.over and self.failure is None:
            try:
                self._read(data, out)
            except (SpineError, RecursionError) as error:
                self.failure = error if isinstance(error, SpineError) else _too_deep()
        return b"".join(out)

    def close(self) -> bytes:
        """The upstream has closed the stream: return the last bytes; if its end mark never came, that is a failure."""
        out: list[bytes] = []
        if not self.over and self.failure is None:
            try:
                self._end(out)
            except (SpineError, RecursionError) as error:
                self.failure = error if isinstance(error, SpineError) else _too_deep()
        return b"".join(out)

    @abstractmethod
    def _read(self, data: bytes, out: list[bytes]) -> None:
        """Add what may go to the caller of ``data`` and of what was held back; raises what the stream fails with."""

    @abstractmethod
    def _end(self, out: list[bytes]) -> None:
        """Nothing more comes, and no end mark has come: add the last bytes, or raise why there is no whole answer."""


class Dialect(ABC):
    """A wire format. Instances hold no state; all methods are pure."""

    name: ClassVar[str]
    stream_content_type: str = "text/event-stream"
    """Of a stream to a caller; a door may choose by the request that it stands for."""
    stream_comments: ClassVar[bool] = True
    """Whether its streams are event streams whose clients skip comments, as the standard demands."""
    default_headers: ClassVar[Mapping[str, str]] = {}
    """Request headers that a provider who speaks it demands."""
    forwarded_headers: ClassVar[tuple[str, ...]] = ()
    """Request headers that are part of the dialect and go on to a provider that speaks it."""
    carries_seals: ClassVar[bool] = False
    """Whether its clients hand back unread what came with a turn: there other dialects' seals are carried in tags."""
    call_ids: ClassVar[bool] = True
    """Whether its clients hand back the ids of tool calls."""
    limit_path: ClassVar[tuple[str, ...]]
    """Where a request sets its answer a limit in tokens: a field, or a field within one."""
    path: ClassVar[str]
    """Of a completion, below a provider's address."""
    models_path: ClassVar[str]
    """Of the list of models, below a provider's address."""
    address_suffixes: ClassVar[tuple[str, ...]] = ()
    """Paths that users add to a provider's address and that are cut back."""

    @property
    def passes_to(self) -> str:
        """The dialect of providers who take its bodies as they come: itself, or the one that it is a door of."""
        return self.name

    # At the door.

    @abstractmethod
    def read_envelope(self, body: bytes, headers: Headers) -> Envelope:
        """Read what routing needs, and check the types of the fields that everybody sends.

        Raises:
            InvalidRequestError: The body is not JSON.
            InvalidFieldError: A field is of the wrong type.
        """

    def with_limit(self, fields: Mapping[str, Raw], tokens: int) -> dict[str, Raw]:
        """Return a body's fields with a limit of its answer, which they lack."""
        return with_number(fields, self.limit_path, tokens)

    @abstractmethod
    def decode_request(self, body: bytes) -> CompletionRequest:
        """Read a whole request; raises as ``read_envelope`` does."""

    @abstractmethod
    def encode_response(self, response: CompletionResponse, reply: Reply) -> bytes:
        """Write an answer."""

    @abstractmethod
    def stream_encoder(self, reply: Reply) -> StreamEncoder:
        """Begin to write a stream."""

    @abstractmethod
    def encode_error(self, error: SpineError, request_id: str) -> ErrorAnswer:
        """Write an error as the whole answer."""

    @abstractmethod
    def encode_stream_error(self, error: SpineError, request_id: str) -> bytes:
        """Write an error inside a stream that has begun; nothing follows it."""

    @abstractmethod
    def encode_models(self, models: Sequence[Model]) -> bytes:
        """Write the list of models."""

    # Towards a provider.

    @abstractmethod
    def encode_request(self, request: CompletionRequest, target: Target) -> Encoded:
        """Write a request.

        Raises:
            InvalidFieldError: It asks for what the dialect cannot say and must not lose.
        """

    def fetches(self, part: Image | Document | Audio, quirks: Quirks) -> bool:  # noqa: ARG002  # some tell parts apart
        """Return whether the provider itself gets what lies at a part's address; where not, it needs the bytes."""
        return quirks.image_urls

    @abstractmethod
    def decode_response(self, body: bytes, quirks: Quirks) -> CompletionResponse:
        """Read an answer.

        Raises:
            MalformedResponseError: It is not of the dialect.
            ProviderError: It tells of a failure despite its status.
        """

    def sealed(self, parts: tuple[Part, ...]) -> JsonObject | None:  # noqa: ARG002  # not every dialect has seals
        """Return what must be handed back of some parts of an answer, in the dialect's own form; None where nothing.

        Args:
            parts: Reasoning in a row, up to the one that may bear its seal; or one part of another kind.
        """
        return None

    def marks_calls(self, request: CompletionRequest) -> bool:  # noqa: ARG002  # most dialects ask for no seals
        """Return whether a provider of this dialect would ask for a seal with the tool calls that answer a request.

        Those of another provider, which bear none, are then marked by an empty tag, so that they are known again.
        """
        return False

    def opened(self, data: JsonObject) -> Part:
        """Return what ``sealed`` gave as a part of a turn, for an encoder of this dialect."""
        return Opaque(dialect=self.name, data=data)

    @abstractmethod
    def stream_decoder(self, quirks: Quirks) -> StreamDecoder:
        """Begin to read a stream."""

    @abstractmethod
    def decode_error(self, status: int, headers: Headers, body: bytes, quirks: Quirks) -> SpineError:
        """Return the error that an answer with a status of 400 or more tells of."""

    @abstractmethod
    def decode_models(self, body: bytes) -> list[Model]:
        """Read the list of models; raises as ``decode_response`` does."""

    # Where both ends speak it.

    @abstractmethod
    def relay_request(self, envelope: Envelope, target: Target) -> Encoded:
        """Write the request as it came, with only the fields changed that must be."""

    def must_translate(self, body: bytes, quirks: Quirks) -> bool:  # noqa: ARG002  # most dialects have no such quirk
        """Return whether a request holds what the provider's quirks change deeper than at its top."""
        return False

    @abstractmethod
    def watch(self, envelope: Envelope, quirks: Quirks) -> Watch:
        """Begin to read a stream that passes through."""

    @abstractmethod
    def check_response(self, body: bytes, quirks: Quirks) -> tuple[Usage | None, FinishReason]:
        """Read from the side an answer that passes through; raises as ``decode_response`` does."""


class Continues(ABC):
    """The ability of a dialect to let a request go on from an earlier answer by its id.

    A class and no protocol: whether a door has it is asked for each request, and that must cost nothing.
    """

    @abstractmethod
    def earlier_answers(self, envelope: Envelope) -> Sequence[str]:
        """Return the ids of the answers of which a request says less than must be known: it goes on from one, say."""

    @abstractmethod
    def resume(self, envelope: Envelope, records: Mapping[str, bytes]) -> Envelope:
        """Put into a request what it says less of, from what is kept of answers by their ids."""

    @abstractmethod
    def keep(self, envelope: Envelope, told: bytes) -> Kept | None:
        """Return what is to be kept of an answer, of which ``told`` is the whole or some bytes of a stream.

        None where the caller does not want it kept, the answer is not good, or the bytes do not end the stream.
        """


@runtime_checkable
class CountsTokens(Protocol):
    """The ability of a dialect to ask how many tokens a request has, without having it answered."""

    def read_count_envelope(self, body: bytes, headers: Headers) -> Envelope:
        """Read such a question's envelope; raises as ``read_envelope`` does."""
        ...

    def encode_count_request(self, request: CompletionRequest, target: Target) -> Encoded:
        """Write the question; raises as ``encode_request`` does."""
        ...

    def relay_count_request(self, envelope: Envelope, target: Target) -> Encoded:
        """Write the question as it came."""
        ...

    def decode_token_count(self, body: bytes) -> int:
        """Read the answer; raises as ``decode_response`` does."""
        ...

    def encode_token_count(self, count: int) -> bytes:
        """Write the answer."""
        ...
