# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
# shellcheck shell=bash
# Sourced by the commands in scripts/. Finds a Python of 3.11 or later (a bare Debian has none: then it is
# installed) and hands over to scripts/lib/run.py. Everything else is typed Python.

headcount_python() {
    local candidate
    for candidate in /usr/bin/python3 python3; do
        if command -v "$candidate" >/dev/null &&
            "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return 0
        fi
    done
    return 1
}

# headcount_run ROOT [--venv controller|test] COMMAND [ARGUMENT...]
headcount_run() {
    local root=$1 python log tries
    shift
    if ! python=$(headcount_python); then
        if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
            echo "Python 3.11 or later is needed: install python3 and call this again." >&2
            exit 1
        fi
        log=$root/.headcount/log/python.log
        mkdir -p "${log%/*}"
        echo "installing python3 (log: ${log#"$root"/})" >&2
        export DEBIAN_FRONTEND=noninteractive
        tries=150
        # apt-get waits for dpkg's lock as it is told to, and never for that of the package lists.
        until apt-get update >"$log" 2>&1 </dev/null; do
            if ! grep -q lists/lock "$log" || ((--tries == 0)); then break; fi
            sleep 2
        done
        if ! apt-get --option DPkg::Lock::Timeout=300 install --yes --no-install-recommends python3 \
            >>"$log" 2>&1 </dev/null || ! python=$(headcount_python); then
            tail -n 20 "$log" >&2
            echo "apt-get could not install a python3 of 3.11 or later." >&2
            exit 1
        fi
    fi
    exec "$python" "$root/scripts/lib/run.py" "$@"
}
