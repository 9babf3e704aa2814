"""Providers, models and the moment as routing sees them, made up by a test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from genai_spine.catalog.models import ModelCatalog
from genai_spine.errors import ModelNotFoundError, SpineError, UnknownProviderError
from genai_spine.routing.candidates import Place
from genai_spine.routing.options import Option, Traits
from genai_spine.routing.shortlist import Alias
from genai_spine.types.candidate import Candidate

__all__ = ["Moment", "World", "option", "place"]


def place(
    name: str, *models: str, default: str = "", usable: bool = True, open_models: bool = False, local: bool = False
) -> Place:
    """A provider."""
    return Place(name, usable, frozenset(models), default, open_models, local)


def option(name: str, traits: Traits | None = None, *, local: bool = False, link: int = 9) -> Option:
    """A candidate, ``provider/model``."""
    provider, _, model = name.partition("/")
    return Option(candidate=Candidate(provider, model, "a test"), traits=traits or Traits(), local=local, link=link)


SIMULATOR: Final = place("simulator", "echo", "flaky", default="echo")


class World:
    """A real ``Directory``: what the rules are told.

    ``same`` holds the places of one model each, by ``provider/model``; ``names`` are the catalogue's for some of them;
    ``traits`` go by ``provider/model``.
    """

    def __init__(
        self,
        *places: Place,
        default: str = "ollama",
        price_list: frozenset[tuple[str, str]] = frozenset(),
        aliases: Sequence[Alias] = (),
        chain: Sequence[str] = (),
        same: Sequence[Sequence[str]] = (),
        names: Mapping[str, Sequence[str]] | None = None,
        traits: Mapping[str, Traits] | None = None,
    ) -> None:
        self.version = 1
        self.chained = list(chain)
        self._places = {place.name: place for place in places}
        self._default = default
        self._price_list = price_list
        self._aliases = {alias.name: alias for alias in aliases}
        self._same = same
        self._names = names or {}
        self._traits = traits or {}

    def add(self, added: Place) -> None:
        """One more provider, from now on."""
        self._places[added.name] = added
        self.version += 1

    def place(self, name: str) -> Place | None:
        """One by name, the simulator too."""
        return SIMULATOR if name == "simulator" else self._places.get(name)

    def places(self) -> Sequence[Place]:
        """All but the simulator."""
        return list(self._places.values())

    def default_place(self) -> Place | None:
        """The default."""
        return self.place(self._default)

    def last_resort(self) -> Place | None:
        """The simulator."""
        return SIMULATOR

    def home(self, model: str) -> str | None:
        """By the shipped rules."""
        return ModelCatalog.builtin().home(model)

    def serves(self, name: str, model: str) -> bool:
        """By list, default or price list."""
        place = self.place(name)
        known = place is not None and (model in place.models or model == place.default_model)
        return known or (name, model) in self._price_list

    def obstacle(self, name: str, model: str) -> str | None:  # noqa: ARG002  # of the contract
        """That it is not configured."""
        place = self.place(name)
        return None if place is not None and place.usable else "it is not configured"

    def unknown_provider(self, name: str) -> SpineError:
        """A 400."""
        return UnknownProviderError(name)

    def unknown_model(self, model: str) -> SpineError:
        """A 404."""
        return ModelNotFoundError(model)

    def alias(self, name: str) -> Alias | None:
        """By name."""
        return self._aliases.get(name)

    def chain(self) -> Sequence[str]:
        """As it was made."""
        return self.chained

    def named(self, model: str) -> Sequence[tuple[str, str]]:
        """The group that goes by a name."""
        return [(name.partition("/")[0], name.partition("/")[2]) for name in self._names.get(model, ())]

    def elsewhere(self, provider: str, model: str) -> Sequence[tuple[str, str]]:
        """The others of the same group."""
        name = f"{provider}/{model}"
        others = [other for group in self._same if name in group for other in group if other != name]
        return [(other.partition("/")[0], other.partition("/")[2]) for other in others]

    def traits(self, provider: str, model: str) -> Traits:
        """As they were made."""
        return self._traits.get(f"{provider}/{model}", Traits())


class Moment:
    """A real ``Snapshot``: all is well and equally fast, but for what is told."""

    def __init__(
        self,
        *,
        troubles: Mapping[str, str] | None = None,
        seconds: Mapping[str, float] | None = None,
        loads: Mapping[str, int] | None = None,
    ) -> None:
        self.troubles: Mapping[str, str] = troubles or {}
        self.ill = frozenset(self.troubles)
        self._seconds = seconds or {}
        self._loads = loads or {}

    def seconds(self, names: Sequence[str], tokens: int) -> Sequence[float]:
        """As they were told, and a hundredth of a second a token."""
        return [self._seconds.get(name, 1.0) + tokens / 100 for name in names]

    def loads(self, names: Sequence[str]) -> Sequence[int]:
        """As they were told."""
        return [self._loads.get(name, 0) for name in names]
