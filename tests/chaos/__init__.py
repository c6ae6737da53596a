"""Processes that are killed in the middle of a start, and what is left to whoever comes after them.

`python -m tests.chaos` kills hundreds of them, at every line of the package that a start and a wait run. Those that are
killed at fixed points are in `closebulk_async.testing.conformance`, for any journal.
"""
