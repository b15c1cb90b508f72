"""A child's vital signs reach its parent, and outlive nothing that they should not."""

import os
import signal
import subprocess

import pytest

from tests.waiting import wait_until
from worker.pulse import Pulse, Pulses, has_ended


# As Celery forks its children; from Python 3.12 on that is warned of where threads are about.
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_signs_of_a_forked_child_reach_its_parent() -> None:
    pulses = Pulses(2)
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        pulses[1].sign()
        pulses[1].take()
        pulses[1].beat()
        pulses[1].beat()
        pulses[1].hold(is_busy=True)
        signal.pause()
    wait_until(pulses.at_work, "the child has a job in hand")
    signed = pulses.signed()
    os.kill(child, signal.SIGKILL)
    wait_until(lambda: has_ended(child), "the child has ended")

    assert [(pulse.pid, pulse.wakes, pulse.beats) for pulse in signed] == [(child, 1, 2)]
    assert pulses.at_work() == []
    assert os.waitpid(child, 0) == (child, signal.SIGKILL), "its status was left to its parent"


def test_successor_is_idle_and_counts_go_on() -> None:
    pulse = Pulse()
    pulse.hold(is_busy=True)
    pulse.take()
    pulse.sign()

    assert (pulse.pid, pulse.is_busy, pulse.wakes) == (os.getpid(), False, 1)


def test_process_that_somebody_else_has_buried_has_ended() -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()

    assert has_ended(ended.pid)
    assert has_ended(os.getpid()), "no child of its own"
