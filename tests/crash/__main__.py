"""The whole ordeal: `make crash`. Prints what was done and counted."""

import sys
import tempfile
import time
from pathlib import Path

import click

from tests.crash.test_crash import COMMITS, DEEDS, NEWS, QUOTES
from tests.crash.violence import die_at_each_call, kill_at_random

# (name, its methods, whether also right after, one of how many): a question leaves nothing behind, so only before it
IN_TURN = (
    ("commit", COMMITS, True, 1),
    ("submit, cancel, modify or currency trade", DEEDS, True, 1),
    ("question about fills, orders or positions", NEWS, False, 3),
    ("question for a quote", QUOTES, False, 5),
)


@click.command()
@click.option("--orders", default=300, help="Orders of the scenario that is killed.")
@click.option("--kills", default=200, help="How often it is killed.")
@click.option("--seed", default=1, help="Decides everything that happens.")
def main(orders: int, kills: int, seed: int) -> None:
    """Kill at random, then die at every commit and at every broker call in turn."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        hits = kill_at_random(Path(folder), seed=seed, orders=orders, kills=kills, longest=0.6)
        facts = (Path(folder) / "facts.json").read_text()
    click.echo(f"{hits} kills of {kills} hit a working process, {orders} orders: ledger whole after each. {facts}")
    for name, methods, also_after, every in IN_TURN:
        for after in (False, True) if also_after else (False,):
            deaths = die_at_each_call(methods, after=after, every=every)
            which = "each" if every == 1 else f"one in {every} of each"
            moment = "after" if after else "before"
            click.echo(f"died {moment} {which} {name} in turn, {deaths} times: ledger whole after each")
    click.echo(f"{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    sys.exit(main())
