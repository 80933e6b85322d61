#!/bin/sh
# Starts perdura-server with a directive for each PERDURA_… variable: PERDURA_APPENDFSYNC=always is `--appendfsync always`.
#
# Where a directive takes several words, those of the value become them (PERDURA_SAVE="900 1").
# Settings go through a file that only we can read, so that passwords do not show in `ps`.
set -eu
umask 077

# A shell, or one of the programs by name, is run as it is.
case ${1:-} in sh | bash | perdura*) exec "$@" ;; esac

settings=${PERDURA_SETTINGS_FILE:-/tmp/perdura-environment.conf}
: >"$settings"
env | sed -n 's/^PERDURA_\([A-Z_]*\)=.*/\1/p' | sort | while read -r name; do
    case $name in SETTINGS_FILE | SERVER | CONFIG_FILE) continue ;; esac
    eval "value=\$PERDURA_$name"
    directive=$(printf '%s' "$name" | tr 'A-Z_' 'a-z-')
    case $directive in
    save | bind | metrics-bind | client-output-buffer-limit | oom-score-adj-values | latency-tracking-info-percentiles | \
        shutdown-on-sig* | include) ;;
    *) value=\"$(printf '%s' "$value" | sed 's/[\\"]/\\&/g')\" ;; # One word, whatever is in it.
    esac
    printf '%s %s\n' "$directive" "${value:-\"\"}" >>"$settings"
done
[ -z "${PERDURA_CONFIG_FILE:-}" ] || printf 'include %s\n%s\n' "$PERDURA_CONFIG_FILE" "$(cat "$settings")" >"$settings"

exec "${PERDURA_SERVER:-perdura-server}" "$settings" --daemonize no "$@"
