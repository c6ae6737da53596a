"""Mutation testing (`make mutants`): change the package in one place at a time, and see whether a test fails.

The changes are mutmut's, and two more. mutmut itself makes them only in the bodies of functions that have no decorator:
no property, no default of an attrs class and no table, which hold most of what this package decides. So the changes are
found and tried here, in forks of one process that has collected the tests: that takes tenths of a second each, and a
test run only those tests that reach the changed function.
"""
