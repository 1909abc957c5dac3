"""What of a store's address may be written down or shown: everything but who logs in, and with what.

The journal, messages and tags hold addresses without credentials. Who takes up a search again gives them
anew, by the address or by the variables that MLflow and PostgreSQL read.
"""

from __future__ import annotations

import base64
import os
import re
from urllib.parse import unquote, urlsplit

from octnas.storage import HIDDEN, address_of, names_secret

__all__ = ["HIDDEN", "authorization", "hidden", "login_remedy", "without_credentials"]

_SHORTEST = 3
"""Of what is hidden; to replace every single letter of a message would hide nothing but the message."""

_USER = re.compile(r"(?i)user[^=;]*=|(?<![a-z])uid=")


def without_credentials(uri: str) -> str:
    """The address without user, password, and the parts of its query that are named like one."""
    if "://" not in uri:
        return uri
    found = address_of(uri)
    kept = [each for each in found.parameters if not _tells(each)]
    place = found.place
    if address_of(f"{found.scheme}://{place}").login:
        place = place.replace("@", "%40")  # what is left must not look like a login to who reads it again
    return f"{found.scheme}://{place}{'?' if kept else ''}{'&'.join(kept)}"


def hidden(text: str, uri: str) -> str:
    """The text without the credentials of `uri`, as they stand there or decoded, for instance in an error."""
    if "://" not in uri:
        return text
    found = address_of(uri)
    password = found.login[:-1].partition(":")[2]
    # A client that ends a password too early quotes its first part as a port.
    secrets = {found.login, password, *re.split(r"[/?#@]", password)}
    for parameter in filter(_tells, found.parameters):
        value = parameter.partition("=")[2]
        secrets.add(parameter)
        pairs = (parameter, *unquote(value).split(";"))
        secrets |= {pair.partition("=")[2] for pair in pairs if names_secret(pair)}
    secrets |= {unquote(each) for each in secrets}
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _SHORTEST:
            text = text.replace(secret, HIDDEN)
    return text


def authorization(uri: str) -> str | None:
    """The header with which an http store is asked: of the address, or of MLflow's own variables."""
    parts = urlsplit(uri)
    user, password = parts.username, parts.password
    if user is None:
        user = os.environ.get("MLFLOW_TRACKING_USERNAME")
        password = os.environ.get("MLFLOW_TRACKING_PASSWORD")
        token = os.environ.get("MLFLOW_TRACKING_TOKEN")
        if not (user and password):
            return f"Bearer {token}" if token else None
    pair = f"{unquote(user)}:{unquote(password or '')}".encode()
    return "Basic " + base64.b64encode(pair).decode("ascii")


def login_remedy(scheme: str) -> str:
    """How credentials are given to a store of this kind."""
    if scheme.startswith("http"):
        return (
            "give them in MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, "
            "or in --tracking-uri or MLFLOW_TRACKING_URI"
        )
    return "give them in --tracking-uri or MLFLOW_TRACKING_URI" + (
        ", or in PGUSER and PGPASSWORD" if scheme.startswith("postgresql") else ""
    )


def _tells(parameter: str) -> bool:
    """Whether a parameter of an address tells who logs in, or with what."""
    return names_secret(parameter) or _USER.search(unquote(parameter)) is not None
