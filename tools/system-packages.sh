#!/usr/bin/env bash
# Installs the Debian packages that tests or benchmarks use: system-packages.sh COMMAND=PACKAGE...
# Without root it says what is missing and goes on: tests that need a missing command are skipped and say so.
set -euo pipefail

missing=()
for pair in "$@"; do
    PATH="$PATH:/usr/sbin:/sbin" command -v "${pair%%=*}" >/dev/null || missing+=("${pair##*=}")
done
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    echo "installing: ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
else
    echo "not installed: ${missing[*]}" >&2
    echo "what needs them is skipped; to install: sudo apt-get install ${missing[*]}" >&2
fi
