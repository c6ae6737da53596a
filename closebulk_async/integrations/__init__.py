"""What connects the package with libraries that its users bring: a module each, and an extra each."""

from __future__ import annotations
