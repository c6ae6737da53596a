"""One suite of assertions for two services: the simulator, always, and Close itself, when its user asks for that.

`gate` is the only way to either of them: it lets reads pass, one at a time, and keeps them. `survey` reads all that the
assertions are about, once; the tests judge what was kept. `unknowns` is the table of what no source says. How to run it
against Close is told in `docs/differences.md`.
"""
