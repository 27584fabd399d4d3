"""Stopped in any way and started again, the venue goes on where it was."""

import subprocess
import threading
from decimal import Decimal

import pytest

from conftest import fund
from market import products, text
from rest import Rest
from stream import Stream
from waiting import until


def members(venue):
    """Plain clients at the addresses of now."""
    return Rest(venue.rest, venue.demo), Rest(venue.rest)


def post(member, product, side, price, size, **more):
    return member.post("/orders", {
        "type": "limit", "side": side, "product_id": product.id, "price": text(price), "size": text(size),
    } | more)


def state(demo, other, public):
    """All that a member could look up, and the public book with its sequence."""
    listed = products(public)

    def book(product):
        told = public.get(f"/products/{product}/book", level=3)
        # When it was asked for, not what it is.
        told.pop("time", None)
        return told

    return {
        "balances": demo.balances(),
        "other balances": other.balances(),
        "open": demo.get("/orders"),
        "all": demo.get("/orders", status="all"),
        "fills": demo.get("/fills", product_id=listed[0].id),
        "fees": demo.get("/fees"),
        "books": {p.id: book(p.id) for p in listed},
        "trades": {p.id: public.get(f"/products/{p.id}/trades", limit=100) for p in listed},
    }


@pytest.mark.parametrize("way", ["killed", "stopped"])
def test_balances_orders_trades_and_sequences_go_on(own_venue, way):
    carol = own_venue.add_member("carol")
    demo, public = members(own_venue)
    other = Rest(own_venue.rest, carol)
    fund(other, {asset: Decimal(amount) for asset, amount in own_venue.endpoints["funded"].items()})
    product = sorted(products(public), key=lambda p: p.id != "BTC-USD")[0]

    resting = post(demo, product, "buy", product.at(-2), product.size(3), client_oid="kept-over")
    post(demo, product, "buy", product.at(0), product.size(2))
    post(other, product, "sell", product.at(0), product.size(), time_in_force="IOC")
    post(other, product, "sell", product.at(4), product.size(2), max_floor=text(product.size()))
    stop = post(other, product, "sell", product.at(-8), product.size(), stop="loss", stop_price=text(product.at(-7)))
    gone = post(demo, product, "buy", product.at(-3), product.size())
    demo.delete(f"/orders/{gone['id']}")
    before = state(demo, other, public)

    if way == "killed":
        own_venue.kill()
    else:
        assert own_venue.stop() == 0
    own_venue.start()

    demo, public = members(own_venue)
    other = Rest(own_venue.rest, carol)
    assert state(demo, other, public) == before

    # It goes on: the next change has the next sequence, the old order is still there to trade.
    with Stream(own_venue.websocket) as stream:
        stream.subscribe(["full"], [product.id])
        taker = post(other, product, "sell", product.at(-2), product.size(), time_in_force="IOC")
        stream.wait(lambda m: m["type"] == "done", "the taker's end")
        sequences = [m["sequence"] for m in stream.of("received", "open", "match", "done", "change")]
        first = before["books"][product.id]["sequence"] + 1
        assert sequences == list(range(first, first + len(sequences)))
        trades = [m["trade_id"] for m in stream.of("match")]
        assert trades[0] == before["trades"][product.id][0]["trade_id"] + 1
    assert Decimal(other.get(f"/orders/{taker['id']}")["filled_size"]) == product.size()
    assert other.get(f"/orders/{stop['id']}")["status"] in ("active", "open", "pending")
    demo.refused(400, "POST", "/orders", {
        "type": "limit", "side": "buy", "product_id": product.id, "price": text(product.at(-2)),
        "size": text(product.size()), "client_oid": "kept-over",
    })
    demo.delete(f"/orders/{resting['id']}")
    assert own_venue.stop() == 0


def test_nothing_acknowledged_is_lost_when_killed_under_load(own_venue):
    """Orders are sent without pause; the process is killed; every order that was answered is there afterwards."""
    _, public = members(own_venue)
    product = products(public)[0]
    acknowledged, failed = [], threading.Event()

    def load(n):
        member = Rest(own_venue.rest, own_venue.demo)
        for i in range(10_000):
            try:
                order = post(
                    member, product, "buy", product.at(-2), product.size(), client_oid=f"load-{n}-{i}"
                )
            except Exception:
                failed.set()
                return
            acknowledged.append(order["id"])

    workers = [threading.Thread(target=load, args=(n,), daemon=True) for n in range(2)]
    for worker in workers:
        worker.start()
    until(lambda: len(acknowledged) >= 30 or failed.is_set(), "orders under way", seconds=60)
    assert not failed.is_set(), own_venue.tail()
    own_venue.kill()
    for worker in workers:
        worker.join(30)
    told = set(acknowledged)
    own_venue.start()
    demo, _ = members(own_venue)
    for order in told:
        assert demo.get(f"/orders/{order}")["status"] == "open"
    listed = demo.get("/orders", limit=1000)
    assert len({o["client_oid"] for o in listed}) == len(listed), "none applied twice"
    # One order for each worker may have been applied without its answer having been received.
    assert len(told) <= len(listed) <= len(told) + len(workers)
    assert own_venue.stop() == 0


def test_a_second_process_on_the_same_folder_is_refused(own_venue):
    done = subprocess.run(
        [str(own_venue.binary), "up", "--dir", str(own_venue.folder), "--listen", "127.0.0.1:0", "--no-market"],
        capture_output=True, text=True, timeout=30,
    )
    assert done.returncode != 0
    assert done.stderr.strip(), "says why"
    assert own_venue.ready()
    assert own_venue.stop() == 0
