from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boraflow.rpc.errors import ApiError
from boraflow_metastore.paging import page_key, page_size, page_token


@pytest.mark.parametrize(
    ("asked", "given_"), [(0, 50), (1, 1), (1000, 1000), (1001, 1000), (2**31 - 1, 1000)]
)
def test_sizes(asked: int, given_: int) -> None:
    assert page_size(asked) == given_


def test_a_negative_size_is_refused() -> None:
    with pytest.raises(ApiError) as caught:
        page_size(-1)
    assert caught.value.metadata == {"field": "page_size"}


@given(st.text(), st.integers())
def test_tokens_round_trip(name: str, number: int) -> None:
    assert page_key("k", page_token("k", name, number), str, int) == (name, number)


def test_no_token_is_the_first_page() -> None:
    assert page_key("k", "", str) is None


@given(st.text(min_size=1))
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(ApiError):
        page_key("k", text, str)


def test_a_token_of_another_list_is_refused() -> None:
    with pytest.raises(ApiError):
        page_key("runs", page_token("dags", "a"), str)
    with pytest.raises(ApiError):
        page_key("runs", page_token("runs", "a"), int)
    with pytest.raises(ApiError):
        page_key("runs", page_token("runs", True), int)
