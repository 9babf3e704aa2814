"""The models that there are to ask, in each dialect's own form."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from genai_spine import __version__
from genai_spine.dialects.anthropic_messages.dialect import AnthropicMessages
from genai_spine.dialects.anthropic_messages.dialect import model_object as anthropic_object
from genai_spine.dialects.base import Dialect
from genai_spine.dialects.gemini.dialect import Gemini
from genai_spine.dialects.gemini.dialect import model_object as gemini_object
from genai_spine.dialects.ollama.catalogue import encode_show, encode_version
from genai_spine.dialects.ollama.dialect import Ollama
from genai_spine.dialects.openai_chat.dialect import OpenAIChat, model_object
from genai_spine.errors import ModelNotFoundError, SpineError
from genai_spine.providers.base import Provider
from genai_spine.server.errors import speak
from genai_spine.server.rules import require
from genai_spine.server.state import State, allowance_of, describe_body, read_model, state_of
from genai_spine.types.json import JsonObject
from genai_spine.types.models import Model
from genai_spine.types.principal import Allowance

__all__ = ["listed", "router", "switched_on"]

router = APIRouter(tags=["catalogue"], dependencies=[require("inference", "read", any_query=True)])

LISTING_SECONDS: Final = 5.0

_OPENAI: Final = OpenAIChat()
_ANTHROPIC: Final = AnthropicMessages()
_GEMINI: Final = Gemini()
_OLLAMA: Final = Ollama()


def _form(request: Request) -> tuple[Dialect, Callable[[Model], JsonObject]]:
    """The dialect in which a caller wants models told, and how it writes one."""
    if "anthropic-version" in request.headers:
        return _ANTHROPIC, anthropic_object
    if request.url.path.startswith("/v1beta/") or "x-goog-api-key" in request.headers:
        return _GEMINI, gemini_object
    return _OPENAI, model_object


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json")


async def _models(state: State, allowance: Allowance) -> list[Model]:
    """The models that a caller may use, each under the name by which it can be asked for: ``provider/model``."""
    providers = state.spine.registry.configured()
    if not providers:
        providers = [state.spine.registry.get("simulator")]
    providers = [provider for provider in providers if allowance.allows_provider(provider.name)]
    lists = await asyncio.gather(*(listed(state, provider) for provider in providers))
    return [
        msgspec.structs.replace(model, id=f"{provider.name}/{model.id}", owned_by=model.owned_by or provider.name)
        for provider, models in zip(providers, lists, strict=True)
        for model in models
        if allowance.allows(provider.name, model.id)
    ]


async def listed(state: State, provider: Provider) -> Sequence[Model]:
    """A provider's models that are not switched off; of one that fails or is slow, those known without asking."""
    try:
        async with asyncio.timeout(LISTING_SECONDS):
            return switched_on(state, provider, await provider.list_models())
    except (SpineError, TimeoutError):
        known = dict.fromkeys((*provider.models, *provider.stated, provider.default_model))
        return switched_on(
            state, provider, [state.spine.catalog.describe(provider.name, model) for model in known if model]
        )


def switched_on(state: State, provider: Provider, models: Sequence[Model]) -> Sequence[Model]:
    """What a provider lists, with what the user says of further models, and without what is switched off."""
    told = {model.id for model in models}
    spine, name = state.spine, provider.name
    further = [spine.catalog.describe(name, model) for model in provider.stated if model not in told]
    return [model for model in (*models, *further) if not spine.registry.is_off(name, model.id)]


async def _model(state: State, name: str, allowance: Allowance) -> Model:
    """The model that a request for ``name`` would reach.

    Raises:
        ModelNotFoundError: None would.
        PermissionDeniedError: The caller may not use it.
    """
    candidate = state.spine.place(name, allowance=allowance)
    provider = state.spine.registry.get(candidate.provider)
    if state.spine.registry.obstacle(provider.name, candidate.model) is not None:
        raise state.spine.registry.unknown_model(name)
    models = await listed(state, provider)
    found = next((model for model in models if model.id == candidate.model), None)
    if found is None:
        if not (provider.open_models or provider.knows(candidate.model)):
            raise state.spine.registry.unknown_model(name)
        found = state.spine.catalog.describe(provider.name, candidate.model)
    return msgspec.structs.replace(found, id=name)


@router.get("/v1/models", summary="The models in use")
@router.get("/v1beta/models", summary="Gemini: the models in use")
async def list_models(request: Request) -> Response:
    """List the models of all configured providers, in the form of the caller's dialect.

    A caller that sends ``anthropic-version`` is Anthropic's, one that sends ``x-goog-api-key`` is Gemini's.
    """
    dialect, _ = _form(request)
    speak(request, dialect)
    return _json(dialect.encode_models(await _models(state_of(request), allowance_of(request))))


@router.get("/v1/models/{model:path}", summary="One model")
@router.get("/v1beta/models/{model:path}", summary="Gemini: one model")
async def get_model(request: Request, model: str) -> Response:
    """Show a model by any name by which it can be asked for."""
    dialect, write = _form(request)
    speak(request, dialect)
    return _json(msgspec.json.encode(write(await _model(state_of(request), model, allowance_of(request)))))


@router.get("/api/tags", summary="Ollama: the models in use")
async def list_tags(request: Request) -> Response:
    """List the models in Ollama's form."""
    speak(request, _OLLAMA)
    return _json(_OLLAMA.encode_models(await _models(state_of(request), allowance_of(request))))


class ShowBody(BaseModel):
    """Which model to show; ``name`` is an older spelling."""

    model: Annotated[str | None, Field(description="the model")] = None
    name: Annotated[str | None, Field(description="an older spelling of model")] = None


@router.post("/api/show", openapi_extra=describe_body(ShowBody), summary="Ollama: one model")
async def show(request: Request) -> Response:
    """Show a model in Ollama's form."""
    speak(request, _OLLAMA)
    body, _ = await read_model(request, ShowBody)
    name = body.model or body.name
    if not name:
        message = "model: name the model to show"
        raise ModelNotFoundError(message, param="model")
    state = state_of(request)
    return _json(encode_show(await _model(state, name, allowance_of(request))))


@router.get("/api/version", summary="Ollama: the version")
async def version() -> Response:
    """Tell the gateway's version where Ollama tells its own."""
    return _json(encode_version(__version__))
