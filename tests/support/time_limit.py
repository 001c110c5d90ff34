"""A time limit for tests that wait for other programs, so that none can hang the suite."""

import os
import signal
from contextlib import contextmanager

PATIENCE = int(os.environ.get("INSTRUCTSEG_TEST_PATIENCE", "300"))
"""Seconds that a test may take; more on a busy machine."""


@contextmanager
def time_limit(seconds: int = PATIENCE):
    """Raises TimeoutError in the block after some time; no limit on Windows, which has no SIGALRM."""
    if not hasattr(signal, "SIGALRM"):
        yield
        return

    def stop(number, frame):
        raise TimeoutError(f"the test took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
