"""Lifecycle rules of a bucket, after terraform-provider-minio's resource_minio_ilm_policy.go."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar, Final

from toolchain.plugins.minio.client import fatal
from toolchain.plugins.resource import Resource
from toolchain.plugins.schema import Fields, integer, mapping, objects, output, string

if TYPE_CHECKING:
    from toolchain.plugins.minio.client import Client
    from toolchain.plugins.wire import Properties, Value

_DAYS: Final = re.compile(r"^\s*([+-]?\d+)d")
_DATE: Final = "%Y-%m-%d"


def _expiration(value: Value) -> str | None:
    try:
        parsed = _parsed(value)
    except ValueError:
        parsed = {}
    return None if parsed else 'expiration must be a duration (5d), date (1970-01-01), or "DeleteMarker"'


def _parsed(text: str) -> Properties:
    if text == "DeleteMarker":
        return {"expired_object_delete_marker": True}
    days = _DAYS.match(text)
    if days:
        return {"days": int(days.group(1))} if int(days.group(1)) else {}
    return {"date": datetime.strptime(text, _DATE).replace(tzinfo=UTC)}


def _positive(value: Value) -> str | None:
    return None if value >= 1 else "noncurrent_version_expiration_days must be strictly positive"


class IlmPolicy(Resource):
    """The lifecycle rules of a bucket, all of them."""

    fields: ClassVar[Fields] = {
        "bucket": string(required=True, force_new=True),
        "rules": objects(
            {
                "id": string(required=True),
                "expiration": string(check=_expiration),
                "noncurrentVersionExpirationDays": integer(check=_positive),
                "status": output(),
                "filter": string(),
                "tags": mapping(),
            },
            "list",
            required=True,
        ),
    }

    def __init__(self, client: Client) -> None:
        self._client = client

    def create(self, planned: Properties) -> tuple[str, Properties]:
        """Set the rules."""
        s3 = self._client.s3  # imports the package, by one thread at a time
        from minio.lifecycleconfig import LifecycleConfig  # noqa: PLC0415

        bucket: str = planned["bucket"]
        try:
            config = LifecycleConfig([_rule(each) for each in planned["rules"]])
            with self._client.configuring:
                s3.set_bucket_lifecycle(bucket, config)
        except Exception as error:
            raise fatal("creating bucket lifecycle failed", bucket, error) from error
        result = self.read(bucket, planned)
        if result is None:
            raise fatal("reading lifecycle configuration failed", bucket, "it was gone right after it was set")
        return result

    def read(self, resource_id: str, state: Properties) -> tuple[str, Properties] | None:  # noqa: ARG002
        """Read the rules. As the vendor's, any failure means that there are none."""
        try:
            config = self._client.s3.get_bucket_lifecycle(resource_id)
        except Exception:  # noqa: BLE001 (parity, see above)
            return None
        if config is None:
            return None
        return resource_id, {"bucket": resource_id, "rules": [_seen(each) for each in config.rules]}

    def update(self, resource_id: str, old: Properties, planned: Properties) -> tuple[str, Properties]:
        """Set the rules again."""
        del resource_id, old
        return self.create(planned)

    def delete(self, resource_id: str, state: Properties) -> None:  # noqa: ARG002
        """Remove the rules."""
        try:
            with self._client.configuring:
                self._client.s3.delete_bucket_lifecycle(resource_id)
        except Exception as error:
            raise fatal("deleting lifecycle configuration failed", resource_id, error) from error


def _rule(wanted: Properties) -> Value:
    from minio.commonconfig import AndOperator, Filter, Tags  # noqa: PLC0415
    from minio.lifecycleconfig import Expiration, NoncurrentVersionExpiration, Rule  # noqa: PLC0415

    prefix = wanted.get("filter") or ""
    if wanted.get("tags"):
        tags = Tags()
        tags.update(wanted["tags"])
        rule_filter = Filter(and_operator=AndOperator(prefix, tags))
    else:
        rule_filter = Filter(prefix=prefix)
    days = wanted.get("noncurrentVersionExpirationDays")
    return Rule(
        status="Enabled",
        rule_id=wanted["id"],
        rule_filter=rule_filter,
        expiration=Expiration(**_parsed(wanted["expiration"])) if wanted.get("expiration") else None,
        noncurrent_version_expiration=NoncurrentVersionExpiration(noncurrent_days=days) if days else None,
    )


def _seen(rule: Value) -> Properties:
    expiration = ""
    if rule.expiration is not None:
        if rule.expiration.expired_object_delete_marker:
            expiration = "DeleteMarker"
        elif rule.expiration.days:
            expiration = f"{rule.expiration.days}d"
        elif rule.expiration.date:
            expiration = rule.expiration.date.strftime(_DATE)
    both = rule.rule_filter.and_operator if rule.rule_filter else None
    noncurrent = rule.noncurrent_version_expiration
    return {
        "id": rule.rule_id,
        "expiration": expiration,
        "noncurrentVersionExpirationDays": (noncurrent.noncurrent_days if noncurrent else 0) or 0,
        "status": rule.status,
        "filter": (both.prefix if both else rule.rule_filter.prefix if rule.rule_filter else "") or "",
        "tags": dict(both.tags) if both and both.tags else {},
    }
