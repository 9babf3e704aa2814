"""From what a request names and needs to the order in which places are asked: shortlist, filter, order.

What follows from names and configuration is remembered; what is left to do for each request is little.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal

from msgspec import Struct, structs

from genai_spine.errors import UnavailableError
from genai_spine.routing.allowed import allowed
from genai_spine.routing.base import Snapshot, Strategy, View
from genai_spine.routing.options import Needs, Option
from genai_spine.routing.registry import Strategies
from genai_spine.routing.requirements import Dropped, Filter, nobody_fits, obstacle, too_dear
from genai_spine.routing.shortlist import Directory, Shortlist, Tier, shortlist
from genai_spine.types.candidate import Candidate
from genai_spine.types.principal import Allowance
from genai_spine.types.routing import Fallback

__all__ = ["UNKNOWN", "Ask", "Considered", "Explanation", "Plan", "Router"]

# Callers choose the names, so what is remembered of them must have an end.
MOST_REMEMBERED: Final = 4096
LONGEST_REMEMBERED: Final = 1024
NO_NEEDS: Final = Needs()
UNKNOWN: Final = 1 << 40
"""Tokens of an input that nobody has looked at yet: more than any model reads."""
_HEALTHY: Final = frozenset[str]()


class Ask(Struct, frozen=True, kw_only=True):
    """What a request says of where it wants to go.

    Attributes:
        strategy: The strategy that it names, if any.
        hint: The hint that it gives, if any.
        fallback: What it says of other models.
        preferred: Providers to be asked first, in this order, where they are candidates.
        needs: What it needs.
        allowance: The providers and models that its caller may use; None is all of them.
        weigh: Estimates its input closely, where that matters; then ``needs`` may guess at it, rather too high.
        light: It is a short text, at whose input ``needs`` guesses well enough.
    """

    model: str | None = None
    provider: str | None = None
    strategy: str | None = None
    hint: str | None = None
    fallback: Fallback = None
    preferred: tuple[str, ...] = ()
    needs: Needs = NO_NEEDS
    allowance: Allowance | None = None
    weigh: Callable[[], int] | None = None
    light: bool = False

    @property
    def tokens(self) -> int:
        """A guess of its input: quickly made, rather too high, and close only where that would be far off."""
        needs = self.needs.input_tokens
        return self.weigh() if needs >= UNKNOWN and self.weigh is not None else needs


class Plan(Struct, frozen=True):
    """Where a request goes, best first; never nowhere."""

    strategy: str
    options: tuple[Option, ...]

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """The places alone."""
        return tuple(option.candidate for option in self.options)


class Considered(Struct, frozen=True, kw_only=True):
    """A candidate of a plan, with all that it was judged by.

    Attributes:
        same_model: It serves the model that was named, no other in its place.
        cost: What the request would cost there, in picodollars; None where the price is not known.
        seconds: How long its answer would take.
        trouble: Why it comes last: it cannot be used now.
    """

    candidate: Candidate
    same_model: bool
    local: bool
    rank: int | None
    cost: int | None
    seconds: float
    in_flight: int
    trouble: str | None


class Explanation(Struct, frozen=True):
    """A plan, and how it came about.

    Attributes:
        chosen_by: Who chose the strategy.
    """

    strategy: str
    chosen_by: Literal["request", "hint", "configuration"]
    considered: tuple[Considered, ...]
    dropped: tuple[Dropped, ...]


class _Entry:
    """What is remembered of a request's names."""

    __slots__ = ("_ill", "_parted", "filters", "fixed", "shortlist", "single", "turn")

    def __init__(self, made: Shortlist) -> None:
        self.shortlist = made
        self.filters = tuple(Filter(tier.options) for tier in made.tiers)
        # There is nothing to choose.
        self.single = sum(len(tier.options) for tier in made.tiers) == 1
        self.turn = 0
        self.fixed: dict[Strategy, tuple[frozenset[str], Plan]] = {}
        self._ill: frozenset[str] = frozenset()
        self._parted: tuple[Sequence[Tier], Sequence[Tier]] = (made.tiers, ())

    def parted(self, tiers: Sequence[Tier], ill: frozenset[str]) -> tuple[Sequence[Tier], Sequence[Tier]]:
        """Return tiers without the places that are ill, and those places, tier by tier."""
        if not ill:
            return tiers, ()
        if tiers is not self.shortlist.tiers:
            return _parted(tiers, ill)
        if ill is not self._ill:
            self._ill, self._parted = ill, _parted(tiers, ill)
        return self._parted


class Router:
    """Makes plans."""

    def __init__(self, directory: Directory, strategies: Strategies, default: str = "local_first") -> None:
        """Make a router.

        Args:
            directory: What there is.
            strategies: How to order it.
            default: The strategy where a request names none and gives no hint.

        Raises:
            InvalidFieldError: There is no such strategy.
        """
        strategies.get(default)
        self._directory = directory
        self._strategies = strategies
        self._default = default
        self._entries: dict[tuple[str | None, str | None, Fallback, bool], _Entry] = {}
        self._version: tuple[int, int] | None = None

    def plan(self, ask: Ask, snapshot: Snapshot) -> Plan:
        """Return where a request goes.

        Raises:
            SpineError: Nobody can serve it, or it names what there is not.
        """
        strategy = self._strategy(ask)
        entry = self._entry(ask)
        needs = _weighed(ask, entry, strategy)
        tiers = _fitting(entry, needs)
        if ask.allowance is not None:
            tiers = allowed(tiers, ask.allowance, named=entry.shortlist.named)
        # For requests that everybody can serve an order is found once, if the strategy is fixed or there is but one.
        lasting = tiers is entry.shortlist.tiers and (entry.single or (strategy.fixed and not ask.preferred))
        ill = _HEALTHY if entry.single else snapshot.ill
        if lasting and (known := entry.fixed.get(strategy)) is not None and known[0] is ill:
            return known[1]
        view = View(needs, snapshot, entry.turn)
        entry.turn += 1
        plan = Plan(strategy.name, tuple(self._ordered(entry.parted(tiers, ill), strategy, ask, view)))
        if lasting and all(tier.by != "weight" for tier in tiers):
            entry.fixed[strategy] = (ill, plan)
        return plan

    def explain(self, ask: Ask, snapshot: Snapshot) -> Explanation:
        """Return the plan that a request would get, with the reasons; raises as ``plan`` does, and takes no turn."""
        strategy = self._strategy(ask)
        entry = self._entry(ask)
        needs = ask.needs if ask.weigh is None else structs.replace(ask.needs, input_tokens=ask.weigh())
        view = View(needs, snapshot, entry.turn)
        tiers = _fitting(entry, needs)
        if ask.allowance is not None:
            tiers = allowed(tiers, ask.allowance, named=entry.shortlist.named)
        options = self._ordered(entry.parted(tiers, snapshot.ill), strategy, ask, view)
        left = {option.name for option in options}
        out = [option for tier in entry.shortlist.tiers for option in tier.options if option.name not in left]
        names = [option.name for option in options]
        measured = zip(options, snapshot.seconds(names, needs.output_tokens), snapshot.loads(names), strict=True)
        return Explanation(
            strategy.name,
            "request" if ask.strategy is not None else "hint" if ask.hint is not None else "configuration",
            tuple(
                _considered(option, needs, seconds, load, _trouble(option, snapshot.troubles))
                for option, seconds, load in measured
            ),
            (*entry.shortlist.dropped, *(obstacle(option, needs) or _forbidden(option, ask) for option in out)),
        )

    def _strategy(self, ask: Ask) -> Strategy:
        if ask.hint is not None:
            # Looked up even where it does not count: what nobody knows is refused all the same.
            hinted = self._strategies.hinted(ask.hint)
            return hinted if ask.strategy is None else self._strategies.get(ask.strategy)
        return self._strategies.get(self._default if ask.strategy is None else ask.strategy)

    def _entry(self, ask: Ask) -> _Entry:
        version = (self._directory.version, self._strategies.version)
        if version != self._version or len(self._entries) > MOST_REMEMBERED:
            self._entries.clear()
            self._version = version
        chosen = ask.strategy is not None or ask.hint is not None
        key = (ask.model, ask.provider, ask.fallback, chosen)
        entry = self._entries.get(key)
        if entry is None:
            made = shortlist(ask.model, ask.provider, ask.fallback, self._directory, chosen=chosen)
            if not made.tiers:
                message = "no provider is configured; set a key, for instance OPENAI_API_KEY"
                raise UnavailableError(message)
            entry = _Entry(made)
            if _length(ask) <= LONGEST_REMEMBERED:
                self._entries[key] = entry
        return entry

    def _ordered(
        self, parted: tuple[Sequence[Tier], Sequence[Tier]], strategy: Strategy, ask: Ask, view: View
    ) -> list[Option]:
        """All that is left, in its order; what is ill comes last, for it may be well by then."""
        found: list[Option] = []
        # Apart, so that turns and shares are those of the places that can be used.
        for tiers in parted:
            for tier in tiers:
                found += _arranged(tier.options, self._judge(tier, strategy), ask.preferred, view)
        return found[:1] if ask.fallback is False else found

    def _judge(self, tier: Tier, strategy: Strategy) -> Strategy | None:
        if tier.by == "strategy":
            return strategy
        return self._strategies.get("weighted") if tier.by == "weight" else None


def _length(ask: Ask) -> int:
    """The characters of a request's names."""
    others = ask.fallback if isinstance(ask.fallback, tuple) else ()
    return sum(map(len, (ask.model or "", ask.provider or "", *others)))


def _weighed(ask: Ask, entry: _Entry, strategy: Strategy) -> Needs:
    """What a request needs, its input estimated closely if that makes a difference."""
    needs = ask.needs
    if ask.weigh is None:
        return needs
    # The only place of a model that was named is asked whatever is thought to be known of its context.
    chosen = entry.single and entry.shortlist.named
    tight = not chosen and any(one.is_tight(needs) for one in entry.filters)
    if not tight and needs.max_cost is None and (entry.single or not strategy.weighs):
        return needs
    return structs.replace(needs, input_tokens=ask.weigh())


def _fitting(entry: _Entry, needs: Needs) -> tuple[Tier, ...]:
    """The tiers without the places that cannot serve the request; the very same where all can.

    Where the request named a model and nobody would be left, only its price refuses it: the provider knows better than
    the catalogue what its model can do.

    Raises:
        SpineError: Nobody is left.
    """
    tiers = entry.shortlist.tiers
    fitting = [one.fitting(needs) for one in entry.filters]
    if all(len(options) == len(tier.options) for tier, options in zip(tiers, fitting, strict=True)):
        return tiers
    if not any(fitting):
        refused = [obstacle(option, needs) for tier in tiers for option in tier.options]
        if entry.shortlist.named:
            fitting = [[one for one in tier.options if not too_dear(one, needs)] for tier in tiers]
        if not any(fitting):
            raise nobody_fits([why for why in refused if why is not None])
    return tuple(Tier(tuple(options), tier.by) for tier, options in zip(tiers, fitting, strict=True) if options)


def _parted(tiers: Sequence[Tier], ill: frozenset[str]) -> tuple[Sequence[Tier], Sequence[Tier]]:
    """Return tiers without the places that are ill, and those places, tier by tier."""
    well: list[Tier] = []
    late: list[Tier] = []
    for tier in tiers:
        names = {one.name for one in tier.options if one.candidate.provider in ill or one.name in ill}
        well.append(Tier(tuple(one for one in tier.options if one.name not in names), tier.by))
        late.append(Tier(tuple(one for one in tier.options if one.name in names), tier.by))
    return well, late


def _arranged(
    options: Sequence[Option], judge: Strategy | None, preferred: tuple[str, ...], view: View
) -> Sequence[Option]:
    """Some places in a strategy's order, but those of the preferred providers first, in the order of these."""
    if len(options) < 2:
        return options
    if judge is not None:
        options = judge.order(options, view)
    if preferred:
        places = {provider: place for place, provider in reversed([*enumerate(preferred)])}
        options = sorted(options, key=lambda option: places.get(option.candidate.provider, len(preferred)))
    return options


def _trouble(option: Option, troubles: Mapping[str, str]) -> str | None:
    return troubles.get(option.candidate.provider) or troubles.get(option.name)


def _forbidden(option: Option, ask: Ask) -> Dropped:
    candidate = option.candidate
    barred = ask.allowance is not None and not ask.allowance.allows(candidate.provider, candidate.model)
    why = "the API key may not use it" if barred else "the request forbids to move on"
    return Dropped(candidate.provider, candidate.model, "forbidden", why)


def _considered(option: Option, needs: Needs, seconds: float, load: int, trouble: str | None) -> Considered:
    return Considered(
        candidate=option.candidate,
        same_model=option.same_model,
        local=option.local,
        rank=option.traits.rank,
        cost=option.traits.cost(needs.input_tokens, needs.output_tokens),
        seconds=seconds,
        in_flight=load,
        trouble=trouble,
    )
