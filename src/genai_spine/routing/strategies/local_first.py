"""Local providers first, or hosted ones; then the operator's fallback chain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from typing_extensions import override

from genai_spine.routing.base import Strategy, View
from genai_spine.routing.options import Option

__all__ = ["CloudFirst", "LocalFirst"]


class LocalFirst(Strategy):
    """What runs on the user's own machines, then what does not."""

    name = "local_first"
    hints: ClassVar[tuple[str, ...]] = ("local_preferred",)
    fixed: ClassVar[bool] = True

    @override
    def order(self, options: Sequence[Option], view: View) -> Sequence[Option]:
        return sorted(options, key=lambda option: (not option.local, option.link))


class CloudFirst(Strategy):
    """The other way round."""

    name = "cloud_first"
    hints: ClassVar[tuple[str, ...]] = ("cloud_preferred",)
    fixed: ClassVar[bool] = True

    @override
    def order(self, options: Sequence[Option], view: View) -> Sequence[Option]:
        return sorted(options, key=lambda option: (option.local, option.link))
