"""Tools in a namespace: one name for all others, their own names towards whoever knows namespaces."""

from __future__ import annotations

import json

import pytest
from msgspec import structs

from genai_spine.dialects.base import Reply, Target
from genai_spine.dialects.openai_chat.dialect import OpenAIChat
from genai_spine.dialects.openai_responses.namespaces import calls_of, joint_name
from genai_spine.testing.dialects import check_request
from genai_spine.types.completion import Choice, CompletionRequest, CompletionResponse
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.messages import ToolCall
from genai_spine.types.stream import Finish, PartEnd, PartStart, ToolArguments
from genai_spine.types.tools import OpaqueTool, Tool, ToolChoice
from tests.unit.dialects.openai_responses.wire import RESPONSES, body_of, sent_fields

FIND: JsonObject = {"type": "function", "name": "find", "description": "Finds.", "strict": False, "x": 1}
TELL: JsonObject = {"type": "custom", "name": "tell"}
CRM: JsonObject = {"type": "namespace", "name": "crm", "description": "Customers.", "tools": [FIND, TELL]}
PLAIN: JsonObject = {"type": "function", "name": "find"}


def read(tools: list[Json], **fields: Json) -> CompletionRequest:
    """Read a request, and check that it is the same once written and read again."""
    return check_request(RESPONSES, body_of(tools=tools, **fields))


@pytest.mark.parametrize(
    ("namespace", "name", "joint"),
    [
        ("crm", "find", "crm__find"),
        ("mcp__crm__", "find", "mcp__crm__find"),
        ("my crm", "find.one", "my_crm__find_one"),
    ],
)
def test_joint_names(namespace: str, name: str, joint: str) -> None:
    """The name is of both, in the letters that every provider takes."""
    assert joint == joint_name(namespace, name)


def test_long_names() -> None:
    """A name that would be too long is made short, each its own."""
    names = {joint_name("n" * 60, name) for name in ("find", "tell")}
    assert 2 == len(names)
    assert all(len(name) <= 64 for name in names)


def test_offers() -> None:
    """Tools of a namespace stand among the others under their one name, and go back into it for who knows it."""
    request = read([PLAIN, CRM, PLAIN | {"name": "last"}])
    assert ["find", "crm__find", "crm__tell", "last"] == [tool.name for tool in request.tools if isinstance(tool, Tool)]
    assert [PLAIN, CRM, PLAIN | {"name": "last"}] == sent_fields(request)["tools"]
    chat = json.loads(OpenAIChat().encode_request(request, Target(model="m")).body)
    assert {"name": "crm__find", "description": "Finds.", "strict": False} == chat["tools"][1]["function"]


@pytest.mark.parametrize("tools", [[], [{"type": "mcp", "name": "x"}], [{"type": "function"}], None])
def test_namespaces_of_other_things(tools: Json) -> None:
    """One that does not hold functions alone is the dialect's own affair, kept whole."""
    space: JsonObject = {"type": "namespace", "name": "crm", "tools": tools}
    request = read([space])
    assert (OpaqueTool(dialect="openai_responses", data=space),) == request.tools


def test_choices() -> None:
    """A choice names the tool and its namespace, and is written so again."""
    choice: JsonObject = {"type": "function", "name": "find", "namespace": "crm"}
    request = read([CRM], tool_choice=choice)
    assert ToolChoice(mode="required", names=("crm__find",)) == request.tool_choice
    assert choice == sent_fields(request)["tool_choice"]


def test_calls_of_the_past() -> None:
    """A call of a conversation has the name under which its tool is offered, for whomever it is written."""
    item: JsonObject = {
        "type": "function_call",
        "call_id": "c",
        "name": "find",
        "namespace": "crm",
        "arguments": "{}",
    }
    request = check_request(RESPONSES, body_of(item, tools=[CRM]))
    (call,) = request.messages[-1].parts
    assert isinstance(call, ToolCall)
    assert "crm__find" == call.name
    items = sent_fields(request)["input"]
    assert isinstance(items, list)
    assert item == items[-1]


def test_answers() -> None:
    """A model that called the one name called the tool in its namespace, whole and in a stream."""
    reply = Reply(tools=read([CRM, PLAIN]).tools)
    parts = (ToolCall(id="a", name="crm__find"), ToolCall(id="b", name="find"))
    whole = CompletionResponse(choices=(Choice(parts=parts, finish_reason="tool_calls"),), dialect="openai_chat")
    written = json.loads(RESPONSES.encode_response(whole, reply))["output"]
    assert [("find", "crm"), ("find", None)] == [(item["name"], item.get("namespace")) for item in written]
    encoder = RESPONSES.stream_encoder(reply)
    for event in (
        PartStart(index=0, part="tool_call", id="a", name="crm__find"),
        ToolArguments(index=0, text="{}"),
        PartEnd(index=0),
        Finish(reason="tool_calls"),
    ):
        encoder.encode(event)
    last = json.loads(encoder.end().rpartition(b"data: ")[2])
    assert ("find", "crm") == (last["response"]["output"][0]["name"], last["response"]["output"][0]["namespace"])


def test_only_tools_of_a_namespace_are_renamed() -> None:
    """No other tool's extras are taken for a namespace."""
    tool = Tool(name="f", extras={"namespace": "text"})
    assert {} == calls_of([tool, structs.replace(tool, extras={}), OpaqueTool(dialect="x", data={})])
