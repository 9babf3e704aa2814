"""Limits: what goes together, and what does not."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from genai_spine.types.limits import MOST, Limit
from genai_spine.types.principal import ANYBODY, Principal

GOOD: dict[str, Any] = {"kind": "usd", "scope": "key", "subject": "k", "window": "day", "amount": 5}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"amount": -1}, "from 0 to"),
        ({"amount": MOST + 1}, "from 0 to"),
        ({"window": "minute"}, "usd has no window 'minute'; known windows: day, hour, month, none, request"),
        ({"kind": "tokens", "window": "request"}, "tokens has no window"),
        ({"kind": "concurrent", "window": "day"}, "known windows: none"),
        ({"subject": ""}, "any other has one"),
        ({"scope": "global"}, "for everybody has no subject"),
        ({"kind": "requests", "action": "warn"}, "a limit of requests blocks; only one of usd may warn"),
    ],
)
def test_what_does_not_go_together_is_refused(change: dict[str, Any], message: str) -> None:
    """A limit that nobody could keep is an error where it is made, and says why."""
    with pytest.raises(ValueError, match=message):
        Limit(**(GOOD | change))


def test_limits_can_be_written_down() -> None:
    """A caller with his limits is read as he was written, and wrong ones are refused there too."""
    caller = Principal("k", (Limit(**GOOD), Limit(kind="concurrent", scope="global", window="none", amount=MOST)))
    assert caller == msgspec.json.decode(msgspec.json.encode(caller), type=Principal)
    assert hash(caller.limits) == hash(msgspec.json.decode(msgspec.json.encode(caller), type=Principal).limits)
    with pytest.raises(msgspec.ValidationError, match="from 0 to"):
        msgspec.convert(GOOD | {"amount": -1}, Limit)


def test_nobody_has_a_limit_unless_one_is_set() -> None:
    """A caller is made by his key alone."""
    assert () == ANYBODY.limits == Principal("k").limits
