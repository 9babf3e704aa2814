"""The package ``google-genai``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google import genai
from google.genai import types
from pydantic import BaseModel

from tests.flow.packages.base import Ask, Told
from tests.flow.published import Heard
from tests.flow.said import Call

__all__ = ["GeminiClient"]

_MODES = {"auto": "AUTO", "required": "ANY", "none": "NONE"}


class GeminiClient:
    """The package ``google-genai``."""

    name = "gemini"

    def __init__(self, url: str, key: str) -> None:
        options = types.HttpOptions(base_url=url, retry_options=types.HttpRetryOptions(attempts=1))
        self._client = genai.Client(api_key=key, http_options=options)
        self.sdk = self._client.aio
        self.seen: dict[str, str] = {}
        self.heard: list[Heard] = []

    def _image(self, image: bytes | str) -> types.Part:
        if isinstance(image, str):
            return types.Part.from_uri(file_uri=image, mime_type="image/png")
        return types.Part.from_bytes(data=image, mime_type="image/png")

    def _results(self, ask: Ask, told: Told, results: Sequence[str]) -> types.Content:
        parts = []
        for number, (call, result) in enumerate(zip(told.calls, results, strict=True)):
            last = number == len(results) - 1
            word = "error" if ask.failed and last else "output"
            shown = None
            if ask.result_image is not None and last:
                blob = types.FunctionResponseBlob(data=ask.result_image, mime_type="image/png")
                shown = [types.FunctionResponsePart(inline_data=blob)]
            answer = types.FunctionResponse(id=call.id or None, name=call.name, response={word: result}, parts=shown)
            parts.append(types.Part(function_response=answer))
        return types.Content(role="user", parts=parts)

    def _contents(self, ask: Ask) -> list[types.Content]:
        user = [types.Part(text=ask.prompt)]
        if ask.image is not None:
            user.append(self._image(ask.image))
        if isinstance(ask.document, str):
            user.append(types.Part.from_bytes(data=ask.document.encode(), mime_type="text/plain"))
        elif ask.document is not None:
            user.append(types.Part.from_bytes(data=ask.document, mime_type="application/pdf"))
        contents = [types.Content(role="user", parts=user)]
        for turn in ask.rounds:
            contents += [turn.told.message, self._results(ask, turn.told, turn.results)]
        return contents

    def _config(self, ask: Ask) -> types.GenerateContentConfig:
        config: dict[str, Any] = {} if ask.max_tokens is None else {"max_output_tokens": ask.max_tokens}
        if ask.system:
            config["system_instruction"] = ask.system
        if ask.stop:
            config["stop_sequences"] = list(ask.stop)
        if ask.tools:
            declared = [
                types.FunctionDeclaration(
                    name=tool.name, description=tool.description, parameters_json_schema=tool.parameters
                )
                for tool in ask.tools
            ]
            config["tools"] = [types.Tool(function_declarations=declared)]
            config["automatic_function_calling"] = types.AutomaticFunctionCallingConfig(disable=True)
        if ask.choice is not None:
            names = None if ask.choice in _MODES else [ask.choice]
            mode = types.FunctionCallingConfigMode(_MODES.get(ask.choice, "ANY"))
            calling = types.FunctionCallingConfig(mode=mode, allowed_function_names=names)
            config["tool_config"] = types.ToolConfig(function_calling_config=calling)
        if ask.shape is not None:
            config |= {"response_mime_type": "application/json", "response_schema": ask.shape}
        if ask.effort is not None:
            level = types.ThinkingLevel(ask.effort.upper())
            config["thinking_config"] = types.ThinkingConfig(thinking_level=level)
        return types.GenerateContentConfig(**config, **ask.more)

    async def complete(self, model: str, ask: Ask) -> Told:
        """Use ``generate_content``, which parses with a shape."""
        answer = await self.sdk.models.generate_content(
            model=model, contents=list(self._contents(ask)), config=self._config(ask)
        )
        response = answer.sdk_http_response
        assert response is not None
        self.seen = {name.lower(): value for name, value in (response.headers or {}).items()}
        return self._told([answer], ask)

    async def stream(self, model: str, ask: Ask) -> Told:
        """Use ``generate_content_stream``."""
        parts = await self.sdk.models.generate_content_stream(
            model=model, contents=list(self._contents(ask)), config=self._config(ask)
        )
        return self._told([part async for part in parts], ask)

    def _told(self, answers: list[types.GenerateContentResponse], ask: Ask) -> Told:
        candidates = [answer.candidates[0] for answer in answers if answer.candidates]
        parts = [part for one in candidates for part in (one.content.parts if one.content else None) or ()]
        usage = answers[-1].usage_metadata
        assert usage is not None
        words = [part.text for part in parts if part.text and not part.thought]
        calls = [part.function_call for part in parts if part.function_call]
        likely = [one.logprobs_result.chosen_candidates or () for one in candidates if one.logprobs_result]
        finish = candidates[-1].finish_reason
        parsed: BaseModel | None = None if ask.shape is None else ask.shape.model_validate_json("".join(words))
        return Told(
            text="".join(words),
            calls=tuple(Call(call.id or "", call.name or "", dict(call.args or {})) for call in calls),
            finish=finish.value if finish else None,
            input_tokens=usage.prompt_token_count or 0,
            output_tokens=(usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0),
            cached=usage.cached_content_token_count,
            thinking="".join(part.text or "" for part in parts if part.thought),
            logprobs=tuple((one.token or "", one.log_probability or 0.0) for entry in likely for one in entry),
            model=answers[-1].model_version or "",
            pieces=len(words),
            message=types.Content(role="model", parts=parts),
            parsed=parsed,
            raw=answers[-1],
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self.sdk.aclose()
        self._client.close()
