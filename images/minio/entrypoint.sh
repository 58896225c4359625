#!/bin/sh
# Starts MinIO, and only with root credentials of its own.
#
# MinIO reads MINIO_ROOT_USER_FILE and MINIO_ROOT_PASSWORD_FILE itself, but where such a file is missing or empty it
# goes on with the credentials that everybody knows. So they are checked here first. The values are not read into
# this script's environment or arguments.
set -eu

for name in MINIO_ROOT_USER_FILE MINIO_ROOT_PASSWORD_FILE; do
    eval "file=\${$name:-}"
    # shellcheck disable=SC2154  # set by the eval above
    if [ ! -s "$file" ] || [ ! -r "$file" ]; then
        echo "$name: ${file:-not set}: no readable file with content; MinIO would start with well-known credentials." \
            "mend: make up" >&2
        exit 78
    fi
done

exec minio "$@"
