"""Bedrock Converse: what a request says, in the service's words and back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from genai_spine.dialects.base import Quirks, Target
from genai_spine.errors import InvalidFieldError, RequestError
from genai_spine.types.completion import OutputSchema, Reasoning
from genai_spine.types.json import JsonObject
from genai_spine.types.messages import CacheMark, Message, Text, Thinking, ToolCall, ToolResult
from genai_spine.types.models import ModelFacts
from genai_spine.types.tools import OpaqueTool, Tool, ToolChoice
from tests.unit.dialects.bedrock_converse.wire import CLAUDE, CONVERSE, body_of, read_request, request, told, user

CALLED = (
    user("What time is it?"),
    Message(role="assistant", parts=(ToolCall(id="c1", name="clock"),)),
    Message(role="tool", parts=(ToolResult(call_id="c1", parts=(Text(text="noon"),)),)),
)
CLOCK = Tool(name="clock")
WEATHER = Tool(name="weather", description="Tells it", parameters={"type": "object", "properties": {"city": {}}})
BUDGET = ModelFacts(thinking="budget", max_output_tokens=64_000)
ADAPTIVE = ModelFacts(thinking="adaptive", max_output_tokens=64_000)
NO_ARGUMENTS: JsonObject = {"json": {"type": "object", "properties": {}}}


@pytest.mark.parametrize(
    ("model", "stream", "path"),
    [
        ("amazon.nova-lite-v1:0", False, "/model/amazon.nova-lite-v1%3A0/converse"),
        ("amazon.nova-lite-v1:0", True, "/model/amazon.nova-lite-v1%3A0/converse-stream"),
        (
            "arn:aws:bedrock:us-east-1:1:application-inference-profile/x",
            False,
            "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Aapplication-inference-profile%2Fx/converse",
        ),
    ],
)
def test_the_path_names_model_and_manner(model: str, stream: bool, path: str) -> None:  # noqa: FBT001  # a parameter
    """Pitfall 36: the id is one segment of the path, its colons and slashes encoded once; a stream has its own path."""
    encoded = CONVERSE.encode_request(request(stream=stream), Target(model=model))
    assert path == encoded.path
    assert {"messages"} == set(json.loads(encoded.body))


def test_limits_and_sampling() -> None:
    """They stand in ``inferenceConfig``, top_k among the maker's fields; the user in the metadata."""
    asked = request(max_tokens=9, temperature=0.5, top_p=0.9, top_k=7, stop=("END", " "), user="u-1")
    body = body_of(asked)
    assert {"maxTokens": 9, "temperature": 0.5, "topP": 0.9, "stopSequences": ["END"]} == body["inferenceConfig"]
    assert {"top_k": 7} == body["additionalModelRequestFields"]
    assert {"user_id": "u-1"} == body["requestMetadata"]
    read = CONVERSE.decode_request(json.dumps(body).encode())
    assert (9, 0.5, 0.9, 7, ("END",), "u-1") == (
        read.max_tokens,
        read.temperature,
        read.top_p,
        read.top_k,
        read.stop,
        read.user,
    )


def test_top_k_of_nova() -> None:
    """Nova's own field has another name and another place."""
    body = body_of(request(top_k=7), "us.amazon.nova-micro-v1:0")
    assert {"inferenceConfig": {"topK": 7}} == body["additionalModelRequestFields"]


def test_what_is_lowered_or_left_out_is_told() -> None:
    """A temperature above 1 is lowered; what the dialect has no word for is left out, each with a warning."""
    asked = request(temperature=1.5, seed=1, presence_penalty=1, frequency_penalty=1, user="a|b")
    body, warnings = told(asked)
    assert {"temperature": 1} == body["inferenceConfig"]
    assert {"seed", "presence_penalty", "frequency_penalty", "user", "temperature"} == {
        warning.partition(":")[0] for warning in warnings
    }


def test_models_without_sampling() -> None:
    """A model that takes no sampling is told none."""
    body, warnings = told(request(temperature=0.5, top_p=0.9, top_k=3), facts=ModelFacts(sampling=False))
    assert {"messages"} == set(body)
    assert 3 == len(warnings)


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 2},
        {"logprobs": True},
        {"tools": (Tool(name="free", grammar={}),)},
        {"tools": (OpaqueTool(dialect="openai_chat", data={"type": "web_search"}),)},
        {"tools": (CLOCK,), "tool_choice": ToolChoice(mode="auto", names=("nobody",))},
    ],
)
def test_what_cannot_be_said_is_refused(fields: dict[str, Any]) -> None:
    """What would change the answer is refused by name."""
    with pytest.raises(InvalidFieldError) as caught:
        told(request(**fields))
    assert caught.value.param


def test_quirks() -> None:
    """A service that speaks the dialect otherwise has its row's way."""
    target = Target(model="m", quirks=Quirks(drop=("requestMetadata",), rename={"inferenceConfig": "config"}))
    encoded = CONVERSE.encode_request(request(user="u", max_tokens=3), target)
    assert {"messages", "config"} == set(json.loads(encoded.body))
    assert 1 == len(encoded.warnings)


# Tools.


def test_tools_and_the_choice_among_them() -> None:
    """A tool without parameters has an empty schema; the choice is an object with one field."""
    body = body_of(request(tools=(CLOCK, WEATHER), tool_choice=ToolChoice(mode="required")))
    clock = {"toolSpec": {"name": "clock", "inputSchema": NO_ARGUMENTS}}
    weather = {"toolSpec": {"name": "weather", "description": "Tells it", "inputSchema": {"json": WEATHER.parameters}}}
    assert {"tools": [clock, weather], "toolChoice": {"any": {}}} == body["toolConfig"]


@pytest.mark.parametrize(
    ("choice", "written", "names"),
    [
        (ToolChoice(mode="auto"), {"auto": {}}, ["clock", "weather"]),
        (ToolChoice(mode="required", names=("clock",)), {"tool": {"name": "clock"}}, ["clock", "weather"]),
        (ToolChoice(mode="auto", names=("clock",)), {"auto": {}}, ["clock"]),
    ],
)
def test_choices(choice: ToolChoice, written: JsonObject, names: list[str]) -> None:
    """Where only some tools may be called, only those are offered."""
    config = body_of(request(tools=(CLOCK, WEATHER), tool_choice=choice))["toolConfig"]
    assert written == config["toolChoice"]
    assert names == [tool["toolSpec"]["name"] for tool in config["tools"]]


def test_pitfall_18_no_tool_is_to_be_called() -> None:
    """There is no word for it: without calls in the history, no tool is offered at all, and nothing is lost."""
    assert "toolConfig" not in body_of(request(tools=(CLOCK,), tool_choice=ToolChoice(mode="none")))


def test_pitfall_18_no_tool_is_to_be_called_again() -> None:
    """With calls in the history the tools must stay; that the choice is the model's is told."""
    body, warnings = told(request(*CALLED, tools=(CLOCK,), tool_choice=ToolChoice(mode="none")))
    assert {"tools": [{"toolSpec": {"name": "clock", "inputSchema": NO_ARGUMENTS}}]} == body["toolConfig"]
    assert warnings[0].startswith("tool_choice:")


@pytest.mark.parametrize("choice", [None, ToolChoice(mode="none")])
def test_pitfall_18_a_history_with_calls_needs_tools(choice: ToolChoice | None) -> None:
    """A conversation with calls is refused without tools: those called are offered again, and that is told."""
    body, warnings = told(request(*CALLED, tool_choice=choice))
    assert {"tools": [{"toolSpec": {"name": "clock", "inputSchema": NO_ARGUMENTS}}]} == body["toolConfig"]
    assert ("tools: those called before are offered again, the provider demands it",) == warnings


@pytest.mark.parametrize(
    ("choice", "written"),
    [
        (None, {"type": "auto"}),
        (ToolChoice(mode="required"), {"type": "any"}),
        (ToolChoice(mode="required", names=("clock",)), {"type": "tool", "name": "clock"}),
    ],
)
def test_one_call_at_a_time(choice: ToolChoice | None, written: JsonObject) -> None:
    """Anthropic's models are told so among their maker's fields, where the choice then stands too."""
    body = body_of(request(tools=(CLOCK,), tool_choice=choice, parallel_tool_calls=False))
    assert {"tool_choice": {**written, "disable_parallel_tool_use": True}} == body["additionalModelRequestFields"]
    assert "toolChoice" not in body["toolConfig"]


def test_one_call_at_a_time_elsewhere() -> None:
    """Others cannot be told, which is told to the caller."""
    body, warnings = told(request(tools=(CLOCK,), parallel_tool_calls=False), "meta.llama3-3-70b-instruct-v1:0")
    assert "additionalModelRequestFields" not in body
    assert 1 == len(warnings)


def test_strictness_and_foreign_schemas() -> None:
    """A schema gets the type that the service demands; strictness is told where it is wanted; blank words are not."""
    tool = Tool(name="t", description=" ", parameters={"properties": {"a": {}}}, strict=True)
    spec = body_of(request(tools=(tool,)))["toolConfig"]["tools"][0]["toolSpec"]
    schema = {"type": "object", "properties": {"a": {}}}
    assert {"name": "t", "inputSchema": {"json": schema}, "strict": True} == spec


def test_tools_of_the_dialect_itself() -> None:
    """The service's own tools, cache points and unknown fields are read and written again."""
    config = {
        "tools": [
            {"cachePoint": {"type": "default"}},
            {"toolSpec": {"name": "a", "inputSchema": {"json": {"type": "object"}, "x": 1}, "strict": False, "y": 2}},
            {"cachePoint": {"type": "default", "ttl": "1h"}},
            {"systemTool": {"name": "nova_code_interpreter"}},
        ],
        "toolChoice": {"tool": {"name": "a", "z": 3}},
        "w": 4,
    }
    read = read_request(toolConfig=config)
    assert CacheMark(ttl="1h") == read.tools[1].cache if isinstance(read.tools[1], Tool) else False
    assert ToolChoice(mode="required", names=("a",)) == read.tool_choice
    assert config == body_of(read)["toolConfig"]


@pytest.mark.parametrize(("choice", "mode"), [({"auto": {"x": 1}}, "auto"), ({"any": {}}, "required"), ({}, None)])
def test_choices_of_the_dialect_itself(choice: JsonObject, mode: str | None) -> None:
    """They are read; what they hold beside is kept."""
    read = read_request(toolConfig={"tools": [], "toolChoice": choice})
    assert mode == (read.tool_choice.mode if read.tool_choice else None)


# Structured output.


def test_an_output_schema_is_json_in_a_string() -> None:
    """The schema is closed, as the service demands, and written into a string; its name stands beside it."""
    schema: JsonObject = {"type": "object", "properties": {"a": {"type": "integer"}}}
    wanted = OutputSchema(schema=schema, name="out", description="d", strict=True)
    form = body_of(request(output_schema=wanted))["outputConfig"]["textFormat"]
    assert "json_schema" == form["type"]
    inner = form["structure"]["jsonSchema"]
    assert ("out", "d") == (inner["name"], inner["description"])
    assert {**schema, "additionalProperties": False} == json.loads(inner["schema"])


def test_any_json_object_is_asked_for_in_words() -> None:
    """There is no mode for it: the model is told, after the caller's own instructions."""
    body = body_of(request(system=(Text(text="Be brief."),), output_schema=OutputSchema()))
    assert 2 == len(body["system"])
    assert "JSON" in body["system"][1]["text"]
    assert "outputConfig" not in body


@pytest.mark.parametrize("schema", ["{", "[]", "5"])
def test_a_schema_that_is_none_is_refused(schema: str) -> None:
    """What stands in the string must be a JSON object."""
    form = {"type": "json_schema", "structure": {"jsonSchema": {"schema": schema}}}
    with pytest.raises(InvalidFieldError, match=r"outputConfig\.textFormat\.structure\.jsonSchema\.schema"):
        read_request(outputConfig={"textFormat": form})


@pytest.mark.parametrize(
    "fields",
    [
        {"outputConfig": {"textFormat": {"type": "text"}}},
        {"messages": []},
        {"messages": [{"role": "tool", "content": []}]},
        {"messages": [{"role": "user", "content": "words"}]},
        {"system": "words"},
        {"inferenceConfig": {"maxTokens": "many"}},
    ],
)
def test_bad_bodies_are_refused(fields: dict[str, Any]) -> None:
    """A field of the wrong form is named."""
    with pytest.raises(RequestError):
        read_request(**fields)


# Reasoning.


@pytest.mark.parametrize(
    ("wanted", "max_tokens", "thinking", "limit"),
    [
        (Reasoning(effort="low"), None, {"type": "enabled", "budget_tokens": 2048}, 64_000),
        (Reasoning(budget_tokens=100), 5000, {"type": "enabled", "budget_tokens": 1024}, 5000),
        (Reasoning(mode="enabled"), 5000, {"type": "enabled", "budget_tokens": 2500}, 5000),
        (Reasoning(effort="none"), 50, {"type": "disabled"}, 50),
    ],
)
def test_thinking_with_a_budget(wanted: Reasoning, max_tokens: int | None, thinking: JsonObject, limit: int) -> None:
    """A model that is told how many tokens to think gets a budget below the limit of its answer."""
    body = body_of(request(reasoning=wanted, max_tokens=max_tokens), facts=BUDGET)
    assert {"thinking": thinking} == body["additionalModelRequestFields"]
    assert limit == body["inferenceConfig"]["maxTokens"]


def test_a_limit_too_small_for_thinking_is_raised() -> None:
    """Where not even the least budget fits, the limit is raised, and that is told."""
    body, warnings = told(request(reasoning=Reasoning(effort="high"), max_tokens=100), facts=BUDGET)
    assert 1124 == body["inferenceConfig"]["maxTokens"]
    assert warnings[0].startswith("max_tokens:")


def test_a_limit_nobody_knows() -> None:
    """Without any limit the answer has room beside the thinking."""
    body = body_of(request(reasoning=Reasoning(effort="low")), facts=ModelFacts(thinking="budget"))
    assert 2048 + 4096 == body["inferenceConfig"]["maxTokens"]


@pytest.mark.parametrize(
    ("wanted", "mode", "effort"),
    [
        (Reasoning(effort="high"), {"type": "adaptive"}, "high"),
        (Reasoning(effort="minimal"), {"type": "adaptive"}, "low"),
        (Reasoning(budget_tokens=4000, display="omitted"), {"type": "adaptive", "display": "omitted"}, "medium"),
        (Reasoning(budget_tokens=40_000), {"type": "adaptive"}, "high"),
        (Reasoning(mode="between_tools"), {"type": "between_tools"}, None),
    ],
)
def test_thinking_by_effort(wanted: Reasoning, mode: JsonObject, effort: str | None) -> None:
    """A model that is told only how hard to think has the effort in ``outputConfig``."""
    body = body_of(request(reasoning=wanted), facts=ADAPTIVE)
    assert {"thinking": mode} == body["additionalModelRequestFields"]
    assert effort == body.get("outputConfig", {}).get("effort")


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        ("openai.gpt-oss-120b-1:0", {"reasoning_effort": "high"}),
        ("qwen.qwen3-32b-v1:0", {"reasoning_config": "high"}),
    ],
)
def test_effort_in_the_makers_own_field(model: str, fields: JsonObject) -> None:
    """Some makers have a field of their own for it."""
    assert fields == body_of(request(reasoning=Reasoning(effort="max")), model)["additionalModelRequestFields"]


@pytest.mark.parametrize(
    ("model", "effort"),
    [("meta.llama3-3-70b-instruct-v1:0", "high"), ("openai.gpt-oss-120b-1:0", "none"), ("qwen.q", "unheard")],
)
def test_effort_that_cannot_be_told(model: str, effort: str) -> None:
    """A model that cannot be told is asked without, and the caller learns it."""
    body, warnings = told(request(reasoning=Reasoning(effort=effort)), model)
    assert {"messages"} == set(body)
    assert warnings[0].startswith("reasoning:")


def test_no_thinking_where_none_would_be() -> None:
    """To tell a model that does not think not to think is to say nothing."""
    assert {"messages"} == set(body_of(request(reasoning=Reasoning(mode="disabled"))))


def test_thinking_rules_out_sampling() -> None:
    """Beside thinking the model takes none of it, which is told."""
    asked = request(reasoning=Reasoning(effort="low"), temperature=0.5, top_p=0.5, top_k=5)
    body, warnings = told(asked, facts=ADAPTIVE)
    assert "inferenceConfig" not in body
    assert {"thinking": {"type": "adaptive"}} == body["additionalModelRequestFields"]
    assert {"temperature", "top_p", "top_k"} == {warning.partition(":")[0] for warning in warnings}


@pytest.mark.parametrize("parallel", [None, False])
@pytest.mark.parametrize(("always", "left"), [(False, None), (True, {"type": "disabled"})])
def test_no_thinking_beside_a_forced_call(
    parallel: bool | None,  # noqa: FBT001  # a parameter
    always: bool,  # noqa: FBT001  # a parameter
    left: JsonObject | None,
) -> None:
    """A tool that must be called comes first; thinking is off, and that is told."""
    facts = ModelFacts(thinking="adaptive", thinks_by_default=always)
    asked = request(
        reasoning=Reasoning(effort="low"),
        tools=(CLOCK,),
        tool_choice=ToolChoice(mode="required"),
        parallel_tool_calls=parallel,
    )
    body, warnings = told(asked, facts=facts)
    assert left == body.get("additionalModelRequestFields", {}).get("thinking")
    assert warnings[0].startswith("thinking: off")


def test_no_thinking_within_a_tool_loop_begun_without() -> None:
    """A loop of tools whose calls were made without reasoning goes on without; after the user has spoken it is on."""
    body, warnings = told(request(*CALLED, tools=(CLOCK,), reasoning=Reasoning(effort="low")), facts=BUDGET)
    assert "additionalModelRequestFields" not in body
    assert warnings[0].startswith("thinking: off")
    again = request(*CALLED, Message(role="assistant", parts=(Text(text="Noon."),)), user("And now?"), tools=(CLOCK,))
    body = body_of(request(*again.messages, tools=(CLOCK,), reasoning=Reasoning(effort="low")), facts=BUDGET)
    assert "thinking" in body["additionalModelRequestFields"]


def test_thinking_within_a_tool_loop_that_has_it() -> None:
    """A loop whose calls have their reasoning beside them goes on with it."""
    sealed = (Thinking(text="Well", signature="s"), ToolCall(id="c1", name="clock"))
    messages = (CALLED[0], Message(role="assistant", parts=sealed), CALLED[2])
    asked = request(*messages, tools=(CLOCK,), reasoning=Reasoning(effort="low"), dialect=None)
    assert "thinking" in body_of(asked, facts=BUDGET)["additionalModelRequestFields"]


def test_reasoning_of_the_dialect_itself() -> None:
    """Thinking and effort are read and written as they came; thinking of an unknown kind stays as it is."""
    maker = {"thinking": {"type": "enabled", "budget_tokens": 2000, "display": "omitted", "x": 1}, "top_k": 5, "y": 2}
    read = read_request(additionalModelRequestFields=maker, outputConfig={"effort": "low", "z": 3})
    expected = Reasoning(mode="enabled", effort="low", budget_tokens=2000, display="omitted", extras={"x": 1})
    assert expected == read.reasoning
    body = body_of(read)
    assert maker == body["additionalModelRequestFields"]
    assert {"effort": "low", "z": 3} == body["outputConfig"]
    odd = read_request(additionalModelRequestFields={"thinking": {"type": "deep"}, "top_k": "five"})
    assert (None, None) == (odd.reasoning, odd.top_k)
    assert {"thinking": {"type": "deep"}, "top_k": "five"} == body_of(odd)["additionalModelRequestFields"]


def test_effort_alone() -> None:
    """An effort without thinking is read as such."""
    assert Reasoning(effort="low") == read_request(outputConfig={"effort": "low"}).reasoning


def test_a_whole_request_of_the_dialect_itself() -> None:
    """What a caller of the dialect says goes on as it came, the fields that nobody knows among it."""
    fields: dict[str, Any] = {
        "messages": [{"role": "user", "content": [{"text": " "}], "a": 1}, {"role": "system", "content": []}],
        "system": [
            {"text": "Be brief."},
            {"cachePoint": {"type": "default"}},
            {"guardContent": {"text": {"text": "x"}}},
        ],
        "inferenceConfig": {"maxTokens": 5, "temperature": 1.5, "b": 2},
        "outputConfig": {
            "textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"schema": '{"type":"object"}', "c": 3}}}
        },
        "requestMetadata": {"user_id": "u|1", "team": "t"},
        "guardrailConfig": {"guardrailIdentifier": "g"},
        "serviceTier": {"type": "priority"},
        "performanceConfig": {"latency": "optimized"},
    }
    assert fields == body_of(read_request(**fields))
    assert (True, "m") == (read_request(stream=True).stream, read_request(model="m").model)


def test_cache_points_are_for_models_that_take_them() -> None:
    """A mark becomes a point behind its block; of the lengths the service knows two; other models get none."""
    marked = Text(text="long", cache=CacheMark(ttl="24h"))
    tools = (Tool(name="a", cache=CacheMark(ttl="1h")),)
    asked = request(user(marked, "short"), system=(marked,), tools=tools)
    body = body_of(asked)
    point = {"cachePoint": {"type": "default"}}
    assert [{"text": "long"}, point, {"text": "short"}] == body["messages"][0]["content"]
    assert [{"text": "long"}, point] == body["system"]
    assert {"cachePoint": {"type": "default", "ttl": "1h"}} == body["toolConfig"]["tools"][1]
    for model in ("meta.llama3-3-70b-instruct-v1:0", "arn:aws:bedrock:us-east-1:1:application-inference-profile/x"):
        assert "cachePoint" not in json.dumps(body_of(asked, model))


def test_the_envelope_and_the_relay() -> None:
    """A request that passes through keeps its fields; model and manner go into the path."""
    body = json.dumps({"model": "x", "stream": True, "messages": [{"role": "user", "content": []}], "y": 1}).encode()
    envelope = CONVERSE.read_envelope(body, {"x-spine-provider": "bedrock"})
    assert ("x", True, "bedrock") == (envelope.model, envelope.stream, envelope.wishes.provider)
    quirks = Quirks(drop=("z", "y"), rename={"messages": "turns"})
    encoded = CONVERSE.relay_request(envelope, Target(model=CLAUDE, quirks=quirks))
    assert encoded.path.endswith("-v1%3A0/converse-stream")
    assert {"turns": [{"role": "user", "content": []}]} == json.loads(encoded.body)
    assert 1 == len(encoded.warnings)
    with pytest.raises(InvalidFieldError, match="at least one message"):
        CONVERSE.read_envelope(b'{"messages": []}', {})
