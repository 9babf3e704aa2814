"""The error tree is what its page draws, and each class knows what its readers act upon."""

from __future__ import annotations

import re

import pytest

from genai_spine import errors
from genai_spine.errors import Retry, SpineError

LINE = re.compile(r"^    (?P<branch>[│├└─ ]*)(?P<name>[A-Z]\w+Error)(?: +(?P<status>\d{3}))?(?: .*)?$")
KINDS = {
    "authentication",
    "budget_exceeded",
    "conflict",
    "connection",
    "content_filter",
    "context_length_exceeded",
    "invalid_request",
    "not_found",
    "overloaded",
    "payload_too_large",
    "permission",
    "quota_exhausted",
    "rate_limit",
    "server_error",
    "timeout",
    "unavailable",
}


def drawn() -> list[tuple[str, str | None, int | None]]:
    """Each class of the docstring's tree: its name, its parent's name, its status where one is written."""
    found: list[tuple[str, str | None, int | None]] = []
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if (match := LINE.match(line)) is not None:
            depth = len(match["branch"]) // 4
            path = [*path[:depth], match["name"]]
            parent = path[depth - 1] if depth else None
            found.append((match["name"], parent, int(match["status"]) if match["status"] else None))
    return found


def classes() -> list[type[SpineError]]:
    """Every error class of the module."""
    return [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, SpineError)]


def test_the_tree_is_the_one_that_is_drawn() -> None:
    """The docstring holds every class under its real parent, once."""
    real = {(cls.__name__, cls.__bases__[0].__name__ if cls is not SpineError else None) for cls in classes()}
    assert sorted(real, key=str) == sorted(((name, parent) for name, parent, _ in drawn()), key=str)


def test_the_statuses_are_those_that_are_drawn() -> None:
    """Where the tree writes a status, the class has it."""
    written = {name: status for name, _, status in drawn() if status is not None}
    assert written == {name: getattr(errors, name).status for name in written}
    assert len(written) >= 20


def test_all_names_every_class_in_order() -> None:
    """``__all__`` is sorted and holds just the error classes."""
    assert errors.__all__ == sorted(errors.__all__)
    assert errors.__all__ == sorted(cls.__name__ for cls in classes())


@pytest.mark.parametrize("cls", classes(), ids=lambda cls: cls.__name__)
def test_every_class_knows_what_to_do(cls: type[SpineError]) -> None:
    """A kind of the taxonomy, a status, a code; a provider's failure may be tried elsewhere, a request's not."""
    assert cls.kind in KINDS
    assert 400 <= cls.status <= 504
    assert cls.default_code
    assert isinstance(cls.retry, Retry)
    if issubclass(cls, errors.ProviderError):
        assert cls.retry.other_provider
        assert cls.status in {429, 502, 503, 504}
    elif issubclass(cls, errors.CircuitOpenError | errors.NoUsableKeyError | errors.SwitchedOffError):
        assert (False, False, True) == cls.retry
    elif not issubclass(cls, errors.NotFoundError):
        assert errors.NOWHERE == cls.retry
    assert cls.__doc__


def test_a_key_that_is_refused_is_not_tried_again() -> None:
    """What the key itself is at fault for may go to another key, never to the same."""
    for cls in (errors.ProviderAuthenticationError, errors.ProviderPermissionError, errors.QuotaExhaustedError):
        assert (False, True, True) == cls.retry


def test_an_error_carries_what_it_was_told() -> None:
    """All details are there; a code of its own wins over the class's."""
    error = errors.RateLimitedError(
        "slow down", code="tokens", param="messages[0]", provider="openai", retry_after=7.5, upstream_status=429
    )
    told = (error.message, error.code, error.param, error.provider, error.retry_after, error.upstream_status)
    assert ("slow down", "tokens", "messages[0]", "openai", 7.5, 429) == told
    assert str(error) == "slow down"
    plain = errors.RateLimitedError("slow down")
    told = (plain.message, plain.code, plain.param, plain.provider, plain.retry_after, plain.upstream_status)
    assert ("slow down", "rate_limit_exceeded", None, None, None, None) == told
