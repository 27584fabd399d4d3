"""A TLS client that does as it is told, line by line, and says in one line what came of it.

Arguments: port, file of authorities, version (1.2 or 1.3), and if there is a client certificate its chain
and its key. Lines: `open NAME [SESSION]`, `get NAME`, `upgrade NAME`, `ended NAME`, `session NAME`.
"""

import socket
import ssl
import sys


def main():
    port, ca, version, *pair = sys.argv[1:]
    context = ssl.create_default_context(cafile=ca)
    pinned = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[version]
    context.minimum_version = context.maximum_version = pinned
    if pair:
        context.load_cert_chain(*pair)
    connections, sessions = {}, {}

    def head(connection):
        received = b""
        while not received.endswith(b"\r\n\r\n"):
            byte = connection.recv(1)
            if not byte:
                raise EOFError("closed")
            received += byte
        return received.decode()

    def do(verb, name, *rest):
        if verb == "open":
            raw = socket.create_connection(("127.0.0.1", int(port)), timeout=20)
            session = sessions[rest[0]] if rest else None
            connection = context.wrap_socket(raw, server_hostname="localhost", session=session)
            connections[name] = connection
            return f"{connection.version()} resumed={connection.session_reused}"
        connection = connections[name]
        if verb == "session":
            sessions[name] = connection.session
            return "kept"
        if verb == "get":
            connection.sendall(b"GET /path HTTP/1.1\r\nhost: localhost\r\n"
                               b"x-amzn-mtls-clientcert-subject: CN=forged\r\n"
                               b"x-forwarded-client-cert: Subject=\"CN=forged\"\r\n\r\n")
            answer = head(connection)
            length = [line for line in answer.lower().split("\r\n") if line.startswith("content-length")]
            body = b""
            while len(body) < int(length[0].split(":")[1]):
                body += connection.recv(1024)
            return f"{answer.split(' ')[1]} {body.decode()}"
        if verb == "upgrade":
            connection.sendall(b"GET /feed HTTP/1.1\r\nhost: localhost\r\nconnection: Upgrade\r\n"
                               b"upgrade: websocket\r\n\r\n")
            return head(connection).split(" ")[1]
        if verb == "ended":
            try:
                while connection.recv(1024):
                    pass
            except (ssl.SSLError, ConnectionError):
                pass
            return "ended"
        raise ValueError(verb)

    for line in sys.stdin:
        try:
            print("ok", do(*line.split()), flush=True)
        except (OSError, EOFError, KeyError) as error:
            print("failed", type(error).__name__, str(error).replace("\n", " "), flush=True)


main()
