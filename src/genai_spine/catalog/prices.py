"""What tokens cost: the prices that ship with the package, under the user's own.

The shipped prices are those of the genai-prices library, compiled to whole numbers; ``book.py`` reads them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from genai_spine.catalog.book import MOST_REMEMBERED, Found, PriceBook, Steps, Tariff, Variant
from genai_spine.catalog.models import ModelCatalog
from genai_spine.clock import Clock, SystemClock
from genai_spine.errors import ConfigurationError
from genai_spine.money import to_usd
from genai_spine.types.usage import CostByKind, Usage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from genai_spine.settings import ModelFile

__all__ = ["STAND_IN", "Cost", "Prices", "Rate", "estimate_cost_usd", "is_free_model", "own_rates"]

# A price of 1 USD per million tokens, in picodollars per token, is 10 to this power.
_PER_MILLION_PLACES: Final = 6
_NAMES: Final = ("input", "output", "cache_read", "cache_write", "cache_write_1h", "reasoning")


class Cost(Struct, frozen=True):
    """What one answer cost.

    Attributes:
        picodollars: The amount, in 1e-12 USD.
        known: By a price that is known, not by the stand-in.
        by_kind: The same by kind of token; None where whoever named the amount does not tell them apart.
    """

    picodollars: int
    known: bool
    by_kind: CostByKind | None = None

    @property
    def usd(self) -> Decimal:
        """The amount in US dollars, exactly."""
        return to_usd(self.picodollars)


class Rate(Struct, frozen=True, kw_only=True):
    """The prices of one model, in picodollars per ``per`` tokens; ``per_million`` makes one from US dollars.

    Attributes:
        input: Of what is read.
        output: Of what is written.
        cache_read: Of input served from the provider's cache; None where it costs what other input costs.
        cache_write: Of input written to it; None likewise.
        cache_write_1h: Of input kept there for an hour; None where it costs what any cache write costs.
        reasoning: Of output spent on thinking; None where it costs what other output costs.
        per: The number of tokens that the prices are for; over 1 where they are finer than a picodollar a token.
    """

    input: int
    output: int
    cache_read: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None
    reasoning: int | None = None
    per: int = 1

    @classmethod
    def per_million(
        cls,
        *,
        input: Decimal | str | int,  # noqa: A002 - the word that every price list has for it
        output: Decimal | str | int,
        cache_read: Decimal | str | int | None = None,
        cache_write: Decimal | str | int | None = None,
        cache_write_1h: Decimal | str | int | None = None,
        reasoning: Decimal | str | int | None = None,
    ) -> Rate:
        """The rate for prices in US dollars per million tokens, however many decimal places they have (up to 24).

        Raises:
            ConfigurationError: A price is no number, negative, or beyond reason.
        """
        stated = {
            "input": input,
            "output": output,
            "cache_read": cache_read,
            "cache_write": cache_write,
            "cache_write_1h": cache_write_1h,
            "reasoning": reasoning,
        }
        ratios = {name: _ratio(name, price) for name, price in stated.items() if price is not None}
        per = max(denominator for _, denominator in ratios.values())
        whole = {name: numerator * (per // denominator) for name, (numerator, denominator) in ratios.items()}
        return cls(
            input=whole["input"],
            output=whole["output"],
            cache_read=whole.get("cache_read"),
            cache_write=whole.get("cache_write"),
            cache_write_1h=whole.get("cache_write_1h"),
            reasoning=whole.get("reasoning"),
            per=per,
        )

    @property
    def usd_per_million(self) -> dict[str, Decimal]:
        """The prices that it states, in US dollars per million tokens, exactly."""
        stated = {name: getattr(self, name) for name in _NAMES}
        return {
            name: to_usd(rate * 10**_PER_MILLION_PLACES) / self.per for name, rate in stated.items() if rate is not None
        }

    @property
    def free(self) -> bool:
        """Whether it charges nothing for anything."""
        finer = (self.cache_read, self.cache_write, self.cache_write_1h, self.reasoning)
        return not (self.input or self.output or any(finer))

    def charge(self, usage: Usage) -> CostByKind:
        """The cost of the usage by kind of token; all of it together is rounded up to a whole picodollar.

        Parts that exceed their total, as a provider may report them, count as far as the total goes: cache reads first.
        """
        prompt = max(usage.input_tokens, 0)
        answer = max(usage.output_tokens, 0)
        read = write = 0
        if usage.cache_read_tokens:
            tokens = _part(usage.cache_read_tokens, prompt)
            prompt -= tokens
            read = tokens * (self.input if self.cache_read is None else self.cache_read)
        if usage.cache_write_tokens or usage.cache_write_1h_tokens:
            written = usage.cache_write_1h_tokens if usage.cache_write_tokens is None else usage.cache_write_tokens
            tokens = _part(written, prompt)
            prompt -= tokens
            write = self._of_writes(tokens, usage.cache_write_1h_tokens)
        output = answer * self.output
        if self.reasoning is not None and usage.reasoning_tokens:
            output += _part(usage.reasoning_tokens, answer) * (self.reasoning - self.output)
        if self.per == 1:
            return CostByKind(prompt * self.input, output, read, write)
        return CostByKind(*_whole((prompt * self.input, output, read, write), self.per))

    def _of_writes(self, tokens: int, kept_1h: int | None) -> int:
        """What it costs to write tokens to the cache, some of which are kept there for an hour."""
        rate = self.input if self.cache_write is None else self.cache_write
        amount = tokens * rate
        if self.cache_write_1h is not None:
            amount += _part(kept_1h, tokens) * (self.cache_write_1h - rate)
        return amount


def _part(tokens: int | None, total: int) -> int:
    return min(tokens, total) if tokens and tokens > 0 else 0


def _whole(amounts: tuple[int, ...], per: int) -> Iterator[int]:
    """Amounts as whole numbers of ``per``: what is rounded is their sum, up, and none is off by one or more."""
    exact = told = 0
    for amount in amounts:
        exact += amount
        yield -(-exact // per) - told
        told = -(-exact // per)


def _ratio(name: str, usd_per_million: Decimal | str | int) -> tuple[int, int]:
    """The price as picodollars per so many tokens, the latter a power of ten."""
    try:
        price = Decimal(usd_per_million)
    except ArithmeticError:  # what decimal raises for a text that is no number
        price = Decimal("NaN")
    most_places = 24
    _, digits, exponent = price.as_tuple()
    if not isinstance(exponent, int) or price < 0 or price.adjusted() >= most_places or -exponent > most_places:
        message = f"{usd_per_million!r} is not a price for {name}; write US dollars per million tokens, such as 0.15"
        raise ConfigurationError(message)
    places = exponent + _PER_MILLION_PLACES
    numerator = int("".join(map(str, digits)))
    return (numerator * 10**places, 1) if places >= 0 else (numerator, 10**-places)


STAND_IN: Final = Rate.per_million(input="0.05", output="0.08")
"""What a model costs whose price is not known."""


# --- From rows to rates -----------------------------------------------------------------------------------------------


class _Step(Struct, frozen=True):
    above: int
    rate: Rate


class _Period(Struct, frozen=True):
    """A tariff made ready: its rates by length of prompt, the longest first; none where it has no price per token."""

    tariff: Tariff
    steps: tuple[_Step, ...]

    def rate(self, input_tokens: int) -> Rate | None:
        for step in self.steps:
            if input_tokens > step.above:
                return step.rate
        return None


class _Entry(Struct, frozen=True):
    """What is remembered of a model: its periods, the last that holds being the one that counts."""

    found: Found
    periods: tuple[_Period, ...]
    timeless: bool

    def period(self, at: datetime) -> _Period:
        for period in reversed(self.periods):
            if period.tariff.holds(at):
                return period
        return self.periods[0]


def _entry(found: Found) -> _Entry:
    periods = tuple(_period(tariff, found.model.per) for tariff in found.model.prices)
    timeless = all(tariff.since is None and tariff.between is None for tariff in found.model.prices)
    return _Entry(found, periods, timeless)


def _stated(tariff: Tariff) -> dict[str, Steps]:
    return {name: steps for name in _NAMES if (steps := getattr(tariff, name)) is not None}


def _period(tariff: Tariff, per: int, variants: tuple[Variant, ...] = ()) -> _Period:
    """The tariff with the variants' prices over its own, the first variant's before the next one's."""
    stated = _stated(tariff)
    for variant in reversed(variants):
        stated |= _stated(variant)
    if "input" not in stated and "output" not in stated:
        return _Period(tariff, ())
    borders = {above for steps in stated.values() if not isinstance(steps, int) for above in steps[1::2]}
    # A prompt of no tokens at all still has a price: that of the first step.
    steps = (_Step(above, _rate(stated, above, per)) for above in (*sorted(borders, reverse=True), -1))
    return _Period(tariff, tuple(steps))


def _rate(stated: Mapping[str, Steps], above: int, per: int) -> Rate:
    """The rate of prompts just longer than a border."""
    flat = {name: _at(steps, above) for name, steps in stated.items()}
    return Rate(
        input=flat.get("input", 0),
        output=flat.get("output", 0),
        cache_read=flat.get("cache_read"),
        cache_write=flat.get("cache_write"),
        cache_write_1h=flat.get("cache_write_1h"),
        reasoning=flat.get("reasoning"),
        per=per,
    )


def _at(steps: Steps, above: int) -> int:
    if isinstance(steps, int):
        return steps
    rate = steps[0]
    for border, tier in zip(steps[1::2], steps[2::2], strict=True):
        if above >= border:
            rate = tier
    return rate


# --- The front --------------------------------------------------------------------------------------------------------


class Prices:
    """What models cost at their providers.

    Args:
        book: The prices of which the others are exceptions.
        overrides: The user's own rates by ``provider/model``, or by the model at whatever provider, in any case.
        stand_in: The rate of a model whose price is not known.
        catalog: Tells whose a model is, and which providers run on the user's own machines: those cost nothing.
        clock: Tells the time for prices that change with it.
    """

    def __init__(
        self,
        book: PriceBook,
        *,
        overrides: Mapping[str, Rate] | None = None,
        stand_in: Rate = STAND_IN,
        catalog: ModelCatalog | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._book = book
        self._overrides = {name.lower(): rate for name, rate in (overrides or {}).items()}
        self._stand_in = stand_in
        self._catalog = catalog or ModelCatalog.builtin()
        self._clock = clock or SystemClock()
        self._entries: dict[tuple[str, str], _Entry | None] = {}
        # Rates that are the same at any time for prompts of any length, and whether their providers are local.
        self._flat: dict[tuple[str, str, bool], Rate] = {}

    @classmethod
    def builtin(cls) -> Prices:
        """The shipped prices and nothing else; the same object each time."""
        return _builtin()

    def cost(
        self,
        provider: str,
        model: str,
        usage: Usage,
        at: datetime | None = None,
        *,
        context: Mapping[str, str] | None = None,
        local: bool = False,
    ) -> Cost:
        """What the usage costs; never raises, whatever a provider reported.

        Args:
            provider: The name of the provider that served.
            model: The model as the provider was asked for it.
            usage: The tokens.
            at: When, in UTC unless it says otherwise; None for now.
            context: What else sets the price, as genai-prices names it: ``service_tier``, ``processing``, ``speed``.
            local: The provider runs on the user's own machines, whether the catalogue knows it or not.
        """
        rate = self.rate(provider, model, at, input_tokens=usage.input_tokens, context=context, local=local)
        charged = (rate or self._stand_in).charge(usage)
        return Cost(charged.total, known=rate is not None, by_kind=charged)

    def picodollars(
        self, provider: str, model: str, input_tokens: int, output_tokens: int, *, local: bool = False
    ) -> int:
        """What so many tokens cost now, not below 0 and none cached: the amount of ``cost``, for less work."""
        rate = self._flat.get((provider, model, local))
        if rate is None:
            rate = self.rate(provider, model, input_tokens=input_tokens, local=local) or self._stand_in
        amount = input_tokens * rate.input + output_tokens * rate.output
        return amount if rate.per == 1 else -(-amount // rate.per)

    def rate(
        self,
        provider: str,
        model: str,
        at: datetime | None = None,
        *,
        input_tokens: int = 0,
        context: Mapping[str, str] | None = None,
        local: bool = False,
    ) -> Rate | None:
        """The rate for a prompt of that length at that time; None if it is not known; arguments as for ``cost``."""
        if not context and (flat := self._flat.get((provider, model, local))) is not None:
            return flat
        if self._overrides and (own := self._own(provider, model.lower())) is not None:
            return self._keep(provider, model, local, own)
        if local or provider in self._catalog.local:
            return self._keep(provider, model, local, _NOTHING)
        entry = self._entry(provider, model)
        if entry is None:
            return None
        if entry.timeless and not context:
            period = entry.periods[0]
            rate = period.rate(max(input_tokens, 0))
            return rate if rate is None or len(period.steps) > 1 else self._keep(provider, model, local, rate)
        moment = self._moment(at)
        period = entry.period(moment)
        if context and entry.found.own:
            fitting = tuple(
                variant
                for variant in entry.found.model.variants
                if variant.holds(moment) and variant.when.items() <= context.items()
            )
            period = _period(period.tariff, entry.found.model.per, fitting)
        return period.rate(max(input_tokens, 0))

    @property
    def source(self) -> str:
        """Where the price list comes from, with its version."""
        return self._book.source

    def models(self, provider: str) -> tuple[str, ...]:
        """The ids of the models for which the price list has prices of the provider's own; empty if it has none."""
        return self._book.models(provider)

    def rate_of(self, model_id: str, input_tokens: int = 0) -> Rate | None:
        """The rate of a model by its name alone, at whoever the name says makes it; None if it is not known.

        A name of the form ``provider/model`` is priced at that provider. A model that no maker claims is priced at the
        first provider that lists it.
        """
        rates = (self.rate(*guess, input_tokens=input_tokens) for guess in self._guesses(model_id))
        return next((rate for rate in rates if rate is not None), None)

    def estimate_cost_usd(self, model_id: str, input_tokens: int, output_tokens: int) -> Decimal:
        """The cost in US dollars of so many tokens, by ``rate_of``, or else by the stand-in."""
        return self.estimate(model_id, input_tokens, output_tokens).usd

    def estimate(self, model_id: str, input_tokens: int, output_tokens: int) -> Cost:
        """The same, with whether the price is known."""
        usage = Usage(input_tokens=input_tokens, output_tokens=output_tokens)
        rate = self.rate_of(model_id, input_tokens)
        charged = (rate or self._stand_in).charge(usage)
        return Cost(charged.total, known=rate is not None, by_kind=charged)

    def is_free(self, model_id: str) -> bool:
        """Whether a model is known to cost nothing, however much it reads and writes."""
        rate = self.rate_of(model_id)
        return rate is not None and rate.free

    def _guesses(self, model_id: str) -> Iterator[tuple[str, str]]:
        """Where a model may have its price, the likeliest first; on the user's own machines if nobody else lists it."""
        first, slash, rest = model_id.partition("/")
        if slash:
            yield first, rest
        form = self._catalog.home_by_form(model_id)
        if form is not None and form not in self._catalog.local:
            yield form, model_id
        for maker in self._book.makers(model_id):
            yield maker, model_id
        name = model_id.lower()
        for override in self._overrides:
            provider, slash, model = override.partition("/")
            if override == name or (slash and model == name):
                yield provider, name
        for provider in self._book.providers():
            yield provider, model_id
        if form is not None:
            yield form, model_id

    def _own(self, provider: str, name: str) -> Rate | None:
        own = self._overrides.get(f"{provider}/{name}")
        return self._overrides.get(name) if own is None else own

    def _keep(self, provider: str, model: str, local: bool, rate: Rate) -> Rate:  # noqa: FBT001  # a part of the key
        if len(self._flat) >= MOST_REMEMBERED:
            self._flat.clear()
        self._flat[provider, model, local] = rate
        return rate

    def _moment(self, at: datetime | None) -> datetime:
        if at is None:
            return datetime.fromtimestamp(self._clock.now(), UTC)
        return at if at.tzinfo is None else at.astimezone(UTC)

    def _entry(self, provider: str, model: str) -> _Entry | None:
        key = (provider, model)
        try:
            return self._entries[key]
        except KeyError:
            if len(self._entries) >= MOST_REMEMBERED:
                self._entries.clear()
            found = self._book.find(provider, model)
            entry = self._entries[key] = None if found is None else _entry(found)
            return entry


_NOTHING: Final = Rate(input=0, output=0)


@cache
def _builtin() -> Prices:
    return Prices(PriceBook())


def own_rates(models: Mapping[str, ModelFile]) -> dict[str, Rate]:
    """The prices that the user's file states, by the names of its tables.

    Raises:
        ConfigurationError: A price is beyond reason.
    """
    rates = {}
    for name, own in models.items():
        if own.input is None or own.output is None:
            continue
        try:
            rates[name] = Rate.per_million(
                input=own.input,
                output=own.output,
                cache_read=own.cache_read,
                cache_write=own.cache_write,
                cache_write_1h=own.cache_write_1h,
                reasoning=own.reasoning,
            )
        except ConfigurationError as error:
            message = f'models."{name}": {error.message}'
            raise ConfigurationError(message) from error
    return rates


def is_free_model(model: str) -> bool:
    """Whether a model is known to cost nothing, by the shipped prices; see ``Prices.is_free``."""
    return Prices.builtin().is_free(model)


def estimate_cost_usd(model_id: str, input_tokens: int, output_tokens: int) -> Decimal:
    """The cost in US dollars by the shipped prices; see ``Prices.estimate_cost_usd``."""
    return Prices.builtin().estimate_cost_usd(model_id, input_tokens, output_tokens)
