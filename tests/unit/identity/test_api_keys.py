"""Keys of callers: who is let in, where the key may stand, and the file that holds the first one."""

from __future__ import annotations

import pickle
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genai_spine.errors import AuthenticationError, ConfigurationError
from genai_spine.identity.api_keys import KEY_FILE, KeyRing, first_key, presented_key, stored_key
from genai_spine.redact import Secret
from genai_spine.types.principal import ANYBODY

KEYS = [Secret("key-one"), Secret("key-two"), Secret("schlüssel")]


@pytest.mark.parametrize("key", KEYS, ids=["one", "two", "umlaut"])
def test_each_good_key_is_known(key: Secret) -> None:
    """Whoever presents a key is known by its fingerprint."""
    assert key.fingerprint == KeyRing(KEYS).admit(key.reveal()).key


@given(st.text(st.characters(exclude_categories=[])))
def test_no_other_key_is_let_in(presented: str) -> None:
    """Whatever else is presented, lone surrogates from odd headers among it, is refused with a 401."""
    if presented in {key.reveal() for key in KEYS}:
        return
    with pytest.raises(AuthenticationError) as caught:
        KeyRing(KEYS).admit(presented)
    assert caught.value.status == 401


@pytest.mark.parametrize("presented", [None, ""])
def test_no_key_is_told_apart_from_a_wrong_one(presented: str | None) -> None:
    """Who sent none is told how to send one."""
    with pytest.raises(AuthenticationError, match="Authorization: Bearer") as caught:
        KeyRing(KEYS).admit(presented)
    assert caught.value.code == "missing_api_key"
    with pytest.raises(AuthenticationError) as caught:
        KeyRing(KEYS).admit("canary-wrong-key")
    assert caught.value.code == "invalid_api_key"
    assert "canary" not in caught.value.message


def test_without_keys_nobody_gets_in() -> None:
    """An empty ring is a closed door, unless it was opened by name."""
    with pytest.raises(AuthenticationError):
        KeyRing(()).admit("x")
    assert ANYBODY == KeyRing((), open_to_all=True).admit(None)


def test_keys_are_not_kept() -> None:
    """What stays in memory are hashes under a secret of this process: no key, and another hash in each ring."""
    rings = [KeyRing(KEYS), KeyRing(KEYS)]
    held = [pickle.dumps(vars(ring)) for ring in rings]
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


# The file of the first key.


def test_the_first_key_is_made_once(tmp_path: Path) -> None:
    """It is new, long, and readable by its owner alone; asked again, it is the same and no longer new."""
    folder = tmp_path / "a" / "data"
    key, path, new = first_key(folder)
    assert (True, folder / KEY_FILE) == (new, path)
    assert key.reveal().startswith("spine-")
    assert len(key.reveal()) >= 43
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert (key, path, False) == first_key(folder)


def test_two_folders_two_keys(tmp_path: Path) -> None:
    """No two gateways get the same key."""
    assert first_key(tmp_path / "a")[0] != first_key(tmp_path / "b")[0]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o602])
def test_a_file_that_others_may_read(tmp_path: Path, mode: int) -> None:
    """A key that others could have read is not used; the message says what to run."""
    _, path, _ = first_key(tmp_path)
    path.chmod(mode)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        first_key(tmp_path)


def test_an_empty_file(tmp_path: Path) -> None:
    """A file without a key in it must not become a key that is empty."""
    _, path, _ = first_key(tmp_path)
    path.write_text("\n")
    with pytest.raises(ConfigurationError, match="is empty"):
        first_key(tmp_path)


def test_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    """A data folder that is a file is told with the variable to set."""
    (tmp_path / "data").write_text("")
    with pytest.raises(ConfigurationError, match="GENAI_DATA_DIR"):
        first_key(tmp_path / "data")


def test_the_key_that_was_made(tmp_path: Path) -> None:
    """It is read by who asks for it; where none was made, none is made for the asking."""
    assert stored_key(tmp_path) is None
    assert [] == list(tmp_path.iterdir())
    assert first_key(tmp_path)[0] == stored_key(tmp_path)


def test_a_key_that_cannot_be_read(tmp_path: Path) -> None:
    """What stands in its place is told."""
    (tmp_path / KEY_FILE).mkdir(mode=0o700)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        stored_key(tmp_path)
