"""Tests of the simulator, over a real socket and in virtual time."""
