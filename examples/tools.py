"""Let a model call a function of yours, and hand the result back until it has its answer."""

from __future__ import annotations

import asyncio
import json

from genai_spine import Message, Spine, Text, Tool, ToolCall, ToolResult

WEATHER = Tool(
    name="weather",
    description="The weather in a city now.",
    parameters={"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)
MOST_TURNS = 5


def weather(city: str) -> str:
    """Return the weather; a real program would ask somebody."""
    return f"In {city} it is 21 degrees and sunny."


def run(call: ToolCall) -> ToolResult:
    """Call the function that the model asks for."""
    arguments = json.loads(call.arguments)
    print(f"the model calls {call.name}({arguments})")
    return ToolResult(call_id=call.id, name=call.name, parts=(Text(text=weather(arguments["city"])),))


async def main() -> None:
    """Talk until the model asks for no more calls."""
    async with Spine.from_env() as spine:
        messages = [Message(role="user", parts=(Text(text="Do I need an umbrella in Bern?"),))]
        for _ in range(MOST_TURNS):
            answer = await spine.complete(messages, tools=[WEATHER])
            if not answer.tool_calls:
                print(answer.content)
                return
            messages.append(answer.as_message())
            messages += [Message(role="tool", parts=(run(call),)) for call in answer.tool_calls]


if __name__ == "__main__":
    asyncio.run(main())
