"""The real program: started in a folder of its own, found through the file it writes, stopped and killed."""

import json
import os
import pathlib
import signal
import subprocess
from dataclasses import dataclass

import requests

from waiting import until

START_SECONDS = 60
STOP_SECONDS = 30


@dataclass(frozen=True)
class Member:
    """What a member needs to sign."""

    name: str
    key: str
    secret: str
    passphrase: str


class Venue:
    """One running program and its data folder."""

    def __init__(self, binary: pathlib.Path, folder: pathlib.Path, *options: str, market: bool = False):
        self.binary = binary
        self.folder = folder
        self.options = options
        self.market = market
        self.process = None
        self.endpoints = {}
        self.log = folder.parent / f"{folder.name}.log"

    def start(self) -> "Venue":
        """Starts the program and waits until it says that it is ready."""
        assert self.process is None, "already started"
        found = self.folder / "endpoints.json"
        # A file left by a killed process names addresses where nobody listens.
        found.unlink(missing_ok=True)
        # Tied: whatever becomes of the tests, no process stays behind.
        command = [str(self.binary), "up", "--dir", str(self.folder), "--listen", "127.0.0.1:0", "--tied"]
        if not self.market:
            command.append("--no-market")
        command.extend(self.options)
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        until(lambda: self._endpoints(found), f"{found} written", START_SECONDS)
        until(self.ready, "ready", START_SECONDS)
        return self

    def _endpoints(self, found: pathlib.Path) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"ended with {self.process.returncode}:\n{self.tail()}")
        if not found.is_file():
            return False
        # The program puts the file in place whole, so what is there must be readable.
        self.endpoints = json.loads(found.read_text())
        return True

    def ready(self) -> bool:
        """Whether the program takes orders now."""
        if self.process.poll() is not None:
            raise AssertionError(f"ended with {self.process.returncode}:\n{self.tail()}")
        try:
            return requests.get(f"{self.rest}/health/ready", timeout=5).status_code == 200
        except requests.ConnectionError:
            return False

    @property
    def rest(self) -> str:
        """The base URL of the REST API, without a trailing slash."""
        return self.endpoints["rest"].rstrip("/")

    @property
    def websocket(self) -> str:
        """The URL of the WebSocket API."""
        return self.endpoints["websocket"].rstrip("/")

    @property
    def demo(self) -> Member:
        """The member that comes with a fresh venue."""
        e = self.endpoints
        return Member("demo", e["key"], e["secret"], e["passphrase"])

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process is not None and self.process.poll() is None

    def add_member(self, name: str, permissions: str = "view,trade,transfer") -> Member:
        """Makes a member with the administrator's command."""
        command = [
            str(self.binary), "member", "add", name,
            "--dir", str(self.folder), "--permissions", permissions, "--json",
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        made = json.loads(done.stdout)
        return Member(name, made["key"], made["secret"], made["passphrase"])

    def stop(self) -> int:
        """Ends the program as an operator would; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self._reap()

    def processes(self) -> list:
        """Role, number and process id of all processes that run now, the supervisor first."""
        found = self.folder / "endpoints.json"
        told = json.loads(found.read_text())["processes"]
        return [(process["role"], process["id"], process["pid"]) for process in told]

    def leader(self):
        """Process id of the replica that leads, or None."""
        done = subprocess.run(
            [str(self.binary), "cluster", "status", "--json", "--dir", str(self.folder)],
            capture_output=True, text=True, timeout=30,
        )
        if done.returncode != 0:
            return None
        leading = [told for told in json.loads(done.stdout) if told.get("role") == "leader"]
        return max(leading, key=lambda told: told["term"])["pid"] if leading else None

    def kill(self) -> None:
        """Ends the program as a power cut would end it: every process, and no handler runs."""
        others = [pid for _, _, pid in self.processes()[1:]]
        # The supervisor first, so that it starts none again.
        self.process.kill()
        assert self._reap() == -signal.SIGKILL
        for pid in others:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        until(lambda: not any(runs(pid) for pid in others), "all processes have ended", STOP_SECONDS)

    def _reap(self) -> int:
        try:
            status = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"did not end within {STOP_SECONDS} s:\n{self.tail()}") from None
        finally:
            self.process = None
        return status

    def discard(self) -> None:
        """Makes sure that nothing is left running, whatever a test did."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def tail(self, lines: int = 40) -> str:
        """The end of what the program printed."""
        if not self.log.exists():
            return "(printed nothing)"
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def runs(pid: int) -> bool:
    """Whether a process is there and has not ended; one that nobody has reaped yet has."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rsplit(")", 1)[1].split()[0] not in "ZX"


def binary() -> pathlib.Path:
    """The program under test, named by the environment."""
    name = os.environ.get("EVEROPEN_BIN")
    if not name:
        raise RuntimeError("EVEROPEN_BIN must name the program; `cargo xtask test conformance` sets it")
    path = pathlib.Path(name).resolve()
    if not path.is_file():
        raise RuntimeError(f"EVEROPEN_BIN names {path}, which does not exist")
    return path
