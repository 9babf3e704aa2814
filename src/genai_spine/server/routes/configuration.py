"""The configuration while the gateway runs: what is in effect, and what the database says of it."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import msgspec
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from genai_spine.configuration.changes import HOT, ModelChange, ProviderChange, SettingChange
from genai_spine.configuration.live import Configuration
from genai_spine.errors import NotFoundError
from genai_spine.server.rules import require
from genai_spine.server.state import describe_body, principal_of, read_model, state_of
from genai_spine.types.ledger import Caller

__all__ = ["router"]

M = TypeVar("M", bound=BaseModel)

router = APIRouter(prefix="/v1/admin", tags=["configuration"], dependencies=[require("admin")])

_Version = Annotated[
    int | None, Query(ge=0, description="the version that you saw; if it is another by now, nothing is changed")
]


def _configuration(request: Request) -> Configuration:
    return state_of(request).spine.configuration


def _by(request: Request) -> Caller:
    return principal_of(request).caller


async def _read(request: Request, kind: type[M]) -> M:
    found, _ = await read_model(request, kind)
    return found


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")


@router.get("/config", summary="What is in effect, and who says it")
async def show_config(request: Request) -> Response:
    """Tell every value in effect with its origin; secrets are masked, keys told by their fingerprints."""
    configuration = _configuration(request)
    return _json(
        {
            "version": configuration.version,
            "problem": configuration.problem,
            "values": configuration.effective(),
        }
    )


@router.get("/settings", summary="The settings that the database says")
async def list_settings(request: Request) -> Response:
    """List the settings that were set while the gateway ran, and the names of those that can be."""
    return _json({"settings": await _configuration(request).stored_settings(), "changeable": sorted(HOT)})


@router.put("/settings/{name}", openapi_extra=describe_body(SettingChange), summary="Set a setting")
async def set_setting(request: Request, name: str) -> Response:
    """Set a setting for all workers and replicas; one that cannot be in effect is refused."""
    wanted = await _read(request, SettingChange)
    configuration = _configuration(request)
    await configuration.set(name, wanted.value, version=wanted.version, by=_by(request))
    return _json((await configuration.stored_settings()).get(name))


@router.delete("/settings/{name}", status_code=204, summary="Leave a setting to environment and file")
async def unset_setting(request: Request, name: str, version: _Version = None) -> Response:
    """Delete what the database says of a setting."""
    await _configuration(request).unset(name, version=version, by=_by(request))
    return Response(status_code=204)


@router.get("/providers", summary="The providers of which the database says something")
async def list_providers(request: Request) -> Response:
    """List what the database says of providers. All that there are, and how they do, is at ``/providers``."""
    return _json(await _configuration(request).providers())


@router.get("/providers/{name}", summary="What the database says of a provider")
async def show_provider(request: Request, name: str) -> Response:
    """Show what the database says of a provider; its keys by their fingerprints."""
    return _json(await _configuration(request).provider(name))


@router.put("/providers/{name}", openapi_extra=describe_body(ProviderChange), summary="Say all of a provider")
async def put_provider(request: Request, name: str) -> Response:
    """Put this in the place of what the database says of a provider, but for keys and headers that are left out."""
    configuration = _configuration(request)
    await configuration.set_provider(name, await _read(request, ProviderChange), whole=True, by=_by(request))
    return _json(await configuration.provider(name))


@router.patch("/providers/{name}", openapi_extra=describe_body(ProviderChange), summary="Change a provider")
async def patch_provider(request: Request, name: str) -> Response:
    """Change the fields that are named; null leaves one to environment and file again."""
    configuration = _configuration(request)
    await configuration.set_provider(name, await _read(request, ProviderChange), by=_by(request))
    return _json(await configuration.provider(name))


@router.delete("/providers/{name}", status_code=204, summary="Leave a provider to environment and file")
async def delete_provider(request: Request, name: str, version: _Version = None) -> Response:
    """Delete what the database says of a provider and its models; one that is nowhere else is gone."""
    await _configuration(request).delete_provider(name, version=version, by=_by(request))
    return Response(status_code=204)


@router.get("/providers/{name}/models", summary="What the database says of a provider's models")
async def list_models(request: Request, name: str) -> Response:
    """List what the database says of a provider's models."""
    return _json((await _configuration(request).provider(name))["models"])


async def _model(request: Request, name: str, model: str) -> Response:
    shown = await _configuration(request).provider(name)
    for found in shown["models"]:
        if found["name"] == model:
            return _json(found)
    message = f"the database says nothing of {name}'s model {model}"
    raise NotFoundError(message)


@router.get("/providers/{name}/models/{model:path}", summary="What the database says of a model")
async def show_model(request: Request, name: str, model: str) -> Response:
    """Show what the database says of a provider's model."""
    return await _model(request, name, model)


@router.put(
    "/providers/{name}/models/{model:path}", openapi_extra=describe_body(ModelChange), summary="Say all of a model"
)
async def put_model(request: Request, name: str, model: str) -> Response:
    """Put this in the place of what the database says of a provider's model."""
    wanted = await _read(request, ModelChange)
    await _configuration(request).set_model(name, model, wanted, whole=True, by=_by(request))
    return await _model(request, name, model)


@router.patch(
    "/providers/{name}/models/{model:path}", openapi_extra=describe_body(ModelChange), summary="Change a model"
)
async def patch_model(request: Request, name: str, model: str) -> Response:
    """Change the fields that are named; null leaves one to file and catalogue again."""
    wanted = await _read(request, ModelChange)
    await _configuration(request).set_model(name, model, wanted, by=_by(request))
    return await _model(request, name, model)


@router.delete("/providers/{name}/models/{model:path}", status_code=204, summary="Leave a model to file and catalogue")
async def delete_model(request: Request, name: str, model: str, version: _Version = None) -> Response:
    """Delete what the database says of a provider's model."""
    await _configuration(request).delete_model(name, model, version=version, by=_by(request))
    return Response(status_code=204)
