"""From what the database says to a layer of the settings; and what each value in effect is, and who says it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

from msgspec import Struct
from pydantic import BaseModel

from genai_spine.configuration.changes import HOT, checked, checked_setting
from genai_spine.configuration.vault import Sealed, Vault
from genai_spine.errors import InvalidFieldError
from genai_spine.redact import MASK, Secret
from genai_spine.settings import BUILT_IN, DATABASE, FileSettings, Layer, ProviderSettings, Settings
from genai_spine.storage.sql.configuration import Stored, StoredModel, StoredProvider
from genai_spine.types.tables import ModelFile, ProviderFile

__all__ = ["Effective", "effective", "layer_of", "secrets_of", "table_of_model"]

# Columns of their own, or kept sealed: `config_json` does not say them once more.
_NOT_IN_CONFIG = frozenset({"is_enabled", "url", "default_model", "max_tokens", "temperature_default"})
_SECRET = frozenset({"api_key", "api_keys", "headers"})
_NOT_IN_FACTS = frozenset({"is_enabled", "display_name", "max_input_tokens", "abilities"})


class Effective(Struct, frozen=True, kw_only=True):
    """A value in effect.

    Attributes:
        name: As in the file: ``port``, ``providers.openai.url``.
        value: Secrets are masked, keys told by their fingerprints.
        origin: Who says it: a variable, a file, the database, or nobody.
        changeable: It may be changed while the gateway runs.
    """

    name: str
    value: Any
    origin: str
    changeable: bool


def layer_of(stored: Stored, vault: Vault) -> Layer:
    """Return what the database says as a layer of the settings.

    Raises:
        InvalidFieldError: Something of it is wrong; the message says what and where.
    """
    values = {name: checked_setting(name, setting.value) for name, setting in stored.settings.items()}
    providers = {name: _table_of_provider(provider, vault) for name, provider in stored.providers.items()}
    models = {
        f"{provider.name}/{model.name}": table_of_model(provider.name, model)
        for provider in stored.providers.values()
        for model in provider.models.values()
    }
    return Layer(values, providers, models)


def secrets_of(provider: StoredProvider, vault: Vault) -> Sealed | None:
    """Return a provider's secrets; None where no key opens them."""
    return Sealed() if provider.secrets is None else vault.open(provider.secrets)


def _table_of_provider(provider: StoredProvider, vault: Vault) -> Mapping[str, object]:
    where = f"providers.{provider.name}"
    table = _fields(provider.config, f"{where}.config", _NOT_IN_CONFIG | _SECRET)
    direct: dict[str, object] = {
        "url": provider.api_endpoint or None,
        "default_model": provider.default_model or None,
        "max_tokens": provider.max_tokens,
        "temperature_default": provider.temperature_default,
    }
    table |= {name: value for name, value in direct.items() if value is not None}
    table["is_enabled"] = provider.is_enabled
    secrets = secrets_of(provider, vault)
    if secrets is None:
        # Not those of the environment: they may be another account's.
        table["api_keys"] = ()
    else:
        table |= {"api_keys": secrets.api_keys} if secrets.api_keys is not None else {}
        table |= {"headers": secrets.headers} if secrets.headers is not None else {}
    return checked(ProviderFile, table, where)


def table_of_model(provider: str, model: StoredModel) -> Mapping[str, object]:
    """Return what a row says of a model, under the names of the file; raises as ``layer_of`` does."""
    where = f"models.{provider}/{model.name}"
    table = _fields(model.facts, f"{where}.facts", _NOT_IN_FACTS)
    direct = {
        "display_name": model.display_name,
        "max_input_tokens": model.max_context_length,
        "abilities": model.capabilities,
    }
    table |= {name: value for name, value in direct.items() if value is not None}
    table["is_enabled"] = model.is_enabled
    return checked(ModelFile, table, where)


def _fields(value: object, where: str, elsewhere: frozenset[str]) -> dict[str, object]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        message = f"{where}: it must be a JSON object"
        raise InvalidFieldError(message, param=where)
    for name in value:
        if name in elsewhere:
            how = "is kept encrypted" if name in _SECRET else "has a field of its own"
            message = f"{where}.{name}: it {how}; say it beside, not in here"
            raise InvalidFieldError(message, param=f"{where}.{name}")
    return dict(value)


def effective(settings: Settings) -> Iterator[Effective]:
    """Yield all that is in effect, with where it comes from: the gateway's own, its providers', its models'."""
    for name in FileSettings.model_fields:
        if name not in {"providers", "models"}:
            value, origin = getattr(settings.values, name), settings.origins.get(name, BUILT_IN)
            yield Effective(name=name, value=_shown(value), origin=origin, changeable=name in HOT)
    for name, said in settings.asked.items():
        for field, origin in sorted(said.origins.items()):
            yield Effective(
                name=f"providers.{name}.{field}", value=_shown(_said(said, field)), origin=origin, changeable=True
            )
    for name, model in settings.values.models.items():
        there = settings.layer.models.get(name, {})
        for field in sorted(model.model_fields_set):
            origin = DATABASE if field in there else str(settings.path)
            value = _shown(getattr(model, field))
            yield Effective(name=f'models."{name}".{field}', value=value, origin=origin, changeable=True)


def _said(said: ProviderSettings, field: str) -> object:
    """What a provider was told, by the name in the file."""
    if field == "api_keys":
        return said.keys
    if field == "headers":
        return dict.fromkeys(said.file.headers, MASK)
    if field.startswith("timeouts."):
        return getattr(said.timeouts, field.removeprefix("timeouts."))
    return getattr(said if field in {"url", "default_model", "models"} else said.file, field)


def _shown(value: object) -> Any:
    """A value as it may be shown, ready for JSON."""
    if isinstance(value, Secret):
        return MASK
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_none=True)
    if isinstance(value, tuple | list):
        return [each.fingerprint if isinstance(each, Secret) else _shown(each) for each in value]
    if isinstance(value, frozenset):
        return sorted(map(str, value))
    if isinstance(value, Mapping):
        return {str(name): _shown(each) for name, each in value.items()}
    return str(value) if isinstance(value, PurePath) else value
