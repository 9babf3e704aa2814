"""The three official client packages, each saying the same in its own way.

Only the address and the key differ from what a user of the package writes; repeated attempts are switched off so that a
failure is seen as it is told. Turns are sent back as the packages' own documentation does it: the message as it came,
and the results after it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any, Final, Protocol

import anthropic
import ollama
import openai
from anthropic.types import Message, MessageParam
from msgspec import Struct
from openai.types.chat import ChatCompletion, ChatCompletionChunk, ParsedChatCompletion
from pydantic import BaseModel

from genai_spine.types.json import JsonObject
from tests.flow.answers import Call
from tests.flow.wire import ToolSpec

__all__ = ["CLIENTS", "Ask", "Client", "Round", "Told", "connect"]


class Told(Struct, frozen=True, kw_only=True):
    """What the package handed to its user.

    Attributes:
        finish: In the dialect's own word.
        input_tokens: All of them, cached ones too.
        cached: Of the input, read from a cache; None where the dialect cannot tell.
        pieces: In how many pieces words came.
        message: The package's own object, to be sent back in the next turn.
        parsed: The object that the package made of a structured answer.
        raw: The whole answer, as the package's own object.
    """

    text: str
    calls: tuple[Call, ...]
    finish: str | None
    input_tokens: int
    output_tokens: int
    model: str
    cached: int | None = None
    thinking: str = ""
    logprobs: tuple[tuple[str, float], ...] = ()
    pieces: int = 1
    message: Any = None  # Any: of another type in each package
    parsed: BaseModel | None = None
    raw: Any = None  # Any: as above


class Round(Struct, frozen=True):
    """A turn of the model's and what its tools answered, in the order of the calls."""

    told: Told
    results: tuple[str, ...]


class Ask(Struct, frozen=True, kw_only=True):
    """A request, free of any package.

    Attributes:
        image: A PNG, or an address.
        choice: ``auto``, ``none``, ``required`` or a tool's name.
        shape: What a structured answer must be.
        result_image: An image that the last tool answered beside its words.
        failed: The last tool failed; its words say how.
        more: Further arguments, in the package's own words.
    """

    prompt: str = "What is the capital of France?"
    system: str = ""
    max_tokens: int = 300
    image: bytes | str | None = None
    tools: tuple[ToolSpec, ...] = ()
    choice: str | None = None
    one_call: bool = False
    rounds: tuple[Round, ...] = ()
    shape: type[BaseModel] | None = None
    result_image: bytes | None = None
    failed: bool = False
    stop: tuple[str, ...] = ()
    effort: str | None = None
    more: Mapping[str, Any] = {}  # Any: arguments of another type in each package


class Client(Protocol):
    """A package, in front of the gateway."""

    name: str
    seen: dict[str, str]
    """The headers of the last answer that ``complete`` was given."""

    async def complete(self, model: str, ask: Ask) -> Told:
        """Ask for a whole answer; with a ``shape`` by the package's own means for structured output."""
        ...

    async def stream(self, model: str, ask: Ask) -> Told:
        """Ask for a stream, and collect it by the package's own means where it has any."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...


def _uri(image: bytes | str) -> str:
    return image if isinstance(image, str) else f"data:image/png;base64,{base64.b64encode(image).decode()}"


class OpenAIClient:
    """The package ``openai``."""

    name = "openai"

    def __init__(self, url: str, key: str) -> None:
        self.sdk = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)
        self.seen: dict[str, str] = {}

    def _body(self, model: str, ask: Ask) -> dict[str, Any]:
        user: list[dict[str, Any]] = [{"type": "text", "text": ask.prompt}]
        if ask.image is not None:
            user.append({"type": "image_url", "image_url": {"url": _uri(ask.image)}})
        messages: list[Any] = [{"role": "system", "content": ask.system}] if ask.system else []
        messages.append({"role": "user", "content": ask.prompt if ask.image is None else user})
        for turn in ask.rounds:
            messages.append(turn.told.message)
            messages += [
                {"role": "tool", "tool_call_id": call.id, "content": result}
                for call, result in zip(turn.told.calls, turn.results, strict=True)
            ]
        body: dict[str, Any] = {"model": model, "messages": messages, "max_completion_tokens": ask.max_tokens}
        if ask.tools:
            body["tools"] = [
                {
                    "type": "function",
                    "function": {
                        "name": tool.name,
                        "description": tool.description,
                        "parameters": tool.parameters,
                        **({"strict": True} if tool.strict else {}),
                    },
                }
                for tool in ask.tools
            ]
        if ask.choice is not None:
            plain = ask.choice in {"auto", "none", "required"}
            body["tool_choice"] = ask.choice if plain else {"type": "function", "function": {"name": ask.choice}}
        if ask.one_call:
            body["parallel_tool_calls"] = False
        if ask.stop:
            body["stop"] = list(ask.stop)
        if ask.effort is not None:
            body["reasoning_effort"] = ask.effort
        return {**body, **ask.more}

    async def complete(self, model: str, ask: Ask) -> Told:
        """Use ``create``, or ``parse`` with a shape."""
        body = self._body(model, ask)
        if ask.shape is not None:
            parsed: ParsedChatCompletion[BaseModel] = await self.sdk.chat.completions.parse(
                **body, response_format=ask.shape
            )
            return self._told(parsed)
        raw = await self.sdk.chat.completions.with_raw_response.create(**body)
        self.seen = {name.lower(): value for name, value in raw.headers.items()}
        answer: ChatCompletion = raw.parse()
        return self._told(answer)

    async def stream(self, model: str, ask: Ask) -> Told:
        """Use ``stream``, which collects; for mere words ``create`` with a stream."""
        body = self._body(model, ask)
        body["stream_options"] = {"include_usage": True}
        if not ask.tools and ask.shape is None:
            return self._collected(
                [chunk async for chunk in await self.sdk.chat.completions.create(**body, stream=True)]
            )
        if ask.shape is not None:
            body["response_format"] = ask.shape
        count = 0
        async with self.sdk.chat.completions.stream(**body) as events:
            async for event in events:
                count += event.type == "content.delta"
            return self._told(await events.get_final_completion(), count)

    def _collected(self, chunks: list[ChatCompletionChunk]) -> Told:
        choices = [choice for chunk in chunks for choice in chunk.choices]
        usage = chunks[-1].usage
        assert usage is not None
        assert chunks[-1].choices == [], "usage comes in a chunk of its own"
        assert "assistant" == choices[0].delta.role
        (finish,) = [choice.finish_reason for choice in choices if choice.finish_reason]
        words = [choice.delta.content for choice in choices if choice.delta.content]
        return Told(
            text="".join(words),
            calls=(),
            finish=finish,
            input_tokens=usage.prompt_tokens,
            output_tokens=usage.completion_tokens,
            cached=usage.prompt_tokens_details.cached_tokens if usage.prompt_tokens_details else None,
            thinking="".join(getattr(choice.delta, "reasoning_content", None) or "" for choice in choices),
            logprobs=tuple(
                (entry.token, entry.logprob)
                for choice in choices
                for entry in (choice.logprobs.content if choice.logprobs else None) or []
            ),
            model=chunks[0].model,
            pieces=len(words),
        )

    def _told(self, answer: ChatCompletion, count: int = 1) -> Told:
        choice, usage = answer.choices[0], answer.usage
        assert usage is not None
        message = choice.message
        calls = [call for call in message.tool_calls or [] if call.type == "function"]
        details = usage.prompt_tokens_details
        content = (choice.logprobs.content if choice.logprobs else None) or []
        return Told(
            text=message.content or "",
            calls=tuple(Call(call.id, call.function.name, json.loads(call.function.arguments)) for call in calls),
            finish=choice.finish_reason,
            input_tokens=usage.prompt_tokens,
            output_tokens=usage.completion_tokens,
            cached=details.cached_tokens if details else None,
            thinking=getattr(message, "reasoning_content", None) or "",
            logprobs=tuple((entry.token, entry.logprob) for entry in content),
            model=answer.model,
            pieces=count,
            message=message,
            parsed=getattr(message, "parsed", None),
            raw=answer,
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self.sdk.close()


class AnthropicClient:
    """The package ``anthropic``."""

    name = "anthropic"

    def __init__(self, url: str, key: str) -> None:
        self.sdk = anthropic.AsyncAnthropic(base_url=url, api_key=key, max_retries=0)
        self.seen: dict[str, str] = {}

    def _image(self, image: bytes | str) -> dict[str, Any]:
        if isinstance(image, str):
            return {"type": "image", "source": {"type": "url", "url": image}}
        data = base64.b64encode(image).decode()
        return {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}

    def _body(self, model: str, ask: Ask) -> dict[str, Any]:
        user: list[dict[str, Any]] = [{"type": "text", "text": ask.prompt}]
        if ask.image is not None:
            user.append(self._image(ask.image))
        messages: list[Any] = [{"role": "user", "content": ask.prompt if ask.image is None else user}]
        for turn in ask.rounds:
            messages.append({"role": "assistant", "content": turn.told.message})
            results: list[dict[str, Any]] = [
                {"type": "tool_result", "tool_use_id": call.id, "content": result}
                for call, result in zip(turn.told.calls, turn.results, strict=True)
            ]
            if ask.failed:
                results[-1]["is_error"] = True
            if ask.result_image is not None:
                last = results[-1]
                last["content"] = [{"type": "text", "text": last["content"]}, self._image(ask.result_image)]
            messages.append({"role": "user", "content": results})
        body: dict[str, Any] = {"model": model, "messages": messages, "max_tokens": ask.max_tokens}
        if ask.system:
            body["system"] = ask.system
        if ask.tools:
            body["tools"] = [
                {
                    "name": tool.name,
                    "description": tool.description,
                    "input_schema": tool.parameters,
                    **({"strict": True} if tool.strict else {}),
                }
                for tool in ask.tools
            ]
        if ask.choice is not None or ask.one_call:
            kind = {"required": "any", "auto": "auto", "none": "none", None: "auto"}.get(ask.choice)
            choice: dict[str, Any] = {"type": "tool", "name": ask.choice} if kind is None else {"type": kind}
            body["tool_choice"] = {**choice, "disable_parallel_tool_use": True} if ask.one_call else choice
        if ask.stop:
            body["stop_sequences"] = list(ask.stop)
        if ask.effort is not None:
            body["output_config"] = {"effort": ask.effort}
        return {**body, **ask.more}

    async def complete(self, model: str, ask: Ask) -> Told:
        """Use ``create``, or ``parse`` with a shape."""
        body = self._body(model, ask)
        if ask.shape is not None:
            return self._told(await self.sdk.messages.parse(**body, output_format=ask.shape))
        raw = await self.sdk.messages.with_raw_response.create(**body)
        self.seen = {name.lower(): value for name, value in raw.headers.items()}
        answer: Message = await raw.parse()
        return self._told(answer)

    async def stream(self, model: str, ask: Ask) -> Told:
        """Use ``stream``, which collects."""
        body = self._body(model, ask)
        if ask.shape is not None:
            body["output_format"] = ask.shape
        count = 0
        async with self.sdk.messages.stream(**body) as events:
            async for event in events:
                count += event.type == "text"
            return self._told(await events.get_final_message(), count)

    def _told(self, answer: Message, count: int = 1) -> Told:
        usage = answer.usage
        read, written = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
        calls: list[Call] = []
        text = thinking = ""
        for block in answer.content:
            if block.type == "tool_use":
                arguments: JsonObject = json.loads(json.dumps(block.input))
                calls.append(Call(block.id, block.name, arguments))
            elif block.type == "text":
                text += block.text
            elif block.type == "thinking":
                thinking += block.thinking
        content: list[MessageParam] | Any = answer.content  # Any: the package takes its own blocks back
        return Told(
            text=text,
            calls=tuple(calls),
            finish=answer.stop_reason,
            input_tokens=usage.input_tokens + read + written,
            output_tokens=usage.output_tokens,
            cached=read,
            thinking=thinking,
            model=answer.model,
            pieces=count,
            message=content,
            parsed=getattr(answer, "parsed_output", None),
            raw=answer,
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self.sdk.close()


class OllamaClient:
    """The package ``ollama``; it takes no key of its own, but headers."""

    name = "ollama"

    def __init__(self, url: str, key: str) -> None:
        self.seen: dict[str, str] = {}

        async def keep(response: Any) -> None:  # Any: of the HTTP library that the package chose
            self.seen = {name.lower(): value for name, value in response.headers.items()}

        self.sdk = ollama.AsyncClient(
            host=url, headers={"Authorization": f"Bearer {key}"}, event_hooks={"response": [keep]}
        )

    def _body(self, model: str, ask: Ask) -> dict[str, Any]:
        user: dict[str, Any] = {"role": "user", "content": ask.prompt}
        if ask.image is not None:
            user["images"] = [ask.image]
        messages: list[Any] = [{"role": "system", "content": ask.system}] if ask.system else []
        messages.append(user)
        for turn in ask.rounds:
            messages.append(turn.told.message)
            results: list[dict[str, Any]] = [
                {"role": "tool", "content": result, "tool_name": call.name}
                for call, result in zip(turn.told.calls, turn.results, strict=True)
            ]
            if ask.result_image is not None:
                results[-1]["images"] = [ask.result_image]
            messages += results
        options: dict[str, Any] = {"num_predict": ask.max_tokens, **ask.more.get("options", {})}
        if ask.stop:
            options["stop"] = list(ask.stop)
        body: dict[str, Any] = {"model": model, "messages": messages, **ask.more, "options": options}
        if ask.tools:
            body["tools"] = [
                {
                    "type": "function",
                    "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
                }
                for tool in ask.tools
            ]
        if ask.shape is not None:
            body["format"] = ask.shape.model_json_schema()
        if ask.effort is not None:
            body["think"] = ask.effort
        return body

    async def complete(self, model: str, ask: Ask) -> Told:
        """Use ``chat``."""
        answer: ollama.ChatResponse = await self.sdk.chat(**self._body(model, ask))
        return self._told([answer], ask)

    async def stream(self, model: str, ask: Ask) -> Told:
        """Use ``chat`` with a stream."""
        parts: list[ollama.ChatResponse] = [
            part async for part in await self.sdk.chat(**self._body(model, ask), stream=True)
        ]
        return self._told(parts, ask)

    def _told(self, parts: list[ollama.ChatResponse], ask: Ask) -> Told:
        last = parts[-1]
        assert last.done
        assert last.prompt_eval_count is not None
        assert last.eval_count is not None
        text = "".join(part.message.content or "" for part in parts)
        called = [call for part in parts for call in part.message.tool_calls or []]
        message = ollama.Message(role="assistant", content=text, tool_calls=called or None)
        return Told(
            text=text,
            calls=tuple(Call("", call.function.name, dict(call.function.arguments)) for call in called),
            finish=last.done_reason,
            input_tokens=last.prompt_eval_count,
            output_tokens=last.eval_count,
            thinking="".join(part.message.thinking or "" for part in parts),
            logprobs=tuple((entry.token, entry.logprob) for part in parts for entry in part.logprobs or []),
            model=last.model or "",
            pieces=sum(bool(part.message.content) for part in parts),
            message=message,
            parsed=None if ask.shape is None else ask.shape.model_validate_json(text),
            raw=last,
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self.sdk.close()  # type: ignore[no-untyped-call]  # the package leaves this method without types


CLIENTS: Final = ("openai", "anthropic", "ollama")
"""The packages, by the name of their dialect."""


def connect(name: str, url: str, key: str) -> Client:
    """Return a package's client for the gateway at ``url``."""
    made: dict[str, type[OpenAIClient | AnthropicClient | OllamaClient]] = {
        "openai": OpenAIClient,
        "anthropic": AnthropicClient,
        "ollama": OllamaClient,
    }
    return made[name](url, key)
