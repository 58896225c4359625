"""The rules, an idea a module: plain functions over what a resource is asked to be.

None but `crossguard` knows pulumi-policy, so that a unit test needs neither it nor an engine. A rule treats what is not
known yet (`resource.UNKNOWN`) alike everywhere: what it forbids passes until it is known, what it requires must be
known already. The engine asks again before it makes the resource, when all is known.
"""
