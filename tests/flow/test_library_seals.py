"""A conversation with tools in the library: it goes on with any provider, who sees its own seals and no other's."""

from __future__ import annotations

import pytest

from genai_spine import CompletionRequest, Message, Spine, Text, Tool, ToolResult
from genai_spine.dialects.seals import is_tag
from genai_spine.testing.upstream import ScriptedUpstream
from genai_spine.types.completion import CompletionResponse, Reasoning
from genai_spine.types.messages import Thinking
from genai_spine.types.stream import Collector
from tests.flow.strict import MODELS, StrictServices, environ, sealed_by
from tests.flow.test_seals import CROSSING, STAYING

WEATHER = Tool(name="weather", parameters={"type": "object", "properties": {"city": {"type": "string"}}})


class Program:
    """One that keeps its conversation in the project's own words."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.turns = [Message(role="user", parts=(Text(text="Rome and Oslo, then Bern?"),))]

    async def turn(self, provider: str, *, stream: bool, account: str = "first") -> CompletionResponse:
        """Ask a provider, run the tools that its model calls, and return the answer."""
        request = CompletionRequest(
            messages=tuple(self.turns),
            model=MODELS[provider],
            max_tokens=4096,
            tools=(WEATHER,),
            reasoning=Reasoning(effort="low"),
        )
        async with Spine.from_env({"GENAI_PROBE_LOCAL": "false", **environ(self.url, account)}) as spine:
            if stream:
                collector = Collector()
                async for event in spine.stream(request):
                    collector.add(event)
                answer = collector.response()
            else:
                answer = await spine.complete(request)
        self.turns.append(answer.as_message())
        self.turns += [
            Message(role="tool", parts=(ToolResult(call_id=call.id, parts=(Text(text="Sunny"),)),))
            for call in answer.tool_calls
        ]
        return answer


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("first", "then"), [*CROSSING, *STAYING])
async def test_there_and_back(
    first: str, then: str, *, stream: bool, services: StrictServices, strict: ScriptedUpstream
) -> None:
    """A conversation begun with one provider goes on with another and back with the first, who sees its own seals."""
    program = Program(strict.url)
    for provider in (first, then):
        await program.turn(provider, stream=stream)
    assert "Done." == (await program.turn(first, stream=stream)).content
    assert [] == services.refusals
    assert [first, then, first] == [provider for provider, _ in services.shown]
    expected = 'Calling {"city": "Rome"}' if first == "google" else sealed_by(0)
    assert expected in services.shown[2][1]


@pytest.mark.parametrize("maker", ["anthropic", "google", "openai"])
async def test_another_account(maker: str, services: StrictServices, strict: ScriptedUpstream) -> None:
    """Seals made for one key are not shown with another: that is another account; they are with the first again."""
    program = Program(strict.url)
    for account in ("first", "second", "first"):
        await program.turn(maker, stream=False, account=account)
    assert [] == services.refusals
    assert [0, 0, 1] == [len(shown) for _, shown in services.shown]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("maker", ["anthropic", "google", "openai"])
async def test_what_a_program_sees(maker: str, *, stream: bool, strict: ScriptedUpstream) -> None:
    """A program sees the reasoning in words, and of its seal no more than a tag."""
    answer = await Program(strict.url).turn(maker, stream=stream)
    assert sealed_by(0) == answer.thinking
    signed = [part for part in answer.parts if isinstance(part, Thinking) and part.signature is not None]
    assert [True] == [is_tag(part.signature) for part in signed]
    assert [None] * len(answer.parts) == [getattr(part, "redacted", None) for part in answer.parts]
