"""Whatever a client sends: the right status, a message, and the process stays up."""

import http.client
import json
import socket
import time
from urllib.parse import urlsplit

import pytest
import requests

import signing
from market import text
from rest import refusal


@pytest.fixture
def body(product):
    return {
        "type": "limit", "side": "buy", "product_id": product.id,
        "price": text(product.at(-5)), "size": text(product.size()),
    }


@pytest.fixture(autouse=True)
def nothing_was_placed(alice, bob, quiet):
    before = alice.balances()
    yield
    assert alice.get("/orders") == []
    assert alice.balances() == before


BAD_JSON = [
    b"", b"{", b"nonsense", b"[]", b"null", b'"text"', b"7", b'{"type":"limit"', b"{}{}",
    b'{"type":"limit","type":"market"}', b"\xff\xfe{}", b'{"size":' + b"9" * 5000 + b"}",
    b"[" * 100_000, b'{"a":' * 50_000,
]


@pytest.mark.parametrize("sent", BAD_JSON, ids=lambda b: repr(b[:16]))
def test_bad_json(alice, sent):
    alice.refused((400, 413, 422), "POST", "/orders", sent)


BAD_FIELDS = [
    ("price", "-1"), ("price", "0"), ("price", "NaN"), ("price", "Infinity"), ("price", "1e5"),
    ("price", "1,000"), ("price", " 100"), ("price", ""), ("price", None), ("price", []), ("price", {}),
    ("price", True), ("price", "0x10"), ("price", "9" * 60), ("price", "0." + "0" * 60 + "1"),
    ("price", "99999999999999999999"), ("price", "１００"),
    ("size", "-1"), ("size", "0"), ("size", "NaN"), ("size", "-0"), ("size", ""), ("size", None),
    ("size", "9" * 60), ("size", "340282366920938463463374607431768211456"),
    ("size", "18446744073709551616"), ("size", "0.0000000000000000000000001"),
    ("side", "hold"), ("side", "BUY "), ("side", None), ("side", 1),
    ("type", "magic"),
    ("product_id", "NO-SUCH"), ("product_id", ""), ("product_id", None), ("product_id", "../etc/passwd"),
    ("time_in_force", "FOREVER"), ("stp", "xx"), ("stop", "sideways"), ("post_only", "maybe"),
    ("cancel_after", "min"), ("client_oid", "x" * 5000), ("client_oid", []), ("client_oid", "\u0000"),
    ("stop_price", "-1"), ("stop_price", "NaN"), ("max_floor", "-1"), ("max_floor", "NaN"),
    ("funds", "5"),
]


@pytest.mark.parametrize(("field", "value"), BAD_FIELDS, ids=lambda v: repr(v)[:24])
def test_bad_fields_of_an_order(alice, body, field, value):
    alice.refused((400, 404, 422), "POST", "/orders", body | {field: value})


@pytest.mark.parametrize("field", ["type_and_price", "side", "product_id", "size", "price"])
def test_missing_fields_of_an_order(alice, body, field):
    for name in field.split("_and_"):
        body.pop(name)
    alice.refused((400, 422), "POST", "/orders", body)


CONTRADICTIONS = [
    {"post_only": True, "time_in_force": "IOC"},
    {"post_only": True, "time_in_force": "FOK"},
    {"time_in_force": "GTT"},
    {"time_in_force": "IOC", "cancel_after": "min"},
    {"time_in_force": "IOC", "max_floor": "SIZE"},
    {"stop": "loss"},
]


@pytest.mark.parametrize("more", CONTRADICTIONS, ids=str)
def test_contradictions_in_an_order(alice, body, more, product):
    more = {k: text(product.size()) if v == "SIZE" else v for k, v in more.items()}
    alice.refused((400, 422), "POST", "/orders", body | more)


def test_a_price_far_from_the_market(alice, bob, body, product):
    """Outside the band, or beyond what anyone could pay."""
    alice.refused(400, "POST", "/orders", body | {"price": text(product.price * 10**9)})


def send_signed(venue, method, target, body=b"", **wrong):
    at = wrong.get("timestamp", int(time.time()))
    headers = signing.headers(venue.demo, at, method, target, body)
    headers |= wrong.get("headers", {})
    for name in wrong.get("without", ()):
        headers.pop(name)
    return requests.request(
        method, venue.rest + wrong.get("sent_target", target),
        data=wrong.get("sent_body", body) or None, headers=headers, timeout=10,
    )


@pytest.mark.parametrize(
    "name", ["CB-ACCESS-KEY", "CB-ACCESS-SIGN", "CB-ACCESS-TIMESTAMP", "CB-ACCESS-PASSPHRASE"]
)
def test_a_signed_route_without_one_of_its_headers(venue, name):
    refusal(send_signed(venue, "GET", "/accounts", without=[name]), (400, 401))


@pytest.mark.parametrize("stamp", [-3600, -120, 120, 3600])
def test_a_stale_or_early_timestamp(venue, stamp):
    refusal(send_signed(venue, "GET", "/accounts", timestamp=int(time.time()) + stamp), (400, 401))


@pytest.mark.parametrize("stamp", ["", "now", "-5", "1e9", "9" * 40, "1.5.2"])
def test_a_timestamp_that_is_none(venue, stamp):
    refusal(send_signed(venue, "GET", "/accounts", headers={"CB-ACCESS-TIMESTAMP": stamp}), (400, 401))


@pytest.mark.parametrize("sign", ["", "AAAA", "not base64!", "A" * 5000])
def test_a_signature_that_is_none(venue, sign):
    refusal(send_signed(venue, "GET", "/accounts", headers={"CB-ACCESS-SIGN": sign}), (400, 401))


def test_a_body_or_query_changed_after_signing(venue, body):
    signed = json.dumps(body).encode()
    changed = json.dumps(body | {"side": "sell"}).encode()
    refusal(send_signed(venue, "POST", "/orders", signed, sent_body=changed), (400, 401))
    refusal(send_signed(venue, "GET", "/orders?limit=1", sent_target="/orders?limit=2"), (400, 401))
    refusal(send_signed(venue, "GET", "/orders", sent_target="/fills?product_id=BTC-USD"), (400, 401))


def test_the_query_is_signed_as_it_is_sent(venue, product):
    """Percent-encoding is part of what is signed, not something to undo first."""
    parts = urlsplit(venue.rest)
    for target in ("/orders?status=all&product_id=" + product.id.replace("-", "%2D"), "/orders?status=%61ll"):
        # This client sends the target as it is; others tidy it up.
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
        connection.request("GET", target, headers=signing.headers(venue.demo, int(time.time()), "GET", target))
        answered = connection.getresponse()
        assert answered.status == 200, answered.read()
        connection.close()


def test_a_signature_is_judged_before_the_body_is_read_as_json(venue):
    refusal(send_signed(venue, "POST", "/orders", b"{", headers={"CB-ACCESS-SIGN": "AAAA"}), (400, 401))


def test_a_signed_order_can_not_be_sent_again(venue, alice, body):
    """Somebody who copied the bytes gets nothing by sending them over a connection of their own."""
    signed = json.dumps(body | {"price": body["price"], "size": body["size"]}).encode()
    headers = signing.headers(venue.demo, int(time.time()), "POST", "/orders", signed)
    first = requests.post(venue.rest + "/orders", data=signed, headers=headers, timeout=10)
    assert first.status_code == 200, first.text
    again = requests.post(venue.rest + "/orders", data=signed, headers=headers, timeout=10)
    refusal(again, (400, 401, 409))
    assert len(alice.get("/orders")) == 1
    alice.cancel_everything()


def test_ten_megabytes_of_body(venue, alice):
    big = b'{"type":"' + b"x" * 10_000_000 + b'"}'
    headers = signing.headers(venue.demo, int(time.time()), "POST", "/orders", big)
    try:
        response = requests.post(venue.rest + "/orders", data=big, headers=headers, timeout=30)
    except requests.ConnectionError:
        # The answer may come, and the connection end, while the client is still writing.
        pass
    else:
        refusal(response, (400, 413))
    assert alice.send("GET", "/accounts").status_code == 200


def raw_socket(venue):
    parts = urlsplit(venue.rest)
    made = socket.create_connection((parts.hostname, parts.port), timeout=30)
    return made


def answer(connection, seconds=30) -> bytes:
    """Everything that comes until the other side closes."""
    connection.settimeout(seconds)
    data = b""
    try:
        while part := connection.recv(65536):
            data += part
            if len(data) > 1_000_000:
                break
    except (TimeoutError, ConnectionResetError):
        pass
    return data


HALVES = [
    b"G", b"GET /time", b"GET /time HTTP/1.1\r\n", b"GET /time HTTP/1.1\r\nHost: x\r\n",
    b"POST /orders HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
    b"POST /orders HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
]


@pytest.mark.parametrize("half", HALVES, ids=lambda b: repr(b[:28]))
def test_half_a_request_and_then_nothing(venue, half):
    with raw_socket(venue) as connection:
        connection.sendall(half)
        connection.shutdown(socket.SHUT_WR)
        got = answer(connection)
        assert got == b"" or got.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4")), got[:200]


def test_half_a_request_is_not_waited_for_without_end(venue):
    """A client that stops half-way and keeps the connection open must not hold it for ever."""
    with raw_socket(venue) as connection:
        connection.sendall(b"GET /time HTTP/1.1\r\nHost: x\r\n")
        began = time.monotonic()
        got = answer(connection, 60)
        assert time.monotonic() - began < 55, "still held open"
        assert got == b"" or got.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4")), got[:200]


GARBAGE = [
    b"\0" * 100 + b"\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"HELLO\r\n\r\n",
    b"GET /time HTTP/9.9\r\nHost: x\r\n\r\n", b"GET  HTTP/1.1\r\n\r\n",
    b"GET /time HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"POST /orders HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
    b"POST /orders HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nabcde",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
]


@pytest.mark.parametrize("sent", GARBAGE, ids=lambda b: repr(b[:28]))
def test_what_is_no_http(venue, sent):
    with raw_socket(venue) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        got = answer(connection)
        assert got == b"" or got.split(b"\r\n")[0].split(b" ")[1][:1] in (b"4", b"5"), got[:200]


@pytest.mark.parametrize(
    "headers",
    [{f"x-{n}": "y" for n in range(5000)}, {"x-big": "y" * 2_000_000}, {"cookie": "a=b; " * 50_000}],
    ids=["many", "one big", "big cookie"],
)
def test_header_bombs(venue, headers):
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with raw_socket(venue) as connection:
        try:
            connection.sendall(f"GET /time HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode())
        except (BrokenPipeError, ConnectionResetError):
            return
        got = answer(connection)
        assert got == b"" or got.startswith(b"HTTP/1.1 4"), got[:200]


def test_a_long_target(venue):
    response = requests.get(venue.rest + "/" + "a" * 200_000, timeout=10)
    assert 400 <= response.status_code < 500


@pytest.mark.parametrize("path", ["/../../etc/passwd", "/products/%2e%2e%2f", "/orders/%00", "/products/%ff%fe"])
def test_strange_paths(venue, path):
    with raw_socket(venue) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert answer(connection).startswith(b"HTTP/1.1 4")


@pytest.mark.parametrize("method", ["PUT", "PATCH", "TRACE", "OPTIONS", "BREW"])
def test_methods_that_are_not_served(venue, method):
    response = requests.request(method, venue.rest + "/orders", timeout=10)
    assert 400 <= response.status_code < 500


def test_many_idle_connections_do_not_stop_the_others(venue, rest):
    idle = [raw_socket(venue) for _ in range(200)]
    try:
        for connection in idle:
            connection.sendall(b"GET /ti")
        assert rest.send("GET", "/time").status_code == 200
    finally:
        for connection in idle:
            connection.close()


def test_no_answer_and_no_log_gives_a_secret_away(venue, bob_member, alice):
    """Keys are made to be sent; secrets and passphrases are not, and stand in no file of the data folder either."""
    secrets = [venue.demo.secret, venue.demo.passphrase, bob_member.secret, bob_member.passphrase]
    log = venue.log.read_text(errors="replace")
    metrics = alice.send("GET", "/metrics").text
    for secret in (bob_member.secret, bob_member.passphrase):
        assert secret not in log
    for secret in secrets:
        assert secret not in metrics
    sealed = [bob_member.secret, bob_member.passphrase]
    for path in venue.folder.rglob("*"):
        if path.is_file() and path.stat().st_size < 50_000_000 and path.name != "endpoints.json":
            data = path.read_bytes()
            for secret in sealed:
                assert secret.encode() not in data, path.name
