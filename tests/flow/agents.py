"""Programs with a tool, each written with one of the official packages as its documentation has it.

A turn goes out, the model's turn is put behind the others as it came, the tool's results behind that, and so on. Which
model is asked may change with each turn.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Final

import anthropic
import ollama
import openai
from google import genai
from google.genai import types
from typing_extensions import override

from genai_spine.testing.gateway import RunningGateway

__all__ = ["AGENTS", "Agent"]

ASKED: Final = "Rome and Oslo, then Bern?"
SCHEMA: Final[dict[str, Any]] = {"type": "object", "properties": {"city": {"type": "string"}}}
FLAT: Final[dict[str, Any]] = {"name": "weather", "description": "Tells it.", "parameters": SCHEMA}


class Agent(ABC):
    """A program in the middle of a conversation.

    Attributes:
        turns: The conversation, as the package has it.
    """

    def __init__(self) -> None:
        self.turns: list[Any] = []

    @abstractmethod
    async def turn(self, gateway: RunningGateway, model: str, *, stream: bool) -> str:
        """Ask the model to go on, run the tools that it calls, and return its words."""


class ChatAgent(Agent):
    """OpenAI Chat. It keeps of a turn what the package's own types for one have: words and calls."""

    def __init__(self) -> None:
        super().__init__()
        self.turns = [{"role": "user", "content": ASKED}]

    @override
    async def turn(self, gateway: RunningGateway, model: str, *, stream: bool) -> str:
        asked: dict[str, Any] = {
            "model": model,
            "messages": self.turns,
            "tools": [{"type": "function", "function": FLAT}],
            "reasoning_effort": "low",
        }
        async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0) as client:
            if stream:
                async with client.chat.completions.stream(**asked) as events:
                    async for _ in events:
                        pass
                    message: Any = (await events.get_final_completion()).choices[0].message
            else:
                message = (await client.chat.completions.create(**asked)).choices[0].message
        told: dict[str, Any] = {"role": "assistant", "content": message.content}
        if message.tool_calls:
            told["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.function.name, "arguments": call.function.arguments},
                }
                for call in message.tool_calls
            ]
        self.turns.append(told)
        self.turns += [
            {"role": "tool", "tool_call_id": call.id, "content": "Sunny"} for call in message.tool_calls or ()
        ]
        return message.content or ""


class ResponsesAgent(Agent):
    """OpenAI Responses, the conversation sent with each request."""

    stored = False

    def __init__(self) -> None:
        super().__init__()
        self.turns = [{"role": "user", "content": ASKED}]
        self.more: dict[str, Any] = {}

    @override
    async def turn(self, gateway: RunningGateway, model: str, *, stream: bool) -> str:
        asked: dict[str, Any] = {
            "model": model,
            "input": self.turns,
            "tools": [{"type": "function", "strict": False, **FLAT}],
            "reasoning": {"effort": "low", "summary": "auto"},
            "store": self.stored,
            **self.more,
        }
        async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0) as client:
            if stream:
                async with client.responses.stream(**asked) as events:
                    async for _ in events:
                        pass
                    answer: Any = await events.get_final_response()
            else:
                answer = await client.responses.create(**asked)
        calls = [item for item in answer.output if item.type == "function_call"]
        results = [{"type": "function_call_output", "call_id": call.call_id, "output": "Sunny"} for call in calls]
        self.goes_on(answer, results)
        words: str = answer.output_text
        return words

    def goes_on(self, answer: Any, results: list[dict[str, str]]) -> None:
        """Prepare the next request."""
        # What the package's helpers parsed beside what came is not for the service.
        self.turns += [item.model_dump(exclude={"parsed_arguments"}, exclude_none=True) for item in answer.output]
        self.turns += results


class StoredAgent(ResponsesAgent):
    """OpenAI Responses, the conversation kept by the gateway."""

    stored = True

    @override
    def goes_on(self, answer: Any, results: list[dict[str, str]]) -> None:
        self.turns = results
        self.more = {"previous_response_id": answer.id}


class AnthropicAgent(Agent):
    """Anthropic Messages."""

    def __init__(self) -> None:
        super().__init__()
        self.turns = [{"role": "user", "content": ASKED}]

    @override
    async def turn(self, gateway: RunningGateway, model: str, *, stream: bool) -> str:
        asked: dict[str, Any] = {
            "model": model,
            "messages": self.turns,
            "max_tokens": 4000,
            "thinking": {"type": "enabled", "budget_tokens": 1024},
            "tools": [{"name": "weather", "description": "Tells it.", "input_schema": SCHEMA}],
        }
        async with anthropic.AsyncAnthropic(base_url=gateway.url, api_key=gateway.key, max_retries=0) as client:
            if stream:
                async with client.messages.stream(**asked) as events:
                    message: Any = await events.get_final_message()
            else:
                message = await client.messages.create(**asked)
        self.turns.append({"role": "assistant", "content": message.content})
        results = [
            {"type": "tool_result", "tool_use_id": block.id, "content": "Sunny"}
            for block in message.content
            if block.type == "tool_use"
        ]
        if results:
            self.turns.append({"role": "user", "content": results})
        return "".join(block.text for block in message.content if block.type == "text")


class GeminiAgent(Agent):
    """Gemini; of a stream, the parts of all its pieces in a row."""

    def __init__(self) -> None:
        super().__init__()
        self.turns = [types.Content(role="user", parts=[types.Part(text=ASKED)])]

    @override
    async def turn(self, gateway: RunningGateway, model: str, *, stream: bool) -> str:
        declared = types.FunctionDeclaration(name="weather", description="Tells it.", parameters_json_schema=SCHEMA)
        asked: dict[str, Any] = {
            "model": model,
            "contents": self.turns,
            "config": types.GenerateContentConfig(
                tools=[types.Tool(function_declarations=[declared])],
                thinking_config=types.ThinkingConfig(thinking_level=types.ThinkingLevel.LOW, include_thoughts=True),
                automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
            ),
        }
        options = types.HttpOptions(base_url=gateway.url, retry_options=types.HttpRetryOptions(attempts=1))
        client = genai.Client(api_key=gateway.key, http_options=options).aio
        try:
            if stream:
                pieces = [piece async for piece in await client.models.generate_content_stream(**asked)]
            else:
                pieces = [await client.models.generate_content(**asked)]
        finally:
            await client.aclose()
        contents = [candidate.content for piece in pieces for candidate in piece.candidates or ()]
        parts = [part for content in contents if content is not None for part in content.parts or ()]
        self.turns.append(types.Content(role="model", parts=parts))
        results = [
            types.Part(
                function_response=types.FunctionResponse(id=call.id, name=call.name, response={"result": "Sunny"})
            )
            for part in parts
            if (call := part.function_call) is not None
        ]
        if results:
            self.turns.append(types.Content(role="user", parts=results))
        return "".join(part.text or "" for part in parts if not part.thought)


class OllamaAgent(Agent):
    """Ollama; of a stream, its pieces joined."""

    def __init__(self) -> None:
        super().__init__()
        self.turns = [{"role": "user", "content": ASKED}]

    @override
    async def turn(self, gateway: RunningGateway, model: str, *, stream: bool) -> str:
        client = ollama.AsyncClient(host=gateway.url, headers=gateway.headers)
        asked: dict[str, Any] = {
            "model": model,
            "messages": self.turns,
            "tools": [{"type": "function", "function": FLAT}],
            "think": True,
        }
        try:
            if stream:
                pieces = [piece async for piece in await client.chat(stream=True, **asked)]
            else:
                pieces = [await client.chat(**asked)]
        finally:
            await client.close()  # type: ignore[no-untyped-call]  # the package leaves it untyped
        calls = [call for piece in pieces for call in piece.message.tool_calls or ()]
        words = "".join(piece.message.content or "" for piece in pieces)
        self.turns.append({"role": "assistant", "content": words, "tool_calls": calls})
        self.turns += [{"role": "tool", "tool_name": call.function.name, "content": "Sunny"} for call in calls]
        return words


AGENTS: Final[dict[str, type[Agent]]] = {
    "anthropic": AnthropicAgent,
    "chat": ChatAgent,
    "gemini": GeminiAgent,
    "ollama": OllamaAgent,
    "responses": ResponsesAgent,
    "stored": StoredAgent,
}
"""Those programs, by the door that they go through."""
