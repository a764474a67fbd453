#!/bin/sh
# install.sh build|test…: installs the Debian packages that are missing. What the build needs has to be there; a test whose
# program cannot be had is skipped with a word.
set -eu

missing=""
# need COMMAND PACKAGE: COMMAND is a name on the PATH, or a pattern of files.
need() {
    case $1 in
    */*) for file in $1; do [ -e "$file" ] && return 0; done ;;
    *) PATH="$PATH:/usr/sbin:/sbin" command -v "$1" >/dev/null && return 0 ;;
    esac
    case "$missing " in *" $2 "*) ;; *) missing="$missing $2" ;; esac
}

required=no
for set in "$@"; do
    case $set in
    build)
        need cc build-essential
        need make build-essential
        [ -z "$missing" ] || required=yes
        # The web client; the server does without.
        need node nodejs
        need npm npm
        ;;
    test)
        need sipp sip-tester
        need baresip baresip-core
        need socat socat
        need tshark tshark
        need chromium chromium
        need linphone-daemon linphone-cli
        need pip3 python3-pip
        need '/usr/lib/postgresql/*/bin/initdb' postgresql
        need ip iproute2
        need unshare util-linux
        ;;
    *)
        echo "usage: install.sh build|test…" >&2
        exit 2
        ;;
    esac
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ]; then root=""; elif command -v sudo >/dev/null; then root="sudo"; else root="none"; fi
give_up() {
    echo "install.sh: cannot install$missing ($1)" >&2
    [ "$required" = no ] || exit 1
    exit 0
}
[ "$root" != none ] || give_up "neither root nor sudo"
command -v apt-get >/dev/null || give_up "no apt-get: install them by hand"

echo "installing$missing"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive
case $missing in
*postgresql*)
    # The tests start servers of their own: none for the machine.
    if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
        $root mkdir -p /etc/postgresql-common
        echo "create_main_cluster = false" | $root tee /etc/postgresql-common/createcluster.conf >/dev/null
    fi
    ;;
esac
quiet() { $root env DEBIAN_FRONTEND=noninteractive "$@" >"$log" 2>&1; }
quiet apt-get update || true
set -- -y -q --no-install-recommends -o Dpkg::Options::=--force-confold
# shellcheck disable=SC2086
if ! quiet apt-get install "$@" $missing; then
    # One that cannot be had must not keep the others away.
    failed=""
    for package in $missing; do
        quiet apt-get install "$@" "$package" || { failed="$failed $package"; tail -3 "$log" >&2; }
    done
    missing=$failed
    [ -z "$missing" ] || give_up "see above"
fi
