"""Secrets at rest: nobody's without the key, whatever stands in the database."""

from __future__ import annotations

from typing import Final

import pytest

from genai_spine.configuration.vault import Sealed, Vault, new_key
from genai_spine.errors import ConfigurationError, InvalidFieldError
from genai_spine.redact import Secret

SECRETS: Final = Sealed(api_keys=("sk-canary-1234567",), headers={"x-key": "canary-header"})


def test_what_is_sealed_is_opened_with_the_same_key() -> None:
    """And shows nothing of itself until then; twice sealed it differs."""
    vault = Vault([new_key()])
    sealed = vault.seal(SECRETS)
    assert sealed is not None
    assert b"canary" not in sealed
    assert sealed != vault.seal(SECRETS)
    assert SECRETS == vault.open(sealed)


@pytest.mark.parametrize("keys", [[], [new_key()]])
def test_another_key_opens_nothing(keys: list[Secret]) -> None:
    """Nor does none, nor any key what was tampered with."""
    key = new_key()
    sealed = Vault([key]).seal(SECRETS)
    assert sealed is not None
    assert Vault(keys).open(sealed) is None
    assert Vault([key]).open(sealed[:-5] + b"AAAA=") is None
    assert Vault([key]).open(b"\xff\x00") is None


def test_keys_are_exchanged_one_after_another() -> None:
    """All of them open; the first seals."""
    old, new = new_key(), new_key()
    sealed = Vault([old]).seal(SECRETS)
    assert sealed is not None
    both = Vault([new, old])
    assert SECRETS == both.open(sealed)
    resealed = both.seal(SECRETS)
    assert resealed is not None
    assert SECRETS == Vault([new]).open(resealed)


def test_nothing_needs_no_key() -> None:
    """But something does, and an empty list is something: it says that there are no keys."""
    assert Vault([]).seal(Sealed()) is None
    for secrets in (SECRETS, Sealed(api_keys=())):
        with pytest.raises(InvalidFieldError, match="spine config new-key"):
            Vault([]).seal(secrets)


def test_what_is_no_key_is_told() -> None:
    """Without showing it."""
    with pytest.raises(ConfigurationError, match="GENAI_ENCRYPTION_KEY") as caught:
        Vault([Secret("not-a-key-canary")])
    assert "canary" not in str(caught.value)
