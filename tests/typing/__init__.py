"""Checked by mypy, never run: what a caller's type checker knows of the public surface.

A line with `type: ignore` is a negative test: mypy warns of an ignore that nothing needs.
"""
