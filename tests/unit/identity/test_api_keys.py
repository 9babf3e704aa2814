"""Keys of callers: how they are made, what is kept of them, and where one may stand in a request."""

from __future__ import annotations

import pickle
import re

import pytest

from genai_spine.identity.api_keys import KeyRing, is_secret, new_key, prefix_of, presented_key, secret_of
from genai_spine.redact import Secret, scrub
from genai_spine.types.principal import SCOPES

KEYS = [Secret("key-one"), Secret("key-two"), Secret("schlüssel")]


def test_a_new_key_is_of_its_form() -> None:
    """It has a prefix to be known by, and a secret of 256 bits; no two are alike, nor what is kept of one twice."""
    key, other = new_key(), new_key()
    assert key != other
    found = re.fullmatch(r"(spine-[a-z2-7]{12})-([A-Za-z0-9_-]{43})", key.reveal())
    assert found is not None
    assert found[1] == prefix_of(key.reveal()) == secret_of(key).prefix
    assert secret_of(key).hash != secret_of(key).hash
    assert "[redacted]" == scrub(key.reveal())


def test_what_is_kept_of_a_key_tells_it_from_others() -> None:
    """The key alone is the secret; not its prefix, nor another with the same one."""
    key = new_key()
    kept = secret_of(key)
    assert is_secret(key.reveal(), kept)
    assert not is_secret(kept.prefix, kept)
    assert not is_secret(key.reveal()[:-1] + ("A" if key.reveal()[-1] != "A" else "B"), kept)
    assert key.reveal().encode() not in pickle.dumps((kept.salt, kept.hash))


@pytest.mark.parametrize("text", ["", "spine-", "sk-abc", "spine-abcdefghijkl-short", "spine-ABCDEFGHIJKL-" + "a" * 43])
def test_other_keys_have_no_prefix(text: str) -> None:
    """What is not of the form cannot be in the database, and needs no look there."""
    assert prefix_of(text) is None


def test_the_keys_of_the_environment_are_good_for_everything() -> None:
    """Each is known by its fingerprint, whatever signs it has, and administers."""
    ring = KeyRing(KEYS)
    for key in KEYS:
        found = ring.known[ring.digest(key.reveal())]
        assert (key.fingerprint, "admin", set(SCOPES)) == (found.key, found.role, set(found.scopes))
    assert ring.digest("other") not in ring.known
    assert not ring.open_to_all


def test_keys_are_not_kept() -> None:
    """What stays in memory are hashes under a secret of this process: no key, and another hash in each ring."""
    rings = [KeyRing(KEYS), KeyRing(KEYS)]
    held = [pickle.dumps(list(ring.known)) for ring in rings]
    for key in KEYS:
        assert all(key.reveal().encode() not in data for data in held)
    assert held[0] != held[1]


@pytest.mark.parametrize(
    ("headers", "query", "expected"),
    [
        ({"authorization": "Bearer abc"}, "", "abc"),
        ({"authorization": "bearer  abc "}, "", "abc"),
        ({"x-api-key": "abc"}, "", "abc"),
        ({"x-goog-api-key": " abc "}, "", "abc"),
        ({"api-key": "abc"}, "", "abc"),
        ({}, "alt=sse&key=abc", "abc"),
        ({}, "key=a%2Bb%3D", "a+b="),
        ({"authorization": "Bearer abc", "x-api-key": "def"}, "key=ghi", "abc"),
        ({"authorization": "Basic abc", "x-api-key": "def"}, "", "def"),
        ({"authorization": "Bearer ", "x-api-key": ""}, "key=abc", "abc"),
        ({"authorization": "Bearer"}, "", None),
        ({}, "", None),
        ({}, "key=&monkey=abc", None),
    ],
)
def test_where_a_key_may_stand(headers: dict[str, str], query: str, expected: str | None) -> None:
    """In each place where an official client puts it; the bearer token first, the query last."""
    assert expected == presented_key(headers, query)
