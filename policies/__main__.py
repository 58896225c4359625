"""Hand the rules to the engine."""

from __future__ import annotations

from pulumi_policy import EnforcementLevel, PolicyPack

from rules import credentials, data_protection, hardening, pinned_images, public_bind
from rules.crossguard import policies

PolicyPack(
    name="mlflow-stack",
    enforcement_level=EnforcementLevel.MANDATORY,
    policies=policies(
        [
            *public_bind.RULES,
            *pinned_images.RULES,
            *hardening.RULES,
            *credentials.RULES,
            *data_protection.RULES,
        ]
    ),
)
