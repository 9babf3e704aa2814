"""Frameworks that applications are built with: LangChain, and Vercel's AI SDK with each of its own dialects.

Each program in ``programs`` is written as the framework's documentation has it, and prints what its user is handed.
"""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from tests.clients.conftest import Stage, Stages
from tests.clients.running import PROGRAMS, PYTHON
from tests.flow.answers import Call, Said

FRAMEWORKS: Final = {
    "langchain": (PYTHON, PROGRAMS / "langchain_chat.py"),
    "ai-sdk-openai-compatible": ("node", PROGRAMS / "ai_sdk.mjs", "openai-compatible"),
    "ai-sdk-openai": ("node", PROGRAMS / "ai_sdk.mjs", "openai"),
    "ai-sdk-anthropic": ("node", PROGRAMS / "ai_sdk.mjs", "anthropic"),
    "ai-sdk-google": ("node", PROGRAMS / "ai_sdk.mjs", "google"),
}
OTHERS: Final = {
    "langchain": ("anthropic", "google"),
    "ai-sdk-openai-compatible": ("anthropic", "google"),
    "ai-sdk-openai": ("groq", "anthropic", "google"),
    "ai-sdk-anthropic": ("openai", "google"),
    "ai-sdk-google": ("openai", "anthropic"),
}
"""To each framework the services that speak another dialect than it does."""

SYSTEM: Final = "Answer in one sentence."
PARIS: Final = Said(text="The capital of France is Paris.")
everywhere = pytest.mark.parametrize(
    ("framework", "service"), [(framework, service) for framework, services in OTHERS.items() for service in services]
)


async def handed(stage: Stage, framework: str, scene: str) -> dict[str, Any]:
    """Run a scene; return what the framework handed to its user."""
    finished = await stage.run(
        *FRAMEWORKS[framework],
        scene,
        SPINE_URL=stage.gateway.url,
        SPINE_KEY=stage.gateway.key,
        SPINE_MODEL=stage.model,
    )
    assert 0 == finished.status, finished.err
    told: dict[str, Any] = json.loads(finished.out)
    return told


@everywhere
async def test_text(stages: Stages, framework: str, service: str) -> None:
    """Instructions and a question go out; words, why they ended and what they took come back."""
    stage = await stages.set(service, PARIS)
    expected = {"text": PARIS.text, "finish": "stop", "input": PARIS.input_tokens, "output": PARIS.output_tokens}
    assert expected == await handed(stage, framework, "text")
    (seen,) = stage.played.seen
    assert (SYSTEM, "What is the capital of France?", False) == (seen.system, seen.turns[0].text, seen.stream)


@everywhere
async def test_stream(stages: Stages, framework: str, service: str) -> None:
    """The words come piece by piece, as the service sent them, with the end and the usage of the whole."""
    stage = await stages.set(service, PARIS)
    told = await handed(stage, framework, "stream")
    assert PARIS.text == "".join(told.pop("pieces")) == told.pop("text")
    assert {"finish": "stop", "input": PARIS.input_tokens, "output": PARIS.output_tokens} == told
    assert stage.played.seen[0].stream


@everywhere
async def test_tools(stages: Stages, framework: str, service: str) -> None:
    """Over several steps tools are called, some at once, and each call's result reaches the service."""
    stage = await stages.set(
        service,
        Said(text="Let me see.", calls=(Call("call_0", "get_user_country", {}),), finish="tool_calls"),
        Said(
            calls=(
                Call("call_1", "get_capital", {"country": "Peru"}),
                Call("call_2", "get_capital", {"country": "France"}),
            ),
            finish="tool_calls",
        ),
        Said(text="Lima and Paris."),
    )
    told = await handed(stage, framework, "tools")
    assert ("Lima and Paris.", "stop") == (told["text"], told["finish"])
    assert [
        [["get_user_country", {}, "Peru"]],
        [["get_capital", {"country": "Peru"}, "Lima"], ["get_capital", {"country": "France"}, "Paris"]],
        [],
    ] == told["calls"]
    last = stage.played.seen[-1]
    assert {"get_capital", "get_user_country"} == {tool.name for tool in last.tools}
    assert ["user", "assistant", "tool", "assistant", "tool"] == [turn.role for turn in last.turns]
    assert "Peru" in last.turns[2].results[0].text
    first, second = last.turns[4].results
    assert "Lima" in first.text
    assert "Paris" in second.text


@everywhere
async def test_object(stages: Stages, framework: str, service: str) -> None:
    """A schema reaches the service, and its answer comes back as an object."""
    stage = await stages.set(service, Said(text='{"city": "Paris", "country": "France"}'))
    told = await handed(stage, framework, "object")
    assert {"city": "Paris", "country": "France"} == told["object"]
    (seen,) = stage.played.seen
    schema = seen.schema or seen.tools[0].parameters
    properties = schema["properties"]
    assert isinstance(properties, dict)
    assert {"city", "country"} == set(properties)
