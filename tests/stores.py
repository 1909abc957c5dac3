"""A small object store on loopback, with S3's protocol, and a kind of file system that only has folders."""

from __future__ import annotations

import logging
import os
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import fsspec
from fsspec.implementations.local import LocalFileSystem

__all__ = ["BUCKET", "FoldersOnly", "s3_store"]

BUCKET = "s3://octnas-tests"


@contextmanager
def s3_store() -> Iterator[str]:
    """The URI of an empty bucket; the environment has what a client of it needs."""
    import s3fs
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    settings = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test-key",
        "AWS_SECRET_ACCESS_KEY": "test-secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    try:
        with mock.patch.dict(os.environ, settings):
            s3fs.S3FileSystem.clear_instance_cache()
            # What a server keeps belongs to the process, not to the server.
            urllib.request.urlopen(f"http://{host}:{port}/moto-api/reset", data=b"").close()
            s3fs.S3FileSystem().mkdir(BUCKET.removeprefix("s3://"))
            yield BUCKET
    finally:
        s3fs.S3FileSystem.clear_instance_cache()
        server.stop()


class FoldersOnly(LocalFileSystem):
    """What fsspec makes of a file server: a file's folder must be there first."""

    protocol = "folders"

    def __init__(self, **options: object) -> None:
        super().__init__(auto_mkdir=False, **options)

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return super()._strip_protocol(str(path).removeprefix("folders://"))


fsspec.register_implementation("folders", FoldersOnly, clobber=True)
