import pytest

from cilium_proxy import api


def test_dictionaries_become_messages_with_either_form_of_field_names():
    snake = api.from_dict("cilium.NetworkPolicy", {"endpoint_ips": ["::1"], "endpoint_id": 3})
    camel = api.from_dict("cilium.NetworkPolicy", {"endpointIps": ["::1"], "endpointId": 3})
    assert snake == camel
    assert api.to_dict(snake) == {"endpoint_ips": ["::1"], "endpoint_id": "3"}


def test_any_holds_its_message_in_line():
    fields = {
        "name": "cilium.l7policy",
        "typed_config": {"@type": "type.googleapis.com/cilium.L7Policy", "access_log_path": "/x"},
    }
    message = api.from_dict("envoy.config.listener.v3.Filter", fields)
    assert api.unpack(message.typed_config).access_log_path == "/x"
    assert api.to_dict(message) == fields


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"nonsense": 1}, 'no field named "nonsense"'),
        ({"endpoint_id": "x"}, "endpoint_id"),
        ({"ingress_per_port_policies": [{"rules": [{"foo": 1}]}]}, r"ingress_per_port_policies\[0\]\.rules\[0\]"),
    ],
)
def test_errors_name_the_field(fields, text):
    with pytest.raises(api.InvalidMessageError, match=text) as caught:
        api.from_dict("cilium.NetworkPolicy", fields)
    assert "\n" not in str(caught.value)


def test_an_any_of_unknown_type_is_an_error_when_read_and_shown_when_printed():
    with pytest.raises(api.InvalidMessageError, match=r"acme\.Thing"):
        api.from_dict("envoy.config.listener.v3.Filter", {"typed_config": {"@type": "type.googleapis.com/acme.Thing"}})
    unknown = api.messages("google.protobuf.Any")(type_url="type.googleapis.com/acme.Thing", value=b"abc")
    inner = api.messages("envoy.config.listener.v3.Filter")(name="inner", typed_config=unknown)
    outer = api.messages("envoy.config.listener.v3.Filter")(name="outer", typed_config=api.pack(inner))
    shown = api.to_dict(outer)["typed_config"]["typed_config"]["value"]
    assert shown == {"unknown_type": "type.googleapis.com/acme.Thing", "base64": "YWJj"}
    assert api.unpack(outer.typed_config).typed_config == unknown
