"""The command `closebulk`, as a process and in parts."""
