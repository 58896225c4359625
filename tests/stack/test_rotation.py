"""Credentials are replaced under a client that logs all the time: nothing is lost, and the old ones are refused."""

from __future__ import annotations

import random
import re
import shlex
import subprocess
from typing import Any

import psycopg
import pytest
import requests
from minio import Minio, S3Error

from components.logins import MINIO_USERS, POSTGRES_ROLES
from components.settings import ENCRYPTING_KEYS, FIXED_KEYS, SECRET_KEYS
from tests.stack import encrypted as encrypted_secrets
from tests.stack import holdings
from tests.stack.hardening import assert_hardened
from tests.stack.harness import wait_until
from tests.stack.ledger import Ledger, under_load
from tests.stack.secure import Secure, json_of

#: Every credential but those that nothing can take the place of.
ROTATED = tuple(key for key in SECRET_KEYS if key not in FIXED_KEYS)

#: Seconds that `make rotate` takes for everything.
_ALL = 25.0


@pytest.fixture(scope="module")
def curie(secure: Secure) -> requests.Session:
    """A user who logs."""
    session = secure.session(secure.user("curie"))
    session.headers["Connection"] = "close"
    return session


@pytest.fixture(scope="module")
def ledger(secure: Secure, curie: requests.Session) -> Ledger:
    """What has been acknowledged so far."""
    kept = Ledger(secure.url(""), session=curie)
    kept.log(3)
    return kept


@pytest.fixture(scope="module")
def encrypted(secure: Secure) -> list[Any]:
    """Secrets that MLflow keeps encrypted: of a webhook, and of its AI gateway."""
    admin = secure.session(secure.admin)
    return encrypted_secrets.make(
        secure.stack, lambda path, body: json_of(admin.post(secure.url(path), json=body, timeout=30))
    )


def _lets_in(secure: Secure, key: str, value: str) -> bool | None:
    """Whether a server lets its own client in by a credential; None for one that nobody logs in by."""
    settings = secure.stack.settings
    if key in POSTGRES_ROLES:
        where = f"host=127.0.0.1 port={settings['postgresPort']} dbname=mlflow user={POSTGRES_ROLES[key]}"
        try:
            psycopg.connect(where, password=value).close()
        except psycopg.OperationalError as error:
            if "password authentication failed" not in str(error):
                raise
            return False
        return True
    if key in MINIO_USERS:
        store = Minio(
            endpoint=f"127.0.0.1:{settings['minioApiPort']}",
            access_key=MINIO_USERS[key],
            secret_key=value,
            secure=False,
        )
        try:
            store.list_buckets()
        except S3Error as error:
            if error.code not in {"AccessDenied", "SignatureDoesNotMatch"}:
                raise
            return error.code == "AccessDenied"  # known, and may not do this
        return True
    if key == "mlflowAdminPassword":
        answer = secure.session((secure.admin[0], value)).get(secure.url("/"), timeout=30)
        assert answer.status_code in {200, 401}, answer.text
        return answer.ok
    return None


def _assert_changed(secure: Secure, before: dict[str, str], *keys: str) -> None:
    after = secure.stack.credentials()
    assert {key for key in SECRET_KEYS if after[key] != before[key]} == set(keys)
    assert set(after) == set(SECRET_KEYS), "an old value stays in the stack file"
    for key in keys:
        assert _lets_in(secure, key, after[key]) is not False, f"the new {key} is refused"
        assert _lets_in(secure, key, before[key]) is not True, f"the {key} before is still taken"


def _rotated(secure: Secure, *name: str) -> str:
    done = secure.stack.checkout.toolchain("rotate", *name, stack=secure.stack.name).ok()
    secure.stack.assert_healthy()
    secure.stack.assert_no_changes()
    return done.stdout


def test_all_are_rotated_at_once_under_load(secure: Secure, ledger: Ledger, encrypted: list[Any]) -> None:
    before = secure.stack.credentials()
    with under_load(ledger):
        said = _rotated(secure)
    assert "the tracking server did not answer for " in said, "the pause is told"
    print(said.strip().splitlines()[-1])
    _assert_changed(secure, before, *ROTATED)
    assert ledger.missing() == []
    assert encrypted_secrets.decrypted(secure.stack) == encrypted


def test_one_is_rotated_alone_under_load(
    secure: Secure, ledger: Ledger, encrypted: list[Any], random_drill: str
) -> None:
    seed, _, number = random_drill.partition("-")
    # In an order of the seed's: so many drills as there are credentials come to each of them.
    order = random.Random(seed).sample(ROTATED, len(ROTATED))  # noqa: S311 - to be repeated, not to be secret
    key = order[int(number) % len(order)]
    print(key)
    before = secure.stack.credentials()
    with under_load(ledger):
        _rotated(secure, key)
    _assert_changed(secure, before, key)
    assert ledger.missing() == []
    assert encrypted_secrets.decrypted(secure.stack) == encrypted


def test_a_rotation_killed_at_any_moment_is_finished_by_the_next(
    secure: Secure, ledger: Ledger, encrypted: list[Any], random_drill: str
) -> None:
    stack, chance = secure.stack, random.Random(random_drill)  # noqa: S311 - see above
    before, seconds = stack.credentials(), chance.uniform(0, _ALL)
    print(f"killed after {seconds:.2f} s")
    with under_load(ledger):
        with stack.checkout.started("rotate", stack=stack.name) as working:
            try:
                working.wait(seconds)
            except TimeoutError:
                working.kill()
        again = chance.choice(["rotate", "up"])
        stack.checkout.toolchain(again, stack=stack.name).ok()
    stack.assert_healthy()
    stack.assert_no_changes()
    after = stack.credentials()
    changed = {key for key in SECRET_KEYS if after[key] != before[key]}
    assert changed in (set[str](), set(ROTATED)), "all of them, or none where it had not begun"
    assert set(after) == set(SECRET_KEYS), "an old value stays in the stack file"
    assert ledger.missing() == []
    assert encrypted_secrets.decrypted(stack) == encrypted


def _assert_as_before(secure: Secure, before: dict[str, str], encrypted: list[Any]) -> None:
    secure.stack.assert_healthy()
    _assert_changed(secure, before)
    secure.stack.assert_no_changes()
    assert encrypted_secrets.decrypted(secure.stack) == encrypted


def test_a_row_that_no_key_reads_is_told_before_the_server_is_stopped(secure: Secure, encrypted: list[Any]) -> None:
    """And what looks for such a row is held to the list of docs/hardening.md meanwhile."""
    stack = secure.stack
    before, started = stack.credentials(), stack.container("server").attrs["State"]["StartedAt"]
    with holdings.connect(stack) as connection:
        connection.execute(
            "INSERT INTO webhooks SELECT (jsonb_populate_record(one, "
            """'{"webhook_id": "of-another-key", "secret": "not ours"}')).* FROM webhooks AS one LIMIT 1"""
        )
        with stack.checkout.started("rotate", stack=stack.name) as working:
            with connection.transaction():
                connection.execute("SELECT FROM webhooks FOR UPDATE")
                wait_until(lambda: stack.container("rekey").status == "running", "it looks")
                assert_hardened(stack, "rekey")
            assert working.wait(60) == 1, working.output()
    said = working.output()
    assert "webhooks: of-another-key: can be read with neither the key in use nor the new one; nothing was" in said
    assert stack.container("server").attrs["State"]["StartedAt"] == started
    mend = re.search(r'docker exec .* psql .*"DELETE FROM webhooks .*"', said)
    assert mend is not None, said
    subprocess.run(shlex.split(mend[0]), check=True, capture_output=True)
    _assert_as_before(secure, before, encrypted)


def test_where_nothing_can_be_encrypted_anew_the_server_serves_as_before(
    secure: Secure, ledger: Ledger, encrypted: list[Any]
) -> None:
    before = secure.stack.credentials()
    with holdings.connect(secure.stack) as connection:
        connection.execute(
            "CREATE FUNCTION refused() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'refused on purpose'; END $$"
        )
        connection.execute("CREATE TRIGGER refused BEFORE UPDATE ON webhooks FOR EACH ROW EXECUTE FUNCTION refused()")
        try:
            failed = secure.stack.checkout.toolchain("rotate", stack=secure.stack.name)
        finally:
            connection.execute("DROP FUNCTION refused CASCADE")
    assert failed.code == 1, failed.text
    assert "rotation: kekPassphrase, webhookKey: what they encrypt could not be encrypted anew: " in failed.stderr
    assert "refused on purpose: nothing was changed; all credentials are those of before, and the" in failed.stderr
    _assert_as_before(secure, before, encrypted)
    assert ledger.missing() == []


@pytest.mark.parametrize("key", ENCRYPTING_KEYS)
@pytest.mark.sampled
def test_a_new_key_set_by_hand_is_refused_until_rotate_has_encrypted_with_it(
    secure: Secure, encrypted: list[Any], key: str
) -> None:
    from components.settings import SECRETS  # noqa: PLC0415 - used here only

    stack = secure.stack
    wanted = next(secret.generate() for secret in SECRETS if secret.key == key)
    stack.pulumi("config", "set", "--secret", key, stdin=wanted).ok()
    for command in ("preview", "up"):
        refused = stack.checkout.toolchain(command, stack=stack.name)
        assert refused.code == 2, refused.text
        assert f"{key}: (hidden): is another one than is in use" in refused.stderr
        assert f"mend: make rotate NAME={key}" in refused.stderr
    _rotated(secure, key)
    assert stack.credentials()[key] == wanted, "the value that was set is the one"
    assert encrypted_secrets.decrypted(stack) == encrypted


@pytest.mark.sampled
@pytest.mark.parametrize("key", ["postgresAdminPassword", "consoleUserPassword"])
def test_where_the_old_value_is_not_needed_a_new_one_set_by_hand_is_enough(secure: Secure, key: str) -> None:
    stack, wanted = secure.stack, f"set-by-hand-{random.SystemRandom().randrange(10**12)}"
    stack.pulumi("config", "set", "--secret", key, stdin=wanted).ok()
    stack.pulumi("up", "--yes", "--skip-preview", "--non-interactive").ok()  # ends with a login by it
    stack.assert_no_changes()
    stack.assert_no_changes(refresh=True)


def test_a_credential_that_is_missing_is_made_before_the_server_is_stopped(secure: Secure) -> None:
    secure.stack.forget("objectKey")  # as in a stack file from before there was such a key
    _rotated(secure, "webhookKey")
    assert set(secure.stack.credentials()) == set(SECRET_KEYS)


def test_a_name_that_is_no_credential_is_refused(secure: Secure) -> None:
    refused = secure.stack.checkout.toolchain("rotate", "workers", stack=secure.stack.name)
    assert refused.code == 2
    assert "NAME: workers: is no credential that can be changed; they are postgresAdminPassword, " in refused.stderr
