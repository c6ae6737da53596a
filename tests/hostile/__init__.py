"""A hostile service, whatever bytes it sends, and what the package promises all the same."""
