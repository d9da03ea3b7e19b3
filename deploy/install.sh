#!/usr/bin/env bash
# Installs xiaod as a service on Debian and Raspberry Pi OS (64 bit), upgrades it, and removes it. See README.md in this folder.
#
# Each version has a virtual environment of its own below /opt/xiaod/releases, and /opt/xiaod/bin points at the one in use. It is switched
# when the new one stands and has accepted the configuration: until then a running daemon is not touched, and whatever fails changes nothing.
set -euo pipefail

umask 022

SOURCE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly SOURCE
readonly PROGRAM=/opt/xiaod
readonly ETC=/etc/xiaod
readonly STATE=/var/lib/xiaod
readonly UNITS=/etc/systemd/system
readonly LINK=/usr/local/bin/xiaod
readonly MANUAL=/usr/local/share/man/man1/xiaod.1
readonly ACCOUNT=xiaod
readonly PYTHON="${PYTHON:-python3}"

action=install
extras=
wheels=
start=no
purge=no
dry=no

usage() {
    cat <<END
usage: sudo deploy/install.sh [--extras LIST] [--wheels DIR] [--start] [--dry-run]
       sudo deploy/install.sh --uninstall [--purge] [--dry-run]

  --extras LIST   optional parts of the program, such as mqtt,nats
  --wheels DIR    install from wheels in DIR, without a network:  pip wheel -c deploy/constraints.txt -w DIR .
  --start         start the service if it does not run; without this one that does not run stays so
  --uninstall     remove program and units; configuration and picks stay
  --purge         with --uninstall: remove $ETC, $STATE and the user too
  --dry-run       say what would be done
  --help          this text

A daemon that runs is restarted with the new version, once that has accepted the configuration.
PYTHON names the Python that is used (3.11 or newer; default: python3).
Exit status: 0 done, 1 failed, 2 wrong arguments or a configuration that the new version does not accept.
END
}

say() { printf '%s\n' "$*"; }

fail() {
    printf 'install.sh: %s\n' "$1" >&2
    exit "${2:-1}"
}

run() {
    if [[ $dry == yes ]]; then
        printf '+ %s\n' "$*"
    else
        "$@"
    fi
}

arguments() {
    while (($#)); do
        case $1 in
            --extras | --wheels)
                (($# > 1)) || fail "$1 needs a value; see --help" 2
                if [[ $1 == --extras ]]; then extras=$2; else wheels=$2; fi
                shift
                ;;
            --start) start=yes ;;
            --uninstall) action=uninstall ;;
            --purge) purge=yes ;;
            --dry-run) dry=yes ;;
            --help | -h)
                usage
                exit 0
                ;;
            *) fail "unknown argument '$1'; see --help" 2 ;;
        esac
        shift
    done
    [[ $extras =~ ^[a-z0-9,-]*$ ]] || fail "--extras: '$extras' must be names with commas between, such as mqtt,nats" 2
    [[ $purge == no || $action == uninstall ]] || fail "--purge goes with --uninstall" 2
    if [[ -n $wheels ]]; then
        compgen -G "$wheels/xiaod-*.whl" >/dev/null ||
            fail "--wheels: no xiaod-*.whl in '$wheels'; make them with: pip wheel -c deploy/constraints.txt -w DIR $SOURCE" 2
        wheels=$(cd "$wheels" && pwd)
    fi
}

root_only() { [[ $dry == yes || $EUID == 0 ]] || fail "must be run as root: sudo $0"; }

systemd_runs() { [[ -d /run/systemd/system ]]; }

active_units() {
    systemd_runs || return 0
    systemctl list-units --plain --no-legend --state=active 'xiaod.service' 'xiaod@*.service' 'xiaod-events.service' | awk '{print $1}'
}

# --- what must be there

machine() {
    case $(uname -m) in
        x86_64 | aarch64) ;;
        *) fail "$(uname -m): ONNX Runtime has packages for x86_64 and aarch64 only; on a Raspberry Pi install the 64-bit system" ;;
    esac
}

# A virtual environment made by hand stands where the releases go.
place() {
    ! installed xiaod || fail "the package xiaod is installed: upgrade that, or remove it first (configuration and picks stay): apt remove xiaod"
    [[ ! -d $PROGRAM/bin || -L $PROGRAM/bin ]] ||
        fail "$PROGRAM holds an installation that was made by hand; stop xiaod and remove $PROGRAM first (configuration and picks lie elsewhere)"
}

installed() { dpkg-query -W -f='${Status}' "$1" 2>/dev/null | grep -q 'ok installed'; }

packages() {
    local needed=() package
    for package in python3 python3-venv ca-certificates; do
        installed "$package" || needed+=("$package")
    done
    # ObsPy has no wheel for aarch64: it is compiled.
    if [[ $(uname -m) == aarch64 && -z $wheels ]]; then
        for package in gcc libc6-dev python3-dev; do
            installed "$package" || needed+=("$package")
        done
    fi
    ((${#needed[@]})) || return 0
    command -v apt-get >/dev/null || fail "needs the packages ${needed[*]}; this system has no apt-get to install them"
    run apt-get update -qq
    run env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${needed[@]}"
}

python_is_new_enough() {
    if ! command -v "$PYTHON" >/dev/null; then
        [[ $dry == yes ]] && return 0
        fail "no $PYTHON"
    fi
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "$("$PYTHON" --version) is too old: 3.11 or newer is needed (Debian 12, Raspberry Pi OS bookworm)"
}

# --- user and folders

account() {
    run install -D -m 0644 "$SOURCE/systemd/sysusers.d/xiaod.conf" /usr/lib/sysusers.d/xiaod.conf
    run install -D -m 0644 "$SOURCE/systemd/tmpfiles.d/xiaod.conf" /usr/lib/tmpfiles.d/xiaod.conf
    if command -v systemd-sysusers >/dev/null; then
        run systemd-sysusers /usr/lib/sysusers.d/xiaod.conf
        run systemd-tmpfiles --create /usr/lib/tmpfiles.d/xiaod.conf
    else
        id -u "$ACCOUNT" >/dev/null 2>&1 ||
            run useradd --system --home-dir "$STATE" --no-create-home --shell /usr/sbin/nologin "$ACCOUNT"
        run install -d -m 0750 -o root -g "$ACCOUNT" "$ETC"
        run install -d -m 0750 -o "$ACCOUNT" -g "$ACCOUNT" "$STATE"
    fi
}

configuration() {
    if [[ -e $ETC/config.yaml ]]; then
        return 0
    fi
    run install -m 0640 -g "$ACCOUNT" "$SOURCE/config.yaml" "$ETC/config.yaml"
}

# --- the program

# What the release is made of: the same again is not installed again.
fingerprint() {
    if [[ -n $wheels ]]; then
        (cd "$wheels" && sha256sum -- *.whl)
    else
        (cd "$SOURCE" && find pyproject.toml deploy/constraints.txt xiaod models distill -type f \
            ! -name '*.pyc' -print0 | sort -z | xargs -0 sha256sum)
    fi | { cat && printf '%s %s\n' "$extras" "$("$PYTHON" --version 2>&1)"; } | sha256sum | cut -c1-12
}

release() {
    local version
    version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' "$SOURCE/xiaod/__init__.py")
    release=$PROGRAM/releases/$version-$(fingerprint)
    if [[ -e $release/.complete ]]; then
        say "$release is there already"
        return 0
    fi
    run rm -rf "$release"
    run mkdir -p "$PROGRAM/releases"
    run "$PYTHON" -m venv "$release"
    local options=(--quiet --disable-pip-version-check --no-warn-script-location) what=xiaod
    if [[ -n $wheels ]]; then
        options+=(--no-index --find-links "$wheels")
    else
        options+=(-c "$SOURCE/deploy/constraints.txt")
        # A copy: building leaves files, which would be root's.
        what=$release/source
        run mkdir "$what"
        run cp -r "$SOURCE"/{pyproject.toml,README.md,LICENSE,xiaod,models,distill} "$what"
    fi
    say "installing into $release; where ObsPy is compiled this takes some minutes"
    run "$release/bin/python" -m pip install "${options[@]}" "$what${extras:+[$extras]}"
    run rm -rf "$release/source"
    run touch "$release/.complete"
}

# Variables in a file that a unit reads, in quotes or not, as NAME=VALUE: the configuration may name them as ${NAME}.
variables() {
    [[ ! -e $1 ]] ||
        sed -nE "s/^([A-Za-z_][A-Za-z0-9_]*)=(\"([^\"]*)\"|'([^']*)'|(.*[^[:space:]])?)[[:space:]]*$/\1=\3\4\5/p" "$1"
}

# Every configuration that a unit may start with, and the file with its variables.
configurations() {
    printf '%s\t%s\n' "$ETC/config.yaml" "$ETC/xiaod.env"
    local file
    for file in "$ETC"/*.env; do
        variables "$file" | sed -n "s|^XIAOD_CONFIG=\(.*\)|\1\t$file|p"
    done | sort -u
}

accepted() {
    local file environment
    while IFS=$'\t' read -r file environment; do
        (
            # Not as arguments, which everybody can see.
            while read -r variable; do export "${variable?}"; done < <(variables "$ETC/xiaod.env" && variables "$environment")
            # As the user, who must be able to read it and what it names.
            run runuser -u "$ACCOUNT" -- env -C "$STATE" "$release/bin/xiaod" check --config "$file"
        ) || fail "the new version does not accept $file; the one in use, if there is one, goes on" 2
    done < <(configurations)
}

# Whether what runs is what would be installed: then it need not be restarted.
current() {
    [[ $(readlink "$PROGRAM/bin" 2>/dev/null) == "$release/bin" ]] &&
        cmp -s "$SOURCE/systemd/xiaod.service" "$UNITS/xiaod.service" &&
        cmp -s "$SOURCE/systemd/xiaod@.service" "$UNITS/xiaod@.service" &&
        cmp -s "$SOURCE/systemd/xiaod-events.service" "$UNITS/xiaod-events.service"
}

switch() {
    run ln -sfn "$release/bin" "$PROGRAM/bin.new"
    run mv -T "$PROGRAM/bin.new" "$PROGRAM/bin"
    run install -d /usr/local/bin
    run ln -sfn "$PROGRAM/bin/xiaod" "$LINK"
    run rm -f "$MANUAL" # version 0.1.0 had one
    run install -D -m 0644 -t "$UNITS" "$SOURCE/systemd/xiaod.service" "$SOURCE/systemd/xiaod@.service" \
        "$SOURCE/systemd/xiaod-events.service"
    if systemd_runs; then
        run systemctl daemon-reload
    fi
}

# The one in use and the one before it stay.
old_releases() {
    local old
    while read -r old; do
        run rm -rf "$old"
    done < <(find "$PROGRAM/releases" -mindepth 1 -maxdepth 1 -type d ! -path "$release" -printf '%T@ %p\n' 2>/dev/null |
        sort -rn | tail -n +2 | cut -d' ' -f2-)
}

begin() {
    local units
    mapfile -t units < <(active_units)
    if [[ $unchanged == yes && ${#units[@]} -gt 0 ]]; then
        say "nothing has changed; still running: ${units[*]}"
    elif ((${#units[@]})); then
        run systemctl restart "${units[@]}"
        say "restarted: ${units[*]}"
    elif [[ $start == yes ]] && systemd_runs; then
        run systemctl enable --now xiaod.service
        say "started: xiaod.service"
    elif command -v systemctl >/dev/null; then
        [[ $known == yes ]] || run systemctl enable xiaod.service
        say "Nothing is running. Put your server and streams into $ETC/config.yaml, then"
        say "  sudo xiaod check --config $ETC/config.yaml && sudo systemctl start xiaod"
    fi
}

install_all() {
    # Who has disabled the service finds it so again.
    known=no
    [[ ! -e $UNITS/xiaod.service ]] || known=yes
    root_only
    machine
    place
    packages
    python_is_new_enough
    account
    release
    configuration
    accepted
    unchanged=no
    if current; then unchanged=yes; fi
    switch
    old_releases
    begin
    say "installed: $release"
}

uninstall() {
    root_only
    if systemd_runs; then
        local units
        mapfile -t units < <(active_units)
        ((!${#units[@]})) || run systemctl stop "${units[@]}"
        run systemctl disable --quiet xiaod.service xiaod-events.service 2>/dev/null || true
    fi
    run rm -f "$UNITS"/xiaod-events.service "$UNITS"/multi-user.target.wants/xiaod-events.service
    run rm -f "$UNITS"/xiaod.service "$UNITS"/xiaod@.service "$UNITS"/multi-user.target.wants/xiaod.service \
        "$UNITS"/multi-user.target.wants/xiaod@*.service /usr/lib/sysusers.d/xiaod.conf /usr/lib/tmpfiles.d/xiaod.conf \
        "$LINK" "$MANUAL"
    run rm -rf "$PROGRAM"
    if systemd_runs; then
        run systemctl daemon-reload
    fi
    if [[ $purge == yes ]]; then
        run rm -rf "$ETC" "$STATE"
        if id -u "$ACCOUNT" >/dev/null 2>&1; then
            run userdel "$ACCOUNT"
        fi
        say "removed, with configuration, picks and user"
    else
        say "removed; $ETC and $STATE stay (--purge removes them)"
    fi
}

arguments "$@"
case $action in
    install) install_all ;;
    uninstall) uninstall ;;
esac
