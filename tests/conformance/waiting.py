"""Waiting for a condition with a deadline: nothing here sleeps for a fixed time and hopes."""

import time


def until(condition, what: str, seconds: float = 10.0, every: float = 0.02):
    """The first true value of ``condition()``; fails with ``what`` when the deadline passes first."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(every)
