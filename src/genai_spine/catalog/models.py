"""What is known of models before anyone is asked: facts by id, and the provider that an id belongs to.

The rows are those of ``models.toml``, with what the price list tells beside its prices, and the user's own over both.
They are read when they are first needed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from genai_spine.catalog.book import MOST_REMEMBERED, PriceBook
from genai_spine.clock import Clock, SystemClock
from genai_spine.types.models import Ability, Lifecycle, Model, ModelFacts

if TYPE_CHECKING:
    from genai_spine.settings import ModelFile

__all__ = ["ModelCatalog", "get_provider_for_model"]

T = TypeVar("T")

_REGION: Final = r"(?:(?:us|us-gov|eu|apac|jp|au|ca|sa|in|global)\.(?=[a-z0-9]+\.))?"
# `openai/`, `us.anthropic.`, `accounts/fireworks/models/`: whose model it is, or where it stands.
_VENDOR: Final = re.compile(
    rf"^(?:.*/)?{_REGION}(?:(?:ai21|amazon|anthropic|cohere|deepseek|google|meta|minimax|mistral|moonshotai|openai|qwen|zai)\.)?"
)
_REGION_ALONE: Final = re.compile(f"^{_REGION}")
_UNKNOWN: Final = ModelFacts()
# Ranks leave room between them for a user's own.
_RANK_STEP: Final = 10


class _Form(Struct, frozen=True):
    provider: str
    pattern: str


class _Group(Struct, frozen=True):
    can: frozenset[Ability]
    models: tuple[str, ...]


class _Retirement(Struct, frozen=True):
    on: date
    successor: str = field(name="for")


class _Ranking(Struct, frozen=True):
    order: tuple[tuple[str, ...], ...]


class _Rows(Struct, frozen=True, forbid_unknown_fields=True):
    """``models.toml``, which says what each of its tables means."""

    local: frozenset[str]
    forms: tuple[_Form, ...]
    prefixes: dict[str, str]
    facts: dict[str, ModelFacts]
    abilities: tuple[_Group, ...]
    context: dict[str, int]
    retired: dict[str, dict[str, _Retirement]]
    same: dict[str, dict[str, tuple[str, ...]]]
    ranking: _Ranking


class ModelCatalog:
    """Facts and homes of models.

    Args:
        book: The price list, which tells names, context lengths and deprecations too.
        own: The user's own facts, by ``provider/model`` or by the model at whatever provider.
        clock: Tells whether the day has come on which a model was to be retired.
    """

    def __init__(
        self, book: PriceBook, *, own: Mapping[str, ModelFile] | None = None, clock: Clock | None = None
    ) -> None:
        self._rows = rows = _rows()
        self._book = book
        self._own = {name.lower(): facts for name, facts in (own or {}).items()}
        self._own_places: dict[str, dict[str, str]] = {}
        for name, facts in (own or {}).items():
            provider, slash, model = name.partition("/")
            if facts.same_as and slash:
                self._own_places.setdefault(facts.same_as, {})[provider] = model
        self._clock = clock or SystemClock()
        self._abilities = {
            prefix: group.can if "embeddings" in group.can else group.can | {"streaming"}
            for group in rows.abilities
            for prefix in group.models
        }
        self._ranks = {
            prefix: place * _RANK_STEP for place, line in enumerate(rows.ranking.order, 1) for prefix in line
        }
        self._context = {name.lower(): tokens for name, tokens in rows.context.items()}
        self._families = {
            (provider, _key(model)): family
            for family, places in rows.same.items()
            for provider, models in places.items()
            for model in models
        }
        self._described: dict[tuple[str, str], Model] = {}
        self._facts: dict[tuple[str, str], ModelFacts] = {}

    @classmethod
    def builtin(cls) -> ModelCatalog:
        """Return the catalogue shipped with the package; the same object each time."""
        return _builtin()

    @property
    def local(self) -> frozenset[str]:
        """The providers that run on the user's own machines."""
        return self._rows.local

    # By an id alone.

    def facts(self, model: str, provider: str = "") -> ModelFacts:
        """Return what a model accepts; the defaults of ``ModelFacts`` where nothing is known."""
        key = (provider, model)
        found = self._facts.get(key)
        if found is None:
            if len(self._facts) >= MOST_REMEMBERED:
                self._facts.clear()
            found = self._facts[key] = self._find_facts(provider, model)
        return found

    def _find_facts(self, provider: str, model: str) -> ModelFacts:
        name = _bare(model)
        facts = _longest(self._rows.facts, name) or _UNKNOWN
        abilities = _longest(self._abilities, name)
        if (own := self._own_of(provider, model)) is not None:
            abilities = own.abilities if own.abilities is not None else abilities
            facts = replace(facts, max_output_tokens=own.max_output_tokens or facts.max_output_tokens)
        if abilities is not None and "thinking" not in abilities:
            facts = replace(facts, thinks_never=True)
        return facts

    def home(self, model: str) -> str | None:
        """Return the provider that an id belongs to by how it begins; None where no rule fits."""
        return _longest(self._rows.prefixes, model.lower())

    def home_by_form(self, model: str) -> str | None:
        """Return the provider whose ids alone have the form of this one; None where it has no such form."""
        name = model.lower()
        return next((form.provider for form in self._rows.forms if re.search(form.pattern, name)), None)

    def provider_of(self, model: str) -> str | None:
        """Return the provider that a model would be asked of if all were there; None where nothing places it.

        ``provider/model`` names it; else it is who serves just this id, then whose form it has, then by how it begins.
        """
        first, slash, rest = model.partition("/")
        if slash and rest and first.lower() in self._known_providers():
            return first.lower()
        key = _key(model)
        exact = next((provider for provider, listed in self._families if listed == key), None)
        return exact or self._listed_by(model) or self.home_by_form(model) or self.home(model)

    # By provider and id.

    def describe(self, provider: str, model: str) -> Model:
        """Return a model at a provider with all that is known of it."""
        key = (provider, model)
        found = self._described.get(key)
        if found is None:
            if len(self._described) >= MOST_REMEMBERED:
                self._described.clear()
            found = self._described[key] = self.complete(Model(id=model, provider=provider, owned_by=provider))
        return found

    def complete(self, model: Model) -> Model:
        """Return a model with what its provider left out; what the user says of it wins over the provider too."""
        provider, name = model.provider, _bare(model.id)
        listed = self._book.find(provider, model.id)
        context = self._context.get(f"{provider}/{model.id.lower()}") or (listed.model.context if listed else None)
        abilities = model.abilities or _longest(self._abilities, name)
        told = replace(
            model,
            display_name=model.display_name or (listed.model.name if listed else ""),
            max_input_tokens=model.max_input_tokens or context,
            max_output_tokens=model.max_output_tokens or self.facts(model.id).max_output_tokens,
            abilities=abilities,
            quality_rank=_longest(self._ranks, name),
            same_as=self.family(provider, model.id) or "",
        )
        if told.lifecycle == "active":
            if (end := self._end(provider, model.id)) is not None:
                told = replace(told, lifecycle=end[0], replaced_by=end[1])
            elif listed is not None and listed.own and listed.model.deprecated:
                told = replace(told, lifecycle="deprecated")
        own = self._own_of(provider, model.id)
        return told if own is None else replace(told, **_stated(own))

    def family(self, provider: str, model: str) -> str | None:
        """Return the name that a provider's model shares with the same model elsewhere; None where it is alone."""
        own = self._own_of(provider, model)
        return (own.same_as if own else None) or self._families.get((provider, _key(model)))

    def places(self, family: str) -> dict[str, str]:
        """Return where the model of a shared name is served: by provider, the id that it has there."""
        places = {provider: models[0] for provider, models in self._rows.same.get(family, {}).items()}
        return places | self._own_places.get(family, {})

    def elsewhere(self, provider: str, model: str) -> tuple[tuple[str, str], ...]:
        """Return where else the same model is served: providers, with the id that each has for it."""
        family = self.family(provider, model)
        if family is None:
            return ()
        places = self.places(family)
        places.pop(provider, None)
        return tuple(places.items())

    def successor(self, provider: str, model: str) -> str:
        """Return the model itself, or the one that took its place where the provider has retired it."""
        # The price list is left alone: it knows no successors, and this is asked of each provider at every start.
        lifecycle, successor = self._end(provider, model) or ("active", None)
        if (own := self._own_of(provider, model)) is not None:
            lifecycle, successor = own.lifecycle or lifecycle, own.replaced_by or successor
        return successor if lifecycle == "retired" and successor else model

    def _end(self, provider: str, model: str) -> tuple[Lifecycle, str | None] | None:
        """What becomes of a model that its provider switches off on a day that is known, and what takes its place."""
        retirement = self._rows.retired.get(provider, {}).get(model.lower())
        if retirement is None:
            return None
        today = datetime.fromtimestamp(self._clock.now(), UTC).date()
        return "retired" if today >= retirement.on else "deprecated", retirement.successor

    def _own_of(self, provider: str, model: str) -> ModelFile | None:
        if not self._own:
            return None
        name = model.lower()
        return self._own.get(f"{provider}/{name}") or self._own.get(name)

    def _known_providers(self) -> frozenset[str]:
        rows = self._rows
        return rows.local | {provider for provider, _ in self._families} | frozenset(self._book.providers())

    def _listed_by(self, model: str) -> str | None:
        """The provider of whose make a model is, if that one lists it."""
        return next((maker for maker in self._book.makers(model) if self._book.find(maker, model) is not None), None)


def _bare(model: str) -> str:
    """The name without what tells whose it is; Claude's versions as their maker writes them."""
    name = _VENDOR.sub("", model.lower())
    return name.replace(".", "-") if name.startswith("claude") else name


def _key(model: str) -> str:
    """The name under which a provider's ids are compared: no model is another by the region that is asked."""
    return _REGION_ALONE.sub("", model.lower())


def _longest(rules: Mapping[str, T], text: str) -> T | None:
    found = [prefix for prefix in rules if text.startswith(prefix)]
    return rules[max(found, key=len)] if found else None


def _stated(own: ModelFile) -> dict[str, object]:
    """What the user says, under the names of ``Model``'s fields."""
    names = (
        "display_name",
        "max_input_tokens",
        "max_output_tokens",
        "abilities",
        "quality_rank",
        "lifecycle",
        "replaced_by",
        "same_as",
    )
    return {name: value for name in names if (value := getattr(own, name)) is not None}


@cache
def _rows() -> _Rows:
    text = files("genai_spine.catalog").joinpath("models.toml").read_bytes()
    return msgspec.toml.decode(text, type=_Rows)


@cache
def _builtin() -> ModelCatalog:
    return ModelCatalog(PriceBook())


def get_provider_for_model(model: str) -> str | None:
    """The provider that a model's name belongs to; None where nothing tells; see ``ModelCatalog.provider_of``."""
    return ModelCatalog.builtin().provider_of(model)
