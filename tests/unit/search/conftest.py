import pytest

from tests.unit.search.toy import SPACE


@pytest.fixture(scope="session")
def valid():
    return SPACE.bind({}, None)
