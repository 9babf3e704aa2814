"""Media: addresses read and written, and types by what the bytes show."""

from __future__ import annotations

import base64

import pytest

from genai_spine.dialects.losses import Losses
from genai_spine.dialects.media import from_address, media_type_of, to_address, words_of
from genai_spine.errors import InvalidFieldError
from genai_spine.types.messages import Document, Media

_HEADS = {
    "image/png": b"\x89PNG\r\n\x1a\n" + bytes(8),
    "image/jpeg": b"\xff\xd8\xff\xe0" + bytes(8),
    "image/gif": b"GIF89a" + bytes(10),
    "image/webp": b"RIFF\x24\x00\x00\x00WEBPVP8 " + bytes(8),
    "application/pdf": b"%PDF-1.7\n" + bytes(8),
}


@pytest.mark.parametrize("media_type", _HEADS)
def test_the_bytes_tell_the_type(media_type: str) -> None:
    """What the bytes show counts for more than what the sender claims."""
    data = base64.b64encode(_HEADS[media_type]).decode()
    assert media_type == media_type_of(Media(data=data, media_type="image/tiff"), "x/y")
    assert media_type == from_address(f"data:image/tiff;base64,{data}").media_type


def test_a_riff_that_is_no_picture() -> None:
    """A WAV recording begins like a WebP picture, and is none."""
    data = base64.b64encode(b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(8)).decode()
    assert media_type_of(Media(data=data, media_type="audio/wav"), "x/y") == "audio/wav"


def test_unknown_bytes() -> None:
    """Bytes that nobody knows are what the sender claims, else the fallback."""
    assert media_type_of(Media(data="AAAA", media_type="text/csv"), "x/y") == "text/csv"
    assert media_type_of(Media(data="AAAA"), "x/y") == "x/y"


@pytest.mark.parametrize(
    "address",
    [
        "https://pictures.example/cat.png",
        "data:text/csv;base64,QSxC",
        "data:,plain",
        "data:image/svg+xml;utf8,<svg/>",
        "gs://bucket/file",
    ],
)
def test_addresses_there_and_back(address: str) -> None:
    """An address is written as it was read; only base64 becomes bytes."""
    media = from_address(address)
    assert address == to_address(media, "x/y")
    assert (media.data is not None) == (";base64," in address)


@pytest.mark.parametrize(("data", "words"), [("SGk=", "Hi"), ("S\nGk=\r\n", "Hi"), ("", "")])
def test_words_of_a_file(data: str, words: str) -> None:
    """They are UTF-8 in base64, in lines or not."""
    part = Document(media=Media(data=data, media_type="text/plain"))
    assert words == words_of(part, Losses("here"))


@pytest.mark.parametrize("data", ["SGk", "***", "é", "/w=="])
def test_a_file_that_claims_to_hold_words(data: str) -> None:
    """Whatever letters it has, what is no UTF-8 in base64 is refused."""
    part = Document(media=Media(data=data, media_type="text/plain"))
    with pytest.raises(InvalidFieldError, match="claims to be text"):
        words_of(part, Losses("here"))
