"""SIGINT and SIGTERM while training: a wish, to be met after the step."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def signals(several: bool) -> Iterator[list[int]]:
    """Yields a list that SIGINT and SIGTERM append their number to; a second one acts as it would have without us.

    Of several processes none ends before all do: launchers pass a signal on that a terminal has already sent, and send
    SIGTERM to those that are left as soon as one has ended. They kill, a while later, what does not end by itself.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received  # only the main thread may set handlers
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def receive(number, frame):
        received.append(number)
        for known, handler in before.items() if not several else ():
            signal.signal(known, handler)

    for number in before:
        signal.signal(number, receive)
    done = False
    try:
        yield received
        done = True
    finally:
        for number, handler in before.items() if done or not several else ():
            signal.signal(number, handler)
