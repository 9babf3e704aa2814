"""What only another dialect knows: said in words, left out with a warning, or refused where it must not be lost."""

from __future__ import annotations

import json

import pytest
from msgspec import structs

from genai_spine.dialects.anthropic_messages.dialect import AnthropicMessages
from genai_spine.dialects.base import Dialect, Target
from genai_spine.dialects.bedrock_converse.dialect import BedrockConverse
from genai_spine.dialects.foreign import without_foreign
from genai_spine.dialects.gemini.dialect import Gemini
from genai_spine.dialects.losses import Losses
from genai_spine.dialects.ollama.dialect import Ollama
from genai_spine.dialects.openai_chat.dialect import OpenAIChat
from genai_spine.dialects.openai_responses.dialect import OpenAIResponses
from genai_spine.errors import InvalidFieldError
from genai_spine.types.completion import CompletionRequest
from genai_spine.types.json import JsonObject
from genai_spine.types.messages import Message, Opaque, Part, Text, ToolCall, ToolResult
from genai_spine.types.tools import OpaqueTool, Tool, ToolChoice

SEARCH = OpaqueTool(dialect="anthropic_messages", data={"type": "web_search_20250305", "name": "web_search"})
HI = Message(role="user", parts=(Text(text="hi"),))


def opaque(kind: str, **data: str) -> Opaque:
    """A part that OpenAI Responses alone knows."""
    return Opaque(dialect="openai_responses", data={"type": kind, **data})


def said(*parts: Part) -> CompletionRequest:
    """A request in which the assistant said these parts."""
    return CompletionRequest(messages=(HI, Message(role="assistant", parts=parts), HI))


def test_a_tool_among_others_is_left_out() -> None:
    """One of several offers may go, with a word; the dialect's own and the caller's stay."""
    losses = Losses("acme")
    own = OpaqueTool(dialect="gemini", data={"urlContext": {}})
    request = CompletionRequest(messages=(), tools=(Tool(name="f"), SEARCH, own))
    assert (Tool(name="f"), own) == without_foreign(request, "gemini", losses).tools
    assert ("tools (web_search_20250305): left out, acme does not know it",) == losses.warnings


@pytest.mark.parametrize(
    ("tools", "choice"),
    [((SEARCH,), None), ((Tool(name="f"), SEARCH), ToolChoice(mode="required", names=("web_search",)))],
)
def test_a_tool_that_is_the_point_is_refused(tools: tuple[Tool | OpaqueTool, ...], choice: ToolChoice | None) -> None:
    """What stands alone, or is chosen by name, is what the request is about."""
    request = CompletionRequest(messages=(), tools=tools, tool_choice=choice)
    with pytest.raises(InvalidFieldError, match="web_search") as caught:
        without_foreign(request, "gemini", Losses("acme"))
    assert "unsupported_by_provider" == caught.value.code


def test_parts_are_left_out() -> None:
    """A part goes with a word, and with it a message that held nothing else."""
    losses = Losses("acme")
    search = opaque("web_search_call")
    assert said(Text(text="a")) == without_foreign(said(search, Text(text="a")), "gemini", losses)
    assert (HI, HI) == without_foreign(said(search), "gemini", losses).messages
    assert ("content of type web_search_call: left out, acme does not know it",) == losses.warnings


def test_what_is_not_foreign_stays() -> None:
    """A dialect's own parts stay, and a request that came in it is not looked at."""
    for request in (said(opaque("web_search_call")), structs.replace(said(SEARCH_PART), dialect="openai_responses")):
        losses = Losses("acme")
        assert request == without_foreign(request, "openai_responses", losses)
        assert () == losses.warnings


SEARCH_PART = Opaque(dialect="anthropic_messages", data={"type": "server_tool_use"})


def test_references_are_refused() -> None:
    """An item that is only referred to is a piece of the conversation: without it the answer would be to another."""
    with pytest.raises(InvalidFieldError, match="send the items themselves"):
        without_foreign(said(opaque("item_reference", id="msg_1")), "gemini", Losses("acme"))


@pytest.mark.parametrize(
    "dialect",
    [OpenAIChat(), OpenAIResponses(), Gemini(), Ollama(), BedrockConverse()],
    ids=lambda dialect: dialect.name,
)
def test_tools_found_are_told_in_words(dialect: Dialect) -> None:
    """A search among tools whose finds are told by reference has words for its result in every other dialect."""
    found: JsonObject = {"type": "tool_reference", "tool_name": "fetch"}
    result = ToolResult(call_id="c", parts=(Opaque(dialect="anthropic_messages", data=found),))
    request = CompletionRequest(
        messages=(
            HI,
            Message(role="assistant", parts=(ToolCall(id="c", name="search"),)),
            Message(role="user", parts=(result,)),
        ),
        tools=(Tool(name="search"), Tool(name="fetch")),
        dialect="anthropic_messages",
    )
    sent = dialect.encode_request(request, Target(model="m")).body
    assert b"The tool fetch is there to be called." in sent
    assert b"tool_reference" not in sent
    own = json.loads(AnthropicMessages().encode_request(request, Target(model="m")).body)
    assert [found] == own["messages"][2]["content"][0]["content"]
