"""Whatever bytes come in, nothing but our own errors comes out: arbitrary ones, and recorded ones that are spoilt."""

from __future__ import annotations

import functools
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.seeds import seeds
from tests.fuzz.targets import TARGETS

_FEW: Final = settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.too_slow])
_SHORT: Final = 2500

# What a mutation puts in: what JSON and its framings are made of, wrong types, and what is nested deeply.
_JUNK: Final = (
    *(b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\", b"\n", b"\r", b"\n\n"),
    *(b"\x00", b"\xff", b"\xed\xa0\x80", b"\\ud800"),
    *(b"null", b"true", b"-1", b"0", b"1e308", b"99999999999999999999", b'""', b"[]", b"{}", b'{"a":1}', b'["a"]'),
    *(b"data: ", b"event: error\n", b"data: [DONE]\n\n", b'"index":-1,', b'"error":{"message":"a"},', b'"type":5,'),
    b'{"a":' * 300 + b"1" + b"}" * 300,
    b"[" * 960 + b"]" * 960,
)

each_target: Final = pytest.mark.parametrize("name", TARGETS)


@functools.cache
def _seeds(name: str) -> list[bytes]:
    return [body for body in seeds(name) if len(body) <= _SHORT] or [b"{}"]


@st.composite
def _spoilt(draw: st.DrawFn, bodies: list[bytes]) -> bytes:
    """A body with pieces of it cut out, said twice, or replaced."""
    body = draw(st.sampled_from(bodies))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(body)))
        length = draw(st.integers(0, 12) | st.integers(0, 200))
        match draw(st.sampled_from(["junk", "value", "twice", "cut", "byte"])):
            case "junk":
                body = body[:place] + draw(st.sampled_from(_JUNK)) + body[place + length :]
            case "value":
                start = body.find(b":", place) + 1
                end = min((found for mark in (b",", b"}") if (found := body.find(mark, start)) >= 0), default=len(body))
                body = body[:start] + draw(st.sampled_from(_JUNK)) + body[end:]
            case "twice":
                body = body[: place + length] + body[place:]
            case "cut":
                body = body[:place] + body[place + length :]
            case _:
                body = body[:place] + bytes([draw(st.integers(0, 255))]) + body[place + 1 :]
    return body


@each_target
@_FEW
@given(data=st.data())
def test_spoilt_bytes(name: str, data: st.DataObject) -> None:
    """A good body, spoilt: it is read, or refused by an error of ours, the same however it was cut."""
    TARGETS[name](data.draw(_spoilt(_seeds(name))))


@each_target
@_FEW
@given(body=st.binary(max_size=200))
def test_any_bytes(name: str, body: bytes) -> None:
    """Bytes of no meaning are refused by an error of ours."""
    TARGETS[name](body)


@each_target
def test_good_bytes(name: str) -> None:
    """What fuzzing begins with passes; else its findings would mean nothing."""
    for body in _seeds(name)[-5:]:
        TARGETS[name](body)
