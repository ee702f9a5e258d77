"""The whole schema"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "account_polls",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("account", sa.String(length=40), nullable=False),
        sa.Column("base_currency", sa.String(length=3), nullable=False),
        sa.Column("total", sa.Double(), nullable=False),
        sa.Column("accepted", sa.Boolean(), nullable=False),
        sa.Column("written_by", sa.String(length=60), nullable=False),
        sa.Column("run_id", sa.String(length=40), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account_polls")),
        sa.UniqueConstraint("time", name=op.f("uq_account_polls_time")),
    )
    op.create_table(
        "backtest_runs",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("strategy", sa.String(length=60), nullable=False),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("capital", sa.Double(), nullable=False),
        sa.Column("universe", sa.JSON(), nullable=False),
        sa.Column("config_hash", sa.String(length=64), nullable=False),
        sa.Column("saved_state", sa.Text(), nullable=False),
        sa.Column("written_by", sa.String(length=60), nullable=False),
        sa.Column("run_id", sa.String(length=40), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_backtest_runs")),
        sa.UniqueConstraint("strategy", "time", name=op.f("uq_backtest_runs_strategy_time")),
    )
    op.create_table(
        "commands",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("token", sa.String(length=60), nullable=False),
        sa.Column("name", sa.String(length=60), nullable=False),
        sa.Column("arguments", sa.JSON(), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("who", sa.String(length=120), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_commands")),
        sa.UniqueConstraint("token", name=op.f("uq_commands_token")),
    )
    op.create_table(
        "environment",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=20), nullable=False),
        sa.Column("broker", sa.String(length=20), nullable=False),
        sa.Column("account", sa.String(length=40), nullable=True),
        sa.Column("base_currency", sa.String(length=3), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_environment_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_environment")),
    )
    op.create_table(
        "instruments",
        sa.Column("code", sa.String(length=60), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("point_size", sa.Double(), nullable=False),
        sa.Column("asset_class", sa.String(length=40), nullable=False),
        sa.Column("region", sa.String(length=40), nullable=False),
        sa.Column("exchange", sa.String(length=40), nullable=False),
        sa.Column("per_block", sa.Double(), nullable=False),
        sa.Column("per_trade", sa.Double(), nullable=False),
        sa.Column("percentage", sa.Double(), nullable=False),
        sa.Column("spread_cost", sa.Double(), nullable=False),
        sa.Column("tick_size", sa.Double(), nullable=True),
        sa.Column("timezone", sa.String(length=40), nullable=True),
        sa.Column("open_time", sa.String(length=5), nullable=True),
        sa.Column("close_time", sa.String(length=5), nullable=True),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.CheckConstraint("point_size > 0", name=op.f("ck_instruments_point_size_positive")),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_instruments")),
    )
    op.create_table(
        "kill_switch",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("engaged", sa.Boolean(), nullable=False),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("who", sa.String(length=120), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_kill_switch")),
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.String(length=60), nullable=False),
        sa.Column("owner", sa.String(length=120), nullable=False),
        sa.Column("taken_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("heartbeat_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_leases")),
    )
    op.create_table(
        "log",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("level", sa.String(length=10), nullable=False),
        sa.Column("type", sa.String(length=60), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("run_id", sa.String(length=40), nullable=True),
        sa.Column("attributes", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_log")),
    )
    with op.batch_alter_table("log", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_log_run_id"), ["run_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_log_time"), ["time"], unique=False)

    op.create_table(
        "mail",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mail")),
    )
    with op.batch_alter_table("mail", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_mail_subject_time"), ["subject", "time"], unique=False)

    op.create_table(
        "overrides",
        sa.Column("strategy", sa.String(length=60), nullable=False),
        sa.Column("instrument", sa.String(length=60), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("factor", sa.Double(), nullable=True),
        sa.Column("set_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("who", sa.String(length=120), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("strategy", "instrument", name=op.f("pk_overrides")),
    )
    op.create_table(
        "position_limits",
        sa.Column("strategy", sa.String(length=60), nullable=False),
        sa.Column("instrument", sa.String(length=60), nullable=False),
        sa.Column("position_limit", sa.Integer(), nullable=False),
        sa.Column("who", sa.String(length=120), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.CheckConstraint("position_limit >= 0", name=op.f("ck_position_limits_not_negative")),
        sa.PrimaryKeyConstraint("strategy", "instrument", name=op.f("pk_position_limits")),
    )
    op.create_table(
        "price_outcomes",
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("code", sa.String(length=60), nullable=False),
        sa.Column("contract", sa.String(length=8), nullable=False),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("outcome", sa.String(length=20), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("written_by", sa.String(length=60), nullable=False),
        sa.Column("run_id", sa.String(length=40), nullable=True),
        sa.PrimaryKeyConstraint("kind", "code", "contract", name=op.f("pk_price_outcomes")),
    )
    op.create_table(
        "price_series",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("code", sa.String(length=60), nullable=False),
        sa.Column("contract", sa.String(length=8), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_price_series")),
        sa.UniqueConstraint("kind", "code", "contract", name=op.f("uq_price_series_kind_code_contract")),
    )
    op.create_table(
        "processes",
        sa.Column("name", sa.String(length=60), nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("last_start", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_end", sa.DateTime(timezone=True), nullable=True),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("changed_by", sa.String(length=120), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_processes")),
    )
    op.create_table(
        "quarantine",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("code", sa.String(length=60), nullable=False),
        sa.Column("contract", sa.String(length=8), nullable=False),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("found_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("resolution", sa.String(length=20), nullable=True),
        sa.Column("written_by", sa.String(length=60), nullable=False),
        sa.Column("run_id", sa.String(length=40), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quarantine")),
        sa.UniqueConstraint("kind", "code", "contract", "time", name=op.f("uq_quarantine_kind_code_contract_time")),
    )
    op.create_table(
        "runs",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("process", sa.String(length=60), nullable=False),
        sa.Column("method", sa.String(length=60), nullable=False),
        sa.Column("business_date", sa.Date(), nullable=False),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.Column("config_hash", sa.String(length=64), nullable=False),
        sa.Column("code_version", sa.String(length=60), nullable=False),
        sa.Column("machine", sa.String(length=120), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("boot_id", sa.String(length=60), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("folder", sa.Text(), nullable=False),
        sa.Column("record", sa.JSON(), nullable=True),
        sa.CheckConstraint(
            "status IN ('running','done','failed','incomplete','dead')", name=op.f("ck_runs_status_known")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
    )
    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_runs_method_business_date"), ["method", "business_date"], unique=False)
        batch_op.create_index(batch_op.f("ix_runs_status"), ["status"], unique=False)

    op.create_table(
        "strategy_capital",
        sa.Column("strategy", sa.String(length=60), nullable=False),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("capital", sa.Double(), nullable=False),
        sa.Column("written_by", sa.String(length=60), nullable=False),
        sa.Column("run_id", sa.String(length=40), nullable=True),
        sa.PrimaryKeyConstraint("strategy", "time", name=op.f("pk_strategy_capital")),
    )
    op.create_table(
        "trade_limits",
        sa.Column("strategy", sa.String(length=60), nullable=False),
        sa.Column("instrument", sa.String(length=60), nullable=False),
        sa.Column("period_days", sa.Integer(), nullable=False),
        sa.Column("trade_limit", sa.Integer(), nullable=False),
        sa.Column("used", sa.Integer(), nullable=False),
        sa.Column("reset_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "trade_limit >= 0 AND used >= 0 AND used <= trade_limit",
            name=op.f("ck_trade_limits_never_exceeded"),
        ),
        sa.PrimaryKeyConstraint("strategy", "instrument", "period_days", name=op.f("pk_trade_limits")),
    )
    op.create_table(
        "account_balances",
        sa.Column("poll_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("balance", sa.Double(), nullable=False),
        sa.Column("fx_rate", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["poll_id"], ["account_polls.id"], name=op.f("fk_account_balances_poll_id_account_polls")
        ),
        sa.PrimaryKeyConstraint("poll_id", "currency", name=op.f("pk_account_balances")),
    )
    op.create_table(
        "account_marks",
        sa.Column("poll_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("instrument", sa.String(length=60), nullable=False),
        sa.Column("contract", sa.String(length=8), nullable=False),
        sa.Column("price", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["poll_id"], ["account_polls.id"], name=op.f("fk_account_marks_poll_id_account_polls")),
        sa.PrimaryKeyConstraint("poll_id", "instrument", "contract", name=op.f("pk_account_marks")),
    )
    op.create_table(
        "adjusted_prices",
        sa.Column("series_id", sa.BigInteger(), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("price", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["series_id"], ["price_series.id"], name=op.f("fk_adjusted_prices_series_id_price_series")
        ),
        sa.PrimaryKeyConstraint("series_id", "time", name=op.f("pk_adjusted_prices")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "capital",
        sa.Column("time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("broker_value", sa.Double(), nullable=False),
        sa.Column("total", sa.Double(), nullable=False),
        sa.Column("maximum", sa.Double(), nullable=False),
        sa.Column("accumulated", sa.Double(), nullable=False),
        sa.Column("method", sa.String(length=10), nullable=False),
        sa.Column("poll_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("who", sa.String(length=120), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("written_by", sa.String(length=60), nullable=False),
        sa.Column("run_id", sa.String(length=40), nullable=True),
        sa.ForeignKeyConstraint(["poll_id"], ["account_polls.id"], name=op.f("fk_capital_poll_id_account_polls")),
        sa.PrimaryKeyConstraint("time", name=op.f("pk_capital")),
    )
    op.create_table(
        "contract_positions",
        sa.Column("instrument", sa.String(length=60), nullable=False),
        sa.Column("contract", sa.String(length=8), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["instrument"], ["instruments.code"], name=op.f("fk_contract_positions_instrument_instruments")
        ),
        sa.PrimaryKeyConstraint("instrument", "contract", name=op.f("pk_contract_positions")),
    )
    op.create_table(
        "contract_prices",
        sa.Column("series_id", sa.BigInteger(), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("open", sa.Double(), nullable=True),
        sa.Column("high", sa.Double(), nullable=True),
        sa.Column("low", sa.Double(), nullable=True),
        sa.Column("final", sa.Double(), nullable=True),
        sa.Column("volume", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["series_id"], ["price_series.id"], name=op.f("fk_contract_prices_series_id_price_series")
        ),
        sa.PrimaryKeyConstraint("series_id", "time", name=op.f("pk_contract_prices")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "contracts",
        sa.Column("instrument", sa.String(length=60), nullable=False),
        sa.Column("contract", sa.String(length=8), nullable=False),
        sa.Column("expiry", sa.Date(), nullable=True),
        sa.Column("expiry_source", sa.String(length=20), nullable=False),
        sa.Column("sampling", sa.Boolean(), nullable=False),
        sa.Column("retired_reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["instrument"], ["instruments.code"], name=op.f("fk_contracts_instrument_instruments")),
        sa.PrimaryKeyConstraint("instrument", "contract", name=op.f("pk_contracts")),
    )
    op.create_table(
        "fx_prices",
        sa.Column("series_id", sa.BigInteger(), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("price", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["series_id"], ["price_series.id"], name=op.f("fk_fx_prices_series_id_price_series")),
        sa.PrimaryKeyConstraint("series_id", "time", name=op.f("pk_fx_prices")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "instrument_locks",
        sa.Column("instrument", sa.String(length=60), nullable=False),
        sa.Column("owner", sa.String(length=20), nullable=False),
        sa.Column("locked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("who", sa.String(length=120), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["instrument"], ["instruments.code"], name=op.f("fk_instrument_locks_instrument_instruments")
        ),
        sa.PrimaryKeyConstraint("instrument", "owner", name=op.f("pk_instrument_locks")),
    )
    op.create_table(
        "instrument_orders",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("strategy", sa.String(length=60), nullable=False),
        sa.Column("instrument", sa.String(length=60), nullable=False),
        sa.Column("trade", sa.Integer(), nullable=False),
        sa.Column("order_type", sa.String(length=20), nullable=False),
        sa.Column("limit_price", sa.String(length=40), nullable=True),
        sa.Column("limit_contract", sa.String(length=8), nullable=True),
        sa.Column("condition", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("reference_price", sa.Double(), nullable=True),
        sa.Column("reference_contract", sa.String(length=8), nullable=True),
        sa.Column("reference_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("generated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("manual_trade", sa.Boolean(), nullable=False),
        sa.Column("roll_order", sa.Boolean(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("locked", sa.Boolean(), nullable=False),
        sa.Column("fill", sa.Integer(), nullable=False),
        sa.Column("filled_price", sa.Double(), nullable=True),
        sa.Column("filled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("waits_for", sa.Text(), nullable=False),
        sa.Column("written_by", sa.String(length=60), nullable=False),
        sa.Column("run_id", sa.String(length=40), nullable=True),
        sa.CheckConstraint(
            "status IN ('open','done','cancelled','failed')", name=op.f("ck_instrument_orders_status_known")
        ),
        sa.ForeignKeyConstraint(
            ["instrument"], ["instruments.code"], name=op.f("fk_instrument_orders_instrument_instruments")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_instrument_orders")),
    )
    with op.batch_alter_table("instrument_orders", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_instrument_orders_active_instrument"), ["active", "instrument"], unique=False
        )

    op.create_table(
        "multiple_prices",
        sa.Column("series_id", sa.BigInteger(), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("price", sa.Double(), nullable=True),
        sa.Column("price_contract", sa.Integer(), nullable=False),
        sa.Column("carry", sa.Double(), nullable=True),
        sa.Column("carry_contract", sa.Integer(), nullable=False),
        sa.Column("forward", sa.Double(), nullable=True),
        sa.Column("forward_contract", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["series_id"], ["price_series.id"], name=op.f("fk_multiple_prices_series_id_price_series")
        ),
        sa.PrimaryKeyConstraint("series_id", "time", name=op.f("pk_multiple_prices")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "optimal_positions",
        sa.Column("strategy", sa.String(length=60), nullable=False),
        sa.Column("instrument", sa.String(length=60), nullable=False),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("backtest_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("position", sa.Double(), nullable=True),
        sa.Column("lower", sa.Double(), nullable=True),
        sa.Column("upper", sa.Double(), nullable=True),
        sa.Column("reference_price", sa.Double(), nullable=True),
        sa.Column("reference_contract", sa.String(length=8), nullable=True),
        sa.Column("reference_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("terms", sa.JSON(), nullable=False),
        sa.Column("written_by", sa.String(length=60), nullable=False),
        sa.Column("run_id", sa.String(length=40), nullable=True),
        sa.ForeignKeyConstraint(
            ["backtest_id"], ["backtest_runs.id"], name=op.f("fk_optimal_positions_backtest_id_backtest_runs")
        ),
        sa.ForeignKeyConstraint(
            ["instrument"], ["instruments.code"], name=op.f("fk_optimal_positions_instrument_instruments")
        ),
        sa.PrimaryKeyConstraint("strategy", "instrument", "time", name=op.f("pk_optimal_positions")),
    )
    op.create_table(
        "roll_calendar",
        sa.Column("instrument", sa.String(length=60), nullable=False),
        sa.Column("source", sa.String(length=10), nullable=False),
        sa.Column("roll_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("current_contract", sa.String(length=8), nullable=False),
        sa.Column("next_contract", sa.String(length=8), nullable=False),
        sa.Column("carry_contract", sa.String(length=8), nullable=False),
        sa.ForeignKeyConstraint(
            ["instrument"], ["instruments.code"], name=op.f("fk_roll_calendar_instrument_instruments")
        ),
        sa.PrimaryKeyConstraint("instrument", "source", "roll_time", name=op.f("pk_roll_calendar")),
    )
    op.create_table(
        "roll_parameters",
        sa.Column("instrument", sa.String(length=60), nullable=False),
        sa.Column("hold_cycle", sa.String(length=12), nullable=False),
        sa.Column("priced_cycle", sa.String(length=12), nullable=False),
        sa.Column("roll_offset", sa.Integer(), nullable=False),
        sa.Column("carry_offset", sa.Integer(), nullable=False),
        sa.Column("expiry_offset", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["instrument"], ["instruments.code"], name=op.f("fk_roll_parameters_instrument_instruments")
        ),
        sa.PrimaryKeyConstraint("instrument", name=op.f("pk_roll_parameters")),
    )
    op.create_table(
        "roll_states",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("instrument", sa.String(length=60), nullable=False),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("priced_contract", sa.String(length=8), nullable=True),
        sa.Column("who", sa.String(length=120), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("written_by", sa.String(length=60), nullable=False),
        sa.Column("run_id", sa.String(length=40), nullable=True),
        sa.ForeignKeyConstraint(
            ["instrument"], ["instruments.code"], name=op.f("fk_roll_states_instrument_instruments")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_roll_states")),
    )
    with op.batch_alter_table("roll_states", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_roll_states_instrument_id"), ["instrument", "id"], unique=False)

    op.create_table(
        "rolls",
        sa.Column("instrument", sa.String(length=60), nullable=False),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("from_contract", sa.String(length=8), nullable=False),
        sa.Column("to_contract", sa.String(length=8), nullable=False),
        sa.Column("gap", sa.Double(), nullable=False),
        sa.Column("written_by", sa.String(length=60), nullable=False),
        sa.Column("run_id", sa.String(length=40), nullable=True),
        sa.ForeignKeyConstraint(["instrument"], ["instruments.code"], name=op.f("fk_rolls_instrument_instruments")),
        sa.PrimaryKeyConstraint("instrument", "time", name=op.f("pk_rolls")),
    )
    op.create_table(
        "strategy_positions",
        sa.Column("strategy", sa.String(length=60), nullable=False),
        sa.Column("instrument", sa.String(length=60), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["instrument"], ["instruments.code"], name=op.f("fk_strategy_positions_instrument_instruments")
        ),
        sa.PrimaryKeyConstraint("strategy", "instrument", name=op.f("pk_strategy_positions")),
    )
    op.create_table(
        "contract_orders",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("parent_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("strategy", sa.String(length=60), nullable=False),
        sa.Column("instrument", sa.String(length=60), nullable=False),
        sa.Column("order_type", sa.String(length=20), nullable=False),
        sa.Column("limit_price", sa.String(length=40), nullable=True),
        sa.Column("reference_price", sa.Double(), nullable=True),
        sa.Column("generated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("roll_order", sa.Boolean(), nullable=False),
        sa.Column("inter_spread_order", sa.Boolean(), nullable=False),
        sa.Column("manual_trade", sa.Boolean(), nullable=False),
        sa.Column("algo_to_use", sa.String(length=40), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("locked", sa.Boolean(), nullable=False),
        sa.Column("claimed_by", sa.String(length=120), nullable=True),
        sa.Column("claim_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("filled_price", sa.Double(), nullable=True),
        sa.Column("filled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("written_by", sa.String(length=60), nullable=False),
        sa.Column("run_id", sa.String(length=40), nullable=True),
        sa.CheckConstraint(
            "status IN ('open','done','cancelled','failed')", name=op.f("ck_contract_orders_status_known")
        ),
        sa.ForeignKeyConstraint(
            ["instrument"], ["instruments.code"], name=op.f("fk_contract_orders_instrument_instruments")
        ),
        sa.ForeignKeyConstraint(
            ["parent_id"],
            ["instrument_orders.id"],
            name=op.f("fk_contract_orders_parent_id_instrument_orders"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contract_orders")),
    )
    with op.batch_alter_table("contract_orders", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_contract_orders_active_instrument"), ["active", "instrument"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_contract_orders_parent_id"), ["parent_id"], unique=False)

    op.create_table(
        "broker_orders",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("order_ref", sa.String(length=60), nullable=False),
        sa.Column("parent_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("strategy", sa.String(length=60), nullable=False),
        sa.Column("instrument", sa.String(length=60), nullable=False),
        sa.Column("order_type", sa.String(length=20), nullable=False),
        sa.Column("algo_used", sa.String(length=40), nullable=False),
        sa.Column("algo_state", sa.JSON(), nullable=False),
        sa.Column("algo_comment", sa.Text(), nullable=False),
        sa.Column("limit_price", sa.String(length=40), nullable=True),
        sa.Column("side_price", sa.Double(), nullable=True),
        sa.Column("mid_price", sa.Double(), nullable=True),
        sa.Column("offside_price", sa.Double(), nullable=True),
        sa.Column("calendar_spread_order", sa.Boolean(), nullable=False),
        sa.Column("roll_order", sa.Boolean(), nullable=False),
        sa.Column("manual_fill", sa.Boolean(), nullable=False),
        sa.Column("broker", sa.String(length=20), nullable=False),
        sa.Column("broker_account", sa.String(length=40), nullable=True),
        sa.Column("broker_clientid", sa.Integer(), nullable=True),
        sa.Column("broker_tempid", sa.String(length=60), nullable=True),
        sa.Column("broker_permid", sa.String(length=60), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("submitted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancel_requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("filled_price", sa.Double(), nullable=True),
        sa.Column("filled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("commission", sa.Double(), nullable=True),
        sa.Column("commission_currency", sa.String(length=3), nullable=True),
        sa.Column("written_by", sa.String(length=60), nullable=False),
        sa.Column("run_id", sa.String(length=40), nullable=True),
        sa.CheckConstraint(
            "status IN ('intended','working','filled','cancelled','rejected')",
            name=op.f("ck_broker_orders_status_known"),
        ),
        sa.ForeignKeyConstraint(
            ["instrument"], ["instruments.code"], name=op.f("fk_broker_orders_instrument_instruments")
        ),
        sa.ForeignKeyConstraint(
            ["parent_id"], ["contract_orders.id"], name=op.f("fk_broker_orders_parent_id_contract_orders")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_broker_orders")),
        sa.UniqueConstraint("order_ref", name=op.f("uq_broker_orders_order_ref")),
    )
    with op.batch_alter_table("broker_orders", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_broker_orders_active_status"), ["active", "status"], unique=False)
        batch_op.create_index(batch_op.f("ix_broker_orders_parent_id"), ["parent_id"], unique=False)

    op.create_table(
        "contract_order_legs",
        sa.Column("order_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("leg", sa.Integer(), nullable=False),
        sa.Column("instrument", sa.String(length=60), nullable=False),
        sa.Column("contract", sa.String(length=8), nullable=False),
        sa.Column("trade", sa.Integer(), nullable=False),
        sa.Column("fill", sa.Integer(), nullable=False),
        sa.Column("filled_price", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["order_id"], ["contract_orders.id"], name=op.f("fk_contract_order_legs_order_id_contract_orders")
        ),
        sa.PrimaryKeyConstraint("order_id", "leg", name=op.f("pk_contract_order_legs")),
    )
    op.create_table(
        "broker_order_legs",
        sa.Column("order_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("leg", sa.Integer(), nullable=False),
        sa.Column("instrument", sa.String(length=60), nullable=False),
        sa.Column("contract", sa.String(length=8), nullable=False),
        sa.Column("trade", sa.Integer(), nullable=False),
        sa.Column("fill", sa.Integer(), nullable=False),
        sa.Column("filled_price", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["order_id"], ["broker_orders.id"], name=op.f("fk_broker_order_legs_order_id_broker_orders")
        ),
        sa.PrimaryKeyConstraint("order_id", "leg", name=op.f("pk_broker_order_legs")),
    )
    op.create_table(
        "fills",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("broker", sa.String(length=20), nullable=False),
        sa.Column("execution_id", sa.String(length=80), nullable=False),
        sa.Column("order_ref", sa.String(length=60), nullable=False),
        sa.Column("broker_order_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("strategy", sa.String(length=60), nullable=False),
        sa.Column("instrument", sa.String(length=60), nullable=False),
        sa.Column("contract", sa.String(length=8), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("price", sa.Double(), nullable=False),
        sa.Column("commission", sa.Double(), nullable=True),
        sa.Column("commission_currency", sa.String(length=3), nullable=True),
        sa.Column("filled_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("written_by", sa.String(length=60), nullable=False),
        sa.Column("run_id", sa.String(length=40), nullable=True),
        sa.CheckConstraint("quantity <> 0", name=op.f("ck_fills_moves_a_position")),
        sa.ForeignKeyConstraint(
            ["broker_order_id"], ["broker_orders.id"], name=op.f("fk_fills_broker_order_id_broker_orders")
        ),
        sa.ForeignKeyConstraint(["instrument"], ["instruments.code"], name=op.f("fk_fills_instrument_instruments")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fills")),
        sa.UniqueConstraint("broker", "execution_id", name=op.f("uq_fills_broker_execution_id")),
    )
    with op.batch_alter_table("fills", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_fills_filled_at"), ["filled_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_fills_order_ref"), ["order_ref"], unique=False)

    op.create_table(
        "contract_position_history",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("instrument", sa.String(length=60), nullable=False),
        sa.Column("contract", sa.String(length=8), nullable=False),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("change", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("fill_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("reason", sa.String(length=40), nullable=False),
        sa.Column("written_by", sa.String(length=60), nullable=False),
        sa.Column("run_id", sa.String(length=40), nullable=True),
        sa.ForeignKeyConstraint(["fill_id"], ["fills.id"], name=op.f("fk_contract_position_history_fill_id_fills")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contract_position_history")),
    )
    with op.batch_alter_table("contract_position_history", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_contract_position_history_instrument_contract_id"),
            ["instrument", "contract", "id"],
            unique=False,
        )

    op.create_table(
        "strategy_position_history",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("strategy", sa.String(length=60), nullable=False),
        sa.Column("instrument", sa.String(length=60), nullable=False),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("change", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("price", sa.Double(), nullable=True),
        sa.Column("fill_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("reason", sa.String(length=40), nullable=False),
        sa.Column("written_by", sa.String(length=60), nullable=False),
        sa.Column("run_id", sa.String(length=40), nullable=True),
        sa.ForeignKeyConstraint(["fill_id"], ["fills.id"], name=op.f("fk_strategy_position_history_fill_id_fills")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_strategy_position_history")),
    )
    with op.batch_alter_table("strategy_position_history", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_strategy_position_history_strategy_instrument_id"),
            ["strategy", "instrument", "id"],
            unique=False,
        )
