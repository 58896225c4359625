"""Secrets that MLflow keeps encrypted in its database: one of a webhook, one of its AI gateway."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

from tests.stack.harness import Stack

#: Run in the server's container: what is encrypted in the database, as the keys in its files read it.
_READ = """
import json, pathlib, psycopg2
from cryptography.fernet import Fernet
from mlflow.utils.crypto import KEKManager, _decrypt_secret
files = pathlib.Path("/run/mlflow-stack")
cursor = psycopg2.connect("").cursor()
cursor.execute("SELECT secret FROM webhooks WHERE secret IS NOT NULL")
webhooks = [Fernet((files / "webhook-key").read_text().strip()).decrypt(row[0].encode()).decode() for row in cursor]
cursor.execute("SELECT encrypted_value, wrapped_dek, secret_id, secret_name FROM secrets")
kek = KEKManager((files / "kek-passphrase").read_text().strip(), 1)
secrets = [_decrypt_secret(bytes(a), bytes(b), kek, c, d) for a, b, c, d in cursor]
print(json.dumps([webhooks, secrets]))
"""


def make(stack: Stack, post: Callable[[str, dict[str, Any]], object]) -> list[Any]:
    """Have MLflow keep one of each.

    Args:
        stack: The stack.
        post: Sends a body to a path, as MLflow's first user, and insists on a good answer.

    Returns:
        Both, in plain.
    """
    events = [{"entity": "REGISTERED_MODEL", "action": "CREATED"}]
    # Switched off: it is kept, and nobody is called.
    webhook = {"name": "w", "url": "https://8.8.8.8/x", "events": events, "status": "DISABLED"}
    post("/api/2.0/mlflow/webhooks", {**webhook, "secret": "of the webhook"})
    secret = {"secret_name": "g", "secret_value": {"api_key": "of the gateway"}, "provider": "openai"}
    post("/api/3.0/mlflow/gateway/secrets/create", secret)
    found = decrypted(stack)
    assert found[0] == ["of the webhook"]
    assert "of the gateway" in json.dumps(found[1])
    return found


def decrypted(stack: Stack) -> list[Any]:
    """What is in the database now, read with the keys that the server has now."""
    name = str(stack.container("server").name)
    done = subprocess.run(
        ["docker", "exec", "-i", name, "python3.11", "-W", "ignore", "-"],
        input=_READ,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
