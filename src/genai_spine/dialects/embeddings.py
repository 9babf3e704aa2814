"""How a dialect speaks of embeddings: callers at a door, and the gateway towards a provider.

Both are apart from ``Dialect``: they know neither conversations nor streams, and a provider's may differ from model to
model. One class is often both, and then bodies pass through.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Final

import msgspec

from genai_spine.dialects.base import Encoded, Envelope, ErrorAnswer, Headers, Target
from genai_spine.dialects.fields import Fields
from genai_spine.dialects.losses import Losses
from genai_spine.errors import MalformedResponseError, SpineError
from genai_spine.types.embedding import EmbeddingRequest, EmbeddingResponse
from genai_spine.types.usage import Usage

__all__ = [
    "EmbeddingDoor",
    "EmbeddingService",
    "Embeds",
    "matched",
    "none_embedded",
    "take_vector",
    "take_vectors",
    "words_of",
]

MOST_INPUTS: Final = 2048
"""What OpenAI takes in one call."""


class EmbeddingService(ABC):
    """How a service is asked for vectors. Instances hold no state; all methods are pure."""

    name: ClassVar[str]

    def most_inputs(self, target: Target) -> int:  # noqa: ARG002  # most services take as many whatever the model
        """Return how many inputs one call may hold."""
        return MOST_INPUTS

    @abstractmethod
    def encode_request(self, request: EmbeddingRequest, target: Target) -> Encoded:
        """Write a request of no more than ``most_inputs``.

        Raises:
            InvalidFieldError: It asks for what the service cannot be told and must not lose.
        """

    @abstractmethod
    def decode_response(self, body: bytes, headers: Headers, target: Target) -> EmbeddingResponse:
        """Read the answer of ``target``.

        Raises:
            MalformedResponseError: It is not of the dialect.
            ProviderError: It tells of a failure despite its status.
        """


class EmbeddingDoor(ABC):
    """How callers ask for vectors. All methods are pure."""

    name: ClassVar[str]

    @abstractmethod
    def read_envelope(self, body: bytes, headers: Headers) -> Envelope:
        """Read what routing needs, and check the types of the fields that everybody sends.

        Raises:
            InvalidRequestError: The body is not JSON.
            InvalidFieldError: A field is of the wrong type.
        """

    @abstractmethod
    def decode_request(self, body: bytes) -> EmbeddingRequest:
        """Read a whole request; raises as ``read_envelope`` does."""

    @abstractmethod
    def encode_response(self, response: EmbeddingResponse, request: EmbeddingRequest) -> bytes:
        """Write the answer to a request."""

    @abstractmethod
    def encode_error(self, error: SpineError, request_id: str) -> ErrorAnswer:
        """Write an error as the whole answer."""

    # Where the provider speaks it too.

    @abstractmethod
    def relay_request(self, envelope: Envelope, target: Target) -> Encoded:
        """Write the request as it came, with only the fields changed that must be."""

    @abstractmethod
    def check_response(self, body: bytes, target: Target) -> Usage | None:
        """Read the usage of an answer that passes through; raises as ``EmbeddingService.decode_response`` does."""


class Embeds:
    """The ability of a dialect's services to make embeddings.

    A class and no protocol: whether a dialect has it is asked for each request, and that must cost nothing.

    Attributes:
        embeddings: How they are asked.
    """

    embeddings: ClassVar[EmbeddingService]


# What the services of several dialects share.


def take_vector(fields: Fields, name: str) -> tuple[float, ...]:
    """Take an array of numbers; none is no vector."""
    try:
        found = msgspec.convert(fields.take(name), tuple[float, ...])
    except msgspec.ValidationError as error:
        fault = fields.wrong(name, "must be an array of numbers")
        raise fault from error
    if not found:
        fault = fields.wrong(name, "must hold at least one number")
        raise fault
    return found


def take_vectors(fields: Fields, name: str) -> tuple[tuple[float, ...], ...]:
    """Take an array of arrays of numbers."""
    try:
        found = msgspec.convert(fields.take(name) or [], tuple[tuple[float, ...], ...])
    except msgspec.ValidationError as error:
        fault = fields.wrong(name, "must be an array of arrays of numbers")
        raise fault from error
    if not found or not all(found):
        raise none_embedded()
    return found


def words_of(request: EmbeddingRequest, losses: Losses) -> list[str]:
    """Return the inputs of a request to a service that reads no token ids.

    Raises:
        InvalidFieldError: One is of token ids.
    """
    words = [one for one in request.inputs if isinstance(one, str)]
    if len(words) != len(request.inputs):
        fault = losses.refuse("input", "send the words instead of their token ids")
        raise fault
    return words


def matched(response: EmbeddingResponse, request: EmbeddingRequest) -> EmbeddingResponse:
    """Return the answer to a request.

    Raises:
        MalformedResponseError: It holds more or fewer vectors than there are inputs, so whose is whose nobody knows.
    """
    made, inputs = len(response.vectors), len(request.inputs)
    if made != inputs:
        message = f"the provider made {made} vectors of {inputs} inputs"
        raise MalformedResponseError(message)
    return response


def none_embedded() -> MalformedResponseError:
    """The error of an answer without vectors."""
    return MalformedResponseError("the provider's answer holds no embeddings")
