"""A Redis URL is read, or refused in one sentence."""

import pytest

from app.redis_url import BadRedisUrl, Sentinels, check_redis_url, parse_sentinels


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost",
        "redis://user:p%40w@[::1]:6379/2",
        "rediss://host:6380/0?ssl_cert_reqs=none",
        "unix:///run/redis.sock?db=1",
        "redis+sentinel://host/fits",
    ],
)
def test_url_that_can_be_used_stays_as_it_is(url: str) -> None:
    assert check_redis_url(url) == url


def test_url_of_a_redis_names_no_sentinels() -> None:
    assert parse_sentinels("redis://localhost:6379/0") is None


def test_sentinel_url_is_read_whole() -> None:
    url = (
        "redis+sentinel://me:p%40%2Cw@one,two:1,[::1]:2/my%2Ffits/3"
        "?sentinel_username=they&sentinel_password=s%26t"
    )

    assert parse_sentinels(url) == Sentinels(
        addresses=(("one", 26379), ("two", 1), ("::1", 2)),
        service="my/fits",
        database=3,
        username="me",
        password="p@,w",  # noqa: S106  # nobody's
        sentinel_username="they",
        sentinel_password="s&t",  # noqa: S106  # nobody's
    )


def test_sentinel_url_needs_neither_password_nor_database() -> None:
    assert parse_sentinels("redis+sentinel://one/fits") == Sentinels(
        addresses=(("one", 26379),), service="fits"
    )


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("nonsense://", "begins with none of redis://"),
        ("localhost:6379", "begins with none of redis://"),
        ("redis+sentinel://host", "names no service"),
        ("redis+sentinel:///fits", "names no host"),
        ("redis+sentinel://one,/fits", "names no host"),
        ("redis+sentinel://one:x/fits", "port is not a number"),
        ("redis+sentinel://one:99999/fits", "port is not a number"),
        ("redis+sentinel://one/fits/two", "database is not a number"),
        ("redis+sentinel://one/fits/1/2", "database is not a number"),
        ("redis+sentinel://me:pw@one,me:pw@two/fits", "has two @"),
        ("redis+sentinel://one/fits?ssl=true", "query may have sentinel_username"),
        ("redis://host:port/0", "port is not a number"),
        ("redis://", "names no host"),
        ("redis://host/zero", "database is not a number"),
        ("redis://[::1/0", "a bracket"),
        ("unix://", "names no socket"),
    ],
)
def test_url_that_cannot_be_used_is_refused_with_the_reason(url: str, why: str) -> None:
    with pytest.raises(BadRedisUrl, match=why) as caught:
        check_redis_url(url)

    assert "\n" not in str(caught.value)
    assert "pw" not in str(caught.value)
