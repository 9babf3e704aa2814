"""Ask one question and print the answer.

Without any provider's key the simulator answers. Set one, for instance OPENAI_API_KEY, and a real model does.
"""

from __future__ import annotations

import asyncio

from genai_spine import Spine


async def main() -> None:
    """Ask."""
    async with Spine.from_env() as spine:
        answer = await spine.complete("Name three rivers of Europe.", system="Answer in one line.")
        print(answer.content)
        print(f"{answer.provider}/{answer.model}: {answer.output_tokens} tokens, {answer.cost_usd} USD")


if __name__ == "__main__":
    asyncio.run(main())
