"""A month of production days on real prices, with strategies that want different things: `make month PRICES=DIR`.

Prints what was traded and how it was rolled, and fails unless every cent and every contract is accounted for.
"""

import sys
import tempfile
import time
from collections import defaultdict
from datetime import date, datetime
from pathlib import Path

import click
import yaml
from sqlalchemy import func, select

from pysys.config import Settings, load_settings
from pysys.control.setup import initialise
from pysys.data.importing import import_prices
from pysys.rehearsal.days import Summary
from pysys.rehearsal.replay import run_replay
from pysys.store.repository import Author
from pysys.store.schema import contract_order_legs, contract_orders, instrument_orders, rolls, strategy_position_history
from pysys.store.unit import Store
from tests.rehearsal.conftest import PROJECT, environment

STRATEGIES = {  # rules and their weights: they often want opposite things
    "fast": {"ewmac8_32": 1.0},
    "slow": {"ewmac64_256": 1.0},
    "carry": {"carry30": 0.5, "carry90": 0.5},
    "mixed": {"ewmac16_64": 0.4, "ewmac32_128": 0.3, "carry30": 0.3},
}
CAPITAL = 10_000_000  # USD


def strategies(folder: Path) -> dict[str, str]:
    """Variables that declare the strategies, with their files in `folder`."""
    example = yaml.safe_load((PROJECT / "parameters" / "strategies" / "example.yaml").read_text())
    files = {name: folder / f"{name}.yaml" for name in STRATEGIES}
    for name, weights in STRATEGIES.items():
        rules = {rule: example["trading_rules"][rule] for rule in weights}
        files[name].write_text(yaml.safe_dump({**example, "trading_rules": rules, "forecast_weights": weights}))
    keys = {
        "strategy_list": {name: {} for name in STRATEGIES},
        "strategy_capital_allocation": {
            "function": "sysproduction.strategy_code.strategy_allocation.weighted_strategy_allocation",
            "strategy_weights": {name: 100.0 / len(STRATEGIES) for name in STRATEGIES},
        },
        "process_configuration_methods": {
            "run_systems": {name: {"backtest_config_filename": str(file)} for name, file in files.items()},
            "run_strategy_order_generator": {name: {} for name in STRATEGIES},
        },
        "paper_starting_cash": CAPITAL,
    }
    return {f"PYSYS_{key.upper()}": yaml.safe_dump(value, default_flow_style=True) for key, value in keys.items()}


def faults(summary: Summary, counts: dict[str, int]) -> list[str]:
    """What a month of such trading must not leave behind, or must contain."""
    gained = summary.account_end - summary.account_start
    parts = sum(summary.pandl[name] for name in ("instruments", "commission", "fx"))
    found = [f"break: {one}" for one in summary.breaks if "optimal vs actual" not in one]
    found += [f"look at: {one}" for one in summary.attention]
    if abs(gained - summary.pandl["total"]) >= 0.005 or abs(parts - summary.pandl["total"]) >= 0.005:
        found.append(f"the account gained {gained:,.2f}, the P&L says {summary.pandl}")
    return found + [f"nothing was {what}" for what, count in counts.items() if count == 0]


def what_was_traded(store: Store) -> dict[str, int]:
    """How many orders were crossed inside the house, and of rolls of each kind."""
    with store.read() as unit:
        connection, netted = unit.connection, strategy_position_history
        crossed = connection.scalar(
            select(func.count()).select_from(netted).where(netted.c.reason == "netted", netted.c.change > 0)
        )
        rolled_at = defaultdict(list)
        for row in connection.execute(select(rolls)):
            rolled_at[row.instrument, row.to_contract].append(row.time)
        families: dict[int, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
        of_roll, forward = {}, 0
        joined = contract_orders.join(contract_order_legs, contract_order_legs.c.order_id == contract_orders.c.id)
        query = select(contract_orders, contract_order_legs.c.contract).select_from(
            joined.join(instrument_orders, instrument_orders.c.id == contract_orders.c.parent_id)
        )
        for row in connection.execute(query):
            families[row.parent_id][row.id].append(row.contract)
            of_roll[row.parent_id] = row.roll_order
            before_roll = any(row.generated_at < moment for moment in rolled_at[row.instrument, row.contract])
            forward += not row.roll_order and before_roll
    shapes = [(of_roll[parent], sorted(map(len, children.values()))) for parent, children in families.items()]
    return {
        "crossed inside the house": int(crossed or 0),
        "rolled by one order of two legs": shapes.count((True, [2])),
        "rolled in legs, one order each": sum(roll and sizes == [1, 1] for roll, sizes in shapes),
        "sent into the forward contract while Passive": forward,
    }


def replayed(settings: Settings, first: date, last: date) -> tuple[Summary, dict[str, int]]:
    """The days run, and what was traded in them."""

    def progress(done: int, total: int, doing: str) -> None:
        click.echo(f"\r{done}/{total} {doing:60.60}", nl=False, err=True)

    summary = run_replay(settings, first, last, notebooks=False, fresh=True, progress=progress)
    click.echo(err=True)
    store = Store(f"sqlite:///{summary.folder / 'state' / 'pysys.db'}")
    try:
        return summary, what_was_traded(store)
    finally:
        store.close()


@click.command()
@click.argument("prices", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--from", "first", type=click.DateTime(["%Y-%m-%d"]), default="2023-03-01", show_default=True)
@click.option("--to", "last", type=click.DateTime(["%Y-%m-%d"]), default="2023-03-31", show_default=True)
def main(prices: Path, first: datetime, last: datetime) -> None:
    """Replay a month over CSV prices in the established layout."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        variables = environment(f"sqlite:///{folder / 'prices.db'}", folder / "outputs")
        settings = load_settings(PROJECT, {**variables, **strategies(folder)})
        initialise(settings, "month")
        store = Store(settings.database_url, Author("month"))
        import_prices(store, prices)
        store.close()
        summary, counts = replayed(settings, first.date(), last.date())
        for line in summary.lines():
            click.echo(line)
    for what, count in counts.items():
        click.echo(f"{what}: {count}")
    wrong = faults(summary, counts)
    for line in wrong or [f"every cent and every contract accounted for, {time.monotonic() - began:.0f} s"]:
        click.echo(line)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
