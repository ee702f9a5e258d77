"""Price files in the established layout, made from the stored market of `price_world`."""

from pathlib import Path

import numpy as np

from pysys.domain.contracts import Contract
from pysys.domain.prices import MultipleRows, PriceRows, to_datetime64
from pysys.domain.roll_calendars import approximate_calendar, final_calendar, multiple_from_calendar
from pysys.domain.stitching import panama_stitch
from tests.data.price_world import INSTRUMENTS, ROLLS, business_days, stored_prices


def multiple_of(code: str) -> MultipleRows:
    finals: dict[Contract, PriceRows] = {}
    merged: dict[Contract, PriceRows] = {}
    for contract, stored in stored_prices().items():
        if contract.instrument == code:
            finals[contract] = PriceRows(stored.daily_times, stored.daily_prices)
            times = np.concatenate([stored.daily_times, stored.intraday_times])
            order = np.argsort(times)
            prices = np.concatenate([stored.daily_prices, stored.intraday_prices])
            merged[contract] = PriceRows(times[order], prices[order])
    calendar = final_calendar(approximate_calendar(ROLLS[code], list(finals)), finals)
    return multiple_from_calendar(calendar, merged)


def write_layout(folder: Path) -> Path:
    """GOLD and BUND with everything the layout has."""
    (folder / "csvconfig").mkdir(parents=True)
    lines = ["Instrument,Description,Pointsize,Currency,AssetClass,PerBlock,Percentage,PerTrade,Region"]
    rolls = ["Instrument,HoldRollCycle,RollOffsetDays,CarryOffset,PricedRollCycle,ExpiryOffset"]
    for code, one in INSTRUMENTS.items():
        lines.append(
            f'{code},"{one.description}, a future",{one.point_size},{one.currency},{one.asset_class},2.5,0,0,US'
        )
        roll = ROLLS[code]
        rolls.append(
            f"{code},{roll.hold_cycle},{roll.roll_offset},{roll.carry_offset},{roll.priced_cycle},{roll.expiry_offset}"
        )
        write_prices(folder, code, multiple_of(code))
    write(folder / "csvconfig" / "instrumentconfig.csv", lines)
    write(folder / "csvconfig" / "rollconfig.csv", rolls)
    write(folder / "csvconfig" / "spreadcosts.csv", ["Instrument,SpreadCost", "GOLD,0.05", "BUND,"])
    days = [f"{day:%Y-%m-%d} 23:00:00,{1.08 + number / 10_000}" for number, day in enumerate(business_days())]
    write(folder / "fx_prices_csv" / "EURUSD.csv", ["DATETIME,PRICE", *days])
    return folder


def write_prices(folder: Path, code: str, rows: MultipleRows) -> None:
    """Multiple and adjusted prices, and the roll calendar."""
    times = [str(time).replace("T", " ")[:19] for time in to_datetime64(rows.times)]
    adjusted = panama_stitch(rows).price
    write(
        folder / "multiple_prices_csv" / f"{code}.csv",
        ["DATETIME,CARRY,CARRY_CONTRACT,PRICE,PRICE_CONTRACT,FORWARD,FORWARD_CONTRACT"]
        + [
            f"{time},{text(carry)},{c},{text(price)},{p},{text(forward)},{f}"
            for time, carry, c, price, p, forward, f in zip(
                times,
                rows.carry,
                rows.carry_contract,
                rows.price,
                rows.price_contract,
                rows.forward,
                rows.forward_contract,
                strict=True,
            )
        ],
    )
    write(
        folder / "adjusted_prices_csv" / f"{code}.csv",
        ["DATETIME,price", *(f"{time},{text(price)}" for time, price in zip(times, adjusted, strict=True))],
    )
    write(
        folder / "roll_calendars_csv" / f"{code}.csv",
        ["DATE_TIME,current_contract,next_contract,carry_contract", "2023-06-08 23:00:00,20230600,20230900,20230900"],
    )


def text(price: float) -> str:
    return "" if np.isnan(price) else repr(float(price))


def write(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def edit(path: Path, old: str, new: str) -> None:
    """Replace the one place that says `old`."""
    before = path.read_text()
    assert before.count(old) == 1, f"{old!r} is {before.count(old)} times in {path.name}"
    path.write_text(before.replace(old, new))
