"""The ends of a connection: `peers.py serve FAMILY PORT` tells each client where it seems to come from;
`peers.py ask HOST PORT` prints its own address and what it is told."""

import contextlib
import socket
import sys


def serve(family: str, port: str) -> None:
    """Answers connections until it is killed; a line says that it listens."""
    listener = socket.socket(socket.AF_INET if family == "4" else socket.AF_INET6, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("", int(port)))
    listener.listen()
    print("listening", flush=True)
    while True:
        connection, peer = listener.accept()
        with connection:
            connection.sendall(f"{peer[0]} {peer[1]}".encode())


def ask(host: str, port: str) -> None:
    """Connects, and prints two lines: own address and port, and those the server saw (empty: not connected)."""
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        print(*connection.getsockname()[:2])
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while data := connection.recv(4096):
                answer += data
        print(answer.decode())


if __name__ == "__main__":
    {"serve": serve, "ask": ask}[sys.argv[1]](*sys.argv[2:])
