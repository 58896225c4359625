"""Read the settings, build the stack, export its outputs."""

from __future__ import annotations

import pulumi

from components import config, preflight
from components.naming import Naming
from components.stack import MlflowStack, MlflowStackArgs

stack_name = pulumi.get_stack()
settings, credentials = config.read()
checked = preflight.check(settings, Naming(stack_name), preflight.connect(), dry_run=pulumi.runtime.is_dry_run())
stack = MlflowStack(
    "mlflow", MlflowStackArgs(stack_name, settings, credentials, migration_attempt=checked.migration_attempt)
)
for name, value in stack.outputs.items():
    pulumi.export(name, value)
