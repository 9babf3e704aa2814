"""Money as whole numbers: picodollars (1e-12 USD) in accounts, nanodollars (1e-9 USD) in quotas.

Binary floats take no part, so sums are exact and a bill shows the digits that were charged.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Final

from msgspec import Raw

__all__ = [
    "PICODOLLARS",
    "PICODOLLARS_PER_NANODOLLAR",
    "nanodollars_from",
    "nanodollars_up",
    "picodollars_from",
    "to_usd",
    "usd_json",
    "usd_text",
]

PICODOLLARS: Final = 10**12
"""In one US dollar."""
PICODOLLARS_PER_NANODOLLAR: Final = 1000

_DIGITS: Final = 12
# Past this many digits before the point an amount is a slip of the pen, and its power of ten would fill the memory.
_MOST_DIGITS: Final = 18


def picodollars_from(amount: Decimal | str | int) -> int:
    """The picodollars in an amount of US dollars, exactly.

    Raises:
        ValueError: The text is no number, the number is not finite, has more than 18 digits before the point, or is
            finer than a picodollar.
    """
    try:
        number = Decimal(amount)
    except InvalidOperation:
        message = f"{amount!r} is not an amount of money; write a decimal number such as 0.05"
        raise ValueError(message) from None
    _, digits, exponent = number.as_tuple()
    if not isinstance(exponent, int) or (any(digits) and number.adjusted() >= _MOST_DIGITS):
        message = f"{amount} is not an amount of money; write a finite number below 1e18"
        raise ValueError(message)
    numerator = int("".join(map(str, digits)))
    if numerator == 0:
        return 0
    places = exponent + _DIGITS
    if places < 0:
        # 10**-places stays small where it divides at all: no number of n digits is divisible by a higher power than n.
        numerator, rest = divmod(numerator, 10**-places) if -places <= len(digits) else (0, 1)
        if rest:
            message = f"{amount} USD is finer than a picodollar; give at most {_DIGITS} decimal places"
            raise ValueError(message)
    else:
        numerator *= 10**places
    return -numerator if number.is_signed() else numerator


def to_usd(picodollars: int) -> Decimal:
    """The amount in US dollars, exactly, without trailing zeros."""
    return Decimal(usd_text(picodollars))


def usd_text(picodollars: int) -> str:
    """The amount in US dollars as a plain decimal number, such as ``0.0075``: no exponent, no trailing zeros."""
    whole, rest = divmod(abs(picodollars), PICODOLLARS)
    text = f"{whole}.{rest:0{_DIGITS}}".rstrip("0").rstrip(".")
    return f"-{text}" if picodollars < 0 else text


def usd_json(picodollars: int) -> Raw:
    """The amount in US dollars as a JSON number, ready for msgspec to put in its place."""
    return Raw(usd_text(picodollars).encode())


def nanodollars_from(amount: Decimal | str | int) -> int:
    """The nanodollars in an amount of US dollars, rounded up; raises as ``picodollars_from`` does."""
    return nanodollars_up(picodollars_from(amount))


def nanodollars_up(picodollars: int) -> int:
    """The amount in nanodollars, rounded up, so that a quota never counts less than was spent."""
    return -(-picodollars // PICODOLLARS_PER_NANODOLLAR)
