"""Which tests one process runs when tests run side by side, and in which order.

Each process has session fixtures of its own. So tests that share a stack are one group, and one process runs it; each
other file is a group of its own. docs/decisions/tests-side-by-side.md says more.
"""

from __future__ import annotations

_FILE = "tests/stack/test_"

#: Group → its files and single tests, in the order in which they are run. A group of the name of a fixture has every
#: test that asks for it. The longest group comes first, so that no process is at it alone when the others are done;
#: within a group long tests come first, since a process is handed its next group when it has two tests left.
GROUPS = {
    "secure": (
        f"{_FILE}rotation.py",
        f"{_FILE}tls.py",
        f"{_FILE}login.py",
        f"{_FILE}leaks.py::test_no_credential_of_a_stack_with_logins_stands_where_it_can_be_read",
        f"{_FILE}other_sites.py::test_a_page_of_another_site_can_not_use_the_login_of_a_user",
        f"{_FILE}other_sites.py::test_the_servers_own_page_may_write",
        f"{_FILE}gc.py::test_logins_change_nothing",
    ),
    "stack": (
        f"{_FILE}two_stacks.py",
        f"{_FILE}client.py",
        f"{_FILE}clock.py",
        f"{_FILE}state_on_s3.py",
        f"{_FILE}settings.py",
        f"{_FILE}browser.py",
        f"{_FILE}leaks.py",
        f"{_FILE}other_sites.py",
        f"{_FILE}hardening.py",
        f"{_FILE}rights.py",
        f"{_FILE}in_use.py",
        f"{_FILE}found.py",
    ),
    "drilled": (
        f"{_FILE}drift.py",
        f"{_FILE}drills.py",
        f"{_FILE}full_disk.py",
    ),
    "spare": (
        f"{_FILE}migration.py",
        f"{_FILE}object_encryption.py",
        f"{_FILE}destroy.py::test_a_protected_stack_is_kept_whole_until_it_is_let_go_on_purpose",
        f"{_FILE}destroy.py::test_on_a_terminal_a_backup_is_offered_and_a_wrong_name_keeps_the_stack",
        f"{_FILE}destroy.py::test_a_client_on_the_network_that_is_there_for_it_keeps_the_stack_whole",
        f"{_FILE}destroy.py::test_a_destroy_that_is_interrupted_keeps_the_data_and_up_brings_the_stack_back_with_it",
        f"{_FILE}bad_input.py",
    ),
    "stacks that nobody shares": (
        f"{_FILE}destroy.py",
        f"{_FILE}drills.py::test_a_first_deployment_killed_at_any_moment_is_finished_by_the_next",
        f"{_FILE}drills.py::test_a_destroy_killed_at_any_moment_is_finished_by_the_next",
    ),
}

_PLACES = {prefix: (group, place) for group, prefixes in GROUPS.items() for place, prefix in enumerate(prefixes)}
_RANKS = {group: rank for rank, group in enumerate(GROUPS)}


def place(nodeid: str) -> tuple[str, int]:
    """The group of a test, and its place in there."""
    file, test = nodeid.partition("::")[0], nodeid.partition("[")[0]
    return _PLACES.get(test) or _PLACES.get(file) or (file, 0)


def rank(nodeid: str) -> tuple[int, int]:
    """What the tests are ordered by."""
    group, number = place(nodeid)
    return _RANKS.get(group, len(_RANKS)), number
