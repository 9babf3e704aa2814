"""The plan: filtered, ordered, remembered, and explained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from typing_extensions import override

from genai_spine.errors import (
    ContextLengthError,
    InvalidFieldError,
    InvalidRequestError,
    SpineError,
    UnavailableError,
)
from genai_spine.routing import router as module
from genai_spine.routing.base import Strategy, View
from genai_spine.routing.candidates import Place
from genai_spine.routing.options import Needs, Option, Traits
from genai_spine.routing.registry import Strategies, builtin
from genai_spine.routing.requirements import Dropped
from genai_spine.routing.router import Ask, Plan, Router
from genai_spine.routing.shortlist import Alias, Target
from tests.routing import Moment, World, place

WELL = Moment()
TRAITS = {
    "openai/gpt": Traits(rank=2, context=100_000, input_price=300, output_price=300),
    "azure/gpt": Traits(rank=2, context=100_000, input_price=200, output_price=200),
    "anthropic/claude": Traits(rank=1, context=200_000, input_price=900, output_price=900),
    "ollama/llama": Traits(
        rank=9, context=8_000, input_price=0, output_price=0, lacks=frozenset({"vision", "structured_output"})
    ),
}
PLACES = (
    place("openai", "gpt", default="gpt"),
    place("azure", "gpt", default="gpt"),
    place("anthropic", "claude", default="claude"),
    place("ollama", "llama", default="llama", local=True),
)
ALIASES = (
    Alias("smart", (Target("claude"), Target("gpt"))),
    Alias("spread", (Target("claude", 3.0), Target("openai/gpt", 1.0))),
)


def made(default: str = "local_first", *chain: str, places: Sequence[Place] = PLACES) -> tuple[Router, World]:
    """A router over a small world."""
    world = World(*places, chain=chain, aliases=ALIASES, traits=TRAITS, default="openai")
    return Router(world, Strategies(builtin()), default), world


def names(plan: Plan) -> list[str]:
    """The providers of a plan."""
    return [candidate.provider for candidate in plan.candidates]


def planned(ask: Ask, *chain: str, default: str = "local_first", moment: Moment = WELL) -> list[str]:
    """The providers that a request is sent to."""
    return names(made(default, *chain)[0].plan(ask, moment))


# The strategy.


def test_the_strategys_precedence() -> None:
    """The request's strategy counts before its hint, and that before the configured one."""
    router, _ = made("round_robin")
    assert "quality" == router.plan(Ask(strategy="quality", hint="cheapest"), WELL).strategy
    assert "cost_optimized" == router.plan(Ask(hint="cheapest"), WELL).strategy
    assert "round_robin" == router.plan(Ask(), WELL).strategy


@pytest.mark.parametrize("ask", [Ask(strategy="x"), Ask(hint="x"), Ask(strategy="quality", hint="x")])
def test_an_unknown_strategy_or_hint(ask: Ask) -> None:
    """It is a 422, also where the other would have counted."""
    with pytest.raises(InvalidFieldError, match="there are:"):
        made()[0].plan(ask, WELL)


def test_an_unknown_configured_strategy() -> None:
    """It is told when the router is made."""
    with pytest.raises(InvalidFieldError, match="unknown strategy 'fastest'"):
        made("fastest")


@pytest.mark.parametrize(
    ("ask", "expected"),
    [
        (Ask(), ["ollama", "openai", "azure", "anthropic"]),
        (Ask(hint="local_preferred"), ["ollama", "openai", "azure", "anthropic"]),
        (Ask(hint="cloud_preferred"), ["openai", "azure", "anthropic", "ollama"]),
        (Ask(hint="best_quality"), ["anthropic", "openai", "azure", "ollama"]),
        (Ask(hint="cheapest"), ["ollama", "azure", "openai", "anthropic"]),
        (Ask(model="gpt", hint="cheapest"), ["azure", "openai"]),
        (Ask(model="gpt"), ["openai", "azure"]),
        (Ask(model="smart"), ["anthropic", "openai", "azure"]),
        (Ask(model="smart", strategy="cost_optimized"), ["azure", "openai", "anthropic"]),
        (Ask(provider="openai", strategy="cost_optimized"), ["openai"]),
        (Ask(provider="anthropic", fallback=("gpt",), strategy="cost_optimized"), ["anthropic", "azure", "openai"]),
    ],
    ids=str,
)
def test_an_order(ask: Ask, expected: list[str]) -> None:
    """Each request is sent where its strategy, or the order that somebody wrote down, says."""
    assert expected == planned(ask)


def test_a_chain_keeps_its_order() -> None:
    """The operator's chain is asked as he wrote it, whatever the strategy, and after the model that was named."""
    ask = Ask(model="gpt", strategy="cost_optimized")
    assert ["azure", "openai", "anthropic", "ollama"] == planned(ask, "anthropic", "ollama")


def test_turns_are_taken_request_by_request() -> None:
    """Round robin goes one step further each time, for each set of names on its own; explaining takes no turn."""
    router, _ = made("round_robin")
    auto, gpt = Ask(), Ask(model="gpt")
    firsts = [names(router.plan(ask, WELL))[0] for ask in (auto, gpt, auto, gpt, auto, gpt)]
    assert ["openai", "openai", "azure", "azure", "anthropic", "openai"] == firsts
    for _ in range(3):
        assert "ollama" == router.explain(auto, WELL).considered[0].candidate.provider
    assert "ollama" == names(router.plan(auto, WELL))[0]


def test_a_weighted_alias() -> None:
    """Requests are spread over its targets by their weights, whatever the configured strategy."""
    router, _ = made("local_first")
    firsts = Counter(names(router.plan(Ask(model="spread"), WELL))[0] for _ in range(400))
    assert {"anthropic": 300, "openai": 100} == {name: round(count, -1) for name, count in firsts.items()}


def test_preferred_providers() -> None:
    """They come first, in their own order, where they are candidates; the model that was named stays before others."""
    assert ["azure", "openai"] == planned(Ask(model="gpt", preferred=("azure",)))
    assert ["anthropic", "azure", "ollama", "openai"] == planned(Ask(preferred=("anthropic", "nobody", "azure")))
    ask = Ask(model="gpt", preferred=("anthropic",))
    assert ["openai", "azure", "anthropic"] == planned(ask, "anthropic")


def test_no_moving_on() -> None:
    """Where the request forbids it, the plan has one place, and a plan remembered for others is not cut."""
    router, _ = made("local_first", "anthropic")
    assert ["openai"] == names(router.plan(Ask(model="gpt", fallback=False), WELL))
    assert ["openai", "azure", "anthropic"] == names(router.plan(Ask(model="gpt"), WELL))
    assert ["openai"] == names(router.plan(Ask(model="gpt", fallback=False), WELL))


# Requirements.


def test_requirements_come_first() -> None:
    """Who cannot serve a request is no candidate, whatever the strategy."""
    assert ["openai", "azure", "anthropic"] == planned(Ask(needs=Needs(abilities=frozenset({"vision"}))))
    assert ["anthropic"] == planned(Ask(hint="cheapest", needs=Needs(input_tokens=150_000)))
    cheap = Needs(input_tokens=10**9, max_tokens=0, max_cost=250_000)
    assert ["ollama"] == planned(Ask(needs=Needs(max_tokens=10, max_cost=0)))
    with pytest.raises(InvalidFieldError):
        planned(Ask(model="claude", needs=cheap))


def test_nobody_can() -> None:
    """A request that no model can serve is refused with each one's reason."""
    with pytest.raises(ContextLengthError, match=r"anthropic/claude: .*ollama/llama: its context of 8,000"):
        planned(Ask(needs=Needs(input_tokens=10**6)))
    only_local = made(places=PLACES[3:])[0]
    with pytest.raises(InvalidRequestError, match=r"it keeps to no schema and it takes no images"):
        only_local.plan(Ask(needs=Needs(abilities=frozenset({"vision", "structured_output"}))), WELL)


def test_a_named_model_is_judged_by_its_provider() -> None:
    """What the catalogue believes refuses no model that was named; the price that the caller allows does."""
    vision = Needs(abilities=frozenset({"vision"}))
    for ask in (Ask(model="llama", needs=vision), Ask(provider="ollama", needs=vision)):
        assert ["ollama"] == planned(ask)
    assert ["openai", "azure", "anthropic"] == planned(Ask(model="gpt", needs=Needs(input_tokens=90_000)), "anthropic")
    assert ["anthropic"] == planned(Ask(model="gpt", needs=Needs(input_tokens=150_000)), "anthropic")
    dear = Needs(input_tokens=10**6, max_tokens=0, max_cost=250)
    assert ["azure"] == planned(Ask(model="gpt", needs=dear))
    with pytest.raises(InvalidFieldError, match="over the"):
        planned(Ask(model="gpt", needs=Needs(input_tokens=10**6, max_tokens=0, max_cost=100)))


# Health.


def test_who_is_in_trouble_comes_last() -> None:
    """A provider, or one model of it, that cannot be used now is asked only after all others."""
    moment = Moment(troubles={"ollama": "its circuit is open", "openai/gpt": "its keys rest"})
    assert ["azure", "anthropic", "ollama", "openai"] == planned(Ask(), moment=moment)
    assert ["azure", "anthropic", "openai"] == planned(Ask(model="gpt"), "anthropic", moment=moment)
    assert ["azure"] == planned(Ask(model="gpt", fallback=False), moment=moment)
    assert ["ollama"] == planned(Ask(provider="ollama"), moment=moment)


def test_turns_are_those_of_the_healthy() -> None:
    """Round robin and weights spread over the places that can be used."""
    moment = Moment(troubles={"azure": "its circuit is open"})
    router, _ = made("round_robin")
    firsts = Counter(names(router.plan(Ask(), moment))[0] for _ in range(30))
    assert {"openai": 10, "anthropic": 10, "ollama": 10} == firsts


# What is remembered.


def test_plans_of_fixed_strategies_are_remembered() -> None:
    """The same plan again, until what it was made of changes; those that follow the moment are made anew."""
    router, world = made()
    ask = Ask(model="gpt")
    first = router.plan(ask, WELL)
    assert first is router.plan(Ask(model="gpt", needs=Needs(input_tokens=5)), WELL)
    assert first is not router.plan(Ask(model="gpt", preferred=("azure",)), WELL)
    world.add(place("groq", "gpt", default="gpt"))
    assert ["openai", "azure", "groq"] == names(router.plan(ask, WELL))
    quick = Ask(model="gpt", strategy="speed")
    slow = Moment(seconds={"openai/gpt": 9, "azure/gpt": 8, "groq/gpt": 1})
    assert [["openai", "azure", "groq"], ["groq", "azure", "openai"]] == [
        names(router.plan(quick, moment)) for moment in (WELL, slow)
    ]


def test_what_is_remembered_is_no_other_requests() -> None:
    """With a plan in memory, another strategy, other needs and trouble still count."""
    router, _ = made()
    everybody = ["ollama", "openai", "azure", "anthropic"]
    assert everybody == names(router.plan(Ask(hint="local_preferred"), WELL))
    assert "anthropic" == names(router.plan(Ask(hint="best_quality"), WELL))[0]
    vision = Needs(abilities=frozenset({"vision"}))
    assert everybody[1:] == names(router.plan(Ask(hint="local_preferred", needs=vision), WELL))
    ill = Moment(troubles={"ollama": "its circuit is open"})
    assert [*everybody[1:], "ollama"] == names(router.plan(Ask(hint="local_preferred"), ill))
    assert router.plan(Ask(hint="local_preferred"), ill) is router.plan(Ask(hint="local_preferred"), ill)
    assert everybody == names(router.plan(Ask(hint="local_preferred"), WELL))


class Backwards(Strategy):
    """A strategy of the user's own."""

    name = "local_first"

    @override
    def order(self, options: Sequence[Option], view: View) -> Sequence[Option]:
        return options[::-1]


def test_a_strategy_takes_effect_at_once() -> None:
    """One that is registered in the place of another orders the next request."""
    strategies = Strategies(builtin())
    router = Router(World(*PLACES, traits=TRAITS), strategies)
    assert ["openai", "azure"] == names(router.plan(Ask(model="gpt"), WELL))
    strategies.register(Backwards())
    assert ["azure", "openai"] == names(router.plan(Ask(model="gpt"), WELL))


def test_callers_cannot_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is remembered of names that callers made up has an end, and the plans stay right."""
    monkeypatch.setattr(module, "MOST_REMEMBERED", 10)
    router, _ = made()
    first = router.plan(Ask(model="gpt"), WELL)
    for number in range(30):
        router.plan(Ask(model=f"openai/made-up-{number}"), WELL)
    again = router.plan(Ask(model="gpt"), WELL)
    assert again is not first
    assert again == first


def test_nobody_at_all() -> None:
    """With nothing configured and no last resort the message says what to set."""

    class Nowhere(World):
        @override
        def last_resort(self) -> Place | None:
            return None

    with pytest.raises(UnavailableError, match="OPENAI_API_KEY"):
        Router(Nowhere(), Strategies(builtin())).plan(Ask(), WELL)


# Explained.


def test_an_explanation() -> None:
    """Each candidate with its reason and all that it was judged by, each that was dropped with its why."""
    router, _ = made("local_first", "ollama", "anthropic", "nobody")
    moment = Moment(
        troubles={"openai": "its circuit is open"}, seconds={"azure/gpt": 2}, loads={"openai/gpt": 4, "azure/gpt": 1}
    )
    ask = Ask(model="gpt", hint="cheapest", needs=Needs(input_tokens=10_000, max_tokens=100))
    told = router.explain(ask, moment)
    assert ("cost_optimized", "hint") == (told.strategy, told.chosen_by)
    first, second, last = told.considered
    assert ("azure", True, 2, 3.0, 1, None) == (
        first.candidate.provider,
        first.same_model,
        first.rank,
        first.seconds,
        first.in_flight,
        first.trouble,
    )
    assert "the provider lists the model" == first.candidate.reason
    assert TRAITS["azure/gpt"].cost(10_000, 100) == first.cost
    assert ("anthropic", False, False) == (second.candidate.provider, second.same_model, second.local)
    assert ("openai", "its circuit is open", 4) == (last.candidate.provider, last.trouble, last.in_flight)
    assert {
        Dropped("nobody", "", "unusable", "no such provider"),
        Dropped("ollama", "llama", "context", "its context of 8,000 tokens is too short for about 8,100"),
    } == {*told.dropped}


def test_who_chose() -> None:
    """The explanation says whose the strategy is, and what the request forbids."""
    router, _ = made()
    assert "request" == router.explain(Ask(strategy="speed", hint="cheapest"), WELL).chosen_by
    told = router.explain(Ask(model="gpt", fallback=False), WELL)
    assert "configuration" == told.chosen_by
    assert ["openai"] == [one.candidate.provider for one in told.considered]
    assert [("azure", "forbidden")] == [(one.provider, one.kind) for one in told.dropped]


_asks = st.builds(
    Ask,
    model=st.sampled_from([None, "auto", "gpt", "llama", "smart", "spread", "azure/gpt"]),
    provider=st.sampled_from([None, None, "azure", "anthropic"]),
    strategy=st.none() | st.sampled_from(Strategies(builtin()).names),
    hint=st.none() | st.sampled_from(Strategies(builtin()).hints),
    fallback=st.sampled_from([None, True, False, ("gpt",), ("ollama", "smart")]),
    preferred=st.lists(st.sampled_from(["azure", "ollama", "nobody"]), max_size=2).map(tuple),
    needs=st.builds(
        Needs,
        input_tokens=st.sampled_from([0, 5_000, 50_000, 150_000, 10**6]),
        max_tokens=st.none() | st.sampled_from([10, 5_000]),
        abilities=st.frozensets(st.sampled_from(["vision", "tools", "structured_output"]), max_size=2),
        max_cost=st.none() | st.sampled_from([0, 2, 10**4]),
    ),
)
_moments = st.builds(
    Moment,
    troubles=st.dictionaries(st.sampled_from(["openai", "azure/gpt", "ollama"]), st.just("ill"), max_size=3),
    seconds=st.dictionaries(st.sampled_from([*TRAITS]), st.floats(0, 9), max_size=3),
    loads=st.dictionaries(st.sampled_from([*TRAITS]), st.integers(0, 9), max_size=3),
)


def outcome(router: Router, ask: Ask, moment: Moment) -> tuple[list[str], list[str]] | str:
    """A plan with all that it left out, or the error's message."""
    try:
        told = router.explain(ask, moment)
        plan = router.plan(ask, moment)
    except SpineError as error:
        return error.message
    explained = [f"{one.candidate.provider}/{one.candidate.model}" for one in told.considered]
    assert explained == [option.name for option in plan.options]
    return explained, [f"{one.provider}/{one.model}" for one in told.dropped]


@given(requests=st.lists(st.tuples(_asks, _moments), min_size=1, max_size=6), chained=st.booleans())
def test_plan_and_explanation_agree(requests: list[tuple[Ask, Moment]], *, chained: bool) -> None:
    """Request after request both say the same; a plan is not empty, nobody is in it twice, nor in it and dropped."""
    router, _ = made("local_first", *(("ollama", "anthropic") if chained else ()))
    for ask, moment in requests:
        found = outcome(router, ask, moment)
        if isinstance(found, str):
            continue
        kept, dropped = found
        assert kept
        assert len(set(kept)) == len(kept)
        assert not {*kept} & {*dropped}
        # With the first turn taken by nobody else, a router without a memory says the same.
        if not {ask.strategy, router.plan(ask, moment).strategy} & {"round_robin", "weighted", "least_busy"} and (
            ask.model != "spread"
        ):
            fresh, _ = made("local_first", *(("ollama", "anthropic") if chained else ()))
            assert found == outcome(fresh, ask, moment)


def test_long_names_are_not_remembered() -> None:
    """What callers made up of many letters is planned anew each time, and takes no room."""
    router, _ = made()
    ask = Ask(model="openai/" + "x" * 2000)
    assert router.plan(ask, WELL) == router.plan(ask, WELL)
    assert router.plan(ask, WELL) is not router.plan(ask, WELL)


# How much is read.


class Scale:
    """Weighs a request, and counts how often it does."""

    def __init__(self, tokens: int) -> None:
        self.used = 0
        self._tokens = tokens

    def __call__(self) -> int:
        """Weigh it."""
        self.used += 1
        return self._tokens


@pytest.mark.parametrize(
    ("ask", "used"),
    [
        (Ask(model="gpt", needs=Needs(input_tokens=100)), 0),
        (Ask(needs=Needs(input_tokens=100)), 0),
        (Ask(model="gpt", strategy="cost_optimized", needs=Needs(input_tokens=100)), 1),
        (Ask(model="gpt", needs=Needs(input_tokens=100, max_cost=10**12)), 1),
        (Ask(model="gpt", needs=Needs(input_tokens=10**6)), 1),
        (Ask(provider="openai", needs=Needs(input_tokens=10**6)), 0),
        (Ask(provider="openai", strategy="cost_optimized", needs=Needs(input_tokens=100)), 0),
        (Ask(provider="openai", needs=Needs(input_tokens=100, max_cost=10**12)), 1),
    ],
)
def test_a_request_is_weighed_where_that_matters(ask: Ask, used: int) -> None:
    """For a price, or where the guess is too long for one of several; the plan then goes by what was weighed."""
    scale = Scale(200)
    assert made()[0].plan(structs.replace(ask, weigh=scale), WELL).options
    assert used == scale.used


def test_what_was_weighed_counts() -> None:
    """A guess that is too high costs nobody his place; a request that is too long goes where it fits."""
    guess = Needs(input_tokens=10**6)
    assert "ollama" in names(made()[0].plan(Ask(needs=guess, weigh=Scale(200)), WELL))
    assert ["anthropic"] == names(made()[0].plan(Ask(needs=guess, weigh=Scale(150_000)), WELL))


def test_one_place_alone_is_not_put_in_order() -> None:
    """Its plan is remembered whatever the strategy and the troubles; it still tells the strategy asked for."""
    router, _ = made()
    ask = Ask(provider="openai", strategy="speed")
    plan = router.plan(ask, WELL)
    assert plan is router.plan(ask, Moment(troubles={"openai": "its circuit is open"}))
    assert ("speed", "quality") == (
        plan.strategy,
        router.plan(Ask(provider="openai", strategy="quality"), WELL).strategy,
    )
