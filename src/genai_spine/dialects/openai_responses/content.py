"""OpenAI Responses: what a caller says, in messages and in results of tools, read and written."""

from __future__ import annotations

from typing import Final

from genai_spine.dialects.fields import Fields
from genai_spine.dialects.losses import Losses
from genai_spine.dialects.media import file_address, from_address, media_type_of, titled, to_address, words_of
from genai_spine.dialects.openai_responses.items import NAME
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.messages import Audio, Document, Image, Media, Opaque, Part, Refusal, Text

__all__ = ["ContentWriter", "decode_content"]

# Dialects whose file ids are of the same service.
_SAME_FILES: Final = frozenset({None, NAME, "openai_chat"})


def decode_content(fields: Fields, name: str) -> tuple[Part, ...]:
    """Take the field ``name``: words, a list of parts, or nothing. Empty words are nothing."""
    value = fields.peek(name)
    if value is None or isinstance(value, str):
        fields.take(name)
        return (Text(text=value),) if value else ()
    parts = (_decode_part(part) for part in fields.children(name))
    return tuple(part for part in parts if not isinstance(part, Text) or part.text or part.extras)


def _decode_part(fields: Fields) -> Part:
    kind = fields.text("type")
    match kind:
        case "input_text" | "output_text" | "text":
            return Text(text=fields.need_text("text"), extras=fields.told())
        case "input_image" if "image_url" in fields or "file_id" in fields:
            detail = fields.text("detail")
            file_id = fields.text("file_id")
            media = from_address(fields.need_text("image_url")) if file_id is None else Media(file_id=file_id)
            return Image(media=media, detail=detail, extras=fields.told())
        case "input_file":
            return Document(media=_decode_file(fields), extras=fields.told())
        case "input_audio":
            inner = fields.need_child("input_audio")
            media = Media(data=inner.need_text("data"), media_type=f"audio/{inner.need_text('format')}")
            left = inner.told()
            return Audio(media=media, extras=fields.told() | ({kind: left} if left else {}))
        case _:
            return Opaque(dialect=NAME, data={"type": kind, **fields.rest()} if kind else fields.rest())


def _decode_file(fields: Fields) -> Media:
    filename = fields.text("filename")
    if (file_id := fields.text("file_id")) is not None:
        return Media(file_id=file_id, filename=filename)
    if (address := fields.text("file_url")) is not None:
        return Media(url=address, filename=filename)
    data = fields.need_text("file_data")
    found = from_address(data)
    if found.data is not None:
        return Media(data=found.data, media_type=found.media_type, filename=filename)
    if data.startswith("data:"):
        # An address of another coding, which goes on as it is.
        return Media(url=data, filename=filename)
    found = Media(data=data)
    return Media(data=data, media_type=media_type_of(found, "") or None, filename=filename)


class ContentWriter:
    """Writes what callers say, in one request that came in the dialect ``origin``."""

    def __init__(self, origin: str | None, losses: Losses) -> None:
        self._origin = origin
        self._own = origin in {None, NAME}
        self._losses = losses

    def write(self, parts: tuple[Part, ...]) -> Json:
        """Write parts: a string where that says it all, else a list.

        Raises:
            InvalidFieldError: One is what the dialect cannot say and must not lose.
        """
        if not parts:
            return ""
        if len(parts) == 1 and isinstance(parts[0], Text) and not (self._own and parts[0].extras):
            return parts[0].text
        written = [self._part(part) for part in parts]
        return [part for part in written if part is not None]

    def _part(self, part: Part) -> Json:
        match part:
            case Text():
                # Empty words are refused by some services.
                return {"type": "input_text", "text": part.text, **self._extras(part.extras)} if part.text else None
            case Refusal():
                return {"type": "input_text", "text": part.text}
            case Image():
                return self._image(part)
            case Document():
                return self._document(part)
            case Audio():
                return self._audio(part)
            case Opaque():
                return part.data
            case _:
                return None

    def _image(self, part: Image) -> Json:
        image: JsonObject = {"type": "input_image"}
        if part.media.file_id is not None:
            image["file_id"] = self._file_id(part.media.file_id, "image")
        else:
            image["image_url"] = to_address(part.media, "" if self._origin == NAME else "image/jpeg")
        if part.detail is not None:
            image["detail"] = part.detail
        elif self._origin != NAME:
            # Some services demand it.
            image["detail"] = "auto"
        return image | self._extras(part.extras)

    def _document(self, part: Document) -> Json:
        media = part.media or Media()
        words = part.text if self._origin == NAME else words_of(part, self._losses)
        if words is not None:
            return {"type": "input_text", "text": titled(part, words)}
        file: JsonObject = {"type": "input_file"}
        if media.file_id is not None:
            file["file_id"] = self._file_id(media.file_id, "document")
        elif media.url is not None:
            file["file_data" if media.url.startswith("data:") else "file_url"] = media.url
        elif self._origin == NAME:
            file["file_data"] = media.data if media.media_type is None else to_address(media, "")
        else:
            file["file_data"] = file_address(media, self._losses)
        if (name := media.filename or part.title) is not None:
            file["filename"] = name
        elif self._origin != NAME and media.data is not None:
            # The service demands a name beside bytes.
            file["filename"] = "document.pdf"
        return file | self._extras(part.extras)

    def _audio(self, part: Audio) -> Json:
        sound = (part.media.media_type or "audio/wav").removeprefix("audio/")
        inner: JsonObject = {"data": part.media.data, "format": "mp3" if sound == "mpeg" else sound}
        extras = dict(self._extras(part.extras))
        if isinstance(more := extras.pop("input_audio", None), dict):
            inner |= more
        return {"type": "input_audio", "input_audio": inner, **extras}

    def _file_id(self, file_id: str, what: str) -> str:
        if self._origin not in _SAME_FILES:
            refusal = self._losses.refuse(f"{what} file id", f"send the {what}'s bytes or its address")
            raise refusal
        return file_id

    def _extras(self, extras: JsonObject) -> JsonObject:
        return extras if self._own else {}
