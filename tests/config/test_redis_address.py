"""URLs of Redis servers: what they mean, what is refused, and that no password shows."""

import pytest

from oidcgate.config.redis_address import Login, RedisAddress, parse_redis_url

ACCEPTED = {
    "redis://localhost": RedisAddress("single", (("localhost", 6379),)),
    "redis://REDIS.example:6380/3": RedisAddress("single", (("redis.example", 6380),), db=3),
    "redis://[::1]:6380": RedisAddress("single", (("::1", 6380),)),
    "redis://[::1]/": RedisAddress("single", (("::1", 6379),)),
    "rediss://h": RedisAddress("single", (("h", 6379),), tls=True),
    "rediss://h?ca_file=/etc/ca.pem": RedisAddress("single", (("h", 6379),), tls=True, ca_file="/etc/ca.pem"),
    "rediss://h?cert_file=/c&key_file=/k": RedisAddress(
        "single", (("h", 6379),), tls=True, cert_file="/c", key_file="/k"
    ),
    "redis://:geheim@h": RedisAddress("single", (("h", 6379),), login=Login("", "geheim")),
    "redis://gate:g%40h%2F%3F%23%C3%A4+@h": RedisAddress("single", (("h", 6379),), login=Login("gate", "g@h/?#ä+")),
    "redis://g%3Aate:a:b@h": RedisAddress("single", (("h", 6379),), login=Login("g:ate", "a:b")),
    "redis://gate@h?password_file=/run/secrets/redis": RedisAddress(
        "single", (("h", 6379),), login=Login("gate", password_file="/run/secrets/redis")
    ),
    "redis://h?password_env=REDIS": RedisAddress("single", (("h", 6379),), login=Login(password_env="REDIS")),
    "redis+sentinel://a:26380,b/gate/2": RedisAddress("sentinel", (("a", 26380), ("b", 26379)), service="gate", db=2),
    "redis+sentinel://u:p@a/my%20gate?sentinel_username=s&sentinel_password=t+%26": RedisAddress(
        "sentinel", (("a", 26379),), service="my gate", login=Login("u", "p"), sentinel_login=Login("s", "t+&")
    ),
    "rediss+sentinel://a/gate?sentinel_password_file=/f": RedisAddress(
        "sentinel", (("a", 26379),), service="gate", tls=True, sentinel_login=Login(password_file="/f")
    ),
    "redis+cluster://a,b:7000,[::1]:7001": RedisAddress("cluster", (("a", 6379), ("b", 7000), ("::1", 7001))),
    "rediss+cluster://a/0": RedisAddress("cluster", (("a", 6379),), tls=True),
    "unix:///run/redis%20a/redis.sock?db=1": RedisAddress("unix", path="/run/redis a/redis.sock", db=1),
    "unix://gate:p@/run/redis.sock": RedisAddress("unix", path="/run/redis.sock", login=Login("gate", "p")),
}

REFUSED = {
    "": "must begin with",
    "http://h": "must begin with",
    "redis:h": "must begin with",
    "REDIS://h": "must begin with",
    "redis://": "host name",
    "redis://h,i": "several hosts",
    "redis://h_i": "host name",
    "redis://::1": "host name",
    "redis://[h]": "host name",
    "redis://[::1]x": "host name",
    "redis+sentinel://a,,b/gate": "host name",
    "redis://h:": "port",
    "redis://h:0": "port",
    "redis://h:65536": "port",
    "redis://h:٣": "port",
    "redis://h/one": "database",
    "redis://h/-1": "database",
    "redis://h/1/2": "database",
    "redis+cluster://h/1": "only database 0",
    "redis+sentinel://h": "name the service",
    "redis+sentinel://h//1": "name the service",
    "redis://h#f": "fragment",
    "redis://gate@h": "without a password",
    "redis://gate:@h": "without a password",
    "redis://@h": "without a password",
    "redis://:geheim@h?password_file=/f": "once",
    "redis://h?password_file=/f&password_env=E": "once",
    "redis+sentinel://h/gate?sentinel_username=s": "sentinel_password_file",
    "redis+sentinel://h/gate?sentinel_password=geheim&sentinel_password_env=E": "give the sentinel_password once",
    "redis://h?ca_file=/f": "rediss",
    "rediss://h?cert_file=/f": "go together",
    "redis://h?sentinel_password=geheim": "redis+sentinel://",
    "redis://h?pasword_file=/f": "did you mean password_file",
    "redis://h?zzz=geheim": "there are password_file, password_env",
    "redis://gate:gehe?im@h": "unknown option",
    "redis://gate:gehe/im@h": "percent-encoded",
    "redis://gate:geheim%FF@h": "UTF-8",
    "redis://h?password_env=": "empty",
    "redis://h?password_env=A&password_env=B": "twice",
    "unix://run/redis.sock": "absolute path",
    "unix:///": "absolute path",
    "unix:///run/redis.sock?db=x": "database",
}


@pytest.mark.parametrize("url", ACCEPTED)
def test_accepted(url: str) -> None:
    """A URL means what the table says."""
    assert parse_redis_url(url) == ACCEPTED[url]


@pytest.mark.parametrize("url", REFUSED)
def test_refused(url: str) -> None:
    """Anything else is refused with a sentence that holds no part of a password."""
    with pytest.raises(ValueError) as caught:
        parse_redis_url(url)
    assert REFUSED[url] in str(caught.value)
    assert "gehe" not in str(caught.value)


@pytest.mark.parametrize("url", ACCEPTED)
def test_text_is_a_url(url: str) -> None:
    """The text of an address leads to the same place again, without anything secret."""
    address = parse_redis_url(url)
    again = parse_redis_url(str(address))
    assert (again.kind, again.hosts, again.service, again.db, again.tls) == (
        address.kind,
        address.hosts,
        address.service,
        address.db,
        address.tls,
    )
    assert again.path == address.path


@pytest.mark.parametrize(
    "url", ["redis://gate:geheim@h", "redis+sentinel://gate:geheim@h/s?sentinel_password=geheim&sentinel_username=x"]
)
def test_password_shows_nowhere(url: str) -> None:
    """Neither repr nor str of an address holds a password."""
    address = parse_redis_url(url)
    assert "geheim" not in repr(address) + str(address)
