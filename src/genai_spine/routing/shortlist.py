"""Where a request may go at all: what it names, the same model elsewhere, and what else somebody allowed.

A shortlist depends on the request's names and the configuration alone, so it is made once for many requests.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, Protocol

from msgspec import Struct, structs

from genai_spine.errors import ModelNotFoundError, SpineError
from genai_spine.routing.candidates import Known, Resolved, resolve
from genai_spine.routing.options import Option, Traits
from genai_spine.routing.requirements import Dropped
from genai_spine.types.candidate import Candidate
from genai_spine.types.routing import Fallback

__all__ = ["Alias", "Directory", "Shortlist", "Target", "Tier", "shortlist"]


class Target(Struct, frozen=True):
    """One of the models that an alias stands for.

    Attributes:
        model: As a request would name it.
        weight: Its share of the requests; None where the alias is a list in order.
    """

    model: str
    weight: float | None = None


class Alias(Struct, frozen=True):
    """A name of the operator's own for one or several models."""

    name: str
    targets: tuple[Target, ...]

    @property
    def weighted(self) -> bool:
        """Whether requests are spread over the targets; else the first that can serves."""
        return any(target.weight is not None for target in self.targets)


class Directory(Known, Protocol):
    """What routing must be told of providers, models and the operator's wishes."""

    @property
    def version(self) -> int:
        """Grows with every change of what the other methods say."""
        ...

    def obstacle(self, name: str, model: str) -> str | None:
        """Why a model cannot be asked of a provider, for people to read; None where it can."""
        ...

    def alias(self, name: str) -> Alias | None:
        """The alias of a name; None if there is none."""
        ...

    def chain(self) -> Sequence[str]:
        """The providers of the operator's fallback chain; empty where he set none."""
        ...

    def named(self, model: str) -> Sequence[tuple[str, str]]:
        """The places of a model by the catalogue's own name for it, with their ids of it; empty where it has none."""
        ...

    def elsewhere(self, provider: str, model: str) -> Sequence[tuple[str, str]]:
        """The other places of a model: providers, the simulator not among them, with their own ids of it."""
        ...

    def traits(self, provider: str, model: str) -> Traits:
        """What is known of a model at a provider."""
        ...


class Tier(Struct, frozen=True):
    """Places of equal right; a later tier is asked only after all of an earlier one.

    Attributes:
        by: What puts them in order: the strategy, the order in which they stand, or their weights.
    """

    options: tuple[Option, ...]
    by: Literal["strategy", "order", "weight"] = "strategy"


class Shortlist(Struct, frozen=True):
    """Where a request may go.

    Attributes:
        named: It named a model itself: what is thought to be known of that one does not refuse the request.
        dropped: What was left out from the start, and why.
    """

    tiers: tuple[Tier, ...]
    named: bool
    dropped: tuple[Dropped, ...]


def shortlist(
    model: str | None, provider: str | None, fallback: Fallback, directory: Directory, *, chosen: bool = False
) -> Shortlist:
    """Return where a request may go.

    Args:
        model: As the request names it.
        provider: As the request names it.
        fallback: What the request says of other models.
        directory: What there is.
        chosen: The request names a strategy: that one then orders also what stands in order otherwise.

    Raises:
        SpineError: The provider is unknown, contradicts the model, or nobody serves the model.
    """
    making = _Making(directory)
    alias = directory.alias(model) if model is not None and provider is None else None
    if alias is not None:
        names = "alias"
        making.alias(alias, spread=chosen)
    else:
        names = making.request(model, provider, elsewhere=bool(fallback))
    if isinstance(fallback, tuple):
        making.listed(fallback)
    elif fallback or (fallback is None and names in {"model", "alias"}):
        making.chain(or_anybody=fallback is True)
    return making.done(named=names in {"place", "model"})


class _Making:
    """A shortlist in the making: tier by tier, no place twice."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._chain = list(directory.chain())
        self._tiers: list[Tier] = []
        self._seen: set[tuple[str, str]] = set()
        self._dropped: list[Dropped] = []
        # Those that would be the answer if there is no other: why they cannot be asked is then told.
        self._unusable: list[Option] = []

    def request(self, model: str | None, provider: str | None, *, elsewhere: bool) -> str:
        """Add what the request names, and the same model elsewhere; return what it named."""
        resolved = self._resolve(model, provider)
        options = [self._option(candidate) for candidate in resolved.candidates]
        if resolved.names == "place":
            # Asked first whatever the strategy, and even where it is not configured: that is then the answer.
            self._add(options, even_unusable=True)
            options = self._elsewhere(resolved.candidates) if elsewhere else []
        elif resolved.names == "model":
            options += self._elsewhere(resolved.candidates)
        else:
            options.sort(key=lambda option: option.link)
        self._add(options)
        return resolved.names

    def alias(self, alias: Alias, *, spread: bool) -> None:
        """Add an alias' targets: all in one tier, or one after another.

        Raises:
            SpineError: Nobody serves any of them.
        """
        groups = self._targets(alias, f"the alias {alias.name!r}")
        if alias.weighted or spread:
            self._add([option for group in groups for option in group], by="strategy" if spread else "weight")
        else:
            for group in groups:
                self._add(group)

    def listed(self, names: Iterable[str]) -> None:
        """Add the models, aliases and providers that a request allows, in its order.

        Raises:
            SpineError: One is unknown.
        """
        for name in names:
            reason = "the request's fallback"
            alias = self._directory.alias(name)
            try:
                if alias is not None:
                    options = [option for group in self._targets(alias, reason) for option in group]
                elif (place := self._directory.place(name)) is not None and place.default_model:
                    options = [self._option(Candidate(name, place.default_model, reason), same_model=False)]
                else:
                    options = self._target(name, reason)
            except SpineError as error:
                error.param = "fallback"
                raise
            self._add(structs.replace(option, same_model=False) for option in options)

    def chain(self, *, or_anybody: bool) -> None:
        """Add the members of the operator's chain; without one, everybody, where the request allows that."""
        options: list[Option] = []
        for name in self._chain:
            place = self._directory.place(name)
            if place is None or not place.default_model:
                self._drop(name, "", "no such provider" if place is None else "it has no default model")
                continue
            candidate = Candidate(name, place.default_model, "the fallback chain; its default model")
            options.append(self._option(candidate, same_model=False))
        if options or not or_anybody:
            self._add(options, by="order")
            return
        anybody = self._resolve(None, None).candidates
        reason = "the request allows any provider; its default model"
        self._add([self._option(Candidate(one.provider, one.model, reason), same_model=False) for one in anybody])

    def done(self, *, named: bool) -> Shortlist:
        """Return what was made."""
        if not self._tiers and self._unusable:
            self._tiers.append(Tier((self._unusable[0],)))
            first = self._unusable[0].candidate
            self._dropped = [one for one in self._dropped if (one.provider, one.model) != (first.provider, first.model)]
        return Shortlist(tuple(self._tiers), named, tuple(self._dropped))

    def _resolve(self, model: str | None, provider: str | None) -> Resolved:
        """By the rules; where these only guess at a model's place, the catalogue's names count before them."""
        try:
            resolved = resolve(model, provider, self._directory)
        except ModelNotFoundError:
            if named := self._named(model):
                return named
            raise
        if resolved.names != "model" or any(self._serves(one, model) for one in resolved.candidates):
            return resolved
        return self._named(model) or resolved

    def _serves(self, candidate: Candidate, model: str | None) -> bool:
        """Whether a place is known to serve a model; where the catalogue names its places, a price list is no proof."""
        if not self._directory.serves(candidate.provider, candidate.model):
            return False
        place = self._directory.place(candidate.provider)
        if place is not None and candidate.model in place.models:
            return True
        named = {provider for provider, _ in self._directory.named(model or "")}
        return not named or candidate.provider in named

    def _named(self, model: str | None) -> Resolved | None:
        places = self._directory.named(model) if model is not None else ()
        found = [Candidate(provider, own, f"the catalogue's {model!r}") for provider, own in places]
        usable = [one for one in found if (place := self._directory.place(one.provider)) is not None and place.usable]
        return Resolved(usable, "model") if usable else None

    def _targets(self, alias: Alias, reason: str) -> list[list[Option]]:
        """The places of each target of an alias; a target that nobody serves is left out while there are others."""
        groups: list[list[Option]] = []
        failed: SpineError | None = None
        for target in alias.targets:
            try:
                options = self._target(target.model, reason)
            except SpineError as error:
                failed = error
                self._drop("", target.model, error.message)
                continue
            groups.append(self._sharing(options, target.weight or 0.0) if alias.weighted else options)
        if not groups and failed is not None:
            raise failed
        return groups

    def _target(self, model: str, reason: str) -> list[Option]:
        """A model that somebody named in the request's place, and the same model elsewhere."""
        resolved = self._resolve(model, None)
        found = [Candidate(one.provider, one.model, reason) for one in resolved.candidates]
        options = [self._option(candidate) for candidate in found]
        return options + self._elsewhere(found) if resolved.names == "model" else options

    def _elsewhere(self, found: Sequence[Candidate]) -> list[Option]:
        return [
            self._option(Candidate(provider, model, f"the same model as {one.model!r}"))
            for one in found
            for provider, model in self._directory.elsewhere(one.provider, one.model)
        ]

    def _option(self, candidate: Candidate, *, same_model: bool = True) -> Option:
        place = self._directory.place(candidate.provider)
        chained = candidate.provider in self._chain
        return Option(
            candidate=candidate,
            traits=self._directory.traits(candidate.provider, candidate.model),
            local=place is not None and place.local,
            link=self._chain.index(candidate.provider) if chained else len(self._chain),
            same_model=same_model,
        )

    def _sharing(self, options: Sequence[Option], weight: float) -> list[Option]:
        """The places of one target, which share its weight as far as they can be used."""
        share = weight / max(1, sum(self._obstacle(option) is None for option in options))
        return [structs.replace(option, traits=structs.replace(option.traits, weight=share)) for option in options]

    def _obstacle(self, option: Option) -> str | None:
        return self._directory.obstacle(option.candidate.provider, option.candidate.model)

    def _add(
        self,
        options: Iterable[Option],
        by: Literal["strategy", "order", "weight"] = "strategy",
        *,
        even_unusable: bool = False,
    ) -> None:
        kept: list[Option] = []
        for option in options:
            candidate = option.candidate
            key = (candidate.provider, candidate.model)
            if key in self._seen:
                continue
            self._seen.add(key)
            obstacle = None if even_unusable else self._obstacle(option)
            if obstacle is None:
                kept.append(option)
            else:
                self._unusable.append(option)
                self._drop(*key, obstacle)
        if kept:
            self._tiers.append(Tier(tuple(kept), by))

    def _drop(self, provider: str, model: str, why: str) -> None:
        self._dropped.append(Dropped(provider, model, "unusable", why))
