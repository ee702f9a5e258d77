"""The whole ordeal: `make crash`. Prints what was done and counted."""

import sys
import tempfile
from pathlib import Path

import click

from tests.crash.test_crash import BROKER, COMMITS
from tests.crash.violence import Calls, die_at_call, kill_at_random


@click.command()
@click.option("--orders", default=300, help="Orders of the scenario that is killed.")
@click.option("--kills", default=200, help="How often it is killed.")
@click.option("--seed", default=1, help="Decides everything that happens.")
def main(orders: int, kills: int, seed: int) -> None:
    """Kill at random, then die at every commit and at every broker call in turn."""
    with tempfile.TemporaryDirectory() as folder:
        hits = kill_at_random(Path(folder), seed=seed, orders=orders, kills=kills, longest=0.6)
        facts = (Path(folder) / "facts.json").read_text()
        click.echo(f"{hits} kills of {kills} hit a working process, {orders} orders: ledger whole after each. {facts}")
    for name, methods in (("commit", COMMITS), ("broker call", BROKER)):
        for after in (False, True):
            number = 0
            alive = True
            while alive:
                number += 1
                with tempfile.TemporaryDirectory() as folder:
                    alive = die_at_call(Path(folder), Calls(*methods), number, seed=seed, orders=4, after=after)
            when = "after" if after else "before"
            click.echo(f"died {when} each {name} in turn, {number - 1} times: ledger whole after each")


if __name__ == "__main__":
    sys.exit(main())
