"""Users, after terraform-provider-minio's resource_minio_iam_user.go."""

from __future__ import annotations

import base64
import secrets
from typing import TYPE_CHECKING, ClassVar

from toolchain.plugins.minio import names
from toolchain.plugins.minio.client import fatal
from toolchain.plugins.resource import Partial, Resource
from toolchain.plugins.schema import Fields, boolean, mapping, output, string
from toolchain.plugins.wire import Properties, known

if TYPE_CHECKING:
    from toolchain.plugins.minio.client import Client


def _new_secret() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(40)).decode()


class IamUser(Resource):
    """A user."""

    fields: ClassVar[Fields] = {
        "name": string(required=True, force_new=True, autoname=True, check=names.user),
        "forceDestroy": boolean(default=False),
        "disableUser": boolean(default=False),
        "updateSecret": boolean(default=False),
        "status": output(),
        "secret": string(computed=True, secret=True),
        "tags": mapping(),
    }

    def __init__(self, client: Client) -> None:
        self._client = client

    def create(self, planned: Properties) -> tuple[str, Properties]:
        """Add the user."""
        name: str = planned["name"]
        secret: str = known(planned["secret"]) or _new_secret()
        try:
            self._client.admin.user_add(name, secret)
        except Exception as error:
            raise fatal("error creating user", name, error) from error
        if planned["disableUser"]:
            try:
                self._client.admin.user_disable(name)
            except Exception as error:
                reason = str(fatal("error disabling IAM User %s: %s", name, error))
                raise Partial(name, reason, {"secret": secret}) from error
        result = self.read(name, planned)
        if result is None:
            raise fatal("error reading IAM User", name, "it was gone right after its creation")
        return name, {**result[1], "secret": secret}

    def read(self, resource_id: str, state: Properties) -> tuple[str, Properties] | None:
        """Read the user's status."""
        try:
            info = self._client.user_info(resource_id)
        except Exception as error:
            raise fatal("error reading IAM User", resource_id, error) from error
        if info is None:
            return None
        found: Properties = {"status": info["status"]}
        return resource_id, found if state.get("name") else {**found, "name": resource_id}

    def update(self, resource_id: str, old: Properties, planned: Properties) -> tuple[str, Properties]:
        """Change status and secret.

        With `forceDestroy` the vendor's provider deletes the user at any update; that is refused here.
        """
        if planned["forceDestroy"]:
            raise fatal("error updating IAM User", resource_id, "forceDestroy would delete the user: unset it")
        admin = self._client.admin
        wanted = "disabled" if planned["disableUser"] else "enabled"
        try:
            info = self._client.user_info(resource_id)
            if info is None or info.get("status") != wanted:
                (admin.user_disable if planned["disableUser"] else admin.user_enable)(resource_id)
        except Exception as error:
            raise fatal("error to disable IAM User %s: %s", resource_id, error) from error
        secret = _new_secret() if planned["updateSecret"] else planned["secret"]
        found: Properties = {}
        if secret != old.get("secret"):
            try:
                admin.user_add(resource_id, secret)
                if planned["disableUser"]:
                    admin.user_disable(resource_id)
            except Exception as error:
                raise fatal("error updating IAM User Key %s: %s", resource_id, error) from error
            found["secret"] = secret
        result = self.read(resource_id, planned)
        if result is None:
            raise fatal("error reading IAM User", resource_id, "it was gone after its update")
        return resource_id, {**result[1], **found}

    def delete(self, resource_id: str, state: Properties) -> None:
        """Take the user out of its groups, then remove it."""
        admin = self._client.admin
        try:
            info = self._client.user_info(resource_id)
            for group in (info or {}).get("memberOf") or []:
                admin.group_remove(group, members=resource_id)
        except Exception as error:
            if not state.get("forceDestroy"):
                raise fatal("error removing IAM User (%s) group memberships: %s", resource_id, error) from error
        try:
            admin.user_remove(resource_id)
        except Exception as error:
            raise fatal("error deleting IAM User %s: %s", resource_id, error) from error
