"""Every kind of media to every provider dialect: how it is said there, or by which name it is refused."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Final

import pytest

from genai_spine.assembly import DIALECTS
from genai_spine.dialects.base import Quirks, Target
from genai_spine.errors import InvalidFieldError
from genai_spine.types.completion import CompletionRequest
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.messages import Audio, Document, Image, Media, Message, Part, Text


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


PNG: Final = _base64(b"\x89PNG\r\n\x1a\n" + bytes(8))
PDF: Final = _base64(b"%PDF-1.7\n" + bytes(8))
WAV: Final = _base64(b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(8))
MP4: Final = _base64(b"\x00\x00\x00\x18ftypmp42" + bytes(8))
WORDS: Final = "One, two."
ADDRESS: Final = "https://files.example/a"

KINDS: Final[dict[str, Part]] = {
    # The types claimed are wrong wherever the bytes can show it.
    "image": Image(media=Media(data=PNG, media_type="image/jpeg")),
    "image address": Image(media=Media(url=ADDRESS)),
    "pdf": Document(media=Media(data=PDF, media_type="text/plain", filename="a b.pdf")),
    "pdf address": Document(media=Media(url=ADDRESS)),
    "text": Document(media=Media(data=_base64(WORDS.encode()), media_type="text/plain", filename="n.txt")),
    "words": Document(text=WORDS, title="n.txt"),
    "audio": Audio(media=Media(data=WAV, media_type="audio/wav")),
    "video": Document(media=Media(data=MP4, media_type="video/mp4")),
}

_CHAT: Final[dict[str, Json]] = {
    "image": {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
    "image address": {"type": "image_url", "image_url": {"url": ADDRESS}},
    "pdf": {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{PDF}", "filename": "a b.pdf"}},
    "pdf address": "document address",
    "text": {"type": "text", "text": f"n.txt\n\n{WORDS}"},
    "words": {"type": "text", "text": f"n.txt\n\n{WORDS}"},
    "audio": {"type": "input_audio", "input_audio": {"data": WAV, "format": "wav"}},
    "video": "document of type video/mp4",
}
_RESPONSES: Final[dict[str, Json]] = {
    "image": {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}", "detail": "auto"},
    "image address": {"type": "input_image", "image_url": ADDRESS, "detail": "auto"},
    "pdf": {"type": "input_file", "file_data": f"data:application/pdf;base64,{PDF}", "filename": "a b.pdf"},
    "pdf address": {"type": "input_file", "file_url": ADDRESS},
    "text": {"type": "input_text", "text": f"n.txt\n\n{WORDS}"},
    "words": {"type": "input_text", "text": f"n.txt\n\n{WORDS}"},
    "audio": {"type": "input_audio", "input_audio": {"data": WAV, "format": "wav"}},
    "video": "document of type video/mp4",
}
_TEXT_SOURCE: Final[JsonObject] = {"type": "text", "media_type": "text/plain", "data": WORDS}
_MESSAGES: Final[dict[str, Json]] = {
    "image": {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
    "image address": {"type": "image", "source": {"type": "url", "url": ADDRESS}},
    "pdf": {
        "type": "document",
        "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
        "title": "a b.pdf",
    },
    "pdf address": {"type": "document", "source": {"type": "url", "url": ADDRESS}},
    "text": {"type": "document", "source": _TEXT_SOURCE, "title": "n.txt"},
    "words": {"type": "document", "source": _TEXT_SOURCE, "title": "n.txt"},
    "audio": "audio",
    "video": "document of type video/mp4",
}
_GEMINI: Final[dict[str, Json]] = {
    "image": {"inlineData": {"mimeType": "image/png", "data": PNG}},
    "image address": "image address",
    "pdf": {"inlineData": {"mimeType": "application/pdf", "data": PDF}},
    "pdf address": "document address",
    "text": {"inlineData": {"mimeType": "text/plain", "data": _base64(WORDS.encode())}},
    "words": {"inlineData": {"mimeType": "text/plain", "data": _base64(f"n.txt\n\n{WORDS}".encode())}},
    "audio": {"inlineData": {"mimeType": "audio/wav", "data": WAV}},
    "video": {"inlineData": {"mimeType": "video/mp4", "data": MP4}},
}
_CONVERSE: Final[dict[str, Json]] = {
    "image": {"image": {"format": "png", "source": {"bytes": PNG}}},
    "image address": "image address",
    "pdf": {"document": {"format": "pdf", "name": "a b", "source": {"bytes": PDF}}},
    "pdf address": "document address",
    "text": {"document": {"format": "txt", "name": "n", "source": {"bytes": _base64(WORDS.encode())}}},
    "words": {"document": {"format": "txt", "name": "n", "source": {"bytes": _base64(WORDS.encode())}}},
    "audio": {"audio": {"format": "wav", "source": {"bytes": WAV}}},
    "video": "document of type video/mp4",
}
_OLLAMA: Final[dict[str, Json]] = {
    "image": {"role": "user", "content": "Look:", "images": [PNG]},
    "image address": "image address",
    "pdf": "document",
    "pdf address": "document",
    "text": {"role": "user", "content": f"Look:\n\nn.txt\n\n{WORDS}"},
    "words": {"role": "user", "content": f"Look:\n\nn.txt\n\n{WORDS}"},
    "audio": "audio",
    "video": "document",
}
CELLS: Final[dict[str, dict[str, Json]]] = {
    "openai_chat": _CHAT,
    "openai_responses": _RESPONSES,
    "anthropic_messages": _MESSAGES,
    "gemini": _GEMINI,
    "bedrock_converse": _CONVERSE,
    "ollama": _OLLAMA,
}
"""What is written of each kind; where it is refused, the name of what is."""


def _cells() -> Iterator[tuple[str, str, Json]]:
    return ((name, kind, expected) for name, cells in CELLS.items() for kind, expected in cells.items())


def _written(dialect: str, part: Part) -> JsonObject:
    request = CompletionRequest(
        messages=(Message(role="user", parts=(Text(text="Look:"), part)),), max_tokens=9, dialect="of somebody else"
    )
    quirks = Quirks(image_urls=dialect != "gemini")
    target = Target(model="m", provider="theirs", quirks=quirks)
    body: JsonObject = json.loads(DIALECTS[dialect].encode_request(request, target).body)
    return body


def test_no_cell_is_missing() -> None:
    """Each dialect that a provider may speak has a cell for each kind."""
    assert set(DIALECTS) == set(CELLS)
    assert [set(KINDS)] * len(CELLS) == [set(cells) for cells in CELLS.values()]


@pytest.mark.parametrize(("dialect", "kind", "expected"), list(_cells()))
def test_cell(dialect: str, kind: str, expected: Json) -> None:
    """It is written as the dialect says it, by the type that its bytes show; or it is refused by its name."""
    part = KINDS[kind]
    if isinstance(expected, str):
        with pytest.raises(InvalidFieldError) as caught:
            _written(dialect, part)
        assert expected == caught.value.param
    else:
        body = _written(dialect, part)
        assert json.dumps(expected)[1:-1] in json.dumps(body)


@pytest.mark.parametrize("dialect", ["openai_chat", "openai_responses", "anthropic_messages", "ollama"])
def test_text_that_is_none(dialect: str) -> None:
    """A file that claims to be text and is not is refused, and why is said."""
    part = Document(media=Media(data=_base64(b"\xff\xfe\xfd"), media_type="text/plain"))
    with pytest.raises(InvalidFieldError, match="it claims to be text but is not UTF-8 text in base64"):
        _written(dialect, part)


@pytest.mark.parametrize(
    ("dialect", "part", "image_urls", "expected"),
    [
        ("openai_chat", "image address", True, True),
        ("openai_chat", "image address", False, False),
        ("openai_chat", "pdf address", True, False),
        ("openai_responses", "pdf address", True, True),
        ("openai_responses", "pdf address", False, False),
        ("anthropic_messages", "pdf address", True, True),
        ("anthropic_messages", "image address", False, False),
        ("gemini", "image address", True, True),
        ("gemini", "image address", False, False),
        ("bedrock_converse", "image address", True, False),
        ("ollama", "image address", True, False),
    ],
)
def test_who_fetches(dialect: str, part: str, image_urls: bool, expected: bool) -> None:  # noqa: FBT001  # a column each
    """A dialect knows what can be said by address in it, a row whether its service fetches at all."""
    medium = KINDS[part]
    assert isinstance(medium, Image | Document)
    assert expected == DIALECTS[dialect].fetches(medium, Quirks(image_urls=image_urls))


@pytest.mark.parametrize(
    ("dialect", "address"),
    [
        ("gemini", "https://www.youtube.com/watch?v=1"),
        ("gemini", "gs://bucket/a.png"),
        ("gemini", "https://generativelanguage.googleapis.com/v1beta/files/1"),
        ("bedrock_converse", "s3://bucket/a.png"),
    ],
)
def test_what_a_service_holds(dialect: str, address: str) -> None:
    """Its own storage it reads by itself, though it fetches nothing else."""
    assert DIALECTS[dialect].fetches(Image(media=Media(url=address)), Quirks(image_urls=False))
    assert address in json.dumps(_written(dialect, Image(media=Media(url=address, media_type="image/png"))))
