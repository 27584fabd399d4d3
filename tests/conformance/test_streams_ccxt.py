"""Streams through the unmodified ccxt.pro client, held against the REST answers."""

import asyncio
import time
from decimal import Decimal

import ccxt.pro
import pytest

from market import text
from stream import levels
from venue_process import Member


def dec(value) -> Decimal:
    return Decimal(str(value))


def stream_client(venue, member):
    """The streaming client with its base URLs overridden, and nothing else."""
    made = ccxt.pro.coinbaseexchange(
        {"apiKey": member.key, "secret": member.secret, "password": member.passphrase}
    )
    made.urls["api"] = {"public": venue.rest, "private": venue.rest, "ws": venue.websocket}
    # A feed tells what happens after its subscription was confirmed, so a story acts after that and not before.
    made.confirmed = 0
    handle = made.handle_message

    def counting_confirmations(client, message):
        if message.get("type") == "subscriptions":
            made.confirmed += 1
        return handle(client, message)

    made.handle_message = counting_confirmations
    return made


def run(venue, member, story, seconds=30):
    """Runs a coroutine with a client that is closed afterwards, within a deadline."""

    async def whole():
        pro = stream_client(venue, member)
        try:
            await pro.load_markets()
            return await asyncio.wait_for(story(pro), seconds)
        finally:
            await pro.close()

    return asyncio.run(whole())


async def in_background(function, *args):
    """A blocking call that does not hold up the stream."""
    return await asyncio.get_running_loop().run_in_executor(None, function, *args)


async def watching(pro, watch, satisfied, act=None, seconds=15):
    """Calls ``watch`` again and again until ``satisfied``; starts ``act`` once the venue confirmed the subscription.

    The client wakes a watcher for one message and may have put the next into its caches before it is watched again,
    so what was seen last is judged again and again and not only when the watcher wakes.
    """
    deadline = time.monotonic() + seconds
    confirmed_before = pro.confirmed
    task = asyncio.ensure_future(watch())
    acting = None
    seen = None
    try:
        while time.monotonic() < deadline:
            done, _ = await asyncio.wait({task}, timeout=0.05)
            if done:
                seen = task.result()
                task = asyncio.ensure_future(watch())
            if act is not None and acting is None and pro.confirmed > confirmed_before:
                acting = asyncio.ensure_future(act())
            if acting is not None and acting.done():
                # An exception there is the test's failure, not a reason to wait for the deadline.
                acting.result()
            if seen is not None and (act is None or acting is not None) and satisfied(seen):
                if acting is not None:
                    await acting
                return seen
    finally:
        task.cancel()
        if acting is not None:
            acting.cancel()
    assert act is None or acting is not None, f"no subscription was confirmed within {seconds} s"
    raise AssertionError(f"not within {seconds} s; last seen: {str(seen)[:2500]}")


def post(member, product, side, price, size, **more):
    return member.post("/orders", {
        "type": "limit", "side": side, "product_id": product.id, "price": text(price), "size": text(size),
    } | more)


def sides(book):
    return (
        [(dec(p), dec(s)) for p, s, *_ in book["bids"]],
        [(dec(p), dec(s)) for p, s, *_ in book["asks"]],
    )


def test_an_order_book_follows_to_the_rest_books_state(quiet, venue, alice, bob, rest, product):
    post(bob, product, "sell", product.at(4), product.size())

    def changes():
        orders = [post(alice, product, "buy", product.at(-n), product.size(n + 1)) for n in range(1, 6)]
        alice.delete(f"/orders/{orders[1]['id']}")
        post(bob, product, "sell", product.at(-1), product.size(), time_in_force="IOC")
        post(bob, product, "sell", product.at(2), product.size(3))
        return levels(rest.get(f"/products/{product.id}/book", level=2))

    async def story(pro):
        first = await pro.watch_order_book(product.symbol)
        assert sides(first) == ([], [(product.at(4), product.size())]), "the snapshot"
        wanted = await in_background(changes)
        # The stream may be ahead of the last await already, so the book itself is asked as well.
        if sides(pro.orderbooks[product.symbol]) != wanted:
            await watching(pro, lambda: pro.watch_order_book(product.symbol), lambda book: sides(book) == wanted)
        assert len(wanted[0]) == 4 and len(wanted[1]) == 2

    run(venue, venue.demo, story)


def test_books_of_two_products(quiet, venue, alice, product, other_product):
    for p in (product, other_product):
        post(alice, p, "buy", p.at(-2), p.size())

    async def story(pro):
        symbols = [product.symbol, other_product.symbol]
        await watching(
            pro, lambda: pro.watch_order_book_for_symbols(symbols),
            lambda _: all(
                s in pro.orderbooks and len(pro.orderbooks[s]["bids"]) == 1 for s in symbols
            ),
        )

    run(venue, venue.demo, story)


def make_trade(alice, bob, product, side="buy"):
    """Alice's resting order on ``side`` is taken by Bob."""
    other = "sell" if side == "buy" else "buy"
    maker = post(alice, product, side, product.at(0), product.size())
    taker = post(bob, product, other, product.at(0), product.size(), time_in_force="IOC")
    return maker["id"], taker["id"]


def test_public_trades(quiet, venue, alice, bob, product):
    async def story(pro):
        made = {}

        async def act():
            made["ids"] = await in_background(make_trade, alice, bob, product)

        trades = await watching(
            pro, lambda: pro.watch_trades(product.symbol),
            lambda trades: any(dec(t["price"]) == product.at(0) for t in trades),
            act,
        )
        trade = trades[-1]
        assert trade["side"] == "sell", "the taker's side, as the client turns the maker's"
        assert dec(trade["amount"]) == product.size()
        assert trade["info"]["maker_order_id"] == made["ids"][0]

    run(venue, venue.demo, story)


def test_tickers(quiet, venue, alice, bob, product):
    async def story(pro):
        async def act():
            await in_background(make_trade, alice, bob, product)
            await in_background(post, alice, product, "buy", product.at(-2), product.size())
            await in_background(make_trade, alice, bob, product)

        ticker = await watching(
            pro, lambda: pro.watch_ticker(product.symbol),
            lambda t: t["bid"] is not None and dec(t["bid"]) == product.at(-2),
            act,
        )
        assert dec(ticker["last"]) == product.at(0)
        assert dec(ticker["low"]) <= dec(ticker["open"]) <= dec(ticker["high"])

    run(venue, venue.demo, story)


def test_a_members_orders_from_placing_to_their_end(quiet, venue, alice, bob, product):
    async def story(pro):
        orders = {}

        def act_in_order():
            orders["canceled"] = post(alice, product, "buy", product.at(-3), product.size())["id"]
            alice.delete(f"/orders/{orders['canceled']}")
            orders["filled"] = post(alice, product, "buy", product.at(0), product.size(2))["id"]
            post(bob, product, "sell", product.at(0), product.size(), time_in_force="IOC")
            post(bob, product, "sell", product.at(0), product.size(), time_in_force="IOC")
            orders["open"] = post(alice, product, "buy", product.at(-2), product.size())["id"]

        latest = {}

        def satisfied(updates):
            for order in updates:
                latest[order["id"]] = dict(order)
            for order in pro.orders or []:
                latest[order["id"]] = dict(order)
            states = {name: latest.get(i, {}).get("status") for name, i in orders.items()}
            return states == {"canceled": "canceled", "filled": "closed", "open": "open"}

        await watching(
            pro, lambda: pro.watch_orders(product.symbol), satisfied, lambda: in_background(act_in_order)
        )
        filled = latest[orders["filled"]]
        assert dec(filled["filled"]) == product.size(2) and dec(filled["remaining"]) == 0
        assert all(o["symbol"] == product.symbol for o in latest.values())

    run(venue, venue.demo, story)


@pytest.mark.parametrize("role", ["maker", "taker"])
def test_a_members_trades(quiet, venue, alice, bob, bob_member, product, role):
    async def story(pro):
        made = {}

        async def act():
            made["ids"] = await in_background(make_trade, alice, bob, product, "buy")

        trades = await watching(
            pro, lambda: pro.watch_my_trades(product.symbol), lambda trades: len(trades) >= 1, act
        )
        trade = trades[-1]
        assert trade["order"] == made["ids"][0 if role == "maker" else 1]
        assert (trade["takerOrMaker"], trade["side"]) == (role, "buy" if role == "maker" else "sell")
        assert trade["fee"]["currency"] == product.quote
        assert len(pro.myTrades) == 1, "told once"

    run(venue, venue.demo if role == "maker" else bob_member, story)


def test_orders_and_trades_on_one_socket_are_told_once(quiet, venue, alice, bob, product):
    """The client subscribes to the user channel a second time on the same socket."""

    async def story(pro):
        counted = []
        handle = pro.handle_my_trade

        def counting(client, message):
            counted.append(message["trade_id"])
            return handle(client, message)

        pro.handle_my_trade = counting

        async def trade():
            await in_background(make_trade, alice, bob, product)

        await watching(
            pro, lambda: pro.watch_orders(product.symbol),
            lambda _: any(o["status"] == "closed" for o in pro.orders or []), trade,
        )
        await watching(pro, lambda: pro.watch_my_trades(product.symbol), lambda t: len(t) >= 1, trade)
        assert len(counted) == len(set(counted)), "a doubled message"

    run(venue, venue.demo, story)


def test_the_wrong_secret_is_an_authentication_error(venue, product):
    demo = venue.demo
    stranger = Member("x", demo.key, "eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHg=", demo.passphrase)

    async def story(pro):
        with pytest.raises(ccxt.AuthenticationError):
            await pro.watch_orders(product.symbol)

    run(venue, stranger, story)
