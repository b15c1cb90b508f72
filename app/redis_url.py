"""Reads FITJOBS_REDIS_URL: a Redis itself, or the Sentinels that know where it is; opens nothing."""

from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

SENTINEL_SCHEME: Final = "redis+sentinel"
SCHEMES: Final = ("redis", "rediss", "unix", SENTINEL_SCHEME)
SENTINEL_PORT: Final = 26379

_FORM: Final = (
    f"{SENTINEL_SCHEME}://[user:password@]host[:port][,host[:port]...]/service[/database]"
)
_OPTIONS: Final = ("sentinel_username", "sentinel_password")


class BadRedisUrl(ValueError):
    """The URL cannot be used; the message is one sentence and repeats no password."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentinels:
    """Who knows where the primary is, and what to say to it.

    Attributes:
        addresses: Host and port of each Sentinel; they are asked in this order.
        service: The name under which the Sentinels watch the primary.
        database: Number of the database.
        username: Of the Redis servers; None sends none.
        password: Of the Redis servers; None sends none.
        sentinel_username: Of the Sentinels, which have passwords of their own or none.
        sentinel_password: Of the Sentinels.
    """

    addresses: tuple[tuple[str, int], ...]
    service: str
    database: int = 0
    username: str | None = None
    password: str | None = None
    sentinel_username: str | None = None
    sentinel_password: str | None = None


def check_redis_url(url: str) -> str:
    """Return the URL when it can be used.

    Raises:
        BadRedisUrl: It cannot.
    """
    parts = _split(url)
    if parts.scheme == SENTINEL_SCHEME:
        parse_sentinels(url)
    elif parts.scheme == "unix":
        if len(parts.path) <= 1:
            raise BadRedisUrl("The URL names no socket: write unix:///path/of/redis.sock")
    else:
        _check_host(parts)
        _read_database(parts.path.strip("/"))
    return url


def parse_sentinels(url: str) -> Sentinels | None:
    """Return what a Sentinel URL says; None when the URL names a Redis itself.

    Raises:
        BadRedisUrl: It is a Sentinel URL and cannot be used.
    """
    parts = _split(url)
    if parts.scheme != SENTINEL_SCHEME:
        return None
    # What stands before the first "@", if there is one; another is a mistake.
    credentials, at, hosts = parts.netloc.partition("@")
    if not at:
        credentials, hosts = "", parts.netloc
    username, _, password = credentials.partition(":")
    service, _, database = parts.path.strip("/").partition("/")
    if not service:
        raise BadRedisUrl(f"The URL names no service of the Sentinels: write {_FORM}")
    return Sentinels(
        addresses=tuple(_read_address(host) for host in hosts.split(",")),
        service=unquote(service),
        database=_read_database(database),
        username=unquote(username) or None,
        password=unquote(password) or None,
        **_read_options(parts.query),
    )


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise BadRedisUrl("The URL has a bracket that does not enclose an IPv6 address") from error
    if parts.scheme not in SCHEMES:
        raise BadRedisUrl(f"The URL begins with none of {', '.join(f'{s}://' for s in SCHEMES)}")
    return parts


def _check_host(parts: SplitResult) -> tuple[str, int | None]:
    """Return host and port of one server."""
    try:
        port = parts.port
    except ValueError as error:
        raise BadRedisUrl("The URL's port is not a number from 0 to 65535") from error
    if not parts.hostname:
        raise BadRedisUrl("The URL names no host")
    return parts.hostname, port


def _read_address(host: str) -> tuple[str, int]:
    if "@" in host:
        raise BadRedisUrl(
            f"The URL has two @, but one user and password serve all hosts: write {_FORM}"
        )
    name, port = _check_host(urlsplit(f"//{host}"))
    return name, port or SENTINEL_PORT


def _read_database(text: str) -> int:
    if text and not text.isdecimal():
        raise BadRedisUrl("The URL's database is not a number")
    return int(text or 0)


def _read_options(query: str) -> dict[str, str]:
    options = dict(parse_qsl(query))
    if not options.keys() <= set(_OPTIONS):
        raise BadRedisUrl(f"The URL's query may have {' and '.join(_OPTIONS)}, and nothing else")
    return options
