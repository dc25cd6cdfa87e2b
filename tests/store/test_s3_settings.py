"""Region, endpoint and addressing as AWS's own tools define them."""

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
