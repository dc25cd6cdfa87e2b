"""Region, endpoint and addressing as AWS's own tools define them."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tlg import store
from tlg.store import s3


@pytest.fixture
def client(monkeypatch, tmp_path):
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    config = tmp_path / "config"
    config.write_text("[profile lab]\nregion = eu-north-1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))

    def made(access=store.DEFAULT_ACCESS, **environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        s3.s3_client.cache_clear()
        return s3.s3_client(access)

    yield made
    s3.s3_client.cache_clear()


def address(client):
    return client.generate_presigned_url("get_object", {"Bucket": "bucket", "Key": "key"}).split("?")[0]


def test_the_region_comes_from_spec_environment_or_profile(client):
    assert client().meta.region_name == "us-east-1"
    assert client(AWS_PROFILE="lab").meta.region_name == "eu-north-1"
    assert client(AWS_DEFAULT_REGION="eu-west-3").meta.region_name == "eu-west-3"
    assert client(AWS_REGION="eu-central-1").meta.region_name == "eu-central-1"
    assert client(store.Access(region="sa-east-1")).meta.region_name == "sa-east-1"


def test_the_endpoint_of_s3_goes_before_the_general_one(client):
    made = client(AWS_ENDPOINT_URL="http://all:1", AWS_ENDPOINT_URL_S3="http://s3:2")
    assert made.meta.endpoint_url == "http://s3:2"
    assert address(made) == "http://s3:2/bucket/key"
    assert address(client(store.Access("http://spec:3"))) == "http://spec:3/bucket/key"


def test_buckets_of_aws_are_hosts(client):
    assert address(client()).startswith("https://bucket.s3.")


def test_nothing_is_repeated_below_our_own_policy(client):
    assert client().meta.config.retries["total_max_attempts"] == 1


STS = b"""<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult>
<Credentials><AccessKeyId>ASIATEMPORARY</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>session</SessionToken>
<Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleWithWebIdentityResult>
</AssumeRoleWithWebIdentityResponse>"""


@pytest.fixture
def door():
    """Answers as AWS's token service and as a bucket, and remembers what it was asked."""
    asked = []

    class Door(BaseHTTPRequestHandler):
        def do_POST(self):
            asked.append(("POST", self.rfile.read(int(self.headers["Content-Length"])).decode()))
            self._send(STS)

        def do_GET(self):
            asked.append(("GET", dict(self.headers.items())))
            self._send(b"content")

        def _send(self, body):
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Door) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


def test_a_pods_web_identity_becomes_the_keys_of_its_role(client, door, tmp_path, monkeypatch):
    """As Kubernetes gives it to a service account: a token's file and the name of a role."""
    url, asked = door
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    (tmp_path / "token").write_text("pods-token")
    role = {"AWS_ROLE_ARN": "arn:aws:iam::1:role/tlg", "AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "token")}
    client(**role, AWS_ENDPOINT_URL_STS=url, AWS_ENDPOINT_URL_S3=url)
    assert store.read("s3://bucket/key") == b"content"
    (_, exchange), (_, read) = asked
    assert "WebIdentityToken=pods-token" in exchange
    assert "ASIATEMPORARY" in read["Authorization"]
    assert read["X-Amz-Security-Token"] == "session"


def test_who_asks_pays_where_the_environment_says_so(client, door):
    url, asked = door
    client(AWS_ENDPOINT_URL_S3=url)
    store.read("s3://bucket/key")
    client(AWS_REQUEST_PAYER="requester")
    store.read("s3://bucket/key")
    assert [read.get("x-amz-request-payer") for _, read in asked] == [None, "requester"]
