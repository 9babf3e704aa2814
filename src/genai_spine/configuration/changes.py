"""What may be changed while the gateway runs, and how it is said: the bodies of the routes, and their checks."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import BaseModel, Field, ValidationError

from genai_spine.errors import InvalidFieldError
from genai_spine.settings import FileSettings, variable_of
from genai_spine.types.tables import Frozen, ModelFile, ProviderFile

__all__ = ["HOT", "ModelChange", "ProviderChange", "SettingChange", "check_name", "checked", "checked_setting"]

HOT: Final = frozenset(
    {
        "aliases",
        "budget_action",
        "budget_daily",
        "budget_hourly",
        "budget_monthly",
        "budget_output_tokens",
        "budget_per_request",
        "circuit_failures",
        "circuit_open_seconds",
        "default_cooldown",
        "default_provider",
        "fallback_chain",
        "generate_default_provider",
        "max_cooldown_seconds",
        "max_failures_before_cooldown",
        "max_key_attempts",
        "on_state_lost",
        "permanent_error_patterns",
        "rate_limit_concurrent",
        "rate_limit_requests_per_minute",
        "rate_limit_tokens_per_minute",
        "retry_attempts",
        "retry_first_wait",
        "retry_longest_silence",
        "retry_longest_wait",
        "retry_patience",
        "retry_share",
        "routing_strategy",
        "simulator_chunk_seconds",
        "simulator_failures",
        "unknown_price_input",
        "unknown_price_output",
    }
)
"""The settings that may change while the gateway runs; the others are read at its start."""

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,49}")
_Version = Annotated[
    int | None,
    Field(ge=0, description="the version that you saw, 0 for nothing; if it is another by now, nothing is changed"),
]


class ProviderChange(Frozen):
    """What the database says of a provider; what is left out is said by environment, file or the package."""

    is_enabled: bool = Field(default=True, description="false switches it off")
    api_endpoint: str | None = Field(default=None, max_length=255, description="base address")
    default_model: str | None = Field(default=None, max_length=100, description="the model where none is named")
    max_tokens: int | None = Field(
        default=None, gt=0, description="limit of an answer where the project asks by itself and names none"
    )
    temperature_default: float | None = Field(default=None, ge=0, le=2, description="the same of the temperature")
    config: dict[str, Any] = Field(default={}, description="further fields of its table in spine.toml")
    api_keys: tuple[str, ...] | None = Field(
        default=None, repr=False, description="its keys, kept encrypted and never shown; left out: those that it has"
    )
    headers: dict[str, str] | None = Field(
        default=None, repr=False, description="headers to add to each request, kept likewise"
    )
    version: _Version = None


class ModelChange(Frozen):
    """What the database says of a provider's model; what is left out is said by the file or the catalogue."""

    display_name: str | None = Field(default=None, max_length=100, description="its name for people")
    is_enabled: bool = Field(default=True, description="false switches it off")
    max_context_length: int | None = Field(default=None, gt=0, description="the most that it reads, in tokens")
    capabilities: tuple[str, ...] | None = Field(default=None, description="all that it can do")
    facts: dict[str, Any] = Field(default={}, description="further fields of its table in spine.toml, prices for one")
    version: _Version = None


class SettingChange(Frozen):
    """A setting's new value."""

    value: Any = Field(description="as in spine.toml")
    version: _Version = None


def check_name(name: str) -> None:
    """Make sure that a provider may have a name.

    Raises:
        InvalidFieldError: It may not.
    """
    if not _NAME.fullmatch(name):
        message = f"{name!r} is no name for a provider: small letters, digits, dots and dashes, at most 50"
        raise InvalidFieldError(message, param="name")


def checked(kind: type[ProviderFile | ModelFile], table: Mapping[str, object], where: str) -> Mapping[str, object]:
    """Return a table that is fit to be one of the file.

    Raises:
        InvalidFieldError: It is not; the message begins with ``where``, and shows no value.
    """
    _validated(kind, table, where)
    return table


def checked_setting(name: str, value: object) -> Any:
    """Return a setting's value in the form in which it is kept.

    Raises:
        InvalidFieldError: There is no such setting, it cannot change while the gateway runs, or the value is wrong.
    """
    if name not in FileSettings.model_fields:
        near = difflib.get_close_matches(name, HOT, n=1)
        message = f"{name}: no such setting{f'; did you mean {near[0]}?' if near else ''}"
        raise InvalidFieldError(message, param=name)
    if name in {"providers", "models"}:
        message = f"{name} are changed one by one: PUT /v1/admin/providers/NAME"
        raise InvalidFieldError(message, param=name)
    if name not in HOT:
        how = f"set {variable_of(name)}, or {name} in spine.toml, and start it anew"
        message = f"{name} cannot change while the gateway runs; {how}"
        raise InvalidFieldError(message, param=name)
    return _validated(FileSettings, {name: value}, "").model_dump(mode="json", include={name})[name]


def _validated(kind: type[BaseModel], table: Mapping[str, object], where: str) -> BaseModel:
    try:
        return kind.model_validate(table)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(step) for step in (where, *fault["loc"]) if step)
        what = "no such field" if fault["type"] == "extra_forbidden" else fault["msg"]
        message = f"{place}: {what}"
        raise InvalidFieldError(message, param=place) from error
