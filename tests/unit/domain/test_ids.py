"""Ids sort by time, read aloud well and stay safe in a path."""

import re

import pytest

from app.domain.ids import ID_RULE, is_job_id, make_job_id


def test_ids_sort_by_the_time_of_their_making() -> None:
    times = [0, 1, 1_700_000_000_000, 1_700_000_000_001, 2**48 - 1]
    ids = [make_job_id(at) for at in times]

    assert ids == sorted(ids)


def test_id_has_the_alphabet_and_length_of_the_contract() -> None:
    for _ in range(100):
        assert re.fullmatch(r"job_[0-9abcdefghjkmnpqrstvwxyz]{26}", make_job_id(1_700_000_000_000))


def test_ids_of_one_millisecond_differ() -> None:
    assert len({make_job_id(5) for _ in range(1000)}) == 1000


@pytest.mark.parametrize(
    "text", ["a", "A-1_b", "job_01", "0" * 64, "job_00000000013q74gdxj4f5mftpn"]
)
def test_id_of_a_client_is_accepted(text: str) -> None:
    assert is_job_id(text)


@pytest.mark.parametrize("text", ["", "latest", "-a", "_a", "a b", "a/b", "é", "a\n", "0" * 65])
def test_what_is_no_id_is_refused(text: str) -> None:
    assert not is_job_id(text)


def test_rule_names_the_reserved_word() -> None:
    assert "latest" in ID_RULE
