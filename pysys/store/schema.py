"""The whole schema: one database per system, the same on SQLite and PostgreSQL.

Conventions: times are aware UTC. Prices live in narrow tables keyed by (series, time) with time as integer
microseconds, because they are read and written in bulk. Whatever a person or a process decides carries who and why.
Stored states are stable words.
"""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    types,
)


class UtcDateTime(types.TypeDecorator[datetime]):
    """Aware UTC in, aware UTC out, on every database."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"time {value} has no time zone; times are stored as UTC")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class ExactDecimal(types.TypeDecorator[Decimal]):
    """Order prices, exact to the tick: text, because SQLite has no decimal of its own."""

    impl = String(40)
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> str | None:
        return None if value is None else format(value, "f")

    def process_result_value(self, value: str | None, dialect: Dialect) -> Decimal | None:
        return None if value is None else Decimal(value)


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

CODE = String(60)  # instrument, strategy, process
CONTRACT = String(8)  # YYYYMM00 or YYYYMMDD


def _table(name: str, *columns: Any, **options: Any) -> Table:
    return Table(name, metadata, *columns, **options)


def _id() -> Column[int]:
    return Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)


def _audit() -> list[Column[Any]]:
    """Who wrote the row: the process, and its run."""
    return [Column("written_by", CODE, nullable=False), Column("run_id", String(40))]


def _reason() -> list[Column[Any]]:
    return [Column("who", String(120), nullable=False), Column("why", Text, nullable=False, default="")]


# --- this database ---------------------------------------------------------------------------------------------

environment = _table(
    "environment",  # one row: what this database is for; checked before anything is traded
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("name", String(20), nullable=False),  # production, demo, replay
    Column("broker", String(20), nullable=False),  # paper, ib
    Column("account", String(40)),  # the one first traded
    Column("base_currency", String(3), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    CheckConstraint("id = 1", name="one_row"),
)

# --- markets ---------------------------------------------------------------------------------------------------

instruments = _table(
    "instruments",
    Column("code", CODE, primary_key=True),
    Column("description", Text, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("point_size", Double, nullable=False),
    Column("asset_class", String(40), nullable=False),
    Column("region", String(40), nullable=False, default=""),
    Column("exchange", String(40), nullable=False, default=""),
    Column("per_block", Double, nullable=False, default=0.0),
    Column("per_trade", Double, nullable=False, default=0.0),
    Column("percentage", Double, nullable=False, default=0.0),
    Column("spread_cost", Double, nullable=False, default=0.0),
    Column("tick_size", Double),
    Column("timezone", String(40)),
    Column("open_time", String(5)),  # HH:MM exchange-local
    Column("close_time", String(5)),
    Column("status", String(20), nullable=False, default="active"),  # active, retired
    CheckConstraint("point_size > 0", name="point_size_positive"),
)

roll_parameters = _table(
    "roll_parameters",
    Column("instrument", CODE, ForeignKey("instruments.code"), primary_key=True),
    Column("hold_cycle", String(12), nullable=False),
    Column("priced_cycle", String(12), nullable=False),
    Column("roll_offset", Integer, nullable=False),
    Column("carry_offset", Integer, nullable=False),
    Column("expiry_offset", Integer, nullable=False),
)

contracts = _table(
    "contracts",
    Column("instrument", CODE, ForeignKey("instruments.code"), primary_key=True),
    Column("contract", CONTRACT, primary_key=True),
    Column("expiry", Date),  # the broker's where known
    Column("expiry_source", String(20), nullable=False, default="approximate"),  # approximate, broker
    Column("sampling", Boolean, nullable=False, default=False),
    Column("retired_reason", Text),
)

roll_calendar = _table(
    "roll_calendar",  # when each contract was, or is due to be, left
    Column("instrument", CODE, ForeignKey("instruments.code"), primary_key=True),
    Column("source", String(10), primary_key=True),  # file, prices, plan
    Column("roll_time", UtcDateTime, primary_key=True),  # last moment the current contract is held
    Column("current_contract", CONTRACT, nullable=False),
    Column("next_contract", CONTRACT, nullable=False),
    Column("carry_contract", CONTRACT, nullable=False),
)

roll_states = _table(
    "roll_states",  # history; the latest row is the state
    _id(),
    Column("instrument", CODE, ForeignKey("instruments.code"), nullable=False),
    Column("time", UtcDateTime, nullable=False),
    Column("state", String(20), nullable=False),
    Column("priced_contract", CONTRACT),
    *_reason(),
    *_audit(),
    Index(None, "instrument", "id"),
)

rolls = _table(
    "rolls",  # every roll of the adjusted price, kept so that it can be explained
    Column("instrument", CODE, ForeignKey("instruments.code"), primary_key=True),
    Column("time", UtcDateTime, primary_key=True),  # of the first row of the new contract
    Column("from_contract", CONTRACT, nullable=False),
    Column("to_contract", CONTRACT, nullable=False),
    Column("gap", Double, nullable=False),  # new price less old, added to the whole history
    *_audit(),
)

# --- prices ----------------------------------------------------------------------------------------------------

price_series = _table(
    "price_series",
    _id(),
    Column("kind", String(20), nullable=False),  # contract_daily, contract_intraday, multiple, adjusted, fx
    Column("code", CODE, nullable=False),  # instrument, or currency for fx
    Column("contract", CONTRACT, nullable=False, default=""),
    UniqueConstraint("kind", "code", "contract"),
)


def _price_table(name: str, *values: Column[Any]) -> Table:
    return _table(
        name,
        Column("series_id", BigInteger, ForeignKey("price_series.id"), nullable=False),
        Column("time", BigInteger, nullable=False),  # microseconds since 1970, UTC
        *values,
        PrimaryKeyConstraint("series_id", "time"),
        sqlite_with_rowid=False,
    )


contract_prices = _price_table(
    "contract_prices",  # daily and intraday bars are different series
    Column("open", Double),
    Column("high", Double),
    Column("low", Double),
    Column("final", Double),
    Column("volume", Double),
)
multiple_prices = _price_table(
    "multiple_prices",
    Column("price", Double),
    Column("price_contract", Integer, nullable=False),
    Column("carry", Double),
    Column("carry_contract", Integer, nullable=False),
    Column("forward", Double),
    Column("forward_contract", Integer, nullable=False),
)
adjusted_prices = _price_table("adjusted_prices", Column("price", Double))
fx_prices = _price_table("fx_prices", Column("price", Double))

packed_prices = _table(
    "packed_prices",  # multiple, adjusted and FX prices again, by column; triggers forget a series whose rows change
    Column("series_id", BigInteger, ForeignKey("price_series.id"), primary_key=True, autoincrement=False),
    Column("name", String(40), primary_key=True),
    Column("until", BigInteger, nullable=False),  # time of the last row that is packed
    Column("content", LargeBinary, nullable=False),
)

price_outcomes = _table(
    "price_outcomes",  # what the last update of each series came to: no data is not failure
    Column("kind", String(20), primary_key=True),
    Column("code", CODE, primary_key=True),
    Column("contract", CONTRACT, primary_key=True, default=""),
    Column("checked_at", UtcDateTime, nullable=False),
    Column("outcome", String(20), nullable=False),  # new_rows, none_expected, missing, held_back, error
    Column("rows", Integer, nullable=False, default=0),
    Column("detail", Text, nullable=False, default=""),
    *_audit(),
)

quarantine = _table(
    "quarantine",  # rows a gate refused, kept until a person decides
    _id(),
    Column("kind", String(20), nullable=False),
    Column("code", CODE, nullable=False),
    Column("contract", CONTRACT, nullable=False, default=""),
    Column("time", UtcDateTime, nullable=False),
    Column("value", Double),
    Column("reason", Text, nullable=False),
    Column("found_at", UtcDateTime, nullable=False),
    Column("resolved_at", UtcDateTime),
    Column("resolution", String(20)),  # accepted, previous, typed
    *_audit(),
    UniqueConstraint("kind", "code", "contract", "time"),
)

# --- capital ---------------------------------------------------------------------------------------------------

account_polls = _table(
    "account_polls",  # the broker's valuation, as it gave it
    _id(),
    Column("time", UtcDateTime, nullable=False, unique=True),
    Column("account", String(40), nullable=False),
    Column("base_currency", String(3), nullable=False),
    Column("total", Double, nullable=False),
    Column("accepted", Boolean, nullable=False),  # false: a change too large to believe unseen
    *_audit(),
)
account_balances = _table(
    "account_balances",
    Column("poll_id", ForeignKey("account_polls.id"), primary_key=True),
    Column("currency", String(3), primary_key=True),
    Column("balance", Double, nullable=False),  # cash and unrealised profit, in the currency
    Column("fx_rate", Double, nullable=False),
)
account_marks = _table(
    "account_marks",
    Column("poll_id", ForeignKey("account_polls.id"), primary_key=True),
    Column("instrument", CODE, primary_key=True),
    Column("contract", CONTRACT, primary_key=True),
    Column("price", Double, nullable=False),
)
capital = _table(
    "capital",
    Column("time", UtcDateTime, primary_key=True),
    Column("broker_value", Double, nullable=False),
    Column("total", Double, nullable=False),
    Column("maximum", Double, nullable=False),
    Column("accumulated", Double, nullable=False),
    Column("method", String(10), nullable=False),
    Column("poll_id", ForeignKey("account_polls.id")),
    *_reason(),
    *_audit(),
)
strategy_capital = _table(
    "strategy_capital",
    Column("strategy", CODE, primary_key=True),
    Column("time", UtcDateTime, primary_key=True),
    Column("capital", Double, nullable=False),
    *_audit(),
)

# --- targets ---------------------------------------------------------------------------------------------------

backtest_runs = _table(
    "backtest_runs",
    _id(),
    Column("strategy", CODE, nullable=False),
    Column("time", UtcDateTime, nullable=False),
    Column("capital", Double, nullable=False),
    Column("universe", JSON, nullable=False),  # every instrument this run decided about
    Column("config_hash", String(64), nullable=False),
    Column("saved_state", Text, nullable=False),  # its time stamp, YYYYmmdd_HHMMSS
    *_audit(),
    UniqueConstraint("strategy", "time"),
)
optimal_positions = _table(
    "optimal_positions",
    Column("strategy", CODE, primary_key=True),
    Column("instrument", CODE, ForeignKey("instruments.code"), primary_key=True),
    Column("time", UtcDateTime, primary_key=True),
    Column("backtest_id", ForeignKey("backtest_runs.id"), nullable=False),
    Column("kind", String(20), nullable=False),  # buffered, simple, conditional, limit, spread
    Column("position", Double),
    Column("lower", Double),
    Column("upper", Double),
    Column("reference_price", Double),
    Column("reference_contract", CONTRACT),
    Column("reference_time", UtcDateTime),
    Column("terms", JSON, nullable=False, default=dict),  # what a conditional, limit or spread target adds
    *_audit(),
)

# --- orders ----------------------------------------------------------------------------------------------------

instrument_orders = _table(
    "instrument_orders",
    _id(),
    Column("strategy", CODE, nullable=False),
    Column("instrument", CODE, ForeignKey("instruments.code"), nullable=False),
    Column("trade", Integer, nullable=False),
    Column("order_type", String(20), nullable=False),
    Column("limit_price", ExactDecimal),
    Column("limit_contract", CONTRACT),
    Column("condition", JSON(none_as_null=True)),  # when, price and contract that must be met before it trades
    Column("reference_price", Double),
    Column("reference_contract", CONTRACT),
    Column("reference_time", UtcDateTime),
    Column("generated_at", UtcDateTime, nullable=False),
    Column("manual_trade", Boolean, nullable=False, default=False),
    Column("roll_order", Boolean, nullable=False, default=False),
    Column("active", Boolean, nullable=False, default=True),
    Column("locked", Boolean, nullable=False, default=False),
    Column("fill", Integer, nullable=False, default=0),
    Column("filled_price", Double),
    Column("filled_at", UtcDateTime),
    Column("status", String(20), nullable=False, default="open"),
    Column("completed_at", UtcDateTime),
    Column("note", Text, nullable=False, default=""),
    Column("waits_for", Text, nullable=False, default=""),  # why there is no contract order yet
    Column("guard_overridden", Text),  # who let it break overrides and position limits, and why; NULL: nobody
    *_audit(),
    Index(None, "active", "instrument"),
    CheckConstraint("status IN ('open','done','cancelled','failed')", name="status_known"),
)

contract_orders = _table(
    "contract_orders",
    _id(),
    Column("parent_id", ForeignKey("instrument_orders.id"), nullable=False, index=True),
    Column("strategy", CODE, nullable=False),
    Column("instrument", CODE, ForeignKey("instruments.code"), nullable=False),
    Column("order_type", String(20), nullable=False),
    Column("limit_price", ExactDecimal),
    Column("reference_price", Double),
    Column("generated_at", UtcDateTime, nullable=False),
    Column("roll_order", Boolean, nullable=False, default=False),
    Column("inter_spread_order", Boolean, nullable=False, default=False),
    Column("manual_trade", Boolean, nullable=False, default=False),
    Column("algo_to_use", String(40), nullable=False, default=""),
    Column("sequence", Integer, nullable=False, default=0),  # a later one waits for the earlier of its family
    Column("active", Boolean, nullable=False, default=True),
    Column("locked", Boolean, nullable=False, default=False),
    Column("controlling_algo", String(40)),  # the algo that works it now
    Column("claimed_by", String(120)),  # the process that algo is in; compare-and-set
    Column("claim_heartbeat_at", UtcDateTime),  # of the real world, as is the next
    Column("claim_until", UtcDateTime),
    Column("filled_price", Double),
    Column("filled_at", UtcDateTime),
    Column("status", String(20), nullable=False, default="open"),
    Column("completed_at", UtcDateTime),
    Column("note", Text, nullable=False, default=""),
    *_audit(),
    Index(None, "active", "instrument"),
    CheckConstraint("status IN ('open','done','cancelled','failed')", name="status_known"),
)
contract_order_legs = _table(
    "contract_order_legs",
    Column("order_id", ForeignKey("contract_orders.id"), primary_key=True),
    Column("leg", Integer, primary_key=True),
    Column("instrument", CODE, nullable=False),
    Column("contract", CONTRACT, nullable=False),
    Column("trade", Integer, nullable=False),
    Column("fill", Integer, nullable=False, default=0),
    Column("filled_price", Double),
)

order_tag = _table(
    "order_tag",  # one row: what every order reference of this database ends in, and of no other
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("tag", String(20), nullable=False),
    CheckConstraint("id = 1", name="one_row"),
)
broker_orders = _table(
    "broker_orders",
    _id(),
    Column("order_ref", String(60), nullable=False, unique=True),  # ours, written before the order is sent
    Column("parent_id", ForeignKey("contract_orders.id"), nullable=False, index=True),
    Column("strategy", CODE, nullable=False),
    Column("instrument", CODE, ForeignKey("instruments.code"), nullable=False),
    Column("order_type", String(20), nullable=False),  # market, limit
    Column("algo_used", String(40), nullable=False),
    Column("algo_state", JSON, nullable=False, default=dict),
    Column("algo_comment", Text, nullable=False, default=""),
    Column("limit_price", ExactDecimal),
    Column("side_price", Double),
    Column("mid_price", Double),
    Column("offside_price", Double),
    Column("calendar_spread_order", Boolean, nullable=False, default=False),
    Column("roll_order", Boolean, nullable=False, default=False),
    Column("manual_fill", Boolean, nullable=False, default=False),
    Column("broker", String(20), nullable=False),
    Column("broker_account", String(40)),
    Column("broker_clientid", Integer),
    Column("broker_tempid", String(60)),
    Column("broker_permid", String(60)),
    Column("created_at", UtcDateTime, nullable=False),
    Column("submitted_at", UtcDateTime),
    Column("cancel_requested_at", UtcDateTime),
    Column("status", String(20), nullable=False),  # intended, working, filled, cancelled, rejected
    Column("active", Boolean, nullable=False, default=True),
    Column("filled_price", Double),
    Column("filled_at", UtcDateTime),
    Column("commission", Double),  # NULL until the broker reports it
    Column("commission_currency", String(3)),
    *_audit(),
    Index(None, "active", "status"),
    Index(None, "instrument", "filled_at"),
    CheckConstraint("status IN ('intended','working','filled','cancelled','rejected')", name="status_known"),
)
Index("ix_broker_orders_broker_permid", broker_orders.c.broker_permid)
broker_order_legs = _table(
    "broker_order_legs",
    Column("order_id", ForeignKey("broker_orders.id"), primary_key=True),
    Column("leg", Integer, primary_key=True),
    Column("instrument", CODE, nullable=False),
    Column("contract", CONTRACT, nullable=False),
    Column("trade", Integer, nullable=False),
    Column("fill", Integer, nullable=False, default=0),
    Column("filled_price", Double),
)

fills = _table(
    "fills",  # facts: appended once, never edited but for a commission that comes later, or that was told to be missing
    _id(),
    Column("broker", String(20), nullable=False),
    Column("execution_id", String(80), nullable=False),
    Column("order_ref", String(60), nullable=False, index=True),
    Column("broker_order_id", ForeignKey("broker_orders.id")),
    Column("strategy", CODE, nullable=False),
    Column("instrument", CODE, nullable=False),  # of any the broker trades: a fact needs no configuration
    Column("contract", CONTRACT, nullable=False),
    Column("quantity", Integer, nullable=False),
    Column("price", Double, nullable=False),
    Column("commission", Double),
    Column("commission_currency", String(3)),
    Column("filled_at", UtcDateTime, nullable=False, index=True),
    Column("recorded_at", UtcDateTime, nullable=False),
    Column("corrects", String(80)),  # execution this one replaces
    Column("reverses", String(80)),  # execution this one takes back
    Column("fee_missed_at", UtcDateTime),  # when a person was told that its commission had not come
    Column("alert", Text),  # what a person should know of it; NULL: nothing
    Column("alert_told_at", UtcDateTime),  # when that was said
    *_audit(),
    UniqueConstraint("broker", "execution_id"),
    CheckConstraint("quantity <> 0", name="moves_a_position"),
)
Index(
    "ix_fills_without_commission",
    fills.c.filled_at,
    sqlite_where=fills.c.commission.is_(None),
    postgresql_where=fills.c.commission.is_(None),
)

# --- positions -------------------------------------------------------------------------------------------------

contract_positions = _table(
    "contract_positions",
    Column("instrument", CODE, primary_key=True),  # as in fills
    Column("contract", CONTRACT, primary_key=True),
    Column("position", Integer, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)
contract_position_history = _table(
    "contract_position_history",
    _id(),
    Column("instrument", CODE, nullable=False),
    Column("contract", CONTRACT, nullable=False),
    Column("time", UtcDateTime, nullable=False),
    Column("change", Integer, nullable=False),
    Column("position", Integer, nullable=False),
    Column("fill_id", ForeignKey("fills.id")),
    Column("reason", String(40), nullable=False),
    *_audit(),
    Index(None, "instrument", "contract", "id"),
)
strategy_positions = _table(
    "strategy_positions",
    Column("strategy", CODE, primary_key=True),
    Column("instrument", CODE, ForeignKey("instruments.code"), primary_key=True),
    Column("position", Integer, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)
strategy_position_history = _table(
    "strategy_position_history",
    _id(),
    Column("strategy", CODE, nullable=False),
    Column("instrument", CODE, nullable=False),
    Column("time", UtcDateTime, nullable=False),
    Column("change", Integer, nullable=False),
    Column("position", Integer, nullable=False),
    Column("price", Double),
    Column("fill_id", ForeignKey("fills.id")),
    Column("reason", String(40), nullable=False),
    *_audit(),
    Index(None, "strategy", "instrument", "id"),
)

# --- control of trading ----------------------------------------------------------------------------------------

# A blank strategy or instrument means "every".
trade_limits = _table(
    "trade_limits",  # what is used follows from the broker orders: those still working, and those filled since reset_at
    Column("strategy", CODE, primary_key=True, default=""),
    Column("instrument", CODE, primary_key=True),
    Column("period_days", Integer, primary_key=True),
    Column("trade_limit", Integer, nullable=False),
    Column("reset_at", UtcDateTime, nullable=False),
    CheckConstraint("trade_limit >= 0 AND period_days > 0", name="possible"),
)
position_limits = _table(
    "position_limits",
    Column("strategy", CODE, primary_key=True, default=""),
    Column("instrument", CODE, primary_key=True),
    Column("position_limit", Integer, nullable=False),
    Column("waived", Integer),  # contracts beyond it that a person ordered all the same, until the position is back
    *_reason(),
    CheckConstraint("position_limit >= 0", name="not_negative"),
)
overrides = _table(
    "overrides",
    Column("strategy", CODE, primary_key=True, default=""),
    Column("instrument", CODE, primary_key=True, default=""),
    Column("kind", String(20), nullable=False),  # factor, close, reduce_only, no_trading
    Column("factor", Double),
    Column("set_at", UtcDateTime, nullable=False),
    *_reason(),
)
instrument_locks = _table(
    "instrument_locks",
    Column("instrument", CODE, primary_key=True),  # as in fills
    Column("owner", String(20), primary_key=True),  # reconciliation, person
    Column("locked_at", UtcDateTime, nullable=False),
    *_reason(),
)
kill_switch = _table(
    "kill_switch",  # history; the latest row is the state, and it survives restarts
    _id(),
    Column("engaged", Boolean, nullable=False),
    Column("time", UtcDateTime, nullable=False),
    *_reason(),
)
commands = _table(
    "commands",  # interventions: asked for once, carried out once, answered
    _id(),
    Column("token", String(60), nullable=False, unique=True),
    Column("name", String(60), nullable=False),
    Column("arguments", JSON, nullable=False),
    Column("asked_at", UtcDateTime, nullable=False),
    *_reason(),
    Column("status", String(20), nullable=False, default="asked"),  # asked, done, refused, failed
    Column("answered_at", UtcDateTime),
    Column("answer", Text),
)

# --- processes -------------------------------------------------------------------------------------------------

processes = _table(
    "processes",
    Column("name", CODE, primary_key=True),
    Column("status", String(10), nullable=False, default="GO"),  # GO, PAUSE, STOP, NO-RUN
    Column("last_start", UtcDateTime),
    Column("last_end", UtcDateTime),
    Column("changed_at", UtcDateTime),
    Column("changed_by", String(120)),
)
runs = _table(
    "runs",  # every execution of a process, method or report
    Column("id", String(40), primary_key=True),
    Column("process", CODE, nullable=False),
    Column("method", CODE, nullable=False),
    Column("business_date", Date, nullable=False),
    Column("parameters", JSON, nullable=False),
    Column("config_hash", String(64), nullable=False),
    Column("code_version", String(60), nullable=False),
    Column("machine", String(120), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("boot_id", String(60), nullable=False, default=""),
    Column("started_at", UtcDateTime, nullable=False),  # on the system's clock: simulated in a replay
    Column("ended_at", UtcDateTime),
    Column("seconds", Double),  # of real time
    Column("status", String(20), nullable=False),  # running, done, failed, incomplete, dead
    Column("error", Text),
    Column("folder", Text, nullable=False, default=""),
    Column("record", JSON),  # the completion record the last cell wrote
    Index(None, "method", "business_date"),
    Index(None, "status"),
    CheckConstraint("status IN ('running','done','failed','incomplete','dead')", name="status_known"),
)
leases = _table(
    "leases",  # who runs what, one at a time; a heartbeat keeps it, silence loses it
    Column("name", CODE, primary_key=True),
    Column("owner", String(120), nullable=False),
    Column("taken_at", UtcDateTime, nullable=False),
    Column("heartbeat_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
)

log = _table(
    "log",
    _id(),
    Column("time", UtcDateTime, nullable=False, index=True),
    Column("level", String(10), nullable=False),
    Column("type", CODE, nullable=False),  # the top-level process
    Column("message", Text, nullable=False),
    Column("run_id", String(40), index=True),
    Column("attributes", JSON, nullable=False, default=dict),
    # stage, component, currency_code, instrument_code, contract_date, strategy_name, *_order_id
)
mail = _table(
    "mail",
    _id(),
    Column("time", UtcDateTime, nullable=False),
    Column("kind", String(20), nullable=False),  # report, failure, notice
    Column("subject", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("status", String(20), nullable=False, default="stored"),  # stored, sent, read
    Column("sent_at", UtcDateTime),
    Column("attempts", Integer, nullable=False, default=0),
    Index(None, "subject", "time"),
)
