"""Processes that are killed in the middle of a start, and what is left to whoever comes after them.

`python -m tests.chaos` kills hundreds of them, at every line of the package that a start and a wait run; what the tests
use of it kills them at fixed points.
"""
