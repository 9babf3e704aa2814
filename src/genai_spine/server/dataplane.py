"""The hot routes: a plain ASGI application with no framework between the socket and the gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from genai_spine.dialects.anthropic_messages.dialect import AnthropicMessages
from genai_spine.dialects.base import Dialect, Envelope
from genai_spine.dialects.embeddings import EmbeddingDoor
from genai_spine.dialects.gemini.dialect import GeminiDoor
from genai_spine.dialects.gemini.embeddings import BATCH, SINGLE, GeminiEmbeddings
from genai_spine.dialects.ollama.dialect import Ollama, OllamaGenerate
from genai_spine.dialects.ollama.embeddings import OllamaEmbeddings, OllamaOldEmbeddings
from genai_spine.dialects.openai_chat.dialect import OpenAIChat
from genai_spine.dialects.openai_completions.dialect import OpenAICompletions
from genai_spine.dialects.openai_embeddings import OpenAIEmbeddings
from genai_spine.dialects.openai_responses.dialect import OpenAIResponses
from genai_spine.errors import SpineError
from genai_spine.gateway.attempt import Question
from genai_spine.gateway.context import Call
from genai_spine.gateway.embedding import EmbeddingQuestion
from genai_spine.gateway.flow import Gateway
from genai_spine.identity.api_keys import presented_key
from genai_spine.identity.callers import Callers
from genai_spine.server.answers import (
    cost_comment,
    error_headers,
    id_headers,
    new_id,
    new_request_id,
    served_headers,
    timeout_of,
)
from genai_spine.server.bodies import JSON_TYPES, read_body
from genai_spine.server.hangup import HungUp, WhileThere
from genai_spine.server.rules import check_scope
from genai_spine.server.underway import UnderWay
from genai_spine.telemetry.logging import logger
from genai_spine.types.principal import STRANGER

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

__all__ = ["GEMINI_ROUTES", "MODELS", "ROUTES", "DataPlane", "HotRoute", "route_for"]


class HotRoute(NamedTuple):
    """One hot route.

    Attributes:
        door: The dialect spoken there.
        text: What it does, for the OpenAPI page.
        content_types: Those of bodies that it reads.
    """

    door: Dialect | EmbeddingDoor
    text: str
    content_types: tuple[str, ...] = JSON_TYPES


# curl sends a form's type where none is given, and Ollama's own documentation does just that.
_LENIENT: Final = (*JSON_TYPES, "application/x-www-form-urlencoded")

ROUTES: Final[Mapping[str, HotRoute]] = {
    "/v1/chat/completions": HotRoute(OpenAIChat(), "OpenAI Chat Completions"),
    "/v1/completions": HotRoute(OpenAICompletions(), "OpenAI Completions, the older form"),
    "/v1/responses": HotRoute(OpenAIResponses(), "OpenAI Responses"),
    "/v1/embeddings": HotRoute(OpenAIEmbeddings(), "OpenAI Embeddings"),
    "/v1/messages": HotRoute(AnthropicMessages(), "Anthropic Messages"),
    "/api/chat": HotRoute(Ollama(), "Ollama chat", _LENIENT),
    "/api/generate": HotRoute(OllamaGenerate(), "Ollama generate", _LENIENT),
    "/api/embed": HotRoute(OllamaEmbeddings(), "Ollama embed", _LENIENT),
    "/api/embeddings": HotRoute(OllamaOldEmbeddings(), "Ollama embeddings, the older form", _LENIENT),
}
"""The hot routes by path; all are POST."""

GEMINI_ROUTES: Final[Mapping[str, str]] = {
    "generateContent": "Gemini generateContent",
    "streamGenerateContent": "Gemini streamGenerateContent; with alt=sse as an event stream, else as a JSON array",
    SINGLE: "Gemini embedContent",
    BATCH: "Gemini batchEmbedContents",
}
"""The hot routes below a model's own path, by method: the official client uses either prefix."""

_GEMINI_PREFIXES: Final = ("/v1beta/", "/v1/")
MODELS: Final = "models/"
"""What stands before a model in Gemini's paths, where a client does not leave it out."""


def route_for(path: str, query: bytes) -> HotRoute | None:
    """Return the hot route of a POST to ``path``; None where it is not hot."""
    route = ROUTES.get(path)
    if route is not None or not path.startswith(_GEMINI_PREFIXES):
        return route
    # A model's id may hold a colon; the method stands behind the last. A name with a slash, as of a tuned model, is by
    # some clients taken for a whole resource and sent without `models/`.
    resource, _, method = path.split("/", 2)[2].rpartition(":")
    model = resource.removeprefix(MODELS)
    if not model or method not in GEMINI_ROUTES:
        return None
    if method in {SINGLE, BATCH}:
        return HotRoute(GeminiEmbeddings(model=model, batch=method == BATCH), GEMINI_ROUTES[method])
    stream = method == "streamGenerateContent"
    door = GeminiDoor(model=model, stream=stream, sse=b"alt=sse" in query.split(b"&"))
    return HotRoute(door, GEMINI_ROUTES[method])


class DataPlane:
    """Serves the hot routes."""

    def __init__(self, gateway: Gateway, callers: Callers, under_way: UnderWay, *, max_body_bytes: int) -> None:
        self._gateway = gateway
        self._callers = callers
        self._under_way = under_way
        self._max_body_bytes = max_body_bytes

    async def __call__(self, route: HotRoute, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request that came in at ``route``."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        request_id = new_request_id(headers)
        call = Call(
            request_id=request_id,
            answer_id=new_id() if "x-request-id" in headers else request_id,
            door=route.door.name,
            started=self._gateway.clock.monotonic(),
            principal=STRANGER,
        )
        try:
            with self._under_way.answering(call):
                envelope, body = await self._admit(call, route, headers, scope["query_string"], receive)
                door = route.door
                async with WhileThere(receive):
                    if isinstance(door, EmbeddingDoor):
                        asked = EmbeddingQuestion(door, envelope, body)
                        await self._answer(call, self._gateway.answer_embedding(call, asked), send)
                    elif envelope.stream:
                        await self._stream(call, Question(door, envelope, body), send)
                    else:
                        await self._answer(call, self._gateway.answer(call, Question(door, envelope, body)), send)
        except HungUp:
            return
        except asyncio.CancelledError:
            # A caller who reads no more cannot be told that the gateway stops; without an end mark he learns it.
            if call.cut is None:
                raise
        except SpineError as error:
            await _send_error(send, route.door, error, request_id)
        except Exception:  # noqa: BLE001  # the last line of defence: a fault of ours is told without its details
            logger.exception("internal error", request_id=request_id, path=scope["path"])
            fault = SpineError("the gateway failed; its log tells more under this request id")
            await _send_error(send, route.door, fault, request_id)

    async def _admit(
        self, call: Call, route: HotRoute, headers: Mapping[str, str], query: bytes, receive: Receive
    ) -> tuple[Envelope, bytes]:
        """Let a request in, and read it; one that is refused is told of like any other."""
        try:
            presented = presented_key(headers, query.decode("latin-1"))
            call.principal = await self._callers.admit(presented, call.request_id)
            check_scope(call.principal, "inference")
            call.seconds = timeout_of(headers)
            body = await read_body(receive, headers, self._max_body_bytes, route.content_types)
            envelope = route.door.read_envelope(body, headers)
        except SpineError as error:
            self._gateway.refused(call, error)
            raise
        except asyncio.CancelledError:
            if call.cut is None:
                raise
            self._gateway.refused(call, call.cut)
            raise call.cut from None
        call.stream = envelope.stream
        return envelope, body

    async def _answer(self, call: Call, answer: Awaitable[bytes], send: Send) -> None:
        body = await answer
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            *served_headers(call),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _stream(self, call: Call, question: Question, send: Send) -> None:
        door = question.door
        stream = self._gateway.stream(call, question)
        begun = False
        try:
            async for data in stream:
                if not begun:
                    begun = True
                    headers = [
                        (b"content-type", door.stream_content_type.encode()),
                        (b"cache-control", b"no-cache"),
                        (b"x-accel-buffering", b"no"),
                        *served_headers(call),
                    ]
                    await send({"type": "http.response.start", "status": 200, "headers": headers})
                await send({"type": "http.response.body", "body": data, "more_body": True})
        finally:
            await stream.aclose()
        last = cost_comment(call) if door.stream_comments else b""
        await send({"type": "http.response.body", "body": last})


async def _send_error(send: Send, door: Dialect | EmbeddingDoor, error: SpineError, request_id: str) -> None:
    answer = door.encode_error(error, request_id)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(answer.body)).encode()),
        *id_headers(request_id),
        *error_headers(error),
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
