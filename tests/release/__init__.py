"""What is asked before a version is published: `make audit` and `make release-check`."""
