"""How providers come into the house: each group of them through an entry point, the built-in ones by the same door.

A package that brings a provider which needs code names a function in its ``pyproject.toml``::

    [project.entry-points."genai_spine.providers"]
    mine = "my_package:providers"

and the function takes a ``Context`` and returns its providers. A table ``[providers.mine]`` of the configuration file
is then the plug-in's to read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeAlias

from msgspec import Struct, structs

from genai_spine.catalog.models import ModelCatalog
from genai_spine.catalog.prices import Prices
from genai_spine.clock import Clock
from genai_spine.dialects.base import Dialect
from genai_spine.errors import ConfigurationError
from genai_spine.plugins import plugins_of
from genai_spine.providers.base import Provider
from genai_spine.settings import Settings
from genai_spine.transport.base import Transport

__all__ = ["GROUP", "Context", "Plugin", "load_providers"]

GROUP: Final = "genai_spine.providers"


class Context(Struct, frozen=True, kw_only=True):
    """What a provider may be built from; ``plugins`` are the names of all entry points."""

    settings: Settings
    transport: Transport
    dialects: Mapping[str, Dialect]
    catalog: ModelCatalog
    prices: Prices
    clock: Clock
    plugins: frozenset[str] = frozenset()


Plugin: TypeAlias = Callable[[Context], Iterable[Provider]]


def load_providers(context: Context) -> list[Provider]:
    """Return the providers of all plug-ins, the built-in ones first.

    Raises:
        ConfigurationError: A plug-in cannot be imported, or fails.
    """
    found: list[Provider] = []
    points = plugins_of(GROUP)
    context = structs.replace(context, plugins=frozenset(point.name for point in points))
    for point in points:
        try:
            plugin: Plugin = point.load()
            found += plugin(context)
        except ConfigurationError:
            raise
        except Exception as error:  # whatever a foreign package raises, the operator must learn which one it was
            message = f"the provider plug-in {point.name!r} ({point.value}) failed: {type(error).__name__}: {error}"
            raise ConfigurationError(message) from error
    return found
