"""Secrets stay unseen, and text from elsewhere is cleaned of them."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genai_spine.redact import MASK, SHORTEST, Secret, scrub

TEXT = "sk-canary-0123456789abcdef"


def test_a_secret_shows_only_where_it_is_revealed() -> None:
    """No way of printing a secret shows its text; its fingerprint tells which one it is."""
    secret = Secret(TEXT)
    assert TEXT == secret.reveal()
    expected = f"Secret({secret.fingerprint})"
    shown = (repr(secret), str(secret), f"{secret}", f"{secret!r}", str([secret]))
    assert (expected, expected, expected, expected, f"[{expected}]") == shown


def test_a_fingerprint_tells_keys_apart() -> None:
    """Eight hexadecimal digits, the same for the same key, another for another, none of them the key's own text."""
    one, same, other = Secret(TEXT).fingerprint, Secret(TEXT).fingerprint, Secret(TEXT + "x").fingerprint
    assert one == same
    assert one != other
    assert len(one) == 8
    assert set(one) <= set("0123456789abcdef")


def test_secrets_compare_by_their_text() -> None:
    """Two of the same text are one, in sets too; a plain string is never equal to a secret."""
    assert Secret(TEXT) == Secret(TEXT)
    assert Secret(TEXT) != Secret("another")
    assert Secret(TEXT) != TEXT
    assert len({Secret(TEXT), Secret(TEXT)}) == 1


def test_copied_or_pickled_it_is_a_mask() -> None:
    """What leaves the process, or a report that copies it deeply, holds the mask instead of the secret."""
    secret = Secret(TEXT)
    pickled = pickle.dumps(secret)
    assert TEXT.encode() not in pickled
    assert MASK == pickle.loads(pickled)  # noqa: S301  # made two lines above
    assert MASK == copy.deepcopy(secret)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Incorrect API key provided: sk-proj-abc123def456.", f"Incorrect API key provided: {MASK}."),
        ("key gsk_0123456789 is bad", f"key {MASK} is bad"),
        ("AIzaSyA0123456789-abc", MASK),
        ("credential AKIAIOSFODNN7EXAMPLE", f"credential {MASK}"),
        ('{"authorization": "Bearer abc.def"}', f'{{"authorization": "{MASK}"}}'),
        ("GET /v1beta/models?key=abc&x=1", f"GET /v1beta/models?key={MASK}&x=1"),
        ("GET /v1beta/models?alt=sse&key=abc", f"GET /v1beta/models?alt=sse&key={MASK}"),
        ("masked by them: sk-abcd****wxyz", f"masked by them: {MASK}"),
        ("spine-0123456789abcdefgh", MASK),
        ("a task-force asked, risk-averse monkeys ran", "a task-force asked, risk-averse monkeys ran"),
        ("the model gpt-4o-mini does not exist", "the model gpt-4o-mini does not exist"),
        ("", ""),
    ],
)
def test_what_is_shaped_like_a_key_is_masked(text: str, expected: str) -> None:
    """Keys of the known forms go; words that only resemble them stay."""
    assert expected == scrub(text)


@given(
    before=st.text(max_size=20),
    after=st.text(max_size=20),
    key=st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="[]redact"), min_size=SHORTEST),
)
def test_a_known_secret_never_remains(before: str, after: str, key: str) -> None:
    """A secret handed over is gone from the text, whatever its shape and wherever it stands."""
    assert key not in scrub(f"{before}{key}{after}", Secret(key))


@pytest.mark.parametrize("dummy", ["", "none", "x" * (SHORTEST - 1)])
def test_a_dummy_masks_nothing(dummy: str) -> None:
    """A key that is empty or a placeholder does not turn words into masks."""
    text = f"a plain text with {dummy} in it"
    assert text == scrub(text, Secret(dummy))
