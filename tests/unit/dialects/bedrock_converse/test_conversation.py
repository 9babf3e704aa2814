"""Bedrock Converse: turns, blocks and media, put into the order and the forms that the service demands."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from genai_spine.errors import InvalidFieldError
from genai_spine.types.json import JsonObject
from genai_spine.types.messages import (
    Audio,
    CacheMark,
    Document,
    Image,
    Media,
    Message,
    Opaque,
    Part,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from genai_spine.types.tools import Tool
from tests.unit.dialects.bedrock_converse.wire import PNG, body_of, read_request, request, told, user

PDF = base64.b64encode(b"%PDF-1.4").decode()
CLOCK = Tool(name="clock")


def assistant(*parts: Part) -> Message:
    """The model's turn."""
    return Message(role="assistant", parts=parts)


def result(call_id: str, *parts: Part, **fields: Any) -> Message:
    """A tool's turn."""
    return Message(role="tool", parts=(ToolResult(call_id=call_id, parts=parts, **fields),))


def turns(*messages: Message, **fields: Any) -> list[Any]:
    """The turns as they are written; nothing is lost."""
    found: list[Any] = body_of(request(*messages, tools=(CLOCK,), **fields))["messages"]
    return found


def content(*parts: Part, **fields: Any) -> list[Any]:
    """The blocks of the user's one turn."""
    found: list[Any] = turns(user(*parts), **fields)[0]["content"]
    return found


def kept(*blocks: JsonObject, role: str = "user") -> tuple[Part, ...]:
    """What is read of blocks of the dialect, which go on as they came."""
    read = read_request(messages=[{"role": role, "content": list(blocks)}])
    assert list(blocks) == body_of(read)["messages"][0]["content"]
    return read.messages[0].parts


# Turns.


def test_turns_alternate_and_begin_with_the_user() -> None:
    """Instructions at the head go apart, turns of one side become one, and somebody speaks first."""
    messages = (
        Message(role="system", parts=(Text(text="Be brief."),)),
        Message(role="developer", parts=(Text(text="Be kind."),)),
        assistant(Text(text="Hello")),
        user("a"),
        user("b"),
    )
    body = body_of(request(*messages, system=(Text(text="First."),)))
    assert [{"text": "First."}, {"text": "Be brief."}, {"text": "Be kind."}] == body["system"]
    assert [
        {"role": "user", "content": [{"text": "(no content)"}]},
        {"role": "assistant", "content": [{"text": "Hello"}]},
        {"role": "user", "content": [{"text": "a"}, {"text": "b"}]},
    ] == body["messages"]


def test_instructions_amid_the_conversation() -> None:
    """They are told as the user's words, marked as what they are, and the caller learns it; so are names."""
    late = Message(role="developer", parts=(Text(text="Be brief."),))
    body, warnings = told(request(Message(role="user", parts=(Text(text="Hi"),), name="ann"), late))
    assert [{"text": "Hi"}, {"text": "<system>\nBe brief.\n</system>"}] == body["messages"][0]["content"]
    assert 2 == len(warnings)


def test_instructions_alone() -> None:
    """Where there is nothing else, they are what the user says."""
    alone = Message(role="system", parts=(Text(text="Say hello."),))
    assert [{"role": "user", "content": [{"text": "Say hello."}]}] == body_of(request(alone))["messages"]


def test_pitfall_16_empty_words_are_left_out() -> None:
    """Blocks of nothing but white space are refused by the service: they go, and an empty turn gets a placeholder."""
    assert [{"text": "a"}] == content(Text(text=""), Text(text="a"), Text(text=" \n"), Refusal(text=""))
    assert [{"text": "(no content)"}] == content(Text(text=" "))
    called = (user("a"), assistant(ToolCall(id="c", name="clock")), result("c", Text(text="")))
    assert [{"text": "(no content)"}] == turns(*called)[2]["content"][0]["toolResult"]["content"]


def test_an_answer_to_be_continued_does_not_end_in_white_space() -> None:
    """The service refuses it."""
    assert [{"text": "Once upon"}] == turns(user("Tell"), assistant(Text(text="Once upon ")))[1]["content"]


def test_pitfall_15_ids_are_of_the_services_alphabet_and_given_once() -> None:
    """A foreign id becomes one of at most 64 letters, the same for call and result; a repeated one is told apart."""
    messages: list[Message] = [user("a")]
    for _ in range(2):
        messages += [assistant(ToolCall(id="functions.Bash:0" * 5, name="clock")), result("functions.Bash:0" * 5)]
    written = turns(*messages)
    ids = [block["toolUse"]["toolUseId"] for turn in written for block in turn["content"] if "toolUse" in block]
    answered = [
        block["toolResult"]["toolUseId"] for turn in written for block in turn["content"] if "toolResult" in block
    ]
    assert ids == answered
    assert 2 == len(set(ids))
    assert all(0 < len(written_id) <= 64 and "." not in written_id for written_id in ids)


def test_results_stand_together_before_words() -> None:
    """All results of one turn's calls are in the next turn, first; errors are told as such."""
    messages = (
        user("a"),
        assistant(
            Text(text="Wait"), ToolCall(id="c1", name="clock"), ToolCall(id="c2", name="clock", arguments='{"a":1}')
        ),
        result("c2", Text(text="no"), is_error=True),
        user("well?"),
        result("c1", Text(text="noon"), Image(media=Media(data=PNG)), is_error=False),
    )
    first, second, third = turns(*messages)[2]["content"]
    assert {"toolUseId": "c2", "content": [{"text": "no"}], "status": "error"} == first["toolResult"]
    assert {"image": {"format": "png", "source": {"bytes": PNG}}} == second["toolResult"]["content"][1]
    assert "success" == second["toolResult"]["status"]
    assert {"text": "well?"} == third


@pytest.mark.parametrize(
    "messages",
    [
        (user("a"), assistant(ToolCall(id="c", name="clock")), user("b")),
        (user("a"), assistant(ToolCall(id="c", name="clock"))),
        (user("a"), result("c")),
        (result("c"),),
    ],
)
def test_calls_and_results_go_in_pairs(messages: tuple[Message, ...]) -> None:
    """A call without its result, or a result without its call, is refused with what to do."""
    with pytest.raises(InvalidFieldError, match=r"leave the (call|result) out"):
        turns(*messages)


@pytest.mark.parametrize(
    ("call", "written"),
    [
        (ToolCall(id="c", name="clock", arguments='{"a": [1]}'), {"a": [1]}),
        (ToolCall(id="c", name="clock", arguments=""), {}),
        (ToolCall(id="c", name="clock", arguments="{broken"), {"raw": "{broken"}),
        (ToolCall(id="c", name="clock", arguments="5"), {"raw": "5"}),
        (ToolCall(id="c", name="clock", arguments="free", custom=True), {"raw": "free"}),
    ],
)
def test_arguments_are_objects(call: ToolCall, written: JsonObject) -> None:
    """The service takes nothing else; what is none is kept in one."""
    block = turns(user("a"), assistant(call), result("c"))[1]["content"][0]
    assert written == block["toolUse"]["input"]


def test_reasoning_of_others_is_not_sent() -> None:
    """A seal of another dialect is no good here; one that the service gave goes back as it came."""
    sealed = Thinking(text="Well", signature="s")
    said = assistant(sealed, Thinking(redacted="blob"), Thinking(text="unsealed"), Text(text="Yes"))
    assert [{"text": "Yes"}] == turns(user("a"), said)[1]["content"]
    assert [
        {"reasoningContent": {"reasoningText": {"text": "Well", "signature": "s"}}},
        {"reasoningContent": {"redactedContent": "blob"}},
        {"text": "Yes"},
    ] == turns(user("a"), said, dialect=None)[1]["content"]


def test_what_others_alone_know_is_dropped() -> None:
    """A part that only another dialect knows goes, with a warning."""
    opaque = Opaque(dialect="anthropic_messages", data={"type": "server_tool_use"})
    body, warnings = told(request(user(opaque, "a")))
    assert [{"text": "a"}] == body["messages"][0]["content"]
    assert 1 == len(warnings)


def test_refusals_are_words() -> None:
    """The dialect has no other word for them."""
    assert [{"text": "No."}] == turns(user("a"), assistant(Refusal(text="No.")))[1]["content"]


def test_extras_of_turns() -> None:
    """They go along where they are the dialect's own."""
    mine = Message(role="user", parts=(Text(text="a"),), extras={"x": 1})
    assert {"role": "user", "content": [{"text": "a"}], "x": 1} == body_of(request(mine, dialect=None))["messages"][0]


# Blocks of the dialect itself.


def test_blocks_are_read_and_written_as_they_came() -> None:
    """Each kind of the vocabulary is read as that; fields that nobody knows stay where they were."""
    parts = kept(
        {"text": "a", "x": 1},
        {"image": {"format": "png", "source": {"bytes": PNG}, "error": {"message": "m"}}},
        {"image": {"format": "jpeg", "source": {"s3Location": {"uri": "s3://b/k", "bucketOwner": "1"}}}},
        {"audio": {"format": "mp3", "source": {"bytes": "AAAA"}}},
        {"document": {"format": "pdf", "name": "D", "source": {"bytes": PDF}, "citations": {"enabled": True}}},
        {"document": {"format": "txt", "name": "E", "source": {"text": "words"}, "context": "c"}},
        {"toolUse": {"toolUseId": "c", "name": "n", "input": {"a": 1}, "y": 2}},
        {"toolUse": {"toolUseId": "d", "name": "n", "input": [1]}},
        {"toolResult": {"toolUseId": "c", "content": [{"text": "t"}, {"json": {"k": 1}}], "status": "error", "z": 3}},
        {"toolResult": {"toolUseId": "d", "content": [], "status": "success"}},
        {"reasoningContent": {"reasoningText": {"text": "w", "signature": "s", "u": 4}}},
        {"reasoningContent": {"redactedContent": "blob"}},
        {"reasoningContent": {"reasoningText": {"text": "unsealed"}}},
        {"citationsContent": {"content": [{"text": "b"}], "citations": [{"title": "t"}]}},
    )
    kinds = [type(part).__name__ for part in parts]
    assert ["Text", "Image", "Image", "Audio", "Document", "Document"] == kinds[:6]
    assert ["ToolCall", "ToolCall", "ToolResult", "ToolResult", "Thinking", "Thinking", "Thinking", "Text"] == kinds[6:]
    json_result = parts[8]
    assert isinstance(json_result, ToolResult)
    assert '{"k":1}' == json_result.parts[1].text if isinstance(json_result.parts[1], Text) else False


def test_blocks_that_the_vocabulary_has_not() -> None:
    """They are kept whole."""
    blocks: list[JsonObject] = [
        {"video": {"format": "mp4", "source": {"bytes": "AAAA"}}},
        {"guardContent": {"text": {"text": "x"}}},
        {"image": {"format": "png", "source": {"elsewhere": 1}}},
        {"audio": {"source": {"bytes": "AAAA"}}},
        {"document": {"format": "odt", "name": "D", "source": {"bytes": PDF}}},
        {"document": {"name": "D", "source": {"content": [{"text": "x"}]}}},
        {"toolUse": {"toolUseId": "c", "name": "n", "input": {}, "type": "server_tool_use"}},
        {"toolResult": {"toolUseId": "c", "content": [], "type": "n_result"}},
        {"cachePoint": {"type": "default"}},
    ]
    assert [Opaque(dialect="bedrock_converse", data=block) for block in blocks[:-1]] == list(kept(*blocks[:-1]))
    first = kept(blocks[-1], {"text": "a"})
    assert Opaque(dialect="bedrock_converse", data=blocks[-1]) == first[0]


def test_cache_points_mark_what_stands_before() -> None:
    """A plain one becomes the mark of the part before it; a second, or one with more in it, is kept as it is."""
    marked, second, odd = kept(
        {"text": "a"},
        {"cachePoint": {"type": "default", "ttl": "1h"}},
        {"cachePoint": {"type": "default"}},
        {"cachePoint": {"type": "default", "ttl": 5}},
    )
    assert Text(text="a", cache=CacheMark(ttl="1h")) == marked
    assert isinstance(second, Opaque)
    assert isinstance(odd, Opaque)


# Media.


@pytest.mark.parametrize("claimed", ["image/png", "image/jpeg", None])
def test_a_picture_has_the_format_that_its_bytes_show(claimed: str | None) -> None:
    """A wrong claim is refused by the service, so that nobody's claim is believed."""
    picture = Image(media=Media(data=PNG, media_type=claimed))
    assert [{"image": {"format": "png", "source": {"bytes": PNG}}}] == content(picture)


@pytest.mark.parametrize(
    "part",
    [
        Image(media=Media(url="https://pictures.example/cat.png")),
        Image(media=Media(file_id="f")),
        Image(media=Media(data="AAAA", media_type="image/tiff")),
        Document(media=Media(url="https://papers.example/a.pdf")),
        Document(media=Media(data="AAAA", media_type="application/zip")),
        Audio(media=Media(data="AAAA", media_type="audio/midi")),
    ],
)
def test_what_the_service_cannot_have_is_refused(part: Part) -> None:
    """It fetches no address and holds no files: the caller learns what to send instead, with status 422."""
    with pytest.raises(InvalidFieldError, match="send") as caught:
        content(part)
    assert 422 == caught.value.status


def test_what_lies_in_s3_is_named() -> None:
    """That is the one address that the service reads."""
    place = {"s3Location": {"uri": "s3://bucket/key"}}
    assert [{"image": {"format": "jpeg", "source": place}}] == content(Image(media=Media(url="s3://bucket/key")))


def test_sounds() -> None:
    """Formats go by the service's names."""
    sound = Audio(media=Media(data="AAAA", media_type="audio/mpeg"))
    assert [{"audio": {"format": "mp3", "source": {"bytes": "AAAA"}}}] == content(sound)


@pytest.mark.parametrize(
    ("document", "form", "data"),
    [
        (Document(media=Media(data=PDF, media_type="text/plain")), "pdf", PDF),
        (Document(media=Media(data="YSxi", media_type="text/csv; charset=utf-8")), "csv", "YSxi"),
        (Document(media=Media(data="e30=", media_type="application/json")), "txt", "e30="),
        (Document(text="wörds"), "txt", base64.b64encode("wörds".encode()).decode()),
    ],
)
def test_documents_have_words_beside_them(document: Document, form: str, data: str) -> None:
    """A document goes in bytes under a name, and words that point to it follow where the caller wrote none."""
    written = {"document": {"format": form, "name": "Document", "source": {"bytes": data}}}
    assert [written, {"text": "(see the document)"}] == content(document)
    assert [written, {"text": "Sum it up"}] == content(document, Text(text="Sum it up"))


def test_names_of_documents() -> None:
    """They are of the service's alphabet, without a file's ending, at most 200 long, and each given once."""
    titles = ["Q3  report_v2.PDF", "q3 report-v2", "???", None, "a" * 300, "a" * 300, "x.unknown"]
    documents = [Document(text="w", title=title, context="c" if title is None else None) for title in titles]
    documents.append(Document(media=Media(data=PDF, filename="file.pdf")))
    blocks = content(*documents)[:-1]
    names = [block["document"]["name"] for block in blocks]
    assert [
        "Q3 report-v2",
        "q3 report-v2 2",
        "Document",
        "Document 2",
        "a" * 200,
        "a" * 195 + " 2",
        "x-unknown",
        "file",
    ] == names
    assert "c" == blocks[3]["document"]["context"]
