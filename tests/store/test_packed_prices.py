"""What is packed of a price series is never anything else than its rows, whoever changes them."""

from collections.abc import Iterator
from itertools import count

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Table, delete, func, insert, select, text, update
from sqlalchemy.exc import DBAPIError

from pysys.domain.prices import CarryRows, MultipleRows, PriceRows, to_moment
from pysys.store import packed
from pysys.store.bulk import bulk_reader
from pysys.store.database import transaction
from pysys.store.prices import SeriesKey, SeriesKind
from pysys.store.schema import adjusted_prices, multiple_prices, packed_prices
from pysys.store.unit import Store, UnitOfWork

FEW = 5
_NUMBERS = count()


@pytest.fixture(autouse=True)
def soon_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "MOST_ROWS_APART", FEW)


def multiple_rows(times: list[int]) -> MultipleRows:
    stamps = np.array(times, dtype=np.int64)
    price = np.where(stamps % 3 == 1, np.nan, 100 + np.sqrt(np.abs(stamps)))
    contract = 20240300 + stamps // 20 * 300
    return MultipleRows(stamps, price, contract, price + 1, contract + 300, np.full(len(times), np.nan), contract + 600)


def adjusted_rows(times: list[int]) -> PriceRows:
    return PriceRows(np.array(times, dtype=np.int64), multiple_rows(times).price - 50)


def series_ids(unit: UnitOfWork, code: str) -> dict[Table, int]:
    kinds = {multiple_prices: SeriesKind.MULTIPLE, adjusted_prices: SeriesKind.ADJUSTED}
    found = {table: unit.prices.series_id(SeriesKey(kind, code)) for table, kind in kinds.items()}
    return {table: series for table, series in found.items() if series is not None}


def packed_until(store: Store, code: str) -> list[int]:
    """Last packed time of the multiple and the adjusted prices, where anything is packed."""
    with store.read() as unit:
        ids = series_ids(unit, code).values()
        query = select(func.max(packed_prices.c.until)).where(packed_prices.c.series_id.in_(ids))
        return list(unit.connection.scalars(query.group_by(packed_prices.c.series_id)))


def rows_apart(store: Store, code: str) -> list[int]:
    """How many rows of the multiple and the adjusted prices are not packed."""
    with store.read() as unit:
        connection, last = unit.connection, func.max(packed_prices.c.until)
        counts = []
        for table, series in series_ids(unit, code).items():
            until = connection.scalar(select(last).where(packed_prices.c.series_id == series))
            apart = (table.c.series_id == series) & (True if until is None else table.c.time > until)
            counts.append(connection.scalar(select(func.count()).select_from(table).where(apart)))
        return counts


def assert_read_as_stored(store: Store, code: str, since: int | None = None, before: int | None = None) -> None:
    def within(rows: MultipleRows | PriceRows) -> np.ndarray:
        first, last = (-np.inf if since is None else since), (np.inf if before is None else before)
        return (rows.times >= first) & (rows.times < last)

    with store.read() as unit:
        multiple, adjusted = unit.prices.multiple(code), unit.prices.adjusted(code)
    with bulk_reader(store.url, since=since, before=before) as reader:
        read = [reader.multiple([code]), reader.carry([code]), reader.adjusted([code])]
    for found, expected in zip(read, (multiple, multiple, adjusted), strict=True):
        if code not in found:
            assert not len(expected)
            continue
        for column in type(found[code]).__slots__:
            values = getattr(found[code], column)
            np.testing.assert_array_equal(values, getattr(expected, column)[within(expected)])
            assert values.dtype == getattr(expected, column).dtype


# --- what anybody may do to a series -------------------------------------------------------------------------------

TIMES = st.lists(st.integers(0, 60), unique=True, max_size=12).map(sorted)
TIME = st.integers(0, 60)
DEEDS = st.one_of(
    st.tuples(st.sampled_from(["append", "replace"]), TIMES),
    st.tuples(st.sampled_from(["delete by hand", "insert by hand", "change by hand", "move by hand"]), TIME),
    st.tuples(st.sampled_from(["shift", "clear", "delete all by hand"]), st.none()),
)


def do(unit: UnitOfWork, code: str, deed: str, argument: list[int] | int | None) -> None:
    multiple, adjusted = SeriesKey(SeriesKind.MULTIPLE, code), SeriesKey(SeriesKind.ADJUSTED, code)
    if deed == "append":
        assert isinstance(argument, list)
        new = [time for time in argument if time not in set(unit.prices.multiple(code).times.tolist())]
        unit.prices.append(multiple, multiple_rows(new))
        new = [time for time in argument if time not in set(unit.prices.adjusted(code).times.tolist())]
        unit.prices.append(adjusted, adjusted_rows(new))
    elif deed == "replace":
        assert isinstance(argument, list)
        unit.prices.replace(multiple, multiple_rows(argument))
        unit.prices.replace(adjusted, adjusted_rows(argument))
    elif deed == "shift":
        unit.prices.shift_adjusted(code, 0.7)
    elif deed == "clear":
        unit.prices.clear(adjusted)
    else:
        for table, series in series_ids(unit, code).items():
            by_hand(unit, table, series, deed, argument)


def by_hand(unit: UnitOfWork, table: Table, series: int, deed: str, time: list[int] | int | None) -> None:
    """As somebody would who has only the database."""
    mine = table.c.series_id == series
    row = mine & (table.c.time == time)
    if deed == "delete by hand":
        unit.connection.execute(delete(table).where(row))
    elif deed == "delete all by hand":
        unit.connection.execute(delete(table).where(mine))
    elif deed == "change by hand":
        unit.connection.execute(update(table).where(row).values(price=7.0))
    elif deed == "move by hand":
        if unit.connection.scalar(select(func.count()).select_from(table).where(mine, table.c.time == -1)) == 0:
            unit.connection.execute(update(table).where(row).values(time=-1))
    elif unit.connection.scalar(select(func.count()).select_from(table).where(row)) == 0:
        contracts = {name: 20240300 for name in table.columns.keys() if name.endswith("_contract")}  # noqa: SIM118
        unit.connection.execute(insert(table).values(series_id=series, time=time, price=8.0, **contracts))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(deeds=st.lists(DEEDS, min_size=1, max_size=8), limits=st.tuples(TIME, TIME))
def test_a_packed_series_is_read_as_its_rows_whatever_was_done_to_them(
    store: Store, deeds: list[tuple[str, list[int] | int | None]], limits: tuple[int, int]
) -> None:
    code = f"MARKET{next(_NUMBERS)}"
    for deed, argument in deeds:
        with store.write() as unit:
            do(unit, code, deed, argument)
            unit.commit()
        assert_read_as_stored(store, code)
        if deed == "replace" and argument:
            assert max(rows_apart(store, code)) <= FEW
    assert_read_as_stored(store, code, since=min(limits), before=max(limits))
    assert_read_as_stored(store, code, since=limits[0])


@pytest.fixture
def gold(store: Store) -> Iterator[Store]:
    """Twenty rows, all packed."""
    with store.write() as unit:
        do(unit, "GOLD", "append", list(range(20)))
        unit.commit()
    assert packed_until(store, "GOLD") == [19, 19]
    yield store
    assert_read_as_stored(store, "GOLD")


def test_a_few_new_rows_are_read_from_the_rows_and_many_are_packed(gold: Store) -> None:
    for last, until in ((20, 19), (24, 19), (25, 25)):
        with gold.write() as unit:
            do(unit, "GOLD", "append", list(range(20, last + 1)))
            unit.commit()
        assert packed_until(gold, "GOLD") == [until, until]
        assert_read_as_stored(gold, "GOLD")


def test_a_transaction_that_is_given_up_leaves_what_was_packed(gold: Store) -> None:
    with gold.write() as unit:
        do(unit, "GOLD", "shift", None)
    assert packed_until(gold, "GOLD") == [19, 19]


@pytest.mark.parametrize("deed", ["delete by hand", "change by hand", "move by hand"])
def test_changing_one_packed_row_by_hand_forgets_only_that_series(gold: Store, deed: str) -> None:
    with gold.write() as unit:
        series = series_ids(unit, "GOLD")[multiple_prices]
        by_hand(unit, multiple_prices, series, deed, 19)
        unit.commit()
    with gold.read() as unit:
        assert set(unit.connection.scalars(select(packed_prices.c.series_id))) == {
            series_ids(unit, "GOLD")[adjusted_prices]
        }


def test_a_series_that_was_forgotten_is_packed_again_by_the_next_row(gold: Store) -> None:
    with gold.write() as unit:
        for table, series in series_ids(unit, "GOLD").items():
            by_hand(unit, table, series, "change by hand", 3)
        do(unit, "GOLD", "append", [20])
        unit.commit()
    assert rows_apart(gold, "GOLD") == [0, 0]


@pytest.mark.parametrize(("time", "becomes"), [(20, -1), (19, 99)])
def test_a_row_moved_into_or_out_of_what_is_packed_by_hand_is_read_where_it_is(
    gold: Store, time: int, becomes: int
) -> None:
    with gold.write() as unit:
        do(unit, "GOLD", "append", [20])
        this = multiple_prices.c.time == time
        unit.connection.execute(update(multiple_prices).where(this).values(time=becomes))
        unit.commit()
    assert_read_as_stored(gold, "GOLD")


def test_nothing_is_packed_while_somebody_changes_rows_by_hand(gold: Store) -> None:
    if gold.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    new = list(range(20, 40))
    with gold.engine.connect() as by_hand_until_commit:
        this = multiple_prices.c.time == 3
        by_hand_until_commit.execute(update(multiple_prices).where(this).values(price=55.0))
        with gold.write() as unit:
            do(unit, "GOLD", "append", new)
            unit.commit()
        assert packed_until(gold, "GOLD") == [19, 39]
        by_hand_until_commit.commit()
    assert_read_as_stored(gold, "GOLD")
    with gold.write() as unit:
        do(unit, "GOLD", "append", [40])
        unit.commit()
    assert packed_until(gold, "GOLD") == [40, 39]


def test_a_transaction_that_would_not_see_what_was_packed_since_must_not_change_prices(gold: Store) -> None:
    if gold.engine.dialect.name == "sqlite":
        pytest.skip("SQLite's transactions see everything that was committed before they write")
    with gold.engine.connect() as by_hand_with_old_eyes:
        by_hand_with_old_eyes.execution_options(isolation_level="REPEATABLE READ")
        by_hand_with_old_eyes.execute(select(func.count()).select_from(multiple_prices))
        with gold.write() as unit:
            do(unit, "GOLD", "append", list(range(20, 40)))
            unit.commit()
        with pytest.raises(DBAPIError, match="READ COMMITTED transactions only"):
            by_hand_with_old_eyes.execute(update(multiple_prices).values(price=55.0))


def test_truncating_a_table_forgets_its_series(gold: Store) -> None:
    if gold.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has no TRUNCATE")
    with transaction(gold.engine, writer=True) as connection:
        connection.execute(text("TRUNCATE multiple_prices"))
        connection.commit()
    assert packed_until(gold, "GOLD") == [19]


def test_carry_rows_are_read_without_the_forward_columns(gold: Store) -> None:
    with bulk_reader(gold.url, since=3, before=6) as reader:
        found = reader.carry(["GOLD"])["GOLD"]
    assert isinstance(found, CarryRows)
    assert [to_moment(time).microsecond for time in found.times] == [3, 4, 5]
