"""Who gets in: keys in every shape tools send them, this machine alone without them."""

import asyncio
import base64

import pytest

from deploy.endpoint.config import ServeConfig
from deploy.guard.auth import Keys, checked_exposure, load_keys
from tlg.errors import SpecError

KEY, OTHER = "correct-horse-battery-staple", "another-key-of-some-length"


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {KEY}"},
        {"authorization": f"Token {KEY}"},
        {"authorization": "Basic " + base64.b64encode(f"anyone:{KEY}".encode()).decode()},
        {"x-api-key": OTHER},
        {"token": KEY},
    ],
)
def test_known_keys_get_in(make_client, headers):
    client = make_client(keys=[KEY, OTHER], client="203.0.113.9", base_url="http://annotate.example.org")
    assert client.get("/v1/exemplar-sets", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": f"Bearer {KEY}x"},
        {"authorization": f"Bearer {KEY[:-1]}"},
        {"authorization": "Bearer"},
        {"authorization": "Basic !!!"},
        {"x-api-key": KEY.upper()},
        {"x-api-key": "é".encode("latin-1")},
    ],
)
@pytest.mark.parametrize("path", ["/v1/exemplar-sets", "/metrics", "/ls/health", "/v1/models"])
def test_others_do_not(make_client, headers, path):
    answer = make_client(keys=[KEY]).get(path, headers=headers)
    assert answer.status_code == 401
    assert "www-authenticate" in answer.headers
    assert KEY[:-1] not in answer.text


def test_pages_and_health_need_no_key(make_client):
    client = make_client(keys=[KEY])
    for path in ("/", "/docs", "/openapi.json", "/healthz", "/readyz", "/ui/main.js"):
        assert client.get(path).status_code == 200


@pytest.mark.parametrize(
    ("client", "base_url", "headers"),
    [
        ("203.0.113.9", "http://localhost", {}),
        ("127.0.0.1", "http://rebound.evil.test", {}),
        ("127.0.0.1", "http://localhost", {"origin": "https://evil.test"}),
        ("127.0.0.1", "http://localhost", {"origin": "null"}),
        ("127.0.0.1", "http://localhost", {"sec-fetch-site": "cross-site"}),
        ("127.0.0.1", "http://localhost", {"host": "["}),
        ("127.0.0.1", "http://localhost", {"host": "[::1"}),
        ("127.0.0.1", "http://localhost", {"origin": "http://["}),
    ],
)
def test_without_keys_only_this_machine_and_its_own_pages(make_client, client, base_url, headers):
    assert make_client(client=client, base_url=base_url).get("/v1/exemplar-sets", headers=headers).status_code == 403


def test_insecure_says_what_it_does(make_client):
    client = make_client(insecure=True, client="203.0.113.9", base_url="http://annotate.example.org")
    assert client.get("/v1/exemplar-sets").status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.2", "annotate.example.org"])
def test_other_addresses_need_keys(host):
    with pytest.raises(SpecError, match=r"TLG_API_KEYS.*insecure"):
        checked_exposure(ServeConfig(host=host), Keys([]))
    checked_exposure(ServeConfig(host=host), Keys([KEY]))
    checked_exposure(ServeConfig(host=host, insecure=True), Keys([]))
    for loopback in ("127.0.0.1", "::1", "localhost", "127.9.9.9"):
        checked_exposure(ServeConfig(host=loopback), Keys([]))


def test_build_refuses_too(monkeypatch):
    from deploy.endpoint.app import build

    monkeypatch.delenv("TLG_API_KEYS", raising=False)
    with pytest.raises(SpecError, match="TLG_API_KEYS"):
        build(ServeConfig(host="0.0.0.0"))


def test_serve_makes_a_config_of_arguments():
    import inspect

    from deploy.endpoint.app import build

    assert inspect.signature(build).parameters["config"].annotation is ServeConfig


def test_keys_come_from_the_environment_and_a_file(tmp_path, monkeypatch):
    (tmp_path / "keys").write_text(f"# of the lab\n{OTHER}\n\n")
    monkeypatch.setenv("TLG_API_KEYS", f" {KEY} ,")
    keys = load_keys(ServeConfig(keys_file=str(tmp_path / "keys")))
    assert keys.identify(KEY) != keys.identify(OTHER)
    assert keys.identify("") is None
    with pytest.raises(SpecError, match="cannot be read"):
        load_keys(ServeConfig(keys_file=str(tmp_path / "gone")))
    monkeypatch.setenv("TLG_API_KEYS", "short")
    with pytest.raises(SpecError, match="5 characters, at least 16"):
        load_keys(ServeConfig())


def one_request_too_many(keys, first, second, path="/v1/annotate"):
    """The status and Retry-After that `second` meets while `first` runs; each a dictionary of headers and client."""
    from deploy.guard.auth import AccessMiddleware

    entered, leave, answers = asyncio.Event(), asyncio.Event(), []

    async def app(scope, _receive, send):
        if scope["path"] == "/first":
            entered.set()
            await leave.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message):
        if message["type"] == "http.response.start":
            answers.append((message["status"], dict(message["headers"]).get(b"retry-after")))

    async def both():
        access = AccessMiddleware(app, Keys(keys), False, 1)

        def scope(path, key=None, client="127.0.0.1"):
            headers = [(b"host", b"localhost")] + ([(b"x-api-key", key.encode())] if key else [])
            return {"type": "http", "path": path, "headers": headers, "client": (client, 1)}

        running = asyncio.create_task(access(scope("/first", **first), None, send))
        await entered.wait()
        await access(scope(path, **second), None, send)
        found = list(answers)
        leave.set()
        await running
        await access(scope(path, **second), None, send)
        return found[-1], answers[-1][0]

    return asyncio.run(both())


def test_a_key_has_so_many_requests_at_a_time():
    assert one_request_too_many([KEY, OTHER], {"key": KEY}, {"key": KEY}) == ((429, b"1"), 200)
    assert one_request_too_many([KEY, OTHER], {"key": KEY}, {"key": OTHER}) == ((200, None), 200)


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/health", "/ls/health"])
def test_a_probe_is_never_one_request_too_many(path):
    assert one_request_too_many([KEY], {"key": KEY}, {"key": KEY}, path) == ((200, None), 200)
    assert one_request_too_many([], {}, {}, path) == ((200, None), 200)


def test_callers_without_a_key_are_counted_by_address():
    from deploy.guard.auth import AccessMiddleware

    access = AccessMiddleware(None, Keys([KEY]), False, 1)
    callers = [access._caller({"path": "/", "headers": [], "client": (client, 1)}) for client in ("a", "b", "a")]
    assert callers[0] == callers[2] != callers[1]
