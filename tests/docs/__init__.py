"""What the pages and the docstrings say: their examples, the site that is made of them, and its API."""
