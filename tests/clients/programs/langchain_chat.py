"""LangChain's client of OpenAI-compatible services as its users write it: prints what it handed over, as JSON."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage, ToolMessage
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, Field

SYSTEM = SystemMessage("Answer in one sentence.")
CAPITALS = {"France": "Paris", "Peru": "Lima"}


class get_capital(BaseModel):  # noqa: N801  # its name is the tool's
    """Look up a country's capital."""

    country: str = Field()


class get_user_country(BaseModel):  # noqa: N801  # as above
    """Where the user is."""


class City(BaseModel):
    """A city."""

    city: str
    country: str


def told(*answers: AIMessage) -> dict[str, Any]:
    """What the last answer says, and what all of them took."""
    usages = [answer.usage_metadata for answer in answers if answer.usage_metadata is not None]
    return {
        "text": answers[-1].text,
        "finish": answers[-1].response_metadata["finish_reason"],
        "input": sum(usage["input_tokens"] for usage in usages),
        "output": sum(usage["output_tokens"] for usage in usages),
    }


def text(model: ChatOpenAI) -> dict[str, Any]:
    """Ask for a whole answer."""
    return told(model.invoke([SYSTEM, HumanMessage("What is the capital of France?")]))


def stream(model: ChatOpenAI) -> dict[str, Any]:
    """Ask for a stream, and put its chunks together."""
    chunks = list(model.stream([SYSTEM, HumanMessage("What is the capital of France?")]))
    whole = AIMessageChunk(content="")
    for chunk in chunks:
        whole += chunk
    return {**told(whole), "pieces": [chunk.text for chunk in chunks if chunk.text]}


def run_tool(name: str, arguments: dict[str, Any]) -> str:
    """Run a tool."""
    return CAPITALS[arguments["country"]] if name == "get_capital" else "Peru"


def tools(model: ChatOpenAI) -> dict[str, Any]:
    """Run the tools that the model calls until it calls no more."""
    bound = model.bind_tools([get_capital, get_user_country])
    messages: list[Any] = [SYSTEM, HumanMessage("Compare capitals.")]
    answers: list[AIMessage] = []
    calls = []
    while True:
        answer = bound.invoke(messages)
        answers.append(answer)
        messages.append(answer)
        results = [(call["name"], call["args"], run_tool(call["name"], call["args"])) for call in answer.tool_calls]
        calls.append(results)
        if not results:
            return {**told(*answers), "calls": calls}
        messages += [
            ToolMessage(result, tool_call_id=call["id"])
            for call, (_, _, result) in zip(answer.tool_calls, results, strict=True)
        ]


def object_(model: ChatOpenAI) -> dict[str, Any]:
    """Ask for an object of a class."""
    answer = model.with_structured_output(City, include_raw=True).invoke([SYSTEM, HumanMessage("Which city?")])
    return {**told(answer["raw"]), "object": answer["parsed"].model_dump()}


SCENES = {"text": text, "stream": stream, "tools": tools, "object": object_}

if __name__ == "__main__":
    chat = ChatOpenAI(
        model=os.environ["SPINE_MODEL"],
        base_url=f"{os.environ['SPINE_URL']}/v1",
        api_key=os.environ["SPINE_KEY"],
        max_retries=0,
        stream_usage=True,
    )
    json.dump(SCENES[sys.argv[1]](chat), sys.stdout)
