"""What there is to ask: providers and models, in each dialect's own form."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, Query, Request, Response
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
from genai_spine.server.routes.pricing import price_fields
from genai_spine.server.rules import require
from genai_spine.server.state import State, allowance_of, allowed_provider, describe_body, read_model, state_of
from genai_spine.types.json import JsonObject
from genai_spine.types.models import Model
from genai_spine.types.principal import Allowance

__all__ = ["router"]

router = APIRouter(tags=["catalogue"], dependencies=[require("inference", "read")])

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
    lists = await asyncio.gather(*(_listed(state, provider) for provider in providers))
    return [
        msgspec.structs.replace(model, id=f"{provider.name}/{model.id}", owned_by=model.owned_by or provider.name)
        for provider, models in zip(providers, lists, strict=True)
        for model in models
        if allowance.allows(provider.name, model.id)
    ]


async def _listed(state: State, provider: Provider) -> Sequence[Model]:
    """A provider's models that are not switched off; of one that fails or is slow, those known without asking."""
    try:
        async with asyncio.timeout(LISTING_SECONDS):
            return _on(state, provider, await provider.list_models())
    except (SpineError, TimeoutError):
        known = dict.fromkeys((*provider.models, *provider.stated, provider.default_model))
        return _on(state, provider, [state.spine.catalog.describe(provider.name, model) for model in known if model])


def _on(state: State, provider: Provider, models: Sequence[Model]) -> Sequence[Model]:
    """What a provider lists, with what the user says of further models, and without what is switched off."""
    listed = {model.id for model in models}
    spine, name = state.spine, provider.name
    further = [spine.catalog.describe(name, model) for model in provider.stated if model not in listed]
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
    listed = await _listed(state, provider)
    found = next((model for model in listed if model.id == candidate.model), None)
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


def _described(state: State, provider: Provider, trouble: str | None) -> JsonObject:
    registry = state.spine.registry
    known = dict.fromkeys((*provider.models, *provider.stated, provider.default_model))
    status = registry.status(provider)
    return {
        "name": provider.name,
        "models": [model for model in known if model and not registry.is_off(provider.name, model)],
        "is_enabled": status == "ready",
        "default_model": provider.default_model,
        "status": status,
        "hint": "switched off" if status == "disabled" else provider.hint,
        "local": provider.local,
        "circuit": state.spine.guards.of(provider).circuit.state,
        "trouble": trouble,
    }


@router.get("/providers", summary="The providers")
async def list_providers(request: Request) -> Response:
    """List the providers that the caller may use, those too that are not configured, with what would configure them."""
    state, allowance = state_of(request), allowance_of(request)
    troubles = state.spine.guards.troubles
    told = [
        _described(state, provider, troubles.get(provider.name))
        for provider in state.spine.registry
        if allowance.allows_provider(provider.name)
    ]
    return _json(msgspec.json.encode(told))


@router.get("/providers/{name}/models", summary="A provider's models")
async def provider_models(
    request: Request, name: str, *, live: Annotated[bool, Query(description="ask the provider now")] = True
) -> Response:
    """List a provider's models that the caller may use, by default as the provider tells them now."""
    state = state_of(request)
    provider = allowed_provider(request, name)
    models = _on(state, provider, await provider.list_models()) if live else await _listed(state, provider)
    listed = [
        {
            "id": model.id,
            "provider": name,
            "display_name": model.display_name or model.id,
            "is_default": model.id == provider.default_model,
            "lifecycle": model.lifecycle,
            "replaced_by": model.replaced_by,
            "max_input_tokens": model.max_input_tokens,
            "max_output_tokens": model.max_output_tokens,
            "abilities": None if model.abilities is None else sorted(model.abilities),
            "quality_rank": model.quality_rank,
            "same_as": model.same_as or None,
            **price_fields(state.spine.prices.rate(name, model.id, local=provider.local)),
        }
        for model in models
        if allowance_of(request).allows(name, model.id)
    ]
    return _json(msgspec.json.encode(listed))
