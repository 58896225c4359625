#!/bin/bash
# Starts PostgreSQL: initialises an empty volume, sets the superuser's password, serves.
#
#   entrypoint.sh [ARGUMENT OF postgres]...
#   entrypoint.sh --move-from HOST MAJOR IMAGE   load all databases of a server of an earlier major into a new cluster
#   entrypoint.sh --adopt     let the next start serve that cluster: once nothing writes to the other any more
#   entrypoint.sh --set-aside take this major's cluster out of the way: the earlier one is to serve again
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
                "it can't be read. mend: set postgresImage to an image of PostgreSQL $found, or make upgrade"
        # Beside a later cluster this one is what an upgrade left as the way back: what was written since is in that.
        for file in /var/lib/postgresql/*/docker/PG_VERSION; do
            [[ -e $file ]] || continue
            found=$(<"$file")
            ((found <= MAJOR)) ||
                refuse 65 "${file%/*}: the volume holds data of PostgreSQL $found, and this image is PostgreSQL $MAJOR:" \
                    "what was written last could not be read. mend: set postgresImage to an image of PostgreSQL $found"
        done
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
            "start with an empty database. mend: set postgresImage to an image of PostgreSQL $found, then make upgrade"
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

# A new cluster in a folder that is not there yet.
make_cluster() {
    local new=$1 log
    local -a locale=(--encoding=UTF8)
    if ((MAJOR >= 17)); then
        # PostgreSQL's own collation: indexes do not depend on the C library of the image.
        locale+=(--locale-provider=builtin --builtin-locale=C.UTF-8 --locale=C)
    else
        locale+=(--locale=C.UTF-8)
    fi
    mkdir -p "${new%/*}"
    rm -rf "$new"
    if ! log=$(initdb --pgdata="$new" --username=postgres --pwfile="$ADMIN_PASSWORD_FILE" --auth-local=peer \
        --auth-host=scram-sha-256 --data-checksums "${locale[@]}" 2>&1); then
        refuse 1 "initdb failed: $log"
    fi
    write_access_rules "$new"
}

put_in_place() {
    if [[ -d $PGDATA ]]; then
        rmdir "$PGDATA"
    fi
    mv -T "$1" "$PGDATA"
    sync "${PGDATA%/*}"
}

initialise() {
    echo "making a new database cluster of PostgreSQL $MAJOR in $PGDATA"
    make_cluster "$PGDATA.new"
    put_in_place "$PGDATA.new"
}

# What was loaded and not taken over yet is out of date as soon as a server serves: it is loaded anew.
forget_moves() {
    rm -rf /var/lib/postgresql/*/docker.moving /var/lib/postgresql/*/docker.moved /var/lib/postgresql/*/docker.ready
}

databases() {
    psql "$@" -d postgres -c "SELECT datname FROM pg_database WHERE NOT datistemplate ORDER BY 1"
}

# Every row of every database, counted: `database|table|rows`, and where each sequence stands.
count_rows() {
    local database found
    found=$(databases "$@")
    while IFS= read -r database; do
        psql "$@" -d "$database" <<'SQL'
SELECT format('SELECT %L, %L, count(*) FROM %I.%I', current_database(), c.oid::regclass, n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1 \gexec
SELECT current_database(), schemaname || '.' || sequencename, last_value FROM pg_sequences ORDER BY 1, 2;
SQL
    done <<<"$found"
}

# Load everything that a server of an earlier major has into a cluster beside its own, and compare. That server and its
# files are only read. Whatever is left of an attempt before is thrown away: it may have been written to since.
move_from() {
    local from=$1 moving=$PGDATA.moving sockets=/tmp/moving password database found
    [[ ! -e $PGDATA/PG_VERSION ]] || refuse 65 "$PGDATA: there is a cluster of PostgreSQL $MAJOR already: nothing is touched"
    exec 8>>/var/lib/postgresql/.mlflow-stack-move.lock
    flock --nonblock 8 || refuse 75 "/var/lib/postgresql: another job loads databases into this volume. mend: docker ps"
    rm -rf "$PGDATA.moving" "$PGDATA.moved" "$PGDATA.ready"
    printf '%s\n' "$3" >"/var/lib/postgresql/$2/image" # by which the way back finds it
    make_cluster "$moving"
    mkdir -p "$sockets"
    password=$(<"$ADMIN_PASSWORD_FILE")
    password=${password//\\/\\\\}
    printf '*:*:*:postgres:%s\n' "${password//:/\\:}" >/tmp/pgpass
    export PGPASSFILE=/tmp/pgpass PGUSER=postgres PGCONNECT_TIMEOUT=10
    # Nothing of it counts until it is whole, so nothing is forced to the disk before that.
    pg_ctl start --silent --wait --pgdata="$moving" --log=/tmp/moving.log \
        --options="-c listen_addresses= -c unix_socket_directories=$sockets -c fsync=off -c autovacuum=off" ||
        refuse 1 "the new cluster does not start: $(tail -n 5 /tmp/moving.log)"
    local -a old=(-XAtq -v ON_ERROR_STOP=1 -h "$from") new=(-XAtq -v ON_ERROR_STOP=1 -h "$sockets")
    found=$(databases "${old[@]}")
    echo "loading roles"
    # The superuser is there already, by the same name.
    pg_dumpall -h "$from" --globals-only | sed '/^CREATE ROLE postgres;$/d' | psql "${new[@]}" -d postgres >/dev/null
    while IFS= read -r database; do
        echo "loading database $database"
        if [[ $database == postgres ]]; then
            pg_dump -h "$from" -d postgres | psql "${new[@]}" -d postgres >/dev/null
        else
            pg_dump -h "$from" --create -d "$database" | psql "${new[@]}" -d postgres >/dev/null
        fi
    done <<<"$found"
    echo "counting the rows of every table on both sides"
    count_rows "${old[@]}" >/tmp/rows.old
    count_rows "${new[@]}" >/tmp/rows.new
    diff /tmp/rows.old /tmp/rows.new >/tmp/difference ||
        refuse 1 "the new cluster differs from the old one: $(head -n 5 /tmp/difference)"
    vacuumdb --all --analyze-only --quiet -h "$sockets"
    pg_ctl stop --silent --wait --mode=fast --pgdata="$moving"
    initdb --sync-only --pgdata="$moving" >/dev/null
    mv -T "$moving" "$PGDATA.moved"
    sync "${PGDATA%/*}"
    echo "loaded and compared"
}

adopt() {
    [[ -e $PGDATA.moved/PG_VERSION ]] || refuse 65 "$PGDATA.moved: there is no cluster that was loaded: nothing is touched"
    mv -T "$PGDATA.moved" "$PGDATA.ready"
    sync "${PGDATA%/*}"
}

set_aside() {
    if [[ -e $PGDATA/PG_VERSION ]]; then
        rm -rf "$PGDATA.after"
        mv -T "$PGDATA" "$PGDATA.after"
    fi
    rm -rf "$PGDATA.moving" "$PGDATA.moved" "$PGDATA.ready"
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
if [[ ${1:-} == --move-from ]]; then
    move_from "${@:2}" # beside the server that is read
    exit
fi
# Held as long as any process of this server lives, whatever container it is in: two servers on one volume would
# destroy it, and PostgreSQL's own lock file can't tell, since process ids of containers mean nothing to each other.
exec 9>>/var/lib/postgresql/.mlflow-stack.lock
flock --nonblock 9 || refuse 75 "/var/lib/postgresql: another PostgreSQL server uses this volume. mend: docker ps"

case ${1:-} in
--adopt)
    adopt
    exit
    ;;
--set-aside)
    set_aside
    exit
    ;;
esac
if [[ ! -e $PGDATA/PG_VERSION && -e $PGDATA.ready/PG_VERSION ]]; then
    echo "serving what was loaded from an earlier major version"
    put_in_place "$PGDATA.ready"
fi
check_versions
forget_moves
if [[ -e $PGDATA/PG_VERSION ]]; then
    rm -f "$PGDATA/postmaster.pid" # of a server that was killed: the lock says that none is alive
    write_access_rules "$PGDATA"
    set_password
else
    initialise
fi

exec postgres -c listen_addresses='*' -c "unix_socket_directories=$SOCKETS" -c password_encryption=scram-sha-256 "$@"
