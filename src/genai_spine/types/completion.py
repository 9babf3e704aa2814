"""A request for a completion, and the answer."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal, TypeAlias

from msgspec import Struct, field
from typing_extensions import override

from genai_spine.errors import SpineError
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.messages import Message, Part, Thinking, ToolCall, text_of
from genai_spine.types.tools import ToolChoice, ToolOffer
from genai_spine.types.usage import Usage

__all__ = [
    "Choice",
    "CompletionRequest",
    "CompletionResponse",
    "FinishReason",
    "OutputSchema",
    "Reasoning",
]

FinishReason: TypeAlias = Literal["stop", "length", "tool_calls", "content_filter", "pause", "error"]
"""Why a model stopped: of itself, at a limit, to have tools called, by a policy, to be continued, by a fault."""


class OutputSchema(Struct, frozen=True, kw_only=True):
    """The form that the answer must have.

    Attributes:
        schema: JSON Schema; None asks for any JSON object.
        name: A label that some providers require.
        strict: Whether the provider must enforce it exactly.
    """

    schema: JsonObject | None = None
    name: str | None = None
    description: str | None = None
    strict: bool | None = None
    extras: JsonObject = field(default_factory=dict)


class Reasoning(Struct, frozen=True, kw_only=True):
    """How much a model should think before it answers.

    Attributes:
        mode: Anthropic's kinds of thinking; ``enabled`` and ``disabled`` are understood by all.
        effort: ``none``, ``minimal``, ``low``, ``medium``, ``high``, ``xhigh`` or ``max``.
        budget_tokens: At most so many tokens of it.
        display: ``summarized`` or ``omitted``: what of it is shown.
    """

    mode: Literal["enabled", "disabled", "adaptive", "between_tools"] | None = None
    effort: str | None = None
    budget_tokens: int | None = None
    display: str | None = None
    extras: JsonObject = field(default_factory=dict)

    @property
    def asked_effort(self) -> str | None:
        """The effort, in whichever words it was asked for: ``none`` for no thinking, None where nothing is said."""
        if self.effort is not None:
            return self.effort
        if self.mode is None and self.budget_tokens is None:
            return None
        return "none" if self.mode == "disabled" or self.budget_tokens == 0 else "medium"


class CompletionRequest(Struct, frozen=True, kw_only=True):
    """All that a caller may ask of a model, in no provider's words.

    Attributes:
        messages: The conversation, oldest first.
        model: The model's id; None leaves the choice to the gateway.
        system: Instructions that stand before the conversation.
        max_tokens: Limit of the answer, reasoning included.
        temperature: 0 is a value; None says nothing to the provider.
        stop: Texts at which to stop; they are not returned.
        n: How many answers; None is one.
        top_logprobs: How many alternatives with each token, where ``logprobs`` is set.
        user: Whom the answer is for, as an opaque id.
        stream: The caller wants the answer in pieces.
        stream_usage: The caller wants usage told in the stream, where its dialect leaves that to him.
        dialect: The dialect that ``extras`` belong to.
    """

    messages: tuple[Message, ...]
    model: str | None = None
    system: tuple[Part, ...] = ()
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    n: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    tools: tuple[ToolOffer, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    output_schema: OutputSchema | None = None
    reasoning: Reasoning | None = None
    user: str | None = None
    stream: bool = False
    stream_usage: bool = False
    dialect: str | None = None
    extras: JsonObject = field(default_factory=dict)


class Choice(Struct, frozen=True, kw_only=True):
    """One of the answers to a request.

    Attributes:
        stop_sequence: The stop text that was met, where the provider tells it.
        logprobs: One record a token, as OpenAI writes them.
    """

    parts: tuple[Part, ...] = ()
    finish_reason: FinishReason = "stop"
    stop_sequence: str | None = None
    logprobs: list[Json] | None = None
    extras: JsonObject = field(default_factory=dict)


class CompletionResponse(Struct, frozen=True, kw_only=True):
    """A model's answer.

    Attributes:
        model: The model that answered, as the provider names it.
        provider: The provider that served it.
        choices: The answers, most often one.
        created: Seconds since the Unix epoch; 0 where the provider does not tell.
        error: Why there is none, for a caller that asked not to have it raised.
        cost_usd: What it cost; None until it has been priced.
        price_known: Whether ``cost_usd`` is by the provider's price, not a stand-in's.
        attempts: Calls made upstream.
        warnings: What of the request could not be said to the provider and was left out.
        raw_response: The provider's own body, decoded; None for a stream.
        dialect: The dialect that ``extras`` belong to.
    """

    model: str = ""
    provider: str = ""
    id: str = ""
    created: int = 0
    choices: tuple[Choice, ...] = ()
    usage: Usage | None = None
    error: SpineError | None = None
    cost_usd: Decimal | None = None
    price_known: bool = False
    attempts: int = 0
    warnings: tuple[str, ...] = ()
    raw_response: JsonObject | None = None
    dialect: str | None = None
    extras: JsonObject = field(default_factory=dict)

    @property
    def success(self) -> bool:
        """Whether a model answered."""
        return self.error is None

    @property
    def parts(self) -> tuple[Part, ...]:
        """The first answer's parts."""
        return self.choices[0].parts if self.choices else ()

    @property
    def content(self) -> str:
        """The first answer's words."""
        return text_of(self.parts)

    @property
    def thinking(self) -> str:
        """The first answer's reasoning, as far as the provider shows it."""
        return "".join(part.text for part in self.parts if isinstance(part, Thinking))

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tools that the first answer wants called."""
        return tuple(part for part in self.parts if isinstance(part, ToolCall))

    @property
    def finish_reason(self) -> FinishReason:
        """Why the first answer ended."""
        return self.choices[0].finish_reason if self.choices else "error"

    @property
    def input_tokens(self) -> int:
        """Tokens read; 0 where nobody told."""
        return self.usage.input_tokens if self.usage else 0

    @property
    def output_tokens(self) -> int:
        """Tokens written; 0 where nobody told."""
        return self.usage.output_tokens if self.usage else 0

    def as_message(self) -> Message:
        """The first answer as the turn to put into the next request."""
        return Message(role="assistant", parts=self.parts)

    @override
    def __str__(self) -> str:
        return self.content
