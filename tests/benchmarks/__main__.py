"""Run the benchmarks and print their figures: `python -m tests.benchmarks [name ...]`."""

import sys

from tests.benchmarks import backtest, notebooks, orders, prices, replay

BENCHMARKS = {
    "backtest": backtest.run,
    "notebooks": notebooks.run,
    "orders": orders.run,
    "prices": prices.run,
    "replay": replay.run,
}


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        print(f"There is no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}.", file=sys.stderr)
        return 2
    for name in names or list(BENCHMARKS):
        print(f"\n{name}")
        for line in BENCHMARKS[name]():
            print(f"  {line}", flush=True)
    return 0


sys.exit(main(sys.argv[1:]))
