"""The clients that are compared. Each stands in its own module, so that a measured process loads no other one."""
