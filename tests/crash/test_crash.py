"""A short version of `make crash`, in every run of the tests."""

import pytest

from pysys.broker.paper.exchange import PaperBroker
from pysys.store.unit import UnitOfWork
from tests.crash.violence import Calls, die_at_call, kill_at_random

COMMITS = ((UnitOfWork, "commit"),)
BROKER = tuple((PaperBroker, name) for name in ("submit", "cancel", "modify_limit", "fills_since", "order_states"))


def test_a_process_killed_at_random_moments_loses_and_doubles_nothing(tmp_path):
    hits = kill_at_random(tmp_path, seed=11, orders=40, kills=6, longest=1.5)
    assert hits >= 3


@pytest.mark.parametrize("methods", [COMMITS, BROKER], ids=["commit", "broker call"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", [2, 9, 17])
def test_a_process_that_dies_at_a_call_loses_and_doubles_nothing(tmp_path, methods, after, number):
    assert die_at_call(tmp_path, Calls(*methods), number, seed=3, orders=4, after=after)
