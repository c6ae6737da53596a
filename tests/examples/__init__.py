"""The programs of `examples/`, each run as its reader would run it."""
