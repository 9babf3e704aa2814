"""Bodies are read only as far as routing needs, and written anew with few fields changed."""

from __future__ import annotations

import json

import msgspec
import pytest
from msgspec import Struct

from genai_spine.dialects.envelope import EXTENSION_FIELDS, read_fields, read_typed, splice, without_own
from genai_spine.errors import InvalidFieldError, InvalidRequestError


class _Turn(Struct):
    role: str


class _Head(Struct):
    model: str | None = None
    messages: list[_Turn] | None = None


_head = msgspec.json.Decoder(_Head)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\xff",
        b'{"a": "\xff"}',
        b'{"a": "\\q"}',
        b'{"a": 01}',
        b'{"a": tru}',
        b'{"a": 1} x',
        b'{"a": ' + b"[" * 100_000,
        b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a": ' * 100_000 + b"1" + b"}" * 100_000,
    ],
)
def test_what_is_no_body(body: bytes) -> None:
    """Broken JSON, broken UTF-8 and deep nesting are refused with a 400, in fields that nobody reads too."""
    with pytest.raises(InvalidRequestError) as caught:
        read_fields(body)
    assert caught.value.status == 400


def test_typed_fields_name_their_path() -> None:
    """A field of another type is a 422 that names it."""
    with pytest.raises(InvalidFieldError) as caught:
        read_typed(_head, b'{"model": 5}')
    assert caught.value.param == "model"
    with pytest.raises(InvalidFieldError) as nested:
        read_typed(_head, b'{"messages": [{"role": 5}]}')
    assert nested.value.param == "messages[0].role"
    with pytest.raises(InvalidRequestError):
        read_typed(_head, b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}")


def test_no_second_model_passes() -> None:
    """Of a field given twice, spelt with escapes or not, one is left, and it is ours."""
    body = b'{"model": "allowed", "mod\\u0065l": "secret-one", "n": 1}'
    written = splice(read_fields(body), "target")
    assert b"secret-one" not in written
    assert [("model", "target"), ("n", 1)] == json.loads(written, object_pairs_hook=list)


def test_own_fields_stay_here() -> None:
    """The gateway's own fields are not sent; OpenRouter's `provider`, an object, is not ours."""
    body = json.dumps(dict.fromkeys(EXTENSION_FIELDS, "x") | {"model": "m", "top_k": 5}).encode()
    assert {"model": "t", "top_k": 5} == json.loads(splice(read_fields(body), "t"))
    assert {"top_k": 5} == without_own(dict.fromkeys(EXTENSION_FIELDS, "x") | {"top_k": 5})
    theirs = b'{"model": "m", "provider": {"order": ["a"]}}'
    assert {"model": "t", "provider": {"order": ["a"]}} == json.loads(splice(read_fields(theirs), "t"))
    assert {"provider": {"order": ["a"]}} == without_own({"provider": {"order": ["a"]}})


def test_a_model_that_stands_in_the_path() -> None:
    """Where a body names no model, none passes."""
    assert {"n": 1} == json.loads(splice(read_fields(b'{"model": "m", "n": 1, "fallback": true}'), None))


def test_fields_pass_byte_for_byte() -> None:
    """A number or string that is not ours keeps its spelling: 1.0 stays 1.0 and a long integer loses no digit."""
    body = b'{"model":"m","a":1.0,"b":123456789012345678901234567890,"c":"\\u00e4"}'
    assert body.replace(b'"m"', b'"t"') == splice(read_fields(body), "t")
