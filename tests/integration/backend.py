"""A server behind the proxy: `python backend.py ADDRESS PORT`. HTTP/1.1, HTTP/2 without TLS, websocket and plain TCP.

Answers every request with what it got, as JSON. Upgrades to "websocket" and connections that begin with "TCP " are
echoed. Prints "ready" when it listens.
"""

import asyncio
import json
import sys

import h2.config
import h2.connection
import h2.events

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


async def serve(reader, writer):
    try:
        first = await reader.read(4)
        while 0 < len(first) < 4:
            more = await reader.read(4 - len(first))
            if not more:
                break
            first += more
        if first == b"TCP ":
            await echo(reader, writer, first)
        elif PREFACE.startswith(first) and first:
            await http2(reader, writer, first)
        else:
            await http1(reader, writer, first)
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def echo(reader, writer, data=b""):
    while True:
        writer.write(data)
        await writer.drain()
        data = await reader.read(65536)
        if not data:
            return


async def http1(reader, writer, first):
    while True:
        head = first + await reader.readuntil(b"\r\n\r\n")
        first = b""
        request, *lines = head.decode().rstrip("\r\n").split("\r\n")
        method, path, _ = request.split(" ")
        headers = [(name.lower(), value) for name, _, value in (line.partition(": ") for line in lines)]
        fields = dict(headers)
        if fields.get("upgrade") == "websocket":
            writer.write(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n")
            await echo(reader, writer)
            return
        body = await reader.readexactly(int(fields.get("content-length", 0)))
        answer = described(method, path, fields.get("host", ""), headers, body, "HTTP/1.1")
        writer.write(f"HTTP/1.1 200 OK\r\nserver: backend\r\ncontent-length: {len(answer)}\r\n\r\n".encode() + answer)
        await writer.drain()


async def http2(reader, writer, first):
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    connection.initiate_connection()
    requests, bodies = {}, {}
    data = first
    while data:
        for event in connection.receive_data(data):
            match event:
                case h2.events.RequestReceived():
                    requests[event.stream_id] = [(k.decode(), v.decode()) for k, v in event.headers]
                    bodies[event.stream_id] = b""
                case h2.events.DataReceived():
                    bodies[event.stream_id] += event.data
                    connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                case h2.events.StreamEnded():
                    headers = requests.pop(event.stream_id)
                    fields = dict(headers)
                    answer = described(
                        fields[":method"],
                        fields[":path"],
                        fields[":authority"],
                        [(name, value) for name, value in headers if name[0] != ":"],
                        bodies.pop(event.stream_id),
                        "HTTP/2",
                    )
                    connection.send_headers(
                        event.stream_id,
                        [(":status", "200"), ("server", "backend"), ("content-length", str(len(answer)))],
                    )
                    connection.send_data(event.stream_id, answer, end_stream=True)
        writer.write(connection.data_to_send())
        await writer.drain()
        data = await reader.read(65536)


def described(method, path, host, headers, body, version):
    got = {"method": method, "path": path, "host": host, "headers": headers, "body": body.decode(), "version": version}
    return json.dumps(got).encode()


async def main(address, port):
    server = await asyncio.start_server(serve, address, int(port), backlog=1024)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
