"""The package ``anthropic``."""

from __future__ import annotations

import base64
import json
from typing import Any

import anthropic
from anthropic.types import Message, MessageParam

from genai_spine.types.json import JsonObject
from tests.flow.packages.base import Ask, Told
from tests.flow.published import Heard, overhear
from tests.flow.said import Call

__all__ = ["AnthropicClient"]


class AnthropicClient:
    """The package ``anthropic``."""

    name = "anthropic"

    def __init__(self, url: str, key: str) -> None:
        self.heard: list[Heard] = []
        self.sdk = anthropic.AsyncAnthropic(
            base_url=url,
            api_key=key,
            max_retries=0,
            http_client=anthropic.DefaultAsyncHttpxClient(event_hooks=overhear(self.heard)),
        )
        self.seen: dict[str, str] = {}

    def _image(self, image: bytes | str) -> dict[str, Any]:
        if isinstance(image, str):
            return {"type": "image", "source": {"type": "url", "url": image}}
        data = base64.b64encode(image).decode()
        return {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}

    def _document(self, document: bytes | str) -> dict[str, Any]:
        source = {"type": "text", "media_type": "text/plain", "data": document}
        if isinstance(document, bytes):
            data = base64.b64encode(document).decode()
            source = {"type": "base64", "media_type": "application/pdf", "data": data}
        return {"type": "document", "source": source, "title": "guide"}

    def _body(self, model: str, ask: Ask) -> dict[str, Any]:
        user: list[dict[str, Any]] = [{"type": "text", "text": ask.prompt}]
        if ask.image is not None:
            user.append(self._image(ask.image))
        if ask.document is not None:
            user.append(self._document(ask.document))
        messages: list[Any] = [{"role": "user", "content": user if len(user) > 1 else ask.prompt}]
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
