"""Policies of users, after terraform-provider-minio's resource_minio_iam_user_policy_attachment.go."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from toolchain.plugins.minio import names
from toolchain.plugins.minio.client import fatal
from toolchain.plugins.resource import Resource
from toolchain.plugins.schema import Fields, forced, string

if TYPE_CHECKING:
    from toolchain.plugins.minio.client import Client
    from toolchain.plugins.wire import Properties


class IamUserPolicyAttachment(Resource):
    """One policy of one user."""

    fields: ClassVar[Fields] = forced(
        policyName=string(required=True, check=names.policy), userName=string(required=True, check=names.user)
    )

    def __init__(self, client: Client) -> None:
        self._client = client

    def create(self, planned: Properties) -> tuple[str, Properties]:
        """Add the policy to the user's."""
        user, policy = planned["userName"], planned["policyName"]
        with self._client.attaching:
            policies = self._policies(user)
            if policy not in policies:
                try:
                    self._client.admin.policy_set(",".join([*policies, policy]), user=user)
                except Exception as error:
                    raise fatal("unable to Set User policy", f"{user} {policy}", error) from error
        return names.unique(f"{user}-"), {"policyName": policy}

    def _policies(self, user: str) -> list[str]:
        try:
            info = self._client.user_info(user)
        except Exception as error:
            raise fatal("failed to load user Infos", user, error) from error
        if info is None:
            raise fatal("failed to load user Infos", user, "The specified user does not exist.")
        return [each for each in str(info.get("policyName") or "").split(",") if each]

    def read(self, resource_id: str, state: Properties) -> tuple[str, Properties] | None:
        """See whether the user has the policy. As the vendor's, a missing user is an error."""
        with self._client.attaching:
            policies = self._policies(state["userName"])
        return (resource_id, {"policyName": state["policyName"]}) if state["policyName"] in policies else None

    def delete(self, resource_id: str, state: Properties) -> None:
        """Take the policy from the user's."""
        del resource_id
        user, policy = state["userName"], state["policyName"]
        with self._client.attaching:
            policies = self._policies(user)
            if policy not in policies:
                return
            try:
                self._client.admin.policy_set(",".join(each for each in policies if each != policy), user=user)
            except Exception as error:
                raise fatal("unable to delete user policy", user, error) from error

    def imported(self, resource_id: str) -> tuple[str, Properties]:
        """Import by USER/POLICY.

        Raises:
            RuntimeError: the id is not of that form.
        """
        user, _, policy = resource_id.partition("/")
        if not user or not policy:
            msg = f'unexpected format of ID ("{resource_id}"), expected <user-name>/<policy_name>'
            raise RuntimeError(msg)
        return names.unique(f"{user}-"), {"userName": user, "policyName": policy}
