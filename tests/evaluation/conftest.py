"""What the tests of evaluation share."""

import pytest


@pytest.fixture(autouse=True)
def fits_of_their_own(tmp_path_factory, monkeypatch):
    """Fits are kept in a folder of the test, and there are no weights but those that a test puts somewhere."""
    monkeypatch.setenv("I2I_CACHE", str(tmp_path_factory.mktemp("fits")))
    monkeypatch.delenv("I2I_WEIGHTS", raising=False)
