"""What the database says of providers, models and settings: its rows, as they are, and their changes.

Every change is told the version of the configuration that it makes, and which version of the row its maker saw.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from msgspec import Struct, field
from sqlalchemy import Table, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from genai_spine.errors import ConflictError, NotFoundError
from genai_spine.storage.sql.tables import provider_configs, provider_models, settings

__all__ = [
    "TOPIC",
    "Change",
    "Stored",
    "StoredModel",
    "StoredProvider",
    "StoredSetting",
    "delete_model",
    "delete_provider",
    "delete_setting",
    "load",
    "save_model",
    "save_provider",
    "save_setting",
]

TOPIC: Final = "configuration"
"""Under which its version is kept."""


class StoredModel(Struct, frozen=True, kw_only=True):
    """A row of ``provider_models``; ``capabilities`` and ``facts`` are as they were written, whatever that is."""

    name: str
    display_name: str | None = None
    is_enabled: bool = True
    max_context_length: int | None = None
    capabilities: Any = None
    facts: Any = None
    version: int = 0


class StoredProvider(Struct, frozen=True, kw_only=True):
    """A row of ``provider_configs``, with its models; ``config`` is as it was written, whatever that is."""

    name: str
    is_enabled: bool = True
    api_endpoint: str | None = None
    default_model: str | None = None
    max_tokens: int | None = None
    temperature_default: float | None = None
    config: Any = None
    secrets: bytes | None = None
    version: int = 0
    models: dict[str, StoredModel] = field(default_factory=dict)


class StoredSetting(Struct, frozen=True):
    """A row of ``settings``."""

    value: Any
    version: int = 0


class Stored(Struct, frozen=True):
    """All of it, by name."""

    providers: dict[str, StoredProvider]
    settings: dict[str, StoredSetting]


class Change(Struct, frozen=True):
    """What goes with a change.

    Attributes:
        version: Of the configuration, once it is made.
        seen: The version of the row that its maker saw; 0 for no row, None where that does not matter.
    """

    version: int
    at: datetime
    seen: int | None = None


async def load(connection: AsyncConnection) -> Stored:
    """Return all that is there."""
    models: dict[int, dict[str, StoredModel]] = {}
    for row in await connection.execute(select(provider_models).order_by(provider_models.c.id)):
        models.setdefault(row.provider_id, {})[row.model_name] = StoredModel(
            name=row.model_name,
            display_name=row.display_name,
            is_enabled=row.is_enabled,
            max_context_length=row.max_context_length,
            capabilities=row.capabilities,
            facts=row.facts,
            version=row.version,
        )
    providers = {
        row.provider_name: StoredProvider(
            name=row.provider_name,
            is_enabled=row.is_enabled,
            api_endpoint=row.api_endpoint,
            default_model=row.default_model,
            max_tokens=row.max_tokens,
            temperature_default=row.temperature_default,
            config=row.config_json,
            secrets=row.secrets,
            version=row.version,
            models=models.get(row.id, {}),
        )
        for row in await connection.execute(select(provider_configs).order_by(provider_configs.c.id))
    }
    found = await connection.execute(select(settings).order_by(settings.c.name))
    return Stored(providers, {row.name: StoredSetting(row.value, row.version) for row in found})


async def save_provider(connection: AsyncConnection, provider: StoredProvider, change: Change) -> None:
    """Make a provider's row, or put it in the place of the one that is there; its models stay.

    Raises:
        ConflictError: It is not at the version that was seen.
    """
    values = {
        "is_enabled": provider.is_enabled,
        "api_endpoint": provider.api_endpoint,
        "default_model": provider.default_model,
        "max_tokens": provider.max_tokens,
        "temperature_default": provider.temperature_default,
        "config_json": provider.config,
        "secrets": provider.secrets,
    }
    await _save(connection, provider_configs, {"provider_name": provider.name}, values, change)


async def delete_provider(connection: AsyncConnection, name: str, change: Change) -> None:
    """Delete a provider's row, and its models.

    Raises:
        ConflictError: It is not at the version that was seen.
        NotFoundError: There is none.
    """
    await _delete(connection, provider_configs, {"provider_name": name}, change)


async def save_model(connection: AsyncConnection, provider: str, model: StoredModel, change: Change) -> None:
    """Make a model's row, or put it in the place of the one that is there; a provider without a row gets one.

    Raises:
        ConflictError: It is not at the version that was seen.
    """
    owner = await _id(connection, provider)
    if owner is None:
        await save_provider(connection, StoredProvider(name=provider), Change(change.version, change.at))
        owner = await _id(connection, provider)
    values = {
        "display_name": model.display_name,
        "is_enabled": model.is_enabled,
        "max_context_length": model.max_context_length,
        "capabilities": model.capabilities,
        "facts": model.facts,
    }
    await _save(connection, provider_models, {"provider_id": owner, "model_name": model.name}, values, change)


async def delete_model(connection: AsyncConnection, provider: str, name: str, change: Change) -> None:
    """Delete a model's row; raises as ``delete_provider`` does."""
    await _delete(
        connection, provider_models, {"provider_id": await _id(connection, provider), "model_name": name}, change
    )


async def save_setting(connection: AsyncConnection, name: str, value: Any, change: Change) -> None:
    """Make a setting's row, or put it in the place of the one that is there.

    Raises:
        ConflictError: It is not at the version that was seen.
    """
    await _save(connection, settings, {"name": name}, {"value": value}, change)


async def delete_setting(connection: AsyncConnection, name: str, change: Change) -> None:
    """Delete a setting's row; raises as ``delete_provider`` does."""
    await _delete(connection, settings, {"name": name}, change)


async def _id(connection: AsyncConnection, provider: str) -> int | None:
    query = select(provider_configs.c.id).where(provider_configs.c.provider_name == provider)
    found: int | None = (await connection.execute(query)).scalar()
    return found


async def _save(
    connection: AsyncConnection, table: Table, key: dict[str, Any], values: dict[str, Any], change: Change
) -> None:
    values = {**values, "version": change.version}
    moment = {"updated_at": change.at} if "updated_at" in table.c else {}
    if await _seen(connection, table, key, change):
        await connection.execute(update(table).filter_by(**key).values(**values, **moment))
    else:
        made = {"created_at": change.at} if "created_at" in table.c else {}
        await connection.execute(insert(table).values(**key, **values, **moment, **made))


async def _delete(connection: AsyncConnection, table: Table, key: dict[str, Any], change: Change) -> None:
    if not await _seen(connection, table, key, change):
        message = f"the database says nothing of {_name(key)}"
        raise NotFoundError(message)
    await connection.execute(delete(table).filter_by(**key))


async def _seen(connection: AsyncConnection, table: Table, key: dict[str, Any], change: Change) -> bool:
    """Whether there is a row; raises if it is not what the maker of the change saw."""
    version = (await connection.execute(select(table.c.version).filter_by(**key))).scalar()
    if change.seen is not None and change.seen != (version or 0):
        now = "it is gone" if version is None else f"it is at version {version}"
        message = f"{_name(key)} is not at version {change.seen} any more: {now}; look at it again"
        raise ConflictError(message, param="version")
    return version is not None


def _name(key: dict[str, Any]) -> str:
    return str([*key.values()][-1])
