"""Requests nested deeply: read, written for every provider and passed on, or refused as the caller's fault."""

from __future__ import annotations

import json
from typing import Final

import pytest

from genai_spine.dialects.base import Dialect, Quirks, Target
from genai_spine.types.completion import CompletionRequest, OutputSchema
from genai_spine.types.json import JsonObject
from genai_spine.types.messages import Message, Text, ToolCall, ToolResult
from genai_spine.types.tools import Tool
from tests.conformance.members import DIALECTS, DialectMember
from tests.fuzz.targets import TARGETS

_SCHEMA: Final[JsonObject] = {"type": "object", "properties": {"a": {"anyOf": ["DEEP"], "x": "DEEP"}}}
_REQUEST: Final = CompletionRequest(
    model="m",
    max_tokens=50,
    messages=(
        Message(role="user", parts=(Text(text="Hi"),)),
        Message(role="assistant", parts=(ToolCall(id="call_1", name="f", arguments='{"a": "DEEP"}'),)),
        Message(role="tool", parts=(ToolResult(call_id="call_1", name="f", parts=(Text(text="done"),)),)),
    ),
    tools=(Tool(name="f", parameters={**_SCHEMA}),),
)
_PLAIN: Final = CompletionRequest(
    model="m",
    max_tokens=50,
    messages=(Message(role="user", parts=(Text(text="Hi"),)),),
    output_schema=OutputSchema(schema={**_SCHEMA}, name="s"),
)


def _bodies(dialect: Dialect, depth: int) -> list[bytes]:
    target = Target(model="m", quirks=Quirks(developer_role=True))
    deep = b'{"items": ' * depth + b"1" + b"}" * depth
    within = json.dumps(deep.decode()).encode()[1:-1]
    found: list[bytes] = []
    for request in (_REQUEST, _PLAIN):
        body = dialect.encode_request(request, target).body
        found += [body, body[:-1] + b', "x_unknown": "DEEP"}']
    return [body.replace(b'\\"DEEP\\"', within).replace(b'"DEEP"', deep) for body in found]


@pytest.mark.parametrize("member", DIALECTS, ids=lambda member: member.dialect.name)
@pytest.mark.parametrize("depth", [100, 450, 850, 920, 960, 980, 5000])
def test_requests_nested_deeply(member: DialectMember, depth: int) -> None:
    """At whatever depth and in whatever place, nothing but our own errors comes of it."""
    for body in _bodies(member.dialect, depth):
        TARGETS[f"request-{member.dialect.name}"](body)
