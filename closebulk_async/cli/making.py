"""What export is wanted: apart from those who ask for it and those who fetch it, which import aiohttp."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs


@attrs.frozen
class Making:
    """An export that is to be made, by this method of `close.exports` with these keywords."""

    method: str
    keywords: Mapping[str, Any]
