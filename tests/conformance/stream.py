"""A plain WebSocket client, and books rebuilt from what it receives."""

import json
import time
from decimal import Decimal

from websockets.sync.client import connect

import signing


class Stream:
    """One connection; every message received is kept."""

    def __init__(self, url: str, member=None):
        self.member = member
        # Without a bound of its own the client reads on while a test is busy elsewhere, and can always close.
        self.connecting = connect(
            url, open_timeout=10, close_timeout=5, max_size=None, max_queue=None, proxy=None
        )
        self.messages = []

    def __enter__(self):
        self.socket = self.connecting.__enter__()
        return self

    def __exit__(self, *error):
        return self.connecting.__exit__(*error)

    def say(self, message: dict) -> None:
        """Sends one message as it is."""
        self.socket.send(json.dumps(message))

    def subscribe(self, channels, products, *, signed: bool = False, kind: str = "subscribe") -> None:
        """Subscribes and waits for the confirmation."""
        message = {"type": kind, "product_ids": list(products), "channels": list(channels)}
        if signed:
            message |= signing.subscription(self.member, int(time.time()))
        mark = len(self.messages)
        self.say(message)
        self.wait(lambda m: m["type"] == "subscriptions", "subscriptions", after=mark)

    def receive(self, seconds: float) -> dict | None:
        """The next message, or nothing when none comes in time."""
        try:
            message = json.loads(self.socket.recv(timeout=seconds), parse_float=Decimal)
        except TimeoutError:
            return None
        self.messages.append(message)
        return message

    def wait(self, wanted, what: str, *, seconds: float = 10.0, after: int = 0) -> dict:
        """The first message from ``after`` on that is wanted, received already or still to come."""
        for message in self.messages[after:]:
            if wanted(message):
                return message
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            message = self.receive(left)
            if message is not None and wanted(message):
                return message
        kinds = [m.get("type") for m in self.messages[after:]]
        raise AssertionError(f"no {what} within {seconds} s; received {kinds[-30:]}")

    def of(self, *kinds, product: str | None = None) -> list:
        """What was received, of some kinds and of one product."""
        return [
            m for m in self.messages
            if m["type"] in kinds and (product is None or m.get("product_id") == product)
        ]


class Level2:
    """Price levels from a snapshot and its updates."""

    def __init__(self):
        self.sides = None

    def take(self, message: dict) -> None:
        """Applies a message; anything but the level2 channel's is ignored."""
        if message["type"] == "snapshot":
            self.sides = {
                "buy": {Decimal(p): Decimal(s) for p, s, *_ in message["bids"]},
                "sell": {Decimal(p): Decimal(s) for p, s, *_ in message["asks"]},
            }
        elif message["type"] == "l2update":
            assert self.sides is not None, "an update came before the snapshot"
            for side, price, size in message["changes"]:
                levels = self.sides[side]
                if Decimal(size) == 0:
                    levels.pop(Decimal(price), None)
                else:
                    levels[Decimal(price)] = Decimal(size)

    def book(self) -> tuple:
        """Bids and asks as lists, best first."""
        return (
            sorted(self.sides["buy"].items(), reverse=True),
            sorted(self.sides["sell"].items()),
        )


class Level3:
    """Single orders from a level 3 book and the full channel."""

    def __init__(self, book: dict):
        self.sequence = book["sequence"]
        self.orders = {}
        for side, rows in (("buy", book["bids"]), ("sell", book["asks"])):
            for price, size, order in rows:
                self.orders[order] = [side, Decimal(price), Decimal(size)]

    def take(self, message: dict) -> None:
        """Applies one message of the full channel; a gap is an error."""
        sequence = message.get("sequence")
        if message["type"] in ("heartbeat", "subscriptions") or sequence is None:
            return
        if sequence <= self.sequence:
            return
        assert sequence == self.sequence + 1, f"a gap: {self.sequence} then {sequence}"
        self.sequence = sequence
        kind = message["type"]
        if kind == "open":
            # An iceberg opens again with its next peak.
            self.orders[message["order_id"]] = [
                message["side"], Decimal(message["price"]), Decimal(message["remaining_size"])
            ]
        elif kind == "done":
            self.orders.pop(message["order_id"], None)
        elif kind == "match":
            maker = self.orders.get(message["maker_order_id"])
            if maker is not None:
                maker[2] -= Decimal(message["size"])
                if maker[2] == 0:
                    del self.orders[message["maker_order_id"]]
        elif kind == "change":
            order = self.orders.get(message["order_id"])
            if order is not None:
                if message.get("new_price") is not None:
                    order[1] = Decimal(message["new_price"])
                order[2] = Decimal(message["new_size"])

    def levels(self) -> tuple:
        """Bids and asks by price, best first."""
        sides = {"buy": {}, "sell": {}}
        for side, price, size in self.orders.values():
            sides[side][price] = sides[side].get(price, Decimal(0)) + size
        return (
            sorted(sides["buy"].items(), reverse=True),
            sorted(sides["sell"].items()),
        )


def levels(book: dict) -> tuple:
    """A REST level 2 book in the same form."""
    return (
        [(Decimal(p), Decimal(s)) for p, s, *_ in book["bids"]],
        [(Decimal(p), Decimal(s)) for p, s, *_ in book["asks"]],
    )
