"""Processes that start actions and are killed or stopped meanwhile, and what is left to whoever comes after them.

POSIX only: it takes SIGKILL, SIGSTOP and processes that are forked from a server.
"""
