"""Each strategy's order, and the registry of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import override

from genai_spine.errors import InvalidFieldError
from genai_spine.routing.base import Strategy, View
from genai_spine.routing.options import Needs, Option, Traits
from genai_spine.routing.registry import Strategies, builtin
from tests.routing import Moment, option

PLAIN = Needs(input_tokens=1000, max_tokens=1000)
NAMES = Strategies(builtin()).names


def ordered(
    name: str, *options: Option, needs: Needs = PLAIN, moment: Moment | None = None, turn: int = 0
) -> list[str]:
    """What a strategy makes of options, by the first letters of their names."""
    found = Strategies(builtin()).get(name).order(options, View(needs, moment or Moment(), turn))
    return [one.name.partition("/")[0] for one in found]


def test_local_first() -> None:
    """What is local, then the fallback chain in its order, then the rest as it stands."""
    options = [option("a/m"), option("b/m", link=1), option("c/m", link=0), option("d/m", local=True), option("e/m")]
    assert ["d", "c", "b", "a", "e"] == ordered("local_first", *options)


def test_cloud_first() -> None:
    """The same with the cloud before local."""
    options = [option("a/m", local=True, link=0), option("b/m"), option("c/m", link=1)]
    assert ["c", "b", "a"] == ordered("cloud_first", *options)


def test_quality() -> None:
    """By rank, 1 the best; a model without one comes last."""
    options = [
        option("a/m"),
        option("b/m", Traits(rank=3)),
        option("c/m", Traits(rank=1)),
        option("d/m", Traits(rank=2)),
    ]
    assert ["c", "d", "b", "a"] == ordered("quality", *options)


def test_cost_optimized() -> None:
    """The request's own tokens decide: a long answer makes another the cheapest. Unknown prices come last."""
    options = [
        option("unknown/m"),
        option("half/m", Traits(input_price=1)),
        option("talker/m", Traits(input_price=10, output_price=1)),
        option("reader/m", Traits(input_price=1, output_price=10)),
    ]
    long_answer = Needs(input_tokens=100, max_tokens=1000)
    long_prompt = Needs(input_tokens=1000, max_tokens=100)
    assert ["talker", "reader", "unknown", "half"] == ordered("cost_optimized", *options, needs=long_answer)
    assert ["reader", "talker", "unknown", "half"] == ordered("cost_optimized", *options, needs=long_prompt)
    free = option("free/m", Traits(input_price=0, output_price=0))
    assert "free" == ordered("cost_optimized", *options, free)[0]


def test_speed() -> None:
    """By how long the whole answer takes, as measured."""
    moment = Moment(seconds={"a/m": 3, "b/m": 0.5, "c/m": 2})
    assert ["b", "c", "a"] == ordered("speed", option("a/m"), option("b/m"), option("c/m"), moment=moment)


def test_round_robin() -> None:
    """One step further each turn."""
    options = [option("a/m"), option("b/m"), option("c/m")]
    assert ["abc", "bca", "cab", "abc"] == ["".join(ordered("round_robin", *options, turn=turn)) for turn in range(4)]


def test_least_busy() -> None:
    """By calls under way; those with as many take turns."""
    options = [option("a/m"), option("b/m"), option("c/m")]
    moment = Moment(loads={"a/m": 2, "b/m": 1})
    assert ["c", "b", "a"] == ordered("least_busy", *options, moment=moment)
    assert ["a", "b", "c"] == [ordered("least_busy", *options, turn=turn)[0] for turn in range(3)]


@given(
    weights=st.lists(st.integers(0, 10), min_size=1, max_size=6).filter(any),
    begin=st.integers(0, 10**6),
    turns=st.integers(200, 400),
)
def test_weighted(weights: list[int], begin: int, turns: int) -> None:
    """Over any stretch of requests each is the first as often as its share, within a few; at 0 it never is."""
    options = [option(f"{number}/m", Traits(weight=weight)) for number, weight in enumerate(weights)]
    firsts = Counter(ordered("weighted", *options, turn=turn)[0] for turn in range(begin, begin + turns))
    for number, weight in enumerate(weights):
        share = turns * weight / sum(weights)
        assert abs(firsts[str(number)] - share) <= 5
        assert weight or not firsts[str(number)]


def test_weighted_leaves_the_heaviest_next() -> None:
    """Behind the first the others stand by weight; without any weight all stand as they came."""
    options = [option("a/m", Traits(weight=1)), option("b/m", Traits(weight=0)), option("c/m", Traits(weight=5))]
    assert {"acb", "cab"} == {"".join(ordered("weighted", *options, turn=turn)) for turn in range(9)}
    none = [option("a/m", Traits(weight=0)), option("b/m", Traits(weight=0))]
    assert ["a", "b"] == ordered("weighted", *none, turn=3)


_TRAITS = st.builds(
    Traits,
    rank=st.none() | st.integers(1, 5),
    input_price=st.none() | st.integers(0, 5),
    output_price=st.none() | st.integers(0, 5),
    weight=st.floats(0, 5),
)


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data(), turn=st.integers(0, 10**9))
def test_nobody_is_lost(name: str, data: st.DataObject, turn: int) -> None:
    """Whatever the options, each strategy returns all of them, once."""
    traits = data.draw(st.lists(_TRAITS, min_size=1, max_size=8))
    locals_ = data.draw(st.lists(st.booleans(), min_size=len(traits), max_size=len(traits)))
    options = [
        option(f"{number}/m", one, local=local) for number, (one, local) in enumerate(zip(traits, locals_, strict=True))
    ]
    names = ordered(name, *options, turn=turn)
    assert sorted(names) == sorted(str(number) for number in range(len(options)))


# The registry.


def test_the_builtin_ones() -> None:
    """Those that the documents name, and the hints that stand for four of them."""
    strategies = Strategies(builtin())
    named = {"local_first", "cost_optimized", "quality", "speed", "round_robin", "weighted", "least_busy"}
    assert named | {"cloud_first"} == set(strategies.names)
    hints = {"local_preferred": "local_first", "cloud_preferred": "cloud_first", "best_quality": "quality"}
    hints["cheapest"] = "cost_optimized"
    assert hints == {hint: strategies.hinted(hint).name for hint in strategies.hints}


def test_unknown_ones() -> None:
    """A strategy or hint that nobody knows is a 422 that names the field and those that there are."""
    strategies = Strategies(builtin())
    with pytest.raises(
        InvalidFieldError, match=r"unknown strategy 'best'; there are: .*quality, round_robin"
    ) as caught:
        strategies.get("best")
    assert (422, "routing.strategy") == (caught.value.status, caught.value.param)
    with pytest.raises(InvalidFieldError, match=r"unknown hint 'best'; there are: best_quality, cheapest") as caught:
        strategies.hinted("best")
    assert (422, "provider_hint") == (caught.value.status, caught.value.param)


class Backwards(Strategy):
    """A strategy of the user's own."""

    name = "backwards"
    hints: ClassVar[tuple[str, ...]] = ("from_behind",)

    @override
    def order(self, options: Sequence[Option], view: View) -> Sequence[Option]:
        return options[::-1]


def test_one_of_the_users_own() -> None:
    """It comes in by the same door, under its name and its hint."""
    strategies = Strategies(builtin())
    version = strategies.version
    strategies.register(Backwards())
    assert strategies.get("backwards") is strategies.hinted("from_behind")
    assert "backwards" in strategies.names
    assert strategies.version > version
