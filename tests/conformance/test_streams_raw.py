"""Streams by plain WebSocket: gap-free sequences, books that can be rebuilt, connections with limits."""

import json
import socket
import time
from urllib.parse import urlsplit

import pytest
from websockets.exceptions import ConnectionClosed

import signing
from market import text
from stream import Level2, Level3, Stream, levels
from waiting import until


def post(member, product, side, price, size, **more):
    return member.post("/orders", {
        "type": "limit", "side": side, "product_id": product.id, "price": text(price), "size": text(size),
    } | more)


def busy(alice, bob, product, rounds=6):
    """Some of everything that changes a book."""
    for n in range(rounds):
        kept = post(alice, product, "buy", product.at(-1 - n), product.size(n + 1))
        gone = post(alice, product, "buy", product.at(-9), product.size())
        post(bob, product, "sell", product.at(2 + n), product.size(n + 2))
        alice.delete(f"/orders/{gone['id']}")
        if n % 2:
            post(bob, product, "sell", product.at(-1 - n), product.size(), time_in_force="IOC")
            post(alice, product, "buy", product.at(0), product.size(4), max_floor=text(product.size()))
            post(bob, product, "sell", product.at(0), product.size(4), time_in_force="IOC")
    return kept


def caught_up(stream, product, sequence, *kinds):
    """Waits until the stream has reached a sequence of the book."""
    stream.wait(
        lambda m: m.get("product_id") == product.id and m.get("sequence", -1) >= sequence,
        f"sequence {sequence}",
    )


def test_the_full_channel_rebuilds_the_book_without_a_gap(quiet, venue, alice, bob, rest, product):
    post(alice, product, "buy", product.at(-4), product.size())
    with Stream(venue.websocket) as stream:
        stream.subscribe(["full"], [product.id])
        book = Level3(rest.get(f"/products/{product.id}/book", level=3))
        busy(alice, bob, product)
        final = rest.get(f"/products/{product.id}/book", level=2)
        caught_up(stream, product, final["sequence"])
        for message in stream.messages:
            if message.get("product_id") == product.id and message.get("sequence", 0) <= final["sequence"]:
                book.take(message)
        assert book.sequence == final["sequence"]
        assert book.levels() == levels(final)

        sequences = [m["sequence"] for m in stream.of("received", "open", "match", "change", "done")]
        assert sequences == list(range(sequences[0], sequences[0] + len(sequences))), "a gap"
        kinds = {m["type"] for m in stream.messages}
        assert {"received", "open", "match", "done"} <= kinds


def test_every_order_is_received_before_it_matches(quiet, venue, alice, bob, product):
    with Stream(venue.websocket) as stream:
        stream.subscribe(["full"], [product.id])
        busy(alice, bob, product, rounds=2)
        last = post(alice, product, "buy", product.at(-9), product.size())
        stream.wait(lambda m: m["type"] == "open" and m["order_id"] == last["id"], "the last order")
        received = set()
        for message in stream.messages:
            if message["type"] == "received":
                received.add(message["order_id"])
            elif message["type"] == "match":
                assert message["taker_order_id"] in received


def test_level2_follows_the_rest_book(quiet, venue, alice, bob, rest, product):
    post(alice, product, "buy", product.at(-4), product.size())
    with Stream(venue.websocket) as stream:
        stream.subscribe(["level2"], [product.id])
        book = Level2()
        stream.wait(lambda m: m["type"] == "snapshot", "the snapshot")
        busy(alice, bob, product)
        wanted = levels(rest.get(f"/products/{product.id}/book", level=2))

        def follow():
            stream.receive(0.2)
            book.__init__()
            for message in stream.messages:
                book.take(message)
            return book.book() == wanted

        until(follow, "the stream's book equal to the REST book")
        first = next(m["type"] for m in stream.messages if m["type"] in ("snapshot", "l2update"))
        assert first == "snapshot"


def test_a_second_subscription_starts_with_a_snapshot_again(quiet, venue, alice, product):
    with Stream(venue.websocket) as stream:
        stream.subscribe(["level2"], [product.id])
        stream.wait(lambda m: m["type"] == "snapshot", "the first snapshot")
        stream.subscribe(["level2"], [product.id], kind="unsubscribe")
        mark = len(stream.messages)
        stream.subscribe(["level2"], [product.id])
        post(alice, product, "buy", product.at(-2), product.size())
        stream.wait(lambda m: m["type"] == "l2update", "an update", after=mark)
        kinds = [m["type"] for m in stream.messages[mark:] if m["type"] in ("snapshot", "l2update")]
        assert kinds[0] == "snapshot"


def test_batched_channels_lead_to_the_same_state(quiet, venue, alice, bob, rest, product):
    with Stream(venue.websocket) as stream:
        stream.subscribe(["level2_batch", "ticker_batch"], [product.id])
        stream.wait(lambda m: m["type"] == "snapshot", "the snapshot")
        busy(alice, bob, product, rounds=2)
        wanted = levels(rest.get(f"/products/{product.id}/book", level=2))
        book = Level2()

        def follow():
            stream.receive(0.2)
            book.__init__()
            for message in stream.messages:
                book.take(message)
            return book.book() == wanted

        until(follow, "the batched book equal to the REST book", seconds=15)
        stream.wait(lambda m: m["type"] == "ticker", "a ticker", seconds=15)


def test_heartbeats_tell_the_sequence_and_the_last_trade(quiet, venue, alice, bob, rest, product):
    post(alice, product, "buy", product.at(0), product.size())
    post(bob, product, "sell", product.at(0), product.size(), time_in_force="IOC")
    last = rest.get(f"/products/{product.id}/trades", limit=1)[0]["trade_id"]
    with Stream(venue.websocket) as stream:
        stream.subscribe(["heartbeat"], [product.id])
        beats = [stream.wait(lambda m: m["type"] == "heartbeat", "a heartbeat")]
        mark = len(stream.messages)
        beats.append(stream.wait(lambda m: m["type"] == "heartbeat", "another", after=mark))
        assert [b["last_trade_id"] for b in beats] == [last, last]
        assert beats[0]["sequence"] <= beats[1]["sequence"]
        assert all(b["product_id"] == product.id and b["time"] for b in beats)


def test_status_lists_products_and_currencies(venue, rest):
    with Stream(venue.websocket) as stream:
        stream.subscribe(["status"], [])
        told = stream.wait(lambda m: m["type"] == "status", "the status")
        assert {p["id"] for p in told["products"]} == {p["id"] for p in rest.get("/products")}
        assert {c["id"] for c in told["currencies"]} == {c["id"] for c in rest.get("/currencies")}


def test_channels_may_be_objects_with_products_of_their_own(quiet, venue, alice, product, other_product):
    with Stream(venue.websocket) as stream:
        stream.say({
            "type": "subscribe",
            "product_ids": [product.id],
            "channels": ["full", {"name": "full", "product_ids": [other_product.id]}],
        })
        stream.wait(lambda m: m["type"] == "subscriptions", "the confirmation")
        for p in (product, other_product):
            post(alice, p, "buy", p.at(-2), p.size())
            stream.wait(lambda m, p=p: m["type"] == "open" and m["product_id"] == p.id, f"{p.id}")


def test_the_user_channel_tells_a_member_its_own_and_nothing_else(quiet, venue, alice, bob, product):
    with Stream(venue.websocket, venue.demo) as stream:
        stream.subscribe(["user"], [product.id], signed=True)
        theirs = post(bob, product, "buy", product.at(-6), product.size())
        ours = post(alice, product, "buy", product.at(-5), product.size())
        stream.wait(lambda m: m["type"] == "open" and m["order_id"] == ours["id"], "our order")
        assert all(m.get("order_id") != theirs["id"] for m in stream.messages)
        received = stream.wait(lambda m: m["type"] == "received", "received")
        assert received["user_id"] and received["profile_id"]


def test_the_user_channel_without_a_signature_is_an_error_with_a_reason(venue, product):
    with Stream(venue.websocket) as stream:
        stream.say({"type": "subscribe", "product_ids": [product.id], "channels": ["user"]})
        error = stream.wait(lambda m: m["type"] == "error", "an error")
        assert error["message"] == "Authentication Failed"
        assert isinstance(error["reason"], str) and error["reason"]


def test_a_stale_signature_is_an_error(venue, product):
    with Stream(venue.websocket) as stream:
        stream.say(
            {"type": "subscribe", "product_ids": [product.id], "channels": ["user"]}
            | signing.subscription(venue.demo, int(time.time()) - 3600)
        )
        assert stream.wait(lambda m: m["type"] == "error", "an error")["message"] == "Authentication Failed"


@pytest.mark.parametrize(
    "sent",
    [
        "not json",
        "[]",
        "{}",
        json.dumps({"type": "dance"}),
        json.dumps({"type": "subscribe", "channels": ["no-such"], "product_ids": ["BTC-USD"]}),
        json.dumps({"type": "subscribe", "channels": ["full"], "product_ids": ["NO-SUCH"]}),
        json.dumps({"type": "subscribe", "channels": 7, "product_ids": {}}),
        "[" * 5000,
    ],
)
def test_nonsense_gets_an_error_with_a_reason(venue, sent):
    with Stream(venue.websocket) as stream:
        stream.socket.send(sent)
        error = stream.wait(lambda m: m["type"] == "error", "an error")
        assert isinstance(error["message"], str) and isinstance(error["reason"], str)


def test_a_connection_that_says_nothing_is_closed(venue):
    with Stream(venue.websocket) as stream:
        began = time.monotonic()
        with pytest.raises(ConnectionClosed):
            while time.monotonic() - began < 20:
                stream.receive(20)
        assert 2 < time.monotonic() - began < 15


def test_a_huge_message_does_not_pass(venue):
    with Stream(venue.websocket) as stream:
        with pytest.raises(ConnectionClosed):
            stream.socket.send("x" * 12_000_000)
            stream.wait(lambda m: False, "anything", seconds=15)


def test_the_socket_is_served_with_and_without_a_query(venue, product):
    for suffix in ("/", "/?", "?"):
        with Stream(venue.websocket + suffix) as stream:
            stream.subscribe(["heartbeat"], [product.id])


def slow_reader(url):
    """A WebSocket by hand that has subscribed and then never reads."""
    parts = urlsplit(url)
    raw = socket.socket()
    # A small window, so that little fits between the venue and this reader.
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.settimeout(10)
    raw.connect((parts.hostname, parts.port))
    raw.sendall(
        f"GET / HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eHh4eHh4eHh4eHh4eHh4eA==\r\n\r\n".encode()
    )
    head = b""
    while b"\r\n\r\n" not in head:
        head += raw.recv(1)
    assert b" 101 " in head.split(b"\r\n")[0]
    return raw


def frame(message: dict) -> bytes:
    """A masked text frame (RFC 6455), with a mask of zeros."""
    payload = json.dumps(message).encode()
    assert len(payload) < 65536
    length = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
    return b"\x81" + length + b"\0\0\0\0" + payload


def dropped(raw) -> bytes | None:
    """All that was still to be read, once the venue has closed the connection; nothing while it is open."""
    data = b""
    raw.settimeout(30)
    try:
        while part := raw.recv(65536):
            data += part
    except ConnectionResetError:
        pass
    except TimeoutError:
        return None
    return data


def test_a_reader_that_is_too_slow_is_dropped_with_a_reason(quiet, venue, alice, bob, rest, product):
    """Others go on; the venue keeps no endless queue for one that does not read."""

    def told():
        page = rest.send("GET", "/metrics").text
        lines = [l for l in page.splitlines() if "slow" in l and not l.startswith("#")]
        return sum(float(l.rsplit(" ", 1)[1]) for l in lines)

    before = told()
    raw = slow_reader(venue.websocket)
    try:
        # Many channels of every product: each order makes many bytes.
        products = [p["id"] for p in rest.get("/products")]
        raw.sendall(frame({
            "type": "subscribe", "product_ids": products,
            "channels": ["full", "level2", "ticker", "matches", "heartbeat", "status"],
        }))

        def flood():
            # Asking again for snapshots makes bytes cheaply and is what a broken client does.
            for _ in range(50):
                try:
                    raw.sendall(frame({
                        "type": "subscribe", "product_ids": products, "channels": ["level2", "status"],
                    }))
                except OSError:
                    return True
            order = post(alice, product, "buy", product.at(-2), product.size())
            alice.delete(f"/orders/{order['id']}")
            return told() > before

        until(flood, "the slow reader counted as dropped", seconds=60, every=0)
        assert dropped(raw) is not None, "still connected"
    finally:
        raw.close()
    with Stream(venue.websocket) as stream:
        stream.subscribe(["heartbeat"], [product.id])
        stream.wait(lambda m: m["type"] == "heartbeat", "another reader served")
