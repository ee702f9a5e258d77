"""Packed columns of multiple, adjusted and FX prices, forgotten when their rows change"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_TABLES = ("multiple_prices", "adjusted_prices", "fx_prices")
_WATCHED = (("insert", "new"), ("delete", "old"), ("update", "old"), ("update", "new"))
_SQLITE = """
CREATE TRIGGER {table}_{event}_{row}_forgets_packed AFTER {event} ON {table} BEGIN
    DELETE FROM packed_prices WHERE series_id = {row}.series_id AND until >= {row}.time;
END
"""
_FUNCTION = """
CREATE FUNCTION forget_packed_prices() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'Prices are changed in READ COMMITTED transactions only: others miss what was packed since';
    END IF;
    DELETE FROM packed_prices USING (SELECT series_id, min(time) AS first FROM changed GROUP BY series_id) AS one
    WHERE packed_prices.series_id = one.series_id AND packed_prices.until >= one.first;
    RETURN NULL;
END $$
"""
_FUNCTION_FOR_ALL = """
CREATE FUNCTION forget_all_packed_prices() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM packed_prices USING price_series
    WHERE price_series.id = packed_prices.series_id AND TG_TABLE_NAME = price_series.kind || '_prices';
    RETURN NULL;
END $$
"""


def upgrade() -> None:
    op.create_table(
        "packed_prices",
        sa.Column("series_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["series_id"], ["price_series.id"], name=op.f("fk_packed_prices_series_id_price_series")
        ),
        sa.PrimaryKeyConstraint("series_id", "name", name=op.f("pk_packed_prices")),
    )
    for statement in _on_sqlite() if op.get_bind().dialect.name == "sqlite" else _on_postgresql():
        op.execute(statement)


def _on_sqlite() -> list[str]:
    return [_SQLITE.format(table=table, event=event, row=row) for table in _TABLES for event, row in _WATCHED]


def _on_postgresql() -> list[str]:
    statements = ["ALTER TABLE packed_prices ALTER COLUMN content SET STORAGE EXTERNAL", _FUNCTION, _FUNCTION_FOR_ALL]
    for table in _TABLES:
        for event, row in _WATCHED:
            statements.append(
                f"CREATE TRIGGER {event}_{row}_forgets_packed AFTER {event} ON {table} "
                f"REFERENCING {row} TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION forget_packed_prices()"
            )
        statements.append(
            f"CREATE TRIGGER truncate_forgets_packed AFTER TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION forget_all_packed_prices()"
        )
    return statements
