#!/bin/bash
# Starts PostgreSQL: initialises an empty volume, sets the superuser's password, serves.
#
#   entrypoint.sh [ARGUMENT OF postgres]...
#
# Works with the vendor's image and with the one built from packages. Runs as the `postgres` user from the start.
# The superuser is `postgres`; its password is the content of $ADMIN_PASSWORD_FILE, set at every start, so that a new
# value takes effect on an existing volume. The password is never in an argument, in the environment or in the log.
#
# May be killed at any moment, and the next start goes on: the cluster is made beside its place and renamed when it is
# whole, and PostgreSQL recovers by itself from there on.
#
# Exit codes: 78 the configuration is wrong, 75 another server has the volume, 65 the volume is not ours to serve.
set -euo pipefail

: "${PGDATA:=/var/lib/postgresql/data}"
ADMIN_PASSWORD_FILE=${ADMIN_PASSWORD_FILE:-/run/mlflow-stack/admin-password}
SOCKETS=${SOCKETS:-/var/run/postgresql}
export PGDATA

refuse() {
    local code=$1
    shift
    printf '%s\n' "$*" >&2
    exit "$code"
}

major_of_image() {
    local words
    read -ra words <<<"$(postgres --version)" # postgres (PostgreSQL) 18.4 (Debian …)
    printf '%s\n' "${words[2]%%.*}"
}

# One line, not empty: what the password file must hold. PostgreSQL takes no zero bytes and bash drops them.
check_password_file() {
    [[ -r $ADMIN_PASSWORD_FILE ]] || refuse 78 "$ADMIN_PASSWORD_FILE: no readable file with the superuser's password"
    local password
    password=$(<"$ADMIN_PASSWORD_FILE")
    [[ -n $password ]] || refuse 78 "$ADMIN_PASSWORD_FILE: the superuser's password is empty"
    [[ $password != *$'\n'* && $password != *$'\r'* ]] ||
        refuse 78 "$ADMIN_PASSWORD_FILE: the superuser's password has more than one line"
}

# A server of its own image's major, or none at all: data of another version is never touched, and never hidden
# behind a new and empty cluster.
check_versions() {
    local file found
    if [[ -e $PGDATA/PG_VERSION ]]; then
        found=$(<"$PGDATA/PG_VERSION")
        [[ $found == "$MAJOR" ]] ||
            refuse 65 "$PGDATA: the data is of PostgreSQL $found, this image is PostgreSQL $MAJOR:" \
                "it can't be read. mend: set postgresImage to an image of PostgreSQL $found, or upgrade the data"
        return
    fi
    if [[ -d $PGDATA ]] && [[ -n $(ls -A -- "$PGDATA") ]]; then
        refuse 65 "$PGDATA: not empty and not a database: nothing is touched. mend: look at the volume"
    fi
    for file in /var/lib/postgresql/*/docker/PG_VERSION /var/lib/postgresql/data/PG_VERSION \
        /var/lib/postgresql/PG_VERSION; do
        [[ -e $file ]] || continue
        found=$(<"$file")
        refuse 65 "${file%/*}: the volume holds data of PostgreSQL $found, this image is PostgreSQL $MAJOR and would" \
            "start with an empty database. mend: set postgresImage to an image of PostgreSQL $found, or upgrade the data"
    done
}

# The whole of the access rules, the same at every start: an imported volume may bring others.
write_access_rules() {
    local rules=$1/pg_hba.conf
    cat >"$rules.new" <<'RULES'
# Written at every start. The container's own postgres user comes in over the socket without a password; everybody
# else needs one. There is no `trust` in here.
local  all          postgres                peer
local  all          all                     scram-sha-256
host   all          all          all        scram-sha-256
local  replication  postgres                peer
host   replication  all          all        scram-sha-256
RULES
    mv -f "$rules.new" "$rules"
}

initialise() {
    local new=$PGDATA.new log
    local -a locale=(--encoding=UTF8)
    if ((MAJOR >= 17)); then
        # PostgreSQL's own collation: indexes do not depend on the C library of the image.
        locale+=(--locale-provider=builtin --builtin-locale=C.UTF-8 --locale=C)
    else
        locale+=(--locale=C.UTF-8)
    fi
    mkdir -p "${PGDATA%/*}"
    rm -rf "$new"
    echo "making a new database cluster of PostgreSQL $MAJOR in $PGDATA"
    if ! log=$(initdb --pgdata="$new" --username=postgres --pwfile="$ADMIN_PASSWORD_FILE" --auth-local=peer \
        --auth-host=scram-sha-256 --data-checksums "${locale[@]}" 2>&1); then
        refuse 1 "initdb failed: $log"
    fi
    write_access_rules "$new"
    if [[ -d $PGDATA ]]; then
        rmdir "$PGDATA"
    fi
    mv -T "$new" "$PGDATA"
    sync "${PGDATA%/*}"
}

# In single-user mode there are no connections and no access rules; this also finishes the recovery after a crash.
set_password() {
    local password statement log
    password=$(<"$ADMIN_PASSWORD_FILE")
    # In a database made elsewhere the superuser may have another name.
    statement="DO \$do\$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'postgres') THEN"
    statement+=" CREATE ROLE postgres SUPERUSER; END IF; END \$do\$;"
    statement+=$'\n'"ALTER ROLE postgres WITH SUPERUSER LOGIN PASSWORD '${password//\'/\'\'}';"
    # The exit code of single-user mode does not tell of failed statements; its log does. The log is kept free of
    # statements by the settings, and is shown only when something went wrong.
    if ! log=$(PG_GRANDPARENT_PID=$$ postgres --single -D "$PGDATA" \
        -c log_statement=none -c log_min_error_statement=panic -c log_min_duration_statement=-1 \
        -c log_error_verbosity=terse -c log_destination=stderr -c logging_collector=off \
        -c standard_conforming_strings=on -c password_encryption=scram-sha-256 -c shared_preload_libraries= \
        -c archive_mode=off template1 2>&1 >/dev/null <<<"$statement"); then
        refuse 1 "the superuser's password could not be set: $log"
    fi
    if [[ $log =~ (ERROR|FATAL|PANIC): ]]; then
        refuse 1 "the superuser's password could not be set: $log"
    fi
}

trap 'exit 143' TERM INT
umask 0077

MAJOR=$(major_of_image)
check_password_file
[[ -w /var/lib/postgresql ]] ||
    refuse 78 "/var/lib/postgresql: user $(id -u) may not write there. mend: give the volume to user 999"
# Held as long as any process of this server lives, whatever container it is in: two servers on one volume would
# destroy it, and PostgreSQL's own lock file can't tell, since process ids of containers mean nothing to each other.
exec 9>>/var/lib/postgresql/.mlflow-stack.lock
flock --nonblock 9 || refuse 75 "/var/lib/postgresql: another PostgreSQL server uses this volume. mend: docker ps"

check_versions
if [[ -e $PGDATA/PG_VERSION ]]; then
    rm -f "$PGDATA/postmaster.pid" # of a server that was killed: the lock says that none is alive
    write_access_rules "$PGDATA"
    set_password
else
    initialise
fi

exec postgres -c listen_addresses='*' -c "unix_socket_directories=$SOCKETS" -c password_encryption=scram-sha-256 "$@"
