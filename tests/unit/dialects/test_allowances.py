"""What headers tell is left of a key's limits, in the forms in which services write them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genai_spine.dialects import allowances
from genai_spine.dialects.allowances import Allowance, limits_told
from genai_spine.resilience import keys

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (
            {
                "x-ratelimit-limit-requests": "5000",
                "x-ratelimit-remaining-requests": "4999",
                "x-ratelimit-reset-requests": "12ms",
                "x-ratelimit-limit-tokens": "2000000",
                "x-ratelimit-remaining-tokens": "1999976",
                "x-ratelimit-reset-tokens": "6m0s",
            },
            [Allowance("requests", 4999, 0.012), Allowance("tokens", 1999976, 360)],
        ),
        (
            {
                "x-ratelimit-remaining-requests-day": "14399",
                "x-ratelimit-reset-requests-day": "33011.382867",
                "x-ratelimit-remaining-tokens-minute": "0",
                "x-ratelimit-reset-tokens-minute": "11.382",
            },
            [Allowance("tokens", 0, 11.382), Allowance("requests", 14399, 33011.382867)],
        ),
        (
            {
                "anthropic-ratelimit-requests-remaining": "49",
                "anthropic-ratelimit-requests-reset": "2026-11-21T12:00:01Z",
                "anthropic-ratelimit-tokens-remaining": "90000",
                "anthropic-ratelimit-tokens-reset": "2026-11-21T12:00:02Z",
                "anthropic-ratelimit-input-tokens-remaining": "80000",
                "anthropic-ratelimit-input-tokens-reset": "2026-11-21T12:00:03Z",
                "anthropic-ratelimit-output-tokens-remaining": "8000",
                "anthropic-ratelimit-output-tokens-reset": "2026-11-21T13:00:00+01:00",
            },
            [Allowance("requests", 49, 1), Allowance("tokens", 8000, 0)],
        ),
        ({"content-type": "application/json"}, []),
    ],
)
def test_what_services_tell(headers: dict[str, str], expected: list[Allowance]) -> None:
    """Requests and tokens with the seconds for which that holds; of several limits of a kind the scarcest."""
    assert expected == limits_told(headers, NOW)


@pytest.mark.parametrize(
    ("reset", "expected"),
    [
        ("1s", 1),
        ("20ms", 0.02),
        ("7.66s", 7.66),
        ("2m59.56s", 179.56),
        ("1h0m0.5s", 3600.5),
        ("1d2h", 93600),
        ("500µs", 0.0005),
        ("0", 0),
        ("59", 59),
        ("2026-11-21T12:00:30.5+00:00", 30.5),
        ("2026-11-21T11:59:00Z", 0),
    ],
)
def test_how_a_reset_is_told(reset: str, expected: float) -> None:
    """As a duration, as seconds, or as a date with a zone; what is past is now."""
    (told,) = limits_told({"x-ratelimit-remaining-tokens": "7", "x-ratelimit-reset-tokens": reset}, NOW)
    assert pytest.approx(expected) == told.resets_in


@pytest.mark.parametrize(
    ("left", "reset"),
    [
        ("7", ""),
        ("7", "soon"),
        ("7", "-1"),
        ("7", "nan"),
        ("7", "inf"),
        ("7", "5 s"),
        ("7", "2026-11-21T12:00:30"),
        ("7", "9" * 4000 + "s"),
        ("", "1s"),
        ("many", "1s"),
        ("-1", "1s"),
        ("nan", "1s"),
        ("9" * 400, "1s"),
    ],
)
def test_what_cannot_be_read_is_left_out(left: str, reset: str) -> None:
    """A limit of which it is not known what is left, or until when, says nothing; the others count."""
    headers = {
        "x-ratelimit-remaining-tokens": left,
        "x-ratelimit-reset-tokens": reset,
        "x-ratelimit-remaining-requests": "3",
        "x-ratelimit-reset-requests": "1s",
    }
    assert [Allowance("requests", 3, 1)] == limits_told(headers, NOW)
    del headers["x-ratelimit-reset-tokens"]
    assert [Allowance("requests", 3, 1)] == limits_told(headers, NOW)


@given(
    left=st.text() | st.sampled_from(["1", "0.5", "1e3"]),
    reset=st.text()
    | st.from_regex(r"(\d{1,9}(\.\d{1,3})?(ms|us|ns|d|h|m|s)){1,4}", fullmatch=True)
    | st.datetimes(timezones=st.just(UTC) | st.none()).map(datetime.isoformat),
)
def test_any_words(left: str, reset: str) -> None:
    """Whatever a service writes there is read as numbers that mean something, or not at all."""
    for told in limits_told({"x-ratelimit-remaining-tokens": left, "x-ratelimit-reset-tokens": reset}, NOW):
        assert told.left >= 0
        assert told.resets_in >= 0


def test_it_speaks_of_what_keys_count() -> None:
    """What is read here is what a key's lease may be told."""
    assert get_args(keys.Meter) == get_args(allowances.Meter)
