"""Print an answer as it comes, then what it used."""

from __future__ import annotations

import asyncio

from genai_spine import Spine
from genai_spine.types.stream import Collector, TextDelta


async def main() -> None:
    """Ask, and follow the events."""
    whole = Collector()
    async with Spine.from_env() as spine:
        async for event in spine.stream("Tell a very short story."):
            whole.add(event)
            if isinstance(event, TextDelta):
                print(event.text, end="", flush=True)
    answer = whole.response()
    print(f"\nstopped: {answer.finish_reason}; {answer.input_tokens} tokens read, {answer.output_tokens} written")


if __name__ == "__main__":
    asyncio.run(main())
