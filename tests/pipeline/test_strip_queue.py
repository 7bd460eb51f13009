"""Strips between two threads: all of them, in order, and no waiting for somebody who has gone."""

import threading

import numpy as np
import pytest

from sharpbit.pipeline.strip_queue import Handover


def strip(number):
    return np.full((1, 1, 3), number, np.uint8), None


def taking(handover, most=10**9):
    taken, errors = [], []

    def take():
        try:
            for rows, _ in handover:
                taken.append(int(rows[0, 0, 0]))
                if len(taken) == most:
                    break
        except BaseException as error:
            errors.append(error)
        finally:
            handover.leave()

    thread = threading.Thread(target=take)
    thread.start()
    return thread, taken, errors


def test_all_in_order():
    handover = Handover()
    thread, taken, errors = taking(handover)
    assert all(handover.put(strip(k)) for k in range(20))
    handover.end()
    thread.join(60)
    assert (taken, errors) == (list(range(20)), [])


def test_an_error_of_the_maker_reaches_the_taker():
    handover = Handover()
    thread, taken, errors = taking(handover)
    handover.put(strip(1))
    handover.end(KeyboardInterrupt())
    thread.join(60)
    assert taken == [1]
    assert isinstance(errors[0], KeyboardInterrupt)


@pytest.mark.parametrize("most", [1, 3])
def test_the_maker_notices_that_the_taker_has_gone(most):
    handover = Handover()
    thread, taken, _ = taking(handover, most)
    accepted = 0
    while handover.put(strip(0)):  # without an end, if nobody noticed
        accepted += 1
    handover.end()
    thread.join(60)
    assert not thread.is_alive()
    assert len(taken) == most <= accepted <= most + 1


def test_a_taker_that_never_began():
    handover = Handover()
    assert handover.put(strip(0))
    handover.leave()
    assert not handover.put(strip(1))
    handover.end()


def test_the_end_is_told_without_waiting():
    """A maker that ends while its strip still waits for a taker, as Ctrl-C may have it, keeps neither waiting."""
    handover = Handover()
    assert handover.put(strip(7))
    ending = threading.Thread(target=handover.end, daemon=True)
    ending.start()
    ending.join(60)
    assert not ending.is_alive()  # nobody takes the strip: an end that waits for that waits for ever
    thread, taken, errors = taking(handover)
    thread.join(60)
    assert (taken, errors, thread.is_alive()) == ([7], [], False)
