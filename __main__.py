"""Read the settings, build the stack, export its outputs."""

from __future__ import annotations

import pulumi

from components import config, preflight
from components.naming import Naming
from components.stack import MlflowStack, MlflowStackArgs

stack_name = pulumi.get_stack()
found = config.read()
checked = preflight.check(
    found.settings, Naming(stack_name), preflight.connect(), found.plain, dry_run=pulumi.runtime.is_dry_run()
)
stack = MlflowStack("mlflow", MlflowStackArgs(stack_name, found.settings, found.credentials, checked))
for name, value in stack.outputs.items():
    pulumi.export(name, value)
