"""Side-by-side measurements of this SDK and its peers; `python -m benchmarks` runs them all."""
