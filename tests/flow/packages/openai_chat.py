"""The package ``openai``, over Chat Completions."""

from __future__ import annotations

import json
from typing import Any

import openai
from openai.types.chat import ChatCompletion, ChatCompletionChunk, ParsedChatCompletion
from pydantic import BaseModel

from tests.flow.packages.base import Ask, Told, data_uri, uri
from tests.flow.published import Heard, overhear
from tests.flow.said import Call

__all__ = ["OpenAIClient"]


class OpenAIClient:
    """The package ``openai``."""

    name = "openai"

    def __init__(self, url: str, key: str) -> None:
        self.heard: list[Heard] = []
        self.sdk = openai.AsyncOpenAI(
            base_url=f"{url}/v1",
            api_key=key,
            max_retries=0,
            http_client=openai.DefaultAsyncHttpxClient(event_hooks=overhear(self.heard)),
        )
        self.seen: dict[str, str] = {}

    def _body(self, model: str, ask: Ask) -> dict[str, Any]:
        user: list[dict[str, Any]] = [{"type": "text", "text": ask.prompt}]
        if ask.image is not None:
            user.append({"type": "image_url", "image_url": {"url": uri(ask.image)}})
        if ask.document is not None:
            kind = "txt" if isinstance(ask.document, str) else "pdf"
            user.append({"type": "file", "file": {"filename": f"guide.{kind}", "file_data": data_uri(ask.document)}})
        messages: list[Any] = [{"role": "system", "content": ask.system}] if ask.system else []
        messages.append({"role": "user", "content": user if len(user) > 1 else ask.prompt})
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
