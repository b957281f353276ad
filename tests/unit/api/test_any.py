import pytest
from hypothesis import given
from hypothesis import strategies as st

from cilium_proxy import api

ANY = "google.protobuf.Any"


def test_pack_and_unpack_are_inverse():
    policy = api.messages("cilium.NetworkPolicy")(endpoint_ips=["10.0.0.1"], endpoint_id=7)
    envelope = api.pack(policy)
    assert envelope.type_url == "type.googleapis.com/cilium.NetworkPolicy"
    assert api.unpack(envelope) == policy


@given(st.binary())
def test_an_unknown_type_is_passed_on_as_bytes(value):
    envelope = api.messages(ANY)(type_url="type.googleapis.com/acme.Thing", value=value)
    assert api.unpack(envelope) is None
    response = api.messages("envoy.service.discovery.v3.DiscoveryResponse")(resources=[envelope])
    copy = type(response).FromString(api.serialise(response))
    assert copy.resources[0].value == value


def test_bytes_that_are_not_the_promised_message_are_an_error():
    envelope = api.messages(ANY)(type_url="type.googleapis.com/cilium.NetworkPolicy", value=b"\xff")
    with pytest.raises(api.InvalidAnyError, match=r"cilium\.NetworkPolicy"):
        api.unpack(envelope)


def test_equal_maps_serialise_alike():
    one = api.messages("cilium.L7LogEntry")(fields={str(number): "" for number in range(50)})
    other = api.messages("cilium.L7LogEntry")(fields={str(number): "" for number in reversed(range(50))})
    assert api.serialise(one) == api.serialise(other)
