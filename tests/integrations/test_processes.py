"""Whether a process of this host has ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import attrs
import pytest

from closebulk_async.integrations.processes import ProcessName, this_process

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux says it")


def mine() -> ProcessName:
    """The name of this process."""
    name = this_process()
    assert name is not None
    return name


def test_who_asks_is_not_gone() -> None:
    """And has one name."""
    assert not mine().is_gone()
    assert mine() == mine()


def test_a_process_is_gone_when_it_has_ended() -> None:
    """Not while it is stopped; and also where nobody has asked for its exit code yet."""
    program = """
from closebulk_async.integrations.processes import this_process
print(this_process().host, this_process().process, sep="|", flush=True)
input()
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        name = ProcessName(*child.stdout.readline().strip().split("|"))
        assert name.host == mine().host
        assert not name.is_gone()
        child.send_signal(signal.SIGSTOP)
        assert not name.is_gone()
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert name.is_gone(), "it is a zombie"
        child.wait()
        assert name.is_gone()


def test_a_number_that_is_used_again_is_another_process() -> None:
    """It began at another moment."""
    number, _, start = mine().process.partition(" ")
    assert attrs.evolve(mine(), process=f"{number} {int(start) - 1}").is_gone()


def test_of_another_host_nothing_is_proved() -> None:
    """Nor of the same machine before it was started again, nor of another container."""
    boot, _, space = mine().host.partition(" ")
    for host in ("", f"another {space}", f"{boot} pid:[1]"):
        assert not ProcessName(host=host, process="99999999 1").is_gone()
