"""gRPC through the proxy: a call is a POST to /package.Service/Method over HTTP/2."""

import grpc
import pytest
from tests.integration.addresses import free_port
from tests.integration.files import LIMIT, http_rule


def echo(request, context):
    return request


def echo_stream(requests, context):
    yield from requests


@pytest.fixture
async def server(host, directory):
    """A gRPC server on the backend's address; its port."""
    address = "[::1]" if ":" in host else "127.0.0.1"
    server = grpc.aio.server()
    methods = {
        "Open": grpc.unary_unary_rpc_method_handler(echo),
        "Closed": grpc.unary_unary_rpc_method_handler(echo),
        "Chat": grpc.stream_stream_rpc_method_handler(echo_stream),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", methods),))
    port = server.add_insecure_port(f"{address}:{free_port(address.strip('[]'))}")
    await server.start()
    yield port
    await server.stop(None)


async def test_calls_are_allowed_and_denied_by_method(server, files, run):
    files.settings["listeners"][0]["upstream"] = f"{files.upstream.rpartition(':')[0]}:{server}"
    # gRPC cannot choose its source address.
    files.settings["identities"][0]["cidrs"] = ["127.0.0.1/32", "::1/128"]
    files.save()
    files.policy(http_rule(method="POST", path="/test.Echo/(Open|Chat)"))
    run(files)
    options = [("grpc.enable_http_proxy", 0)]
    async with grpc.aio.insecure_channel(files.address, options=options) as channel:
        assert await channel.unary_unary("/test.Echo/Open")(b"hello", timeout=LIMIT) == b"hello"
        with pytest.raises(grpc.aio.AioRpcError) as denied:
            await channel.unary_unary("/test.Echo/Closed")(b"hello", timeout=LIMIT)
        assert denied.value.code() == grpc.StatusCode.PERMISSION_DENIED
        chat = channel.stream_stream("/test.Echo/Chat")(timeout=LIMIT)
        for message in (b"one", b"two"):
            await chat.write(message)
            assert await chat.read() == message
        await chat.done_writing()
