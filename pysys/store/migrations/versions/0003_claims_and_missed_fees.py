"""Signs of life of algos, commissions told to be missing, a tag for order references, facts of unknown instruments"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_FACTS = ("contract_positions", "instrument_locks", "fills")  # booked whether or not the instrument is configured


def upgrade() -> None:
    op.add_column("contract_orders", sa.Column("controlling_algo", sa.String(length=40), nullable=True))
    op.add_column("contract_orders", sa.Column("claim_heartbeat_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("fills", sa.Column("fee_missed_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("fills", sa.Column("alert", sa.Text(), nullable=True))
    op.add_column("fills", sa.Column("alert_told_at", sa.DateTime(timezone=True), nullable=True))
    op.create_table(
        "order_tag",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("tag", sa.String(length=20), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_order_tag_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_order_tag")),
    )
    op.add_column("instrument_orders", sa.Column("guard_overridden", sa.Text(), nullable=True))
    op.add_column("position_limits", sa.Column("waived", sa.Integer(), nullable=True))
    op.drop_index("ix_broker_orders_instrument_created_at", table_name="broker_orders")
    op.create_index("ix_broker_orders_instrument_filled_at", "broker_orders", ["instrument", "filled_at"], unique=False)
    op.create_index("ix_broker_orders_broker_permid", "broker_orders", ["broker_permid"], unique=False)
    for table in _FACTS:
        with op.batch_alter_table(table, schema=None) as batch_op:
            batch_op.drop_constraint(op.f(f"fk_{table}_instrument_instruments"), type_="foreignkey")
