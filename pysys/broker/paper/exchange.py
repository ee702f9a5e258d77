"""The paper exchange: a broker that trades against a simulated or stored market and keeps books of its own.

It has no process. Whoever asks first makes it work every minute since it was last asked, in order and each
minute once, so orders go on being filled, cancelled and settled while the trading process is dead, and the
outcome does not depend on who asked when. A minute begins with settlements of expired contracts, then day
orders that ran out, then the working orders in time priority; an order that arrives during the minute gets
what is left.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path

from pysys.broker.paper.book import Book, BookedOrder, Identity
from pysys.broker.paper.database import minute_of, start_of_minute
from pysys.broker.paper.market import Market
from pysys.broker.paper.matching import (
    Match,
    Touch,
    commission_due,
    limit_on_tick,
    match_in_turn,
)
from pysys.broker.paper.pegging import FOLLOWING, moves_before_matching, standing_price
from pysys.broker.port import (
    AccountValue,
    Bars,
    BrokerOrderState,
    ContractDetails,
    CurrencyBalance,
    FxRows,
    FxTrade,
    OpenOrder,
    OrderTicket,
    OrderType,
    Quote,
    Session,
    UnknownContract,
    WorkingStatus,
)
from pysys.clock import Clock
from pysys.domain.contracts import Contract
from pysys.domain.errors import ConfigError, DataError, OrderRejected
from pysys.domain.instruments import on_tick
from pysys.domain.orders import Fill

_MOMENT = timedelta(microseconds=1)
_FX_CONVENTION = ("EUR", "GBP", "AUD", "NZD", "USD", "CAD", "CHF")  # the earlier is quoted first; any other comes after


class PaperBroker:
    """The broker port on the paper exchange. Several processes may open the same database at once."""

    name = "paper"
    environment = "paper"

    @property
    def account(self) -> str:
        return self._identity.account

    def __init__(
        self,
        database: Path,
        market: Market,
        clock: Clock,
        *,
        base_currency: str,
        starting_cash: float,
        account: str = "PAPER-1",
        seed: int,
    ) -> None:
        """Open the exchange kept in `database`, or start it there with `starting_cash` in `base_currency`.

        seed: that of the market; an exchange goes on only in the market it was started in. Raises ConfigError
        when the file belongs to another account, base currency or seed.
        """
        self._market = market
        self._clock = clock
        self._identity = Identity(account, base_currency, seed)
        self._book = Book(database)
        self._idle_until = (
            0,
            0,
        )  # (revision, minute): that state of the book has nothing to do up to that minute
        try:
            self._start(database, starting_cash)
        except BaseException:
            self._book.close()
            raise

    def _start(self, database: Path, starting_cash: float) -> None:
        with self._book.writing():
            found = self._book.identity()
            if found is None:
                moment = self._clock.now()
                self._book.start(self._identity, minute_of(moment))
                self._book.transfer(moment, starting_cash, self._identity.base_currency)
            elif found != self._identity:
                raise ConfigError(
                    f"{database.name} holds the paper account {found.account} in {found.base_currency} "
                    f"with seed {found.seed}, not {self._identity.account} in {self._identity.base_currency} "
                    f"with seed {self._identity.seed}. Correct the configuration, or name another database."
                )

    def close(self) -> None:
        """Give the database connection back."""
        self._book.close()

    # the account

    def account_value(self) -> AccountValue:
        """Balances are cash and the profit of all contracts at their marks, in each currency ever touched.

        Raises DataError when an open position has no price to value it at.
        """
        base = self._identity.base_currency
        with self._up_to_now() as moment:
            cash = self._book.transferred()
            positions = self._book.positions()
        balances = {base: 0.0} | cash
        marks = {}
        for position in positions:
            worth = -position.traded_value
            if position.quantity:
                marks[position.contract] = self._mark(position.contract, moment)
                worth += position.quantity * marks[position.contract]
            profit = worth * position.multiplier - position.commission
            balances[position.currency] = balances.get(position.currency, 0.0) + profit
        return AccountValue(
            account=self._identity.account,
            environment=self.environment,
            base_currency=base,
            moment=moment,
            balances=tuple(
                CurrencyBalance(currency, balance, self._fx_rate(currency, moment))
                for currency, balance in sorted(balances.items())
            ),
            marks=marks,
        )

    def positions(self) -> dict[Contract, int]:
        """Open positions, signed contracts; flat contracts are absent."""
        with self._up_to_now():
            return self._book.open_positions()

    def deposit(self, amount: float, currency: str) -> None:
        """Pay money in, or out when negative: the operator's tool, recorded.

        Raises ValueError for 0 or no number, DataError for a currency without a rate.
        """
        if not math.isfinite(amount) or amount == 0:
            raise ValueError(f"a deposit of {amount} {currency} moves no money")
        with self._changing() as moment:
            self._fx_rate(currency, moment)
            self._book.transfer(moment, amount, currency)

    def trade_fx(self, order_ref: str, pair: str, amount: float) -> FxTrade:
        """Exchange one currency for another at the stored rates, without a spread. The same order_ref twice is one.

        Raises OrderRejected for a pair without rates or the wrong way round, and for an amount of 0 or no number.
        """
        if not math.isfinite(amount) or amount == 0:
            raise OrderRejected(f"{order_ref}: {amount} {pair} moves no money")
        _check_pair(order_ref, pair)
        with self._changing() as moment:
            known = self._book.currency_trade(order_ref)
            if known is not None:
                return known
            try:
                rate = self._fx_rate(pair[:3], moment) / self._fx_rate(pair[3:], moment)
            except DataError as error:
                raise OrderRejected(f"{order_ref}: {error}") from error
            trade = FxTrade(order_ref, pair, amount, rate, moment)
            self._book.trade_currency(trade)
        return trade

    # what the market says

    def contract_details(self, contract: Contract) -> ContractDetails:
        """Raises UnknownContract when the exchange does not list it."""
        return self._market.details(contract)

    def listed_contracts(self, instrument: str) -> Sequence[ContractDetails]:
        """Contracts listed now, nearest expiry first."""
        return self._market.chain(instrument, self._clock.now())

    def sessions(self, instrument: str, since: datetime, until: datetime) -> Sequence[Session]:
        """Sessions that overlap [since, until), in order."""
        return self._market.sessions(instrument, since, until)

    def quote(self, contract: Contract) -> Quote | None:
        """Top of book now, less what was traded this minute; None when nothing is quoted."""
        with self._up_to_now() as moment:
            minute = minute_of(moment)
            touch = self._touch(contract, minute)
        if touch is None:
            return None
        return Quote(float(touch.bid), float(touch.ask), touch.bid_size, touch.ask_size, start_of_minute(minute))

    def daily_bars(self, contract: Contract, since: datetime | None) -> Bars:
        """Bars stamped after `since` (all there are when None) and complete by now."""
        return self._market.daily_bars(contract, since, self._clock.now())

    def intraday_bars(self, contract: Contract, since: datetime | None) -> Bars:
        """Bars stamped after `since` (all there are when None) and complete by now."""
        return self._market.intraday_bars(contract, since, self._clock.now())

    def fx_rates(self, currency: str, since: datetime | None) -> FxRows:
        """Daily spot of `currency` in the account's base currency, stamped after `since`, up to now."""
        return self._market.fx_rates(currency, since, self._clock.now())

    # orders

    def submit(self, ticket: OrderTicket) -> None:
        """Take an order; it trades at once against what is displayed. The same order_ref twice is one order.

        Raises OrderRejected: closed market, unknown or expired contract, limit off the tick (the rejection is
        recorded and repeated when the order is sent again), or another order under the same order_ref.
        """
        reason = None
        with self._changing() as moment:
            known = self._book.order(ticket.order_ref)
            if known is None:
                reason = self._accept(ticket, moment)
            elif known.ticket != ticket:
                reason = f"order_ref {ticket.order_ref} belongs to another order already sent"
            elif known.status is WorkingStatus.REJECTED:
                reason = known.message
        if reason is not None:
            raise OrderRejected(f"{ticket.order_ref}: {reason}")

    def modify_limit(self, order_ref: str, limit_price: Decimal) -> None:
        """Change the limit of a working order, which loses its place in time priority and trades at once.

        A finished order is left alone. Raises OrderRejected for an unknown or a market order, or a limit off
        the tick; the order then works on as it was.
        """
        with self._changing() as moment:
            order = self._book.order(order_ref)
            if order is None or order.order_type is not OrderType.LIMIT:
                raise OrderRejected(f"{order_ref}: not a limit order of this account, so it has no limit to change")
            self._check_tick(order.legs[0].contract, limit_price)
            if order.status is WorkingStatus.WORKING and order.limit_price != limit_price:
                self._book.change_limit(order_ref, limit_price)
                self._match([self._ordered(order_ref)], moment)

    def cancel(self, order_ref: str) -> None:
        """Cancel what still works; fills before it stand. Unknown or finished orders are left alone."""
        with self._changing() as moment:
            self._book.finish(order_ref, WorkingStatus.CANCELLED, moment, "cancelled as asked")

    def order_states(self, order_refs: Sequence[str]) -> dict[str, BrokerOrderState]:
        """The exchange's word on these orders; an order it never received is absent."""
        with self._up_to_now():
            found = (self._book.order(order_ref) for order_ref in order_refs)
            return {order.order_ref: replace(order.state, account=self.account) for order in found if order is not None}

    def working_orders(self) -> Sequence[tuple[OrderTicket, BrokerOrderState]]:
        """Orders that still work, in time priority, with the limit they work at now."""
        with self._up_to_now():
            return [(order.ticket_now, order.state) for order in self._book.working_orders()]

    def open_orders(self) -> Sequence[OpenOrder]:
        """Every order that works, in time priority."""
        return [OpenOrder(ticket.order_ref, state.permanent_id, ticket.legs) for ticket, state in self.working_orders()]

    def fills_since(self, moment: datetime | None) -> Sequence[Fill]:
        """Executions at or after `moment`, oldest first, every leg its own row.

        Stamped with the start of the minute that filled them, or, when an order traded on arrival, with the
        moment it arrived.
        """
        with self._up_to_now():
            return self._book.fills(self.name, self.account, moment)

    # catching up

    @contextmanager
    def _up_to_now(self) -> Iterator[datetime]:
        """One consistent view of the book, every minute up to now worked. Gives the moment it holds for."""
        with self._book.reading():
            moment = self._present()
            if self._is_worked(minute_of(moment)):
                yield moment
                return
        with self._book.writing():
            moment = self._present()
            self._work_until(minute_of(moment))
            yield moment

    @contextmanager
    def _changing(self) -> Iterator[datetime]:
        """One transaction that changes the book at the moment given, every minute up to it worked."""
        with self._book.writing():
            moment = self._present()
            self._work_until(minute_of(moment))
            yield moment
            self._book.worked_until(minute_of(moment))

    def _present(self) -> datetime:
        """Now; the exchange never goes back behind what it has worked, whatever a clock says."""
        return max(self._clock.now(), start_of_minute(self._book.progress().worked))

    def _is_worked(self, minute: int) -> bool:
        progress = self._book.progress()
        idle_revision, idle_minute = self._idle_until
        return minute <= progress.worked or (progress.revision == idle_revision and minute <= idle_minute)

    def _work_until(self, target: int) -> None:
        """Work every minute up to `target` in this transaction; stretches with nothing to do are jumped over.

        Progress is written only when something happened: minutes in which nothing did come out the same
        again.
        """
        progress = self._book.progress()
        idle_revision, idle_minute = self._idle_until
        minute = max(progress.worked, idle_minute) if idle_revision == progress.revision else progress.worked
        changed = False
        orders, settlement = self._book.working_orders(), self._next_settlement()
        while minute < target:
            following = minute + 1 if orders else settlement
            if following is None or following > target:
                break
            minute = max(following, minute + 1)
            if self._work_minute(minute, orders, settlement):
                changed = True
                orders, settlement = self._book.working_orders(), self._next_settlement()
        if changed:
            self._book.worked_until(target)
        else:
            self._idle_until = (progress.revision, target)

    def _work_minute(self, minute: int, orders: Sequence[BookedOrder], settlement: int | None) -> bool:
        """What happens in one minute; True when anything did."""
        moment = start_of_minute(minute)
        settles = settlement is not None and settlement <= minute
        if settles:
            self._settle_expired(moment)
        still = []
        for order in orders:
            if order.expires_at > moment:
                still.append(order)
                continue
            gone = any(self._expiry(leg.contract) <= moment for leg in order.legs)
            message = "contract expired" if gone else "day order expired"
            self._book.finish(order.order_ref, WorkingStatus.CANCELLED, moment, message)
        moved = self._follow([order for order in still if _leads(order, moment)], moment)
        traded = self._match([self._ordered(order.order_ref) for order in still] if moved else still, moment)
        moved = self._follow([order for order in still if not _leads(order, moment)], moment) or moved
        return traded or moved or settles or len(still) < len(orders)

    def _follow(self, orders: Sequence[BookedOrder], moment: datetime) -> bool:
        """Move orders that follow the book to where they stand now; True when any moved."""
        moved = False
        for known in orders:
            if known.order_type not in FOLLOWING:
                continue
            order = self._ordered(known.order_ref)
            if order.status is not WorkingStatus.WORKING:
                continue
            legs = order.ticket.legs
            touches = {leg.contract: self._touch(leg.contract, minute_of(moment)) for leg in legs}
            tick = self._market.details(legs[0].contract).tick_size
            try:
                price = standing_price(order.order_type, legs, touches, tick, moment - order.submitted_at)
            except LookupError:
                continue
            if price != order.limit_price:
                self._book.change_limit(order.order_ref, price)
                moved = True
        return moved

    def _match(self, orders: Sequence[BookedOrder], moment: datetime) -> bool:
        """Trade orders, in time priority, against what this minute still displays; True when any did."""
        minute = minute_of(moment)
        contracts = {leg.contract for order in orders for leg in order.legs}
        touches = {contract: self._touch(contract, minute) for contract in contracts}
        by_ref = {order.order_ref: order for order in orders}
        matches = match_in_turn([order.working for order in orders], touches)
        for match in matches:
            self._book_match(by_ref[match.order_ref], match, moment)
        return bool(matches)

    def _touch(self, contract: Contract, minute: int) -> Touch | None:
        quote = self._market.quote(contract, start_of_minute(minute))
        if quote is None:
            return None
        tick = self._market.details(contract).tick_size
        touch = Touch(on_tick(quote.bid, tick), on_tick(quote.ask, tick), quote.bid_size, quote.ask_size)
        return touch.less(*self._book.taken(contract, minute))

    # booking

    def _book_match(self, order: BookedOrder, match: Match, moment: datetime) -> None:
        for count, trade in enumerate(match.trades, start=order.executions + 1):
            leg, price = order.legs[trade.leg], float(trade.price)
            filled = leg.filled + trade.quantity
            average = (leg.traded_value + trade.quantity * price) / filled
            fill = Fill(
                broker=self.name,
                execution_id=f"{order.order_ref}#{count}",
                order_ref=order.order_ref,
                contract=trade.contract,
                quantity=trade.quantity,
                price=price,
                filled_at=moment,
                commission=commission_due(leg.commission, self._market.commission(trade.contract, filled, average)),
                commission_currency=self._market.details(trade.contract).currency,
            )
            self._book.fill_leg(order, trade.leg, fill)
            self._book.record_fill(fill, self._market.details(trade.contract).multiplier)
            self._book.take(trade.contract, minute_of(moment), trade.quantity)
        if self._ordered(order.order_ref).is_filled:
            self._book.finish(order.order_ref, WorkingStatus.FILLED, moment, "")

    def _next_settlement(self) -> int | None:
        """Minute in which the next open position expires; None without a position."""
        return min((minute_of(self._expiry(c)) for c in self._book.open_positions()), default=None)

    def _settle_expired(self, moment: datetime) -> None:
        """Close expired positions in cash at their last mark, without commission."""
        for contract, quantity in self._book.open_positions().items():
            if self._expiry(contract) > moment:
                continue
            details = self._market.details(contract)
            order_ref = f"expiry:{contract}"
            fill = Fill(
                broker=self.name,
                execution_id=f"{order_ref}#1",
                order_ref=order_ref,
                contract=contract,
                quantity=-quantity,
                price=self._mark(contract, moment),
                filled_at=moment,
                commission=0.0,
                commission_currency=details.currency,
            )
            self._book.record_fill(fill, details.multiplier)

    # checks

    def _accept(self, ticket: OrderTicket, moment: datetime) -> str | None:
        """Record a new order and let it trade; the reason when it is rejected."""
        try:
            expires_at = self._check(ticket, moment)
        except OrderRejected as rejection:
            self._book.add_order(ticket, moment, moment, WorkingStatus.REJECTED, str(rejection))
            return str(rejection)
        self._book.add_order(ticket, moment, expires_at, WorkingStatus.WORKING)
        self._follow([self._ordered(ticket.order_ref)], moment)
        self._match([self._ordered(ticket.order_ref)], moment)
        return None

    def _check(self, ticket: OrderTicket, moment: datetime) -> datetime:
        """When a day order expires. Raises OrderRejected with what is wrong with it."""
        contracts = [leg.contract for leg in ticket.legs]
        if len(set(contracts)) < len(contracts):
            raise OrderRejected("every leg of a spread must be another contract")
        closes = [self._check_open(contract, moment) for contract in contracts]
        if ticket.limit_price is not None:
            self._check_tick(contracts[0], ticket.limit_price)
        return min(closes[0], *(self._expiry(contract) for contract in contracts))

    def _check_open(self, contract: Contract, moment: datetime) -> datetime:
        """When the session `contract` trades in closes. Raises OrderRejected when it does not trade now."""
        try:
            expired = self._expiry(contract) <= moment
        except UnknownContract as unknown:
            raise OrderRejected(f"{contract} is not listed here: {unknown}") from unknown
        if expired:
            raise OrderRejected(f"{contract} expired on {self._market.details(contract).expiry:%Y-%m-%d}")
        for session in self._market.sessions(contract.instrument, moment, moment + _MOMENT):
            if moment in session:
                return session.closes
        raise OrderRejected(f"the market of {contract} is closed at {moment:%Y-%m-%d %H:%M} UTC")

    def _check_tick(self, contract: Contract, limit_price: Decimal) -> None:
        tick = self._market.details(contract).tick_size
        if not limit_on_tick(limit_price, tick):
            raise OrderRejected(f"limit price {limit_price} is not a multiple of {tick}, the tick of {contract}")

    def _ordered(self, order_ref: str) -> BookedOrder:
        order = self._book.order(order_ref)
        if order is None:
            raise DataError(f"order {order_ref} is missing from the exchange's database: restore it from a backup")
        return order

    # values

    def _expiry(self, contract: Contract) -> datetime:
        """The moment a contract stops: the end of its expiry date, UTC."""
        last_day = self._market.details(contract).expiry
        return datetime.combine(last_day + timedelta(days=1), time(), UTC)

    def _mark(self, contract: Contract, moment: datetime) -> float:
        mark = self._market.mark(contract, moment)
        if mark is None:
            raise DataError(f"no price of {contract} up to {moment:%Y-%m-%d %H:%M} UTC to value its position at")
        return mark

    def _fx_rate(self, currency: str, moment: datetime) -> float:
        if currency == self._identity.base_currency:
            return 1.0
        return self._market.fx_rate(currency, moment)


def _check_pair(order_ref: str, pair: str) -> None:
    first, second = pair[:3], pair[3:]
    if len(pair) != 6 or not pair.isalpha() or not pair.isupper() or first == second:
        raise OrderRejected(f"{order_ref}: {pair!r} is not a currency pair such as EURUSD")
    last = len(_FX_CONVENTION)
    ranks = [_FX_CONVENTION.index(code) if code in _FX_CONVENTION else last for code in (first, second)]
    if ranks[0] > ranks[1]:
        raise OrderRejected(f"{order_ref}: the market quotes {second}{first}, not {pair}: turn pair and sign round")


def _leads(order: BookedOrder, moment: datetime) -> bool:
    """Whether an order that follows the book moves before it is matched; one that never stood anywhere does."""
    return order.limit_price is None or moves_before_matching(order.order_type, moment - order.submitted_at)
