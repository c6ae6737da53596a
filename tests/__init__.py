"""The tests of closebulk_async."""
