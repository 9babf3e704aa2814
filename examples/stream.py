"""Print an answer as it comes, then what it used."""

from __future__ import annotations

import asyncio

from genai_spine import Spine
from genai_spine.types.stream import Finish, TextDelta, UsageTold


async def main() -> None:
    """Ask, and follow the events."""
    async with Spine.from_env() as spine:
        async for event in spine.stream("Tell a very short story."):
            match event:
                case TextDelta(text=text):
                    print(text, end="", flush=True)
                case Finish(reason=reason):
                    print(f"\nstopped: {reason}")
                case UsageTold(usage=usage):
                    print(f"{usage.input_tokens} tokens read, {usage.output_tokens} written")
                case _:
                    pass


if __name__ == "__main__":
    asyncio.run(main())
