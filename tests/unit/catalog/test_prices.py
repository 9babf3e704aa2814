"""Costs are those of the genai-prices library to the last digit; the user's own prices and the rules come over them."""

from __future__ import annotations

import runpy
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import ROUND_CEILING, Decimal
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import genai_prices
import pytest
from genai_prices import types as library
from genai_prices.data_snapshot import get_snapshot
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import astuple, replace

from genai_spine.catalog.book import SHIPPED, PriceBook
from genai_spine.catalog.compiling import PROVIDERS as THEIRS
from genai_spine.catalog.prices import STAND_IN, Cost, Prices, Rate, estimate_cost_usd
from genai_spine.errors import ConfigurationError
from genai_spine.money import picodollars_from
from genai_spine.types.usage import CostByKind, Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

COMPILER = runpy.run_path(str(Path(__file__).parents[3] / "tools" / "compile_prices.py"))
shipped_files: Callable[[], dict[str, str]] = COMPILER["shipped_files"]

PICODOLLAR = Decimal("1e-12")
NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
MOMENTS = (datetime(2024, 1, 1, tzinfo=UTC), datetime(2026, 3, 1, 3, 30, tzinfo=UTC), NOW, NOW.replace(hour=7))
USAGES = (
    Usage(input_tokens=1_000, output_tokens=500),
    Usage(
        input_tokens=1_000_003,
        output_tokens=7_001,
        cache_read_tokens=101_009,
        cache_write_tokens=60_013,
        cache_write_1h_tokens=20_011,
        reasoning_tokens=3_001,
    ),
)


def provider_of(name: str) -> library.Provider:
    """The library's row of one of our providers."""
    return next(provider for provider in get_snapshot().providers if provider.id == THEIRS[name])


def texts_of(clause: library.MatchLogic) -> Iterator[str]:
    """The texts that a clause looks for, some of which it may itself refuse."""
    if isinstance(clause, library.ClauseOr):
        parts = clause.or_
    elif isinstance(clause, library.ClauseAnd):
        parts = clause.and_
    else:
        if not isinstance(clause, library.ClauseRegex):
            yield next(iter(vars(clause).values()))
        return
    for part in parts:
        yield from texts_of(part)


@cache
def names_of(provider: str) -> tuple[str, ...]:
    """Every model name that the library's data mentions for a provider, and for those whose models it offers too."""
    row = provider_of(provider)
    others = [other for other in get_snapshot().providers if other.id in (row.fallback_model_providers or ())]
    models = [model for holder in (row, *others) for model in holder.models]
    return tuple(sorted({name for model in models for name in (model.id, *texts_of(model.match))}))


def oracle(
    provider: str, model: str, usage: Usage, at: datetime, context: Mapping[str, str] | None = None
) -> Cost | None:
    """What the library says; None where it knows no price per token."""
    parts = {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_read_tokens": usage.cache_read_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "cache_write_1h_tokens": usage.cache_write_1h_tokens,
        "output_reasoning_tokens": usage.reasoning_tokens,
    }
    try:
        answer = genai_prices.calc_price(
            genai_prices.Usage(**parts),
            model,
            provider_id=THEIRS[provider],
            genai_request_timestamp=at,
            price_context=context,
        )
    except LookupError:
        return None
    stated = {key for key, value in vars(answer.model_price).items() if value is not None}
    free = not stated and answer.model.id.endswith(":free")
    if not free and not stated & {"input_mtok", "output_mtok"}:
        return None
    return Cost(picodollars_from(answer.total_price.quantize(PICODOLLAR, ROUND_CEILING)), known=True)


def whole(cost: Cost) -> Cost:
    """The cost as it is told who does not ask for its kinds."""
    return replace(cost, by_kind=None)


def known(cost: Cost) -> Cost | None:
    """The cost, unless it is a guess."""
    return whole(cost) if cost.known else None


@pytest.mark.parametrize("provider", THEIRS)
def test_costs_equal_the_librarys(provider: str) -> None:
    """Every name of every model costs, at several moments and usages, exactly what the library says, or is unknown."""
    prices = Prices.builtin()
    names = names_of(provider)
    differing = [
        (name, at, usage)
        for name in names
        for at in MOMENTS
        for usage in USAGES
        if oracle(provider, name, usage, at) != known(prices.cost(provider, name, usage, at))
    ]

    assert names
    assert not differing


@pytest.mark.parametrize("provider", THEIRS)
def test_costs_in_context_equal_the_librarys(provider: str) -> None:
    """A service tier or a batch is charged at its own price, where the provider itself has one."""
    prices = Prices.builtin()
    contexts: list[dict[str, str]] = [
        {"service_tier": "priority", "other": "thing"},
        {"service_tier": "flex"},
        {"processing": "batch"},
        {"processing": "batch", "service_tier": "flex"},
        {"speed": "fast"},
    ]
    differing = [
        (name, context)
        for name in names_of(provider)
        for context in contexts
        if oracle(provider, name, USAGES[1], NOW, context)
        != known(prices.cost(provider, name, USAGES[1], NOW, context=context))
    ]

    assert not differing


def tiered_and_timed() -> list[tuple[str, str, tuple[int, ...], tuple[datetime, ...]]]:
    """Models whose price has borders, with the lengths and the moments of these."""
    found = []
    for provider in THEIRS:
        for model in provider_of(provider).models:
            rows = model.prices if isinstance(model.prices, list) else [library.ConditionalPrice(prices=model.prices)]
            lengths = {
                tier.start
                for row in rows
                for value in vars(row.prices).values()
                if isinstance(value, library.TieredPrices)
                for tier in value.tiers
            }
            moments: set[datetime] = set()
            for row in rows:
                if isinstance(row.constraint, library.StartDateConstraint):
                    moments.add(datetime.combine(row.constraint.start_date, time(), UTC))
                elif isinstance(row.constraint, library.TimeOfDateConstraint):
                    for hour in (row.constraint.start_time, row.constraint.end_time):
                        moments.add(datetime.combine(date(2026, 12, 1), hour))
            if lengths or moments:
                found.append((provider, model.id, tuple(sorted(lengths)), tuple(sorted(moments))))
    return found


BORDERED = tiered_and_timed()


@pytest.mark.parametrize("provider", THEIRS)
def test_every_border_is_the_librarys(provider: str) -> None:
    """Just before, on and after each border of each model, in length and in time, the library agrees."""
    prices = Prices.builtin()
    shapes = [
        (model, Usage(input_tokens=length + off, output_tokens=9), moment + timedelta(microseconds=off))
        for name, model, lengths, moments in BORDERED
        if name == provider
        for length in lengths or (1_000,)
        for moment in moments or (NOW,)
        for off in (-1, 0, 1)
    ]
    differing = [shape for shape in shapes if oracle(provider, *shape) != known(prices.cost(provider, *shape))]

    assert not differing


@settings(max_examples=300)
@given(st.data())
def test_costs_at_borders_equal_the_librarys(data: st.DataObject) -> None:
    """Just before, on and after a border of length or time, for any partition of the tokens, the library agrees."""
    provider, model, lengths, moments = data.draw(st.sampled_from(BORDERED))
    near_border = st.builds(lambda border, off: border + off, st.sampled_from(lengths or (1,)), st.integers(-1, 1))
    tokens = data.draw(near_border | st.integers(0, 3_000_000))
    at = data.draw(st.sampled_from(moments or (NOW,))) + timedelta(microseconds=data.draw(st.integers(-1, 1)))
    read = data.draw(st.integers(0, tokens))
    write = data.draw(st.integers(0, tokens - read))
    output = data.draw(st.integers(0, 1_000_000))
    usage = Usage(
        input_tokens=tokens,
        output_tokens=output,
        cache_read_tokens=read,
        cache_write_tokens=write,
        cache_write_1h_tokens=data.draw(st.integers(0, write)),
        reasoning_tokens=data.draw(st.integers(0, output)),
    )

    assert oracle(provider, model, usage, at) == known(Prices.builtin().cost(provider, model, usage, at))


def test_shipped_files_are_what_the_compiler_makes() -> None:
    """The files in the package are those that the compiler makes of the installed library, none more, none less."""
    shipped = {path.name: path.read_text(encoding="utf-8") for path in SHIPPED.iterdir()}

    assert shipped_files() == shipped


def test_the_book_tells_its_source() -> None:
    """The book names the library and the version that its prices come from."""
    assert f"genai-prices {genai_prices.__version__}" == PriceBook().source


@pytest.mark.parametrize(
    ("provider", "model", "input_price", "output_price"),
    [
        ("openai", "gpt-4o", "2.5", "10"),
        ("openai", "gpt-4o-mini", "0.15", "0.6"),
        ("openai", "gpt-4o-mini-2024-07-18", "0.15", "0.6"),
        ("openai", "text-embedding-3-small", "0.02", "0"),
        ("anthropic", "claude-3-5-sonnet-20241022", "3", "15"),
        ("anthropic", "claude-3-haiku-20240307", "0.25", "1.25"),
        ("google", "gemini-2.0-flash", "0.1", "0.4"),
        ("bedrock", "anthropic.claude-3-sonnet-20240229-v1:0", "3", "15"),
        ("azure", "gpt-4o", "2.5", "10"),
        ("groq", "llama-3.1-8b-instant", "0.05", "0.08"),
        ("mistral", "mistral-large-2411", "2", "6"),
        ("openrouter", "deepseek/deepseek-r1:free", "0", "0"),
    ],
)
def test_well_known_models(provider: str, model: str, input_price: str, output_price: str) -> None:
    """A million tokens in and a million out cost the published prices."""
    cost = Prices.builtin().cost(provider, model, Usage(input_tokens=10**6, output_tokens=10**6), NOW)

    assert Cost(picodollars_from(Decimal(input_price) + Decimal(output_price)), known=True) == whole(cost)


def test_cached_tokens_are_not_counted_twice() -> None:
    """Tokens read from the cache or written to it are parts of the input, each charged at one price only."""
    usage = Usage(input_tokens=10, output_tokens=1, cache_read_tokens=4, cache_write_tokens=5, cache_write_1h_tokens=2)
    rate = Rate(input=1_000, output=7, cache_read=10, cache_write=100_000, cache_write_1h=10_000_000)

    expected = 1 * 1_000 + 4 * 10 + 3 * 100_000 + 2 * 10_000_000 + 7

    assert expected == rate.charge(usage).total


@pytest.mark.parametrize(
    ("usage", "picodollars"),
    [
        (Usage(input_tokens=10, cache_read_tokens=999), 10 * 1),
        (Usage(input_tokens=10, cache_read_tokens=8, cache_write_tokens=8), 8 * 1 + 2 * 1_000),
        (Usage(input_tokens=10, cache_write_tokens=4, cache_write_1h_tokens=9), 6 * 100 + 4 * 10_000),
        (Usage(input_tokens=10, cache_write_1h_tokens=4), 6 * 100 + 4 * 10_000),
        (Usage(output_tokens=3, reasoning_tokens=99), 3 * 50),
        (Usage(input_tokens=-5, output_tokens=-5, cache_read_tokens=-1, cache_write_tokens=-1, reasoning_tokens=-1), 0),
    ],
)
def test_parts_larger_than_their_total_are_cut(usage: Usage, picodollars: int) -> None:
    """A part counts as far as its total goes, reads before writes; what is negative counts as nothing."""
    rate = Rate(input=100, output=7, cache_read=1, cache_write=1_000, cache_write_1h=10_000, reasoning=50)

    assert picodollars == rate.charge(usage).total


counts = st.none() | st.integers(-(10**7), 10**7)


def test_each_token_is_charged_by_its_kind() -> None:
    """What is read from the cache or written to it stands apart, at input's price too; reasoning is output."""
    usage = Usage(input_tokens=100, output_tokens=10, cache_read_tokens=40, cache_write_tokens=20, reasoning_tokens=4)
    own = Rate(input=10, output=50, cache_read=1, cache_write=13, reasoning=60)
    assert CostByKind(input=400, output=540, cache_read=40, cache_write=260) == own.charge(usage)
    plain = Rate(input=10, output=50)
    assert CostByKind(input=400, output=500, cache_read=400, cache_write=200) == plain.charge(usage)


@settings(max_examples=300)
@given(st.data())
def test_the_kinds_add_up_to_the_cost(data: st.DataObject) -> None:
    """At any price, tiers and fractions of picodollars included, none is negative and together they are the cost."""
    provider, model, lengths, _ = data.draw(st.sampled_from(BORDERED))
    tokens = data.draw(st.sampled_from(lengths or (1,)).map(lambda border: border + 1) | counts)
    usage = Usage(
        input_tokens=tokens or 0,
        output_tokens=data.draw(counts) or 0,
        cache_read_tokens=data.draw(counts),
        cache_write_tokens=data.draw(counts),
        cache_write_1h_tokens=data.draw(counts),
        reasoning_tokens=data.draw(counts),
    )
    cost = Prices.builtin().cost(provider, model, usage, NOW)
    assert cost.by_kind is not None
    assert cost.picodollars == cost.by_kind.total
    assert min(astuple(cost.by_kind)) >= 0
    plain = Usage(input_tokens=max(usage.input_tokens, 0), output_tokens=max(usage.output_tokens, 0))
    expected = Prices.builtin().cost(provider, model, plain).picodollars
    assert expected == Prices.builtin().picodollars(provider, model, plain.input_tokens, plain.output_tokens)
    rate = Rate(input=data.draw(st.integers(0, 500)), output=7, cache_read=3, cache_write=11, reasoning=13, per=100)
    exact = replace(rate, per=1).charge(usage)
    assert -(-exact.total // 100) == rate.charge(usage).total
    assert all(
        abs(told * 100 - one) < 100 for told, one in zip(astuple(rate.charge(usage)), astuple(exact), strict=True)
    )


@given(
    st.sampled_from(["claude-sonnet-4-5", "unheard-of"]),
    st.integers(-(10**7), 10**7),
    st.integers(-(10**7), 10**7),
    st.tuples(counts, counts, counts, counts),
)
def test_no_usage_is_refused_or_paid_back(
    model: str, tokens: int, output: int, parts: tuple[int | None, int | None, int | None, int | None]
) -> None:
    """Whatever a provider reports, the cost is a number that is not negative."""
    read, write, hour, reasoning = parts
    usage = Usage(
        input_tokens=tokens,
        output_tokens=output,
        cache_read_tokens=read,
        cache_write_tokens=write,
        cache_write_1h_tokens=hour,
        reasoning_tokens=reasoning,
    )
    cost = Prices.builtin().cost("anthropic", model, usage, NOW)

    assert cost.known is (model != "unheard-of")
    assert cost.picodollars >= 0


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("scaleway", "llama-3.1-8b-instruct"),
        ("nobody", "gpt-4o"),
        ("openai", "no-such-model"),
        ("openai", "whisper-1"),
        ("cerebras", "qwen-3-coder-480b"),
        ("openai", ""),
    ],
)
def test_an_unknown_price_is_the_stand_in_never_nothing(provider: str, model: str) -> None:
    """A model without a price per token costs 0.05 in and 0.08 out per million, and says that it is a guess."""
    usage = Usage(input_tokens=10**6, output_tokens=10**6)

    assert Cost(picodollars_from("0.13"), known=False) == whole(Prices.builtin().cost(provider, model, usage))
    assert Prices.builtin().rate(provider, model) is None


def test_the_stand_in_is_settable() -> None:
    """The operator's own stand-in takes the place of the default."""
    prices = Prices(PriceBook(), stand_in=Rate.per_million(input=1, output=2))

    assert Cost(picodollars_from(3), known=False) == whole(
        prices.cost("scaleway", "m", Usage(input_tokens=10**6, output_tokens=10**6))
    )


def test_free_providers_cost_nothing() -> None:
    """A local provider's models cost 0, which is known, even where a hosted model has the same name."""
    prices = Prices.builtin()

    assert Cost(0, known=True) == whole(prices.cost("ollama", "gpt-4o", USAGES[0]))
    assert [Decimal(0)] * 2 == [
        prices.estimate_cost_usd(model, 10**6, 10**6) for model in ("ollama/llama3.2", "llama3.2:latest")
    ]
    assert Cost(0, known=True) == whole(prices.cost("mine", "gpt-4o", USAGES[0], local=True))
    assert Cost(7_500_000_000, known=True) == whole(prices.cost("openai", "gpt-4o", USAGES[0]))


def test_the_users_own_prices_come_first() -> None:
    """An override wins over the list and over a provider's being free, whatever the case of the model's letters."""
    own = Rate.per_million(input="1", output="0")
    overrides = {"openai/GPT-4o": own, "ollama/big": own, "llama-3.1-8b-instruct": own}
    prices = Prices(PriceBook(), overrides=overrides)
    expected = Cost(picodollars_from("0.001"), known=True)

    assert [expected] * 3 == [
        whole(prices.cost("openai", "gpt-4o", USAGES[0])),
        whole(prices.cost("ollama", "big", USAGES[0])),
        whole(prices.cost("scaleway", "Llama-3.1-8B-instruct", USAGES[0])),
    ]
    assert Decimal("0.001") == prices.estimate_cost_usd("llama-3.1-8b-instruct", 1_000, 500)
    assert Cost(600_000_000, known=True) == whole(prices.cost("openai", "gpt-4o-mini", Usage(output_tokens=1_000)))
    assert Cost(7_500_000_000, known=True) == whole(Prices.builtin().cost("openai", "gpt-4o", USAGES[0]))


def test_a_rate_may_be_finer_than_a_picodollar() -> None:
    """Prices with any number of decimal places are kept as they are; only the amount is rounded, and up."""
    rate = Rate.per_million(input="0.00000025", output="2", cache_read=Decimal("0.0000001"))

    assert Rate(input=25, output=200_000_000, cache_read=10, per=100) == rate

    charges = [1, 1, 2, 25]

    assert charges == [rate.charge(Usage(input_tokens=tokens)).total for tokens in (1, 4, 5, 100)]


@pytest.mark.parametrize("price", ["-1", "abc", "", "NaN", "Infinity", "1e99", "1e-99"])
def test_what_is_no_price_is_refused(price: str) -> None:
    """A price that is negative, no number or beyond reason is a mistake of configuration, and named."""
    with pytest.raises(ConfigurationError, match="not a price for output"):
        Rate.per_million(input=1, output=price)


def test_naive_times_are_utc_and_others_are_converted() -> None:
    """The hour of a price by time of day is UTC's, whatever zone the moment is told in."""
    prices = Prices.builtin()
    in_hours = datetime(2026, 12, 1, 2)  # noqa: DTZ001 - that it has no zone is the point
    elsewhere = datetime(2026, 12, 1, 10, tzinfo=timezone(timedelta(hours=8)))
    costs = [prices.cost("deepseek", "deepseek-v4-pro", USAGES[0], at) for at in (in_hours, elsewhere, NOW)]

    assert costs[0] == costs[1]
    assert costs[0].picodollars == 2 * costs[2].picodollars


@pytest.mark.parametrize(
    ("model", "hour", "usd_per_million"),
    [
        ("night-owl", 21, 1),
        ("night-owl", 22, 2),
        ("Night-Owl", 3, 2),
        ("night-owl", 4, 1),
        ("big-turbo", 0, 3),
        ("big-r2", 0, 4),
        ("r2-big", 0, None),
        ("little-turbo", 0, None),
        ("future", 0, 5),
    ],
)
def test_any_book_is_read(model: str, hour: int, usd_per_million: int | None) -> None:
    """A book from elsewhere may use every kind of clause, and hours that pass midnight; a first price needs no date."""
    files = {
        "index.json": b'{"format":1,"source":"mine","providers":[{"name":"p"}]}',
        "p.json": b"""{"provider":"p","models":[
        {"id":"Night-owl","prices":[{"input":1000000},{"between":["22:00:00","04:00:00"],"input":2000000}]},
        {"id":"future","prices":[{"since":"2099-01-01","input":5000000},{"since":"2100-01-01","input":6000000}]},
        {"id":"t","match":["and",[["contains","big"],["ends_with","-turbo"]]],"prices":[{"input":3000000}]},
        {"id":"r","match":["or",[["equals","r"],["regex","-r[0-9]$"]]],"prices":[{"input":4000000}]}]}""",
    }
    rate = Prices(PriceBook(files.__getitem__)).rate("p", model, NOW.replace(hour=hour))
    expected = None if usd_per_million is None else Rate.per_million(input=usd_per_million, output=0)

    assert expected == rate


class StoppedClock:
    """A clock that stands at one moment."""

    def __init__(self, moment: datetime) -> None:
        self._moment = moment

    def monotonic(self) -> float:
        """Nothing passes."""
        return 0.0

    def now(self) -> float:
        """The moment."""
        return self._moment.timestamp()


def test_without_a_moment_the_clock_tells() -> None:
    """A cost asked for without a time is that of the clock's."""
    for at in (NOW.replace(hour=2), NOW):
        prices = Prices(PriceBook(), clock=StoppedClock(at))

        assert prices.cost("deepseek", "deepseek-v4-pro", USAGES[0], at) == prices.cost(
            "deepseek", "deepseek-v4-pro", USAGES[0]
        )


def test_estimate_of_gpt_4o() -> None:
    """A thousand tokens in and five hundred out of gpt-4o cost 0.0075 USD, exactly."""
    assert Decimal("0.0075") == estimate_cost_usd("gpt-4o", 1000, 500)


@pytest.mark.parametrize(
    ("model", "usd"),
    [
        ("openai/gpt-4o", "12.5"),
        ("azure/gpt-4o", "12.5"),
        ("claude-3-haiku-20240307", "1.5"),
        ("openai/gpt-oss-120b", "0.219"),
        ("qwen/qwen3-32b", "0.88"),
        ("anthropic.claude-3-sonnet-20240229-v1:0", "18"),
        ("never-heard-of-it", "0.13"),
        ("someone/never-heard-of-it", "0.13"),
        ("", "0.13"),
    ],
)
def test_estimates_by_name_alone(model: str, usd: str) -> None:
    """A provider's name before the model, the model's maker, or whoever lists it sets the price; else the stand-in."""
    prices = Prices(PriceBook(), clock=StoppedClock(NOW))

    assert Decimal(usd) == prices.estimate_cost_usd(model, 10**6, 10**6)


def test_makers_are_the_librarys() -> None:
    """For every model name the provider guessed is the one that the library guesses, if it is one of ours."""
    ours = {theirs: name for name, theirs in THEIRS.items()}
    book = PriceBook()
    differing = []
    for name in sorted({name for provider in THEIRS for name in names_of(provider)}):
        try:
            theirs: str | None = get_snapshot().find_provider(name, None, None).id
        except LookupError:
            theirs = None
        guess = next(book.makers(name), None)
        if guess != ours.get(theirs or "") and (theirs is None or theirs in ours):
            differing.append((name, theirs, guess))

    assert not differing


def test_a_date_without_dashes_is_understood() -> None:
    """A dated name as some gateways write it finds the model of that date."""
    prices = Prices.builtin()

    assert prices.rate("openai", "gpt-4o-2024-05-13") == prices.rate("openai", "gpt-4o-20240513")
    assert prices.rate("openai", "gpt-4o-2024-05-13") is not None


def test_names_that_callers_make_up_are_forgotten() -> None:
    """A flood of invented names leaves the answers as they were, and is not kept."""
    prices = Prices(PriceBook())
    for number in range(5_000):
        prices.rate("minimax", f"invented-{number}")
        prices.rate("ollama", f"invented-{number}")

    assert len(prices._entries) <= 4_096  # what it holds in memory shows nowhere else
    assert len(prices._flat) <= 4_096  # as above
    assert prices.rate("minimax", "MiniMax-M2") is not None


def test_the_stand_in_default() -> None:
    """The stand-in is 0.05 USD in and 0.08 USD out per million tokens."""
    assert Rate(input=50_000, output=80_000) == STAND_IN


def test_a_cost_in_dollars() -> None:
    """A cost tells its amount in US dollars exactly."""
    assert Decimal("0.0075") == Cost(7_500_000_000, known=True).usd
