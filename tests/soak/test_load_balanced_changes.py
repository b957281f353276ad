"""The long run of tests/integration/test_load_balanced_changes.py."""

import pytest
from tests.integration.test_load_balanced_changes import no_verdict_is_wrong

pytestmark = pytest.mark.soak


async def test_no_verdict_is_wrong_in_fifty_thousand_connections():
    await no_verdict_is_wrong(50_000)
