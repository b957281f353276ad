"""Both ends of a connection through the proxy, run inside of its network namespace: `python FILE JSON`.

Listens on the addresses `listen`, greets whoever connects there, then connects to `connect`, sends `send` (hex), and
prints what comes back until the end, or for `seconds`, as hex.
"""

import json
import socket
import sys
import threading
import time

GREETING = b"served"


def greet(server: socket.socket) -> None:
    """Greets one peer."""
    peer, _ = server.accept()
    peer.sendall(GREETING)
    time.sleep(60)


def main(wanted: dict[str, object]) -> None:
    """See above."""
    for address in wanted["listen"]:  # type: ignore[attr-defined]
        server = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
        server.bind(tuple(address))
        server.listen()
        threading.Thread(target=greet, args=(server,), daemon=True).start()
    received = b""
    try:
        with socket.create_connection(tuple(wanted["connect"]), 10) as client:  # type: ignore[arg-type]
            client.sendall(bytes.fromhex(str(wanted["send"])))
            client.settimeout(float(str(wanted["seconds"])))
            while len(received) < len(GREETING) and (more := client.recv(100)):
                received += more
    except OSError:
        pass
    print(received.hex())


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
