"""Money is exact, whichever way it is converted."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genai_spine.money import PICODOLLARS, nanodollars_up, picodollars_from, to_usd, usd_json, usd_text

amounts = st.integers(min_value=-(10**30) + 1, max_value=10**30 - 1)


@pytest.mark.parametrize(
    ("amount", "picodollars"),
    [
        ("0.0075", 7_500_000_000),
        ("7.5e-3", 7_500_000_000),
        ("0.000000000001", 1),
        ("-0.05", -50_000_000_000),
        (Decimal("1.10"), 1_100_000_000_000),
        (3, 3 * PICODOLLARS),
        ("0", 0),
        ("0e999999999", 0),
        ("1.0000000000000000000000", PICODOLLARS),
    ],
)
def test_an_amount_is_read_exactly(amount: Decimal | str | int, picodollars: int) -> None:
    """Every spelling of an amount gives its picodollars to the last digit."""
    assert picodollars == picodollars_from(amount)


@pytest.mark.parametrize(
    "amount", ["", "five", "NaN", "Infinity", "1e18", "1e999999999", "0.0000000000001", "1e-999999999"]
)
def test_what_is_no_amount_is_refused(amount: str) -> None:
    """A text that is no number, no finite one, an absurd one, or one finer than a picodollar raises ValueError."""
    with pytest.raises(ValueError, match=r"amount of money|finer than a picodollar"):
        picodollars_from(amount)


@given(amounts)
def test_there_and_back_is_the_same(picodollars: int) -> None:
    """Converting to US dollars and back loses nothing, as Decimal or as text."""
    assert picodollars == picodollars_from(to_usd(picodollars))
    assert picodollars == picodollars_from(usd_text(picodollars))


@pytest.mark.parametrize(
    ("picodollars", "text"),
    [
        (7_500_000_000, "0.0075"),
        (0, "0"),
        (1, "0.000000000001"),
        (-50_000_000_000, "-0.05"),
        (100 * PICODOLLARS, "100"),
        (300_000_000_000, "0.3"),
    ],
)
def test_an_amount_is_shown_plainly(picodollars: int, text: str) -> None:
    """Text and JSON show the digits that matter: no exponent, no trailing zeros, no noise."""
    assert text == usd_text(picodollars)
    assert text == str(to_usd(picodollars)) or picodollars == 1  # Decimal alone writes this one with an exponent
    assert f'{{"cost":{text}}}'.encode() == msgspec.json.encode({"cost": usd_json(picodollars)})


@given(amounts)
def test_nanodollars_are_rounded_up(picodollars: int) -> None:
    """A quota counts at least what was spent, and less than a nanodollar more."""
    excess = nanodollars_up(picodollars) * 1000 - picodollars

    assert 0 <= excess < 1000
