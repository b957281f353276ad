"""A server of lines, and its clients."""

import socket
import threading

from tests.integration.files import LIMIT


class Robot:
    """Answers each line with `OK` or other bytes, and keeps it."""

    def __init__(self, host="127.0.0.1"):
        self.reply = b"OK\r\n"
        self.server = socket.create_server((host, 0))
        self.port = self.server.getsockname()[1]
        self.lines = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self.server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection):
        with connection, connection.makefile("rwb", buffering=0) as stream:
            try:
                for line in stream:
                    self.lines.append(line)
                    stream.write(self.reply)
            except ConnectionError:
                pass


def connect(files):
    """A connection to the proxy, and its stream."""
    connection = socket.create_connection((files.host, files.port), LIMIT, source_address=(files.source, 0))
    return connection, connection.makefile("rwb", buffering=0)


def ask(stream, line):
    """Sends a line; the answer."""
    stream.write(line)
    return stream.readline()


def ask_once(files, line):
    """The same, over a connection of its own."""
    connection, stream = connect(files)
    with connection, stream:
        return ask(stream, line)
