"""Executions that correct others, and trade limits whose use follows from the orders"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    with op.batch_alter_table("fills", schema=None) as batch_op:
        batch_op.add_column(sa.Column("corrects", sa.String(length=80), nullable=True))
        batch_op.add_column(sa.Column("reverses", sa.String(length=80), nullable=True))
    without_commission = sa.text("commission IS NULL")
    op.create_index(
        "ix_fills_without_commission",
        "fills",
        ["filled_at"],
        unique=False,
        sqlite_where=without_commission,
        postgresql_where=without_commission,
    )
    with op.batch_alter_table("broker_orders", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_broker_orders_instrument_created_at"), ["instrument", "created_at"], unique=False
        )
    with op.batch_alter_table("trade_limits", schema=None) as batch_op:
        batch_op.drop_constraint(batch_op.f("ck_trade_limits_never_exceeded"), type_="check")
        batch_op.drop_column("used")
        batch_op.create_check_constraint(batch_op.f("ck_trade_limits_possible"), "trade_limit >= 0 AND period_days > 0")
