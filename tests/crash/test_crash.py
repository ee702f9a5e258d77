"""A short version of `make crash`, in every run of the tests."""

import pytest

from pysys.broker.paper.exchange import PaperBroker
from pysys.store.unit import UnitOfWork
from tests.conftest import empty_postgres
from tests.crash import scenario
from tests.crash.violence import Calls, die_at_call, kill_at_random

COMMITS = ((UnitOfWork, "commit"),)
DEEDS = tuple((PaperBroker, name) for name in ("submit", "cancel", "modify_limit", "trade_fx"))
NEWS = tuple((PaperBroker, name) for name in ("fills_since", "order_states", "open_orders", "positions"))
QUOTES = ((PaperBroker, "quote"),)

pytestmark = pytest.mark.incident("E9")


def test_a_process_killed_at_random_moments_loses_and_doubles_nothing(tmp_path):
    hits = kill_at_random(tmp_path, seed=11, orders=25, kills=5, longest=1.2, length=40)
    assert hits >= 3


def test_killed_at_random_moments_on_postgresql_too(tmp_path, postgres_url):
    empty_postgres(postgres_url).close()
    hits = kill_at_random(tmp_path, seed=12, orders=8, kills=2, longest=1.5, url=postgres_url, length=16)
    assert hits >= 1


@pytest.mark.parametrize(
    ("methods", "number", "after"),
    [
        (COMMITS, 9, False), (COMMITS, 31, True), (COMMITS, 60, False), (COMMITS, 83, True),
        (DEEDS, 3, False), (DEEDS, 5, True), (DEEDS, 9, True), (DEEDS, 12, False),
        (NEWS, 11, False), (NEWS, 40, False), (QUOTES, 8, False),
    ],
    ids=lambda each: each[0][1] if isinstance(each, tuple) else str(each),
)  # fmt: skip
def test_a_process_that_dies_at_a_call_loses_and_doubles_nothing(tmp_path, methods, number, after):
    scenario.build(tmp_path)
    assert die_at_call(tmp_path, Calls(*methods), number, after=after)


def test_dying_at_a_commit_on_postgresql_loses_and_doubles_nothing(tmp_path, postgres_url):
    empty_postgres(postgres_url).close()
    scenario.build(tmp_path, postgres_url)
    assert die_at_call(tmp_path, Calls(*COMMITS), 62, after=True)
