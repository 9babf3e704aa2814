"""The providers that ship with the package or stand in the configuration file: rows, made into objects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from genai_spine.dialects.base import Dialect
from genai_spine.errors import ConfigurationError
from genai_spine.providers.http import HttpProvider
from genai_spine.providers.plugins import Context
from genai_spine.providers.rows import Row, base_address, builtin_rows, row_from_file
from genai_spine.providers.simulator import simulator
from genai_spine.settings import ProviderSettings, TimeoutSettings
from genai_spine.transport.base import Timeouts

__all__ = ["provider_from_row", "provider_of", "providers"]

P = TypeVar("P", bound=HttpProvider)

LOCAL_FIRST_BYTE_SECONDS = 300.0
FIRST_BYTE_SECONDS = 120.0


def providers(context: Context) -> Iterator[HttpProvider]:
    """Yield one provider for each row, then the simulator.

    Raises:
        ConfigurationError: A setting of one is wrong.
    """
    rows = builtin_rows()
    for name, row in rows.items():
        yield provider_from_row(name, row, context)
    for name, file in context.settings.values.providers.items():
        if name not in rows and name not in context.plugins:
            yield provider_from_row(name, row_from_file(name, file, None), context)
    values = context.settings.values
    yield simulator(
        failures=values.simulator_failures,
        chunk_seconds=values.simulator_chunk_seconds,
        catalog=context.catalog,
        prices=context.prices,
        clock=context.clock,
    )


def provider_from_row(name: str, row: Row, context: Context) -> HttpProvider:
    """Return the provider that a row and the user's settings make.

    Raises:
        ConfigurationError: The dialect is unknown, the address is none, or a quirk is wrong.
    """
    return provider_of(HttpProvider, name, row, context)


def provider_of(kind: type[P], name: str, row: Row, context: Context) -> P:
    """Return the same as a provider of a kind of one's own; raises as ``provider_from_row`` does."""
    settings = context.settings.provider(name, key_variables=row.key_variables, url_variables=row.url_variables)
    row = row_from_file(name, settings.file, row)
    dialect = _dialect(f"providers.{name}.dialect", row.dialect, context)
    also = {other: _dialect(f"providers.{name}.also", other, context) for other in row.also}
    try:
        address = base_address(settings.url or row.url, row, dialect) if settings.url or row.url else ""
    except ConfigurationError as error:
        message = f"{settings.url_from or name}: {error.message}"
        raise ConfigurationError(message) from error
    provider = kind(
        name,
        row,
        dialect=dialect,
        also=also,
        address=address,
        keys=settings.keys,
        timeouts=_timeouts(settings.timeouts, row),
        transport=context.transport,
        catalog=context.catalog,
        prices=context.prices,
        clock=context.clock,
        default_model=settings.default_model,
        models=settings.models,
    )
    provider.max_tokens = settings.file.max_tokens
    provider.temperature_default = settings.file.temperature_default
    stated = (model.partition("/") for model in context.settings.values.models)
    provider.stated = tuple(model for owner, _, model in stated if owner == name and model not in provider.models)
    _judge(provider, settings, row)
    return provider


def _dialect(where: str, name: str, context: Context) -> Dialect:
    found = context.dialects.get(name)
    if found is None:
        known = ", ".join(sorted(context.dialects))
        message = f"{where}: unknown dialect {name!r}; known dialects: {known}"
        raise ConfigurationError(message)
    return found


def _timeouts(settings: TimeoutSettings, row: Row) -> Timeouts:
    return Timeouts(
        connect=settings.connect,
        first_byte=settings.first_byte or (LOCAL_FIRST_BYTE_SECONDS if row.local else FIRST_BYTE_SECONDS),
        between_chunks=settings.between_chunks,
        total=settings.total,
    )


def _judge(provider: HttpProvider, settings: ProviderSettings, row: Row) -> None:
    """Decide whether a provider can be used, and say how that was found or what is missing."""
    upper = provider.name.upper().replace("-", "_")
    key_variable = _or(f"{upper}_API_KEY", row.key_variables)
    url_variable = _or(f"{upper}_API_URL", row.url_variables)
    missing: list[str] = []
    if not provider.address or (row.local and settings.url is None):
        missing.append(url_variable)
    if not (row.local or settings.keys or row.auth == "none"):
        missing.append(key_variable)
    if missing:
        provider.status = "not_configured"
        where = f", or start it at {provider.address}" if row.local and provider.address else ""
        provider.hint = f"set {' and '.join(missing)}{where}"
    else:
        found = [found for found in (settings.keys_from, settings.url_from) if found]
        provider.hint = f"found by {' and '.join(found)}" if found else "needs no key"


def _or(variable: str, others: tuple[str, ...]) -> str:
    return f"{variable} (or {' or '.join(others)})" if others else variable
