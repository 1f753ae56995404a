"""What the doctor says of files from elsewhere."""

import pytest

from shared.doctor import elsewhere
from shared.settings import FetchSettings, Settings, StoreSettings


def test_what_is_off_is_not_spoken_of() -> None:
    assert list(elsewhere.fetching(Settings())) == []
    assert list(elsewhere.bucket(Settings())) == []


@pytest.mark.parametrize(("private", "level"), [(False, "ok"), (True, "warning")])
def test_hosts_are_named_and_private_addresses_are_a_warning(*, private: bool, level: str) -> None:
    settings = Settings(fetch=FetchSettings(hosts=("cdn.example.com",), private=private))
    [finding] = elsewhere.fetching(settings)
    assert finding.level == level
    assert "cdn.example.com" in finding.sentence


def test_a_bucket_needs_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(store=StoreSettings(url="s3://made"))
    [found] = elsewhere.bucket(settings)
    assert found.level == "ok"
    monkeypatch.setattr(elsewhere, "find_spec", lambda _name: None)
    [missing] = elsewhere.bucket(settings)
    assert missing.level == "broken"
    assert "kinora[s3]" in missing.sentence
