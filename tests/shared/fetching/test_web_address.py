"""URLs of inputs: what is read as one, what is refused, and that no query gets into a message."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Rejected
from shared.fetching.web_address import AllowedHosts, NoWebAddress, WebAddress, is_web_address
from shared.settings import FetchSettings

HOSTS = AllowedHosts(FetchSettings(hosts=("cdn.example.com", "media.example.com:8443", "127.0.0.1:8000", "[::1]:8000")))


@pytest.mark.parametrize(
    ("text", "host", "port", "target"),
    [
        ("https://cdn.example.com/a/b.mp4", "cdn.example.com", 443, "/a/b.mp4"),
        ("HTTP://CDN.Example.com:80/a?sig=%2B&x=1", "cdn.example.com", 80, "/a?sig=%2B&x=1"),
        ("https://cdn.example.com", "cdn.example.com", 443, "/"),
        ("https://cdn.example.com?id=5", "cdn.example.com", 443, "/?id=5"),
        ("https://cdn.example.com/短片 🎬.mp4".replace(" ", "%20"), "cdn.example.com", 443,
         "/%E7%9F%AD%E7%89%87%20%F0%9F%8E%AC.mp4"),
        ("http://[::1]:8000/x", "[::1]", 8000, "/x"),
        ("https://cdn.example.com/../../etc/passwd", "cdn.example.com", 443, "/../../etc/passwd"),  # the server's own
    ],
)  # fmt: skip
def test_a_url_is_read_as_it_will_be_asked_for(text: str, host: str, port: int, target: str) -> None:
    address = WebAddress.read(text)
    assert (address.host, address.port, address.target) == (host, port, target)
    assert HOSTS.allows(address)


@pytest.mark.parametrize(
    "text",
    [
        "https://user@cdn.example.com/a",
        "https://user:secret@cdn.example.com/a",
        "https://cdn.example.com@evil.example/a",
        "https://cdn.example.com\\@evil.example/a",
        "https:\\\\cdn.example.com/a",
        "https:/cdn.example.com/a",
        "https:cdn.example.com/a",
        "https:///cdn.example.com/a",
        "https://cdn.example.com/a#b",
        "https://cdn.example.com#@evil.example/",
        "https://cdn.example.com /a",
        "https://cdn.example.com/a b",
        " https://cdn.example.com/a",
        "https://cdn.example.com/a\n",
        "https://cdn.example.com/a\r\nHost: evil.example",
        "https://cdn.example.com/a\tb",
        "https://cdn.example.com/\u200b",
        "https://cdn.example.com/\u3000",
        "https://cdn.example.com:0/a",
        "https://cdn.example.com:65536/a",
        "https://cdn.example.com:/a",
        "https://cdn.example.com:４４３/a",
        "https://cdn.example.com:443:443/a",
        "https://cdn。example。com/a",
        "https://ｃｄｎ.example.com/a",
        "https://кdn.example.com/a",
        "https://cdn.example.com./a",
        "https://-cdn.example.com/a",
        "https://%63dn.example.com/a",
        "https://[::1/a",
        "https://[fe80::1%25eth0]/a",
        "https://[cdn.example.com]/a",
        "ftp://cdn.example.com/a",
        "gopher://cdn.example.com/a",
        "file:///etc/passwd",
        "https://cdn.example.com/" + "a" * 2048,
        "",
    ],
)
def test_what_two_readers_could_read_differently_is_refused(text: str) -> None:
    with pytest.raises(NoWebAddress):
        WebAddress.read(text)
    with pytest.raises(Rejected) as refused:
        HOSTS.address("video_url", text)
    assert refused.value.key == "url_refused"
    assert "evil" not in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        "https://evil.example/a",
        "https://cdn.example.com.evil.example/a",
        "https://evil-cdn.example.com/a",
        "https://xcdn.example.com/a",
        "https://example.com/a",
        "https://cdn.example.com:8443/a",  # another port than the scheme's own
        "http://cdn.example.com:443/a",
        "https://media.example.com/a",  # named with a port
        "http://127.0.0.1/a",
        "http://2130706433:8000/a",
        "http://0x7f000001:8000/a",
        "http://0177.0.0.1:8000/a",
        "http://127.1:8000/a",
        "http://[::ffff:127.0.0.1]:8000/a",
        "http://[0:0:0:0:0:0:0:1]:8000/a",
        "http://localhost:8000/a",
    ],
)
def test_only_the_named_hosts_are_allowed_letter_for_letter(text: str) -> None:
    with pytest.raises(Rejected) as refused:
        HOSTS.address("video_url", text)
    assert refused.value.key == "url_host"


def test_a_named_port_is_allowed_in_both_schemes() -> None:
    for scheme in ("http", "https"):
        assert HOSTS.address("video_url", f"{scheme}://media.example.com:8443/a").port == 8443


def test_no_query_gets_into_a_message() -> None:
    address = WebAddress.read("https://cdn.example.com/in/clip.mp4?X-Amz-Signature=secret")
    assert str(address) == "https://cdn.example.com/in/clip.mp4"
    assert "secret" not in repr(address)
    assert address.name == "clip.mp4"
    assert address.url.endswith("?X-Amz-Signature=secret")
    with pytest.raises(Rejected) as refused:
        HOSTS.address("video_url", "https://a.example/?token=secret")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/a/%E7%9F%AD.mp4", "短.mp4"),
        ("/", "cdn.example.com"),
        ("/a/", "cdn.example.com"),
        ("/a%0Ab", "cdn.example.com"),
        ("/" + "x" * 100 + ".mp4", "x" * 76 + ".mp4"),
    ],
)
def test_the_name_in_messages_is_the_last_part_of_the_path(path: str, name: str) -> None:
    assert WebAddress.read(f"https://cdn.example.com{path}").name == name


def test_a_redirect_is_read_as_strictly_and_never_leaves_https() -> None:
    here = WebAddress.read("https://cdn.example.com/a/b?x=1")
    assert here.follow("c").url == "https://cdn.example.com/a/c"
    assert here.follow("//media.example.com/c#top").url == "https://media.example.com/c"
    assert WebAddress.read("http://cdn.example.com/a").follow("https://cdn.example.com/a").scheme == "https"
    for location in ("http://cdn.example.com/a", "file:///etc/passwd", "https://u@cdn.example.com/", "ftp://x/y"):
        with pytest.raises(NoWebAddress):
            here.follow(location)


@pytest.mark.parametrize("text", ["http://a", "HTTPS://a", "https:\\a", "http:"])
def test_what_begins_like_a_url_is_meant_as_one(text: str) -> None:
    assert is_web_address(text)


@pytest.mark.parametrize("text", ["/http://a", "file:///a", "httpx://a", r"D:\http:", "http"])
def test_a_path_is_not(text: str) -> None:
    assert not is_web_address(text)


@given(st.text(max_size=40))
def test_whatever_stands_before_a_host_does_not_make_it_allowed(text: str) -> None:
    try:
        address = WebAddress.read(f"https://{text}.evil.example/")
    except NoWebAddress:
        return
    assert not HOSTS.allows(address) or address.url.startswith("https://cdn.example.com/")
