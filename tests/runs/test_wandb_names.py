"""What training runs and comparisons share on W&B."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wandb import Settings

from alexnet.errors import UserError
from alexnet.runs.wandb_names import check_login, tags


def test_an_online_run_without_a_login_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alexnet.runs.wandb_names.api_key", lambda _: None)
    with pytest.raises(UserError, match="wandb login"):
        check_login("online")
    check_login("offline")
    monkeypatch.setattr("alexnet.runs.wandb_names.api_key", lambda _: "0" * 40)
    check_login("online")


@given(st.lists(st.text(max_size=100), max_size=6))
def test_any_names_become_tags_that_wandb_takes(names: list[str]) -> None:
    found = tags(names)
    assert Settings(run_tags=tuple(found)).run_tags == tuple(found)
    assert len(found) == len(set(names) - {""}) == len(set(found))


def test_short_names_are_their_tags_and_long_ones_stay_apart() -> None:
    assert tags(["no_lrn", "paper", "no_lrn", "", "größe/1"]) == ["no_lrn", "paper", "größe/1"]
    one, other = tags(["n" * 70 + "a", "n" * 70 + "b"])
    assert one != other and len(one) == len(other) == 64 and one.startswith("n" * 55)
