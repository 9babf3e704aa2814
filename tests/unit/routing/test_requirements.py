"""Who cannot serve a request, and why."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genai_spine.errors import ContextLengthError, InvalidFieldError, InvalidRequestError, SpineError
from genai_spine.money import PICODOLLARS
from genai_spine.routing.options import ASSUMED_OUTPUT, Ability, Needs, Traits
from genai_spine.routing.requirements import Dropped, Filter, has_longer_context, nobody_fits, obstacle
from tests.routing import option

ABILITIES: list[Ability] = ["vision", "tools", "structured_output", "streaming"]
DOLLAR = PICODOLLARS


def why(traits: Traits, needs: Needs) -> tuple[str, str] | None:
    """What stands in the way."""
    found = obstacle(option("p/m", traits), needs)
    return None if found is None else (found.kind, found.why)


def test_nothing_known() -> None:
    """A model of which nothing is known is dropped by no requirement."""
    needs = Needs(input_tokens=10**9, max_tokens=10**9, abilities=frozenset(ABILITIES), max_cost=0)
    assert why(Traits(), needs) is None


@pytest.mark.parametrize("ability", ABILITIES)
def test_an_ability_that_is_lacking(ability: Ability) -> None:
    """What a model is known not to be able to do drops it where that is needed, and only there."""
    lacking = Traits(lacks=frozenset({ability}))
    assert why(lacking, Needs()) is None
    found = why(lacking, Needs(abilities=frozenset(ABILITIES)))
    assert found is not None
    assert "ability" == found[0]
    assert why(Traits(lacks=frozenset(set(ABILITIES) - {ability})), Needs(abilities=frozenset({ability}))) is None


def test_reasons_are_sentences() -> None:
    """They say what is missing in words, all of it."""
    lacking = Traits(lacks=frozenset({"vision", "tools"}))
    assert ("ability", "it calls no tools and it takes no images") == why(
        lacking, Needs(abilities=frozenset(ABILITIES))
    )


def test_the_context() -> None:
    """Input and output must fit together; an estimate that may be a fifth too high turns nobody away."""
    small = Traits(context=8000)
    assert why(small, Needs(input_tokens=8000, max_tokens=1600)) is None
    assert ("context", "its context of 8,000 tokens is too short for about 8,001") == why(
        small, Needs(input_tokens=8000, max_tokens=1601)
    )
    assert why(small, Needs(input_tokens=10_000)) is None
    assert why(small, Needs(input_tokens=10_002)) is not None


def test_the_cost() -> None:
    """It is that of the input and of the longest answer, at the price for a million tokens; free is always allowed."""
    priced = Traits(input_price=2 * DOLLAR, output_price=10 * DOLLAR)
    cost = DOLLAR * 2 // 1000 + DOLLAR * 5 // 1000
    assert cost == priced.cost(1000, 500)
    assert why(priced, Needs(input_tokens=1000, max_tokens=500, max_cost=cost)) is None
    assert ("cost", "it would cost up to 0.007 USD, over the 0.006999999999 allowed") == why(
        priced, Needs(input_tokens=1000, max_tokens=500, max_cost=cost - 1)
    )
    assert ASSUMED_OUTPUT == Needs().output_tokens
    assert why(Traits(input_price=0, output_price=0), Needs(input_tokens=10**6, max_cost=0)) is None


@pytest.mark.parametrize(
    ("kinds", "expected", "param"),
    [
        (["context", "context"], ContextLengthError, None),
        (["context", "cost"], InvalidFieldError, "routing.max_cost_usd"),
        (["context", "ability"], InvalidRequestError, None),
    ],
)
def test_nobody(kinds: list[str], expected: type[SpineError], param: str | None) -> None:
    """The error says of each candidate why not, and is of the class that a client understands."""
    dropped = [Dropped("p", str(number), kind, f"why {number}") for number, kind in enumerate(kinds)]  # type: ignore[arg-type]  # a parameter's text is a plain string
    error = nobody_fits(dropped)
    assert expected is type(error)
    assert param == error.param
    assert "p/0: why 0; p/1: why 1" in error.message


def test_a_longer_context() -> None:
    """Only one that is known to be longer than one that is known."""
    short, long, unknown = (option("p/m", Traits(context=context)) for context in (10, 20, None))
    assert has_longer_context(long, short)
    pairs = [(short, long), (short, short), (unknown, short), (long, unknown)]
    assert not any(has_longer_context(one, other) for one, other in pairs)


_abilities = st.frozensets(st.sampled_from(ABILITIES))
_prices = st.none() | st.integers(0, 20 * DOLLAR)


@given(
    traits=st.lists(
        st.builds(
            Traits,
            lacks=_abilities,
            context=st.none() | st.integers(0, 10_000),
            input_price=_prices,
            output_price=_prices,
        ),
        max_size=8,
    ),
    wants=st.lists(
        st.builds(
            Needs,
            input_tokens=st.integers(0, 10_000),
            max_tokens=st.none() | st.integers(0, 5_000),
            abilities=_abilities,
            max_cost=st.none() | st.integers(0, DOLLAR // 5),
        ),
        min_size=1,
        max_size=4,
    ),
)
def test_the_quick_way_agrees_with_the_reasons(traits: list[Traits], wants: list[Needs]) -> None:
    """Who is left is just who has no obstacle, for request after request."""
    options = [option(f"{number}/m", one) for number, one in enumerate(traits)]
    quick = Filter(options)
    for needs in wants:
        expected = [one.name for one in options if obstacle(one, needs) is None]
        assert expected == [one.name for one in quick.fitting(needs)]
