"""OpenAI's retired Completions, a door."""

from __future__ import annotations

import json

import httpx2
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import Completion

from genai_spine.dialects.base import Reply, Target
from genai_spine.dialects.openai_chat.dialect import OpenAIChat
from genai_spine.dialects.openai_completions.dialect import OpenAICompletions
from genai_spine.errors import InvalidFieldError, OverloadedError
from genai_spine.testing.dialects import check_envelope, check_errors
from genai_spine.types.completion import Choice, CompletionResponse, FinishReason
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.messages import Message, Refusal, Text, Thinking, ToolCall
from genai_spine.types.stream import Event, Failed, Finish, Start, TextDelta, UsageTold, events_of
from genai_spine.types.usage import Usage
from tests.conformance.readers import READERS
from tests.strategies import answers

DOOR = OpenAICompletions()
REPLY = Reply(model="m", request_id="r1", now=9)


def body_of(**fields: Json) -> bytes:
    """Return a request of one prompt."""
    return json.dumps({"model": "m", "prompt": "Once", **fields}).encode()


def token(text: str, logprob: float, **others: float) -> JsonObject:
    """Return one token's record."""
    return {
        "token": text,
        "logprob": logprob,
        "top_logprobs": [{"token": name, "logprob": value} for name, value in others.items()],
    }


def streamed(events: list[Event], reply: Reply = REPLY) -> list[JsonObject]:
    """Return the chunks of a stream, which ends with its mark."""
    encoder = DOOR.stream_encoder(reply)
    body = b"".join(encoder.encode(event) for event in events) + encoder.end()
    frames = body.decode().split("\n\n")
    assert ["data: [DONE]", ""] == frames[-2:]
    return [json.loads(frame.removeprefix("data: ")) for frame in frames[:-2]]


def test_the_door() -> None:
    """Errors are those of OpenAI; what is no request is refused."""
    check_errors(DOOR)
    bad: list[JsonObject] = [{}, {"prompt": ""}, {"prompt": 5}, {"prompt": []}, {"prompt": "x", "max_tokens": "many"}]
    check_envelope(DOOR, [body_of(stream=False)], [json.dumps(body).encode() for body in bad])


def test_a_request() -> None:
    """A prompt is a turn of the user's; the rest is what the newer dialect has too."""
    body = body_of(
        max_tokens=5,
        temperature=0.5,
        top_p=0.9,
        n=2,
        stop=["x"],
        seed=1,
        presence_penalty=0.1,
        frequency_penalty=0.2,
        logprobs=3,
        user="u",
        stream=True,
        stream_options={"include_usage": True, "other": 1},
        best_of=2,
        echo=False,
        suffix=None,
        logit_bias={"50256": -100},
    )
    request = DOOR.decode_request(body)
    assert (Message(role="user", parts=(Text(text="Once"),)),) == request.messages
    assert (5, 0.5, 0.9, 2, ("x",), 1, 0.1, 0.2) == (
        request.max_tokens,
        request.temperature,
        request.top_p,
        request.n,
        request.stop,
        request.seed,
        request.presence_penalty,
        request.frequency_penalty,
    )
    assert (True, 3, "u", True, True) == (
        request.logprobs,
        request.top_logprobs,
        request.user,
        request.stream,
        request.stream_usage,
    )
    assert {"logit_bias": {"50256": -100}, "stream_options": {"other": 1}} == request.extras
    sent = OpenAIChat().encode_request(request, Target(model="m", provider="acme"))
    assert [{"role": "user", "content": "Once"}] == json.loads(sent.body)["messages"]
    assert ("logit_bias: left out, acme does not know it",) == sent.warnings


def test_a_request_of_little() -> None:
    """What the caller does not say is not said for him; the prompt may stand in a list."""
    request = DOOR.decode_request(body_of(prompt=["Once"], logprobs=0))
    assert (Message(role="user", parts=(Text(text="Once"),)),) == request.messages
    assert (None, True, None, False) == (request.max_tokens, request.logprobs, request.top_logprobs, request.stream)
    assert DOOR.decode_request(body_of()).logprobs is None


@pytest.mark.parametrize("prompt", ["", [], ["a", "b"], [1, 2], [[1]], None, 5])
def test_prompts_that_are_none(prompt: Json) -> None:
    """Several prompts, and token ids, have no equal elsewhere."""
    with pytest.raises(InvalidFieldError, match="prompt"):
        DOOR.decode_request(body_of(prompt=prompt))


@pytest.mark.parametrize("field", ["echo", "suffix", "best_of"])
def test_fields_that_must_not_be_lost(field: str) -> None:
    """What would change the answer is refused by whoever cannot say it."""
    values: dict[str, Json] = {"echo": True, "suffix": "end", "best_of": 3}
    request = DOOR.decode_request(body_of(**{field: values[field]}))
    with pytest.raises(InvalidFieldError) as caught:
        DOOR.encode_request(request, Target(model="m"))
    assert field == caught.value.param


def test_the_envelope() -> None:
    """Usage is told in a stream to who asks; the provider may be named in the body or in a header."""
    plain = DOOR.read_envelope(body_of(stream=True), {"x-spine-provider": "acme"})
    assert (False, True, "acme") == (plain.wants_usage, plain.stream, plain.wishes.provider)
    asked = DOOR.read_envelope(body_of(provider="other", stream_options={"include_usage": True}), {})
    assert (True, False, "other") == (asked.wants_usage, asked.stream, asked.wishes.provider)
    relayed = DOOR.relay_request(plain, Target(model="t"))
    assert ("/completions", "t") == (relayed.path, json.loads(relayed.body)["model"])


def test_an_answer() -> None:
    """Words and refusals are the text; thinking and calls have no place; logprobs are in their old form."""
    answer = CompletionResponse(
        choices=(
            Choice(
                parts=(Thinking(text="hm"), Text(text="Hi you"), Refusal(text="!"), ToolCall(id="a", name="f")),
                finish_reason="tool_calls",
                logprobs=[token("Hi", -0.1, Hi=-0.1, Ho=-2), token(" you", -0.2), "junk"],
            ),
            Choice(parts=(Text(text="Ho"),), finish_reason="length"),
        ),
        usage=Usage(input_tokens=3, output_tokens=2),
    )
    told = json.loads(DOOR.encode_response(answer, REPLY))
    parsed = Completion.model_validate(told, strict=True)
    assert ("cmpl-r1", "m", 9) == (parsed.id, parsed.model, parsed.created)
    assert [("Hi you!", "stop"), ("Ho", "length")] == [(choice.text, choice.finish_reason) for choice in parsed.choices]
    assert {
        "tokens": ["Hi", " you"],
        "token_logprobs": [-0.1, -0.2],
        "top_logprobs": [{"Hi": -0.1, "Ho": -2}, {}],
        "text_offset": [0, 2],
    } == told["choices"][0]["logprobs"]
    assert parsed.usage is not None
    assert 5 == parsed.usage.total_tokens
    assert "usage" not in json.loads(DOOR.encode_response(CompletionResponse(), REPLY))


@pytest.mark.parametrize(
    ("reason", "told"),
    [("stop", "stop"), ("pause", "length"), ("content_filter", "content_filter"), ("error", "error")],
)
def test_finish_reasons(reason: FinishReason, told: str) -> None:
    """They are three, and a fault."""
    answer = CompletionResponse(choices=(Choice(finish_reason=reason),))
    assert told == json.loads(DOOR.encode_response(answer, REPLY))["choices"][0]["finish_reason"]


def test_a_stream() -> None:
    """Each chunk has words of one choice; offsets go on from chunk to chunk; usage comes last."""
    events: list[Event] = [
        Start(id="a1", model="n", created=7),
        TextDelta(index=0, text="Hi", logprobs=[token("Hi", -0.1)]),
        TextDelta(index=0, text=""),
        TextDelta(index=0, text=" you", logprobs=[token(" you", -0.2)]),
        Finish(reason="stop"),
        UsageTold(usage=Usage(input_tokens=3, output_tokens=2)),
    ]
    chunks = streamed(events)
    for chunk in chunks:
        assert ("a1", "n", 7, "text_completion") == (chunk["id"], chunk["model"], chunk["created"], chunk["object"])
    choices = [chunk["choices"] for chunk in chunks]
    assert [] == choices.pop()
    firsts = [choice[0] for choice in choices if isinstance(choice, list)]
    texts = [(first["text"], first["finish_reason"]) for first in firsts if isinstance(first, dict)]
    assert [("Hi", None), (" you", None), ("", "stop")] == texts
    offsets = [first["logprobs"] for first in firsts if isinstance(first, dict)]
    assert [[0], [2], None] == [row["text_offset"] if isinstance(row, dict) else None for row in offsets]
    usage = chunks[-1]["usage"]
    assert isinstance(usage, dict)
    assert 5 == usage["total_tokens"]


def test_a_stream_without_usage() -> None:
    """Who did not ask for usage is not told, and a stream without a start has a head all the same."""
    reply = Reply(model="m", request_id="r1", now=9, wants_usage=False)
    answer = CompletionResponse(
        choices=(
            Choice(
                parts=(Thinking(text="hm"), Text(text="Hi")),
            ),
        ),
        usage=Usage(),
    )
    chunks = streamed(events_of(answer)[1:], reply)
    assert all("usage" not in chunk for chunk in chunks)
    assert ["cmpl-r1"] * 2 == [chunk["id"] for chunk in chunks]


def test_a_stream_that_fails() -> None:
    """A failure is told as OpenAI's other dialect tells it."""
    error = OverloadedError("no capacity")
    assert DOOR.encode_stream_error(error, "r1") == DOOR.stream_encoder(REPLY).encode(Failed(error=error))


async def test_the_official_client() -> None:
    """The official client reads the stream."""
    answer = CompletionResponse(model="m", choices=(Choice(parts=(Text(text="Hi"),)),), usage=Usage(input_tokens=1))
    encoder = DOOR.stream_encoder(REPLY)
    body = b"".join(encoder.encode(event) for event in events_of(answer)) + encoder.end()

    def reply(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=body, request=request)

    http = httpx2.AsyncClient(transport=httpx2.MockTransport(reply))
    async with openai.AsyncOpenAI(api_key="k", base_url="http://gateway.example/v1", http_client=http) as sdk:
        stream = await sdk.completions.create(model="m", prompt="Once", stream=True)
        texts = [choice.text async for chunk in stream for choice in chunk.choices]
    assert "Hi" == "".join(texts)


@given(answer=answers())
def test_an_answer_streamed_is_the_answer_whole(answer: CompletionResponse) -> None:
    """T3: words, reason and tokens are the same in pieces, and the words are those of the answer."""
    reader = READERS["openai_completions"]
    whole = reader.whole(DOOR.encode_response(answer, REPLY))
    encoder = DOOR.stream_encoder(REPLY)
    body = b"".join(map(encoder.encode, events_of(answer))) + encoder.end()
    assert whole == reader.stream(body)
    refused = "".join(part.text for part in answer.parts if isinstance(part, Refusal))
    assert len(answer.content) + len(refused) == len(whole.text)


@given(
    prompt=st.text(min_size=1),
    stop=st.none() | st.lists(st.text(min_size=1), min_size=1, max_size=3),
    temperature=st.none() | st.floats(0, 2),
    unknown=st.dictionaries(st.from_regex(r"x_[a-z]{1,5}", fullmatch=True), st.integers() | st.text(), max_size=3),
)
def test_nothing_of_a_request_is_lost(
    prompt: str, stop: list[str] | None, temperature: float | None, unknown: dict[str, Json]
) -> None:
    """T1, as far as a door goes: what is asked is in the request, and fields that nobody knows are kept."""
    told: dict[str, Json] = {"prompt": prompt, "stop": None if stop is None else [*stop], "temperature": temperature}
    read = DOOR.decode_request(body_of(**told, **unknown))
    assert prompt == "".join(part.text for turn in read.messages for part in turn.parts if isinstance(part, Text))
    assert (tuple(stop or ()), temperature) == (read.stop, read.temperature)
    assert ("openai_completions", unknown) == (read.dialect, read.extras)
