"""A plain signed HTTP client: what a member would write without any library for exchanges."""

import json
import time
import uuid
from decimal import Decimal
from urllib.parse import urlencode

import requests
from requests.adapters import HTTPAdapter

import signing


class SourceAddress(HTTPAdapter):
    """Sends from another loopback address, so that limits by address do not touch other tests."""

    def __init__(self, address: str):
        self.address = address
        super().__init__()

    def init_poolmanager(self, *args, **kwargs):
        kwargs["source_address"] = (self.address, 0)
        super().init_poolmanager(*args, **kwargs)


class Rest:
    """Requests of one member, or of nobody."""

    def __init__(self, base: str, member=None, *, address: str | None = None, checks=()):
        self.base = base
        self.member = member
        self.session = requests.Session()
        self.session.trust_env = False
        if address:
            self.session.mount("http://", SourceAddress(address))
        self.session.hooks["response"].extend(checks)
        self._stamps = {}

    def stamp(self, method: str, target: str, body: bytes) -> int:
        """Now; for a repeated change, a second that no equal request had: its signature works only once."""
        now = int(time.time())
        if method == "GET":
            return now
        identity = (method, target, body)
        at = max(now, self._stamps.get(identity, 0) + 1)
        assert at < now + 20, f"{method} {target} is repeated too often to be told apart by its time"
        self._stamps[identity] = at
        return at

    def send(self, method: str, path: str, body=None, query: dict | None = None) -> requests.Response:
        """One request, signed when there is a member. ``body`` is JSON to be, or bytes as they are."""
        target = path + ("?" + urlencode(query) if query else "")
        data = body if isinstance(body, bytes) else b""
        if body is not None and not isinstance(body, bytes):
            if (method, path) == ("POST", "/orders") and "client_oid" not in body:
                # Two equal orders in one second would sign alike, and the other client of this member sends some, too.
                body = body | {"client_oid": str(uuid.uuid4())}
            data = json.dumps(body, separators=(",", ":")).encode()
        for _ in range(40):
            headers = {"Content-Type": "application/json"}
            if self.member:
                at = self.stamp(method, target, data)
                headers = signing.headers(self.member, at, method, target, data)
            response = self.session.request(
                method, self.base + target, data=data or None, headers=headers, timeout=30
            )
            if response.status_code != 429:
                return response
            # Being told to slow down is an answer, and what a well-behaved client does about it is wait.
            time.sleep(min(float(response.headers.get("Retry-After", 0.2)), 2.0))
        raise AssertionError(f"{method} {path}: refused for its rate again and again")

    def ok(self, method: str, path: str, body=None, query: dict | None = None):
        """The JSON of an answer that must be a success."""
        response = self.send(method, path, body, query)
        assert response.status_code == 200, f"{method} {path}: {response.status_code} {response.text}"
        return response.json()

    def refused(self, status, method: str, path: str, body=None, query: dict | None = None) -> str:
        """The message of an answer that must be a refusal with one of the statuses given."""
        response = self.send(method, path, body, query)
        return refusal(response, status)

    def get(self, path: str, **query):
        """The JSON of a successful GET."""
        return self.ok("GET", path, query=query or None)

    def post(self, path: str, body):
        """The JSON of a successful POST."""
        return self.ok("POST", path, body)

    def delete(self, path: str, body=None):
        """The JSON of a successful DELETE."""
        return self.ok("DELETE", path, body)

    def balances(self) -> dict:
        """Currency to (balance, available, hold)."""
        return {
            a["currency"]: (Decimal(a["balance"]), Decimal(a["available"]), Decimal(a["hold"]))
            for a in self.get("/accounts")
        }

    def balance(self, currency: str) -> Decimal:
        """The whole balance of one currency, zero when there is no account."""
        return self.balances().get(currency, (Decimal(0),) * 3)[0]

    def fills(self, **query) -> list:
        """The member's fills."""
        return self.get("/fills", **query)

    def cancel_everything(self) -> None:
        """No order of this member is left open afterwards."""
        for order in self.get("/orders"):
            response = self.send("DELETE", f"/orders/{order['id']}")
            assert response.status_code in (200, 400, 404), response.text


def refusal(response: requests.Response, status) -> str:
    """The message of an error answer; checks its form."""
    statuses = status if isinstance(status, tuple) else (status,)
    assert response.status_code in statuses, f"{response.status_code} {response.text}"
    body = response.json()
    assert isinstance(body, dict) and isinstance(body.get("message"), str) and body["message"], body
    return body["message"]
