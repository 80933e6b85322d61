#!/bin/sh
# Starts perdura-server with a directive for each PERDURA_… variable: PERDURA_APPENDFSYNC=always is `--appendfsync always`.
#
# The words of a value become words of the directive (PERDURA_SAVE="900 1"); an empty value stays one empty word.
# Settings go through a file that only we can read, so that passwords do not show in `ps`.
set -eu
umask 077

if [ "${1:-}" = sh ] || [ "${1:-}" = bash ] || [ "${1#perdura}" != "${1:-}" ] && [ -n "${1:-}" ]; then
    exec "$@"
fi

settings=${PERDURA_SETTINGS_FILE:-/tmp/perdura-environment.conf}
: >"$settings"
env | sed -n 's/^PERDURA_\([A-Z_]*\)=.*/\1/p' | sort | while read -r name; do
    case $name in SETTINGS_FILE | SERVER | CONFIG_FILE) continue ;; esac
    eval "value=\$PERDURA_$name"
    directive=$(printf '%s' "$name" | tr 'A-Z_' 'a-z-')
    printf '%s %s\n' "$directive" "${value:-\"\"}" >>"$settings"
done
[ -z "${PERDURA_CONFIG_FILE:-}" ] || printf 'include %s\n%s\n' "$PERDURA_CONFIG_FILE" "$(cat "$settings")" >"$settings"

exec "${PERDURA_SERVER:-perdura-server}" "$settings" --daemonize no "$@"
