#!/usr/bin/env bash
# Builds the Debian package of xiaod: "make deb" runs it. docs/install.md says what is in it, and why.
set -euo pipefail

umask 022

SOURCE=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
readonly SOURCE
readonly HERE=$SOURCE/deploy/deb
# The one that the package runs with, so that of the distribution.
readonly PYTHON=/usr/bin/python3
readonly PROGRAM=/opt/xiaod

arch=
wheels=
extras=datalink,kafka,mqtt,nats,notify,plot,seedlink4
add=
output=$SOURCE/dist

usage() {
    cat <<END
usage: deploy/deb/build.sh [--arch ARCH] [--wheels DIR] [--extras LIST] [--add LIST] [--output DIR] WHEEL

  WHEEL           of xiaod, as "make dist" builds it
  --arch ARCH     amd64 or arm64 (default: that of this machine). For the other one nothing can be compiled: what has no wheel for
                  it, which is ObsPy for arm64, must be in --wheels
  --wheels DIR    more wheels, taken where they fit
  --extras LIST   optional parts that are in the package (default: $extras)
  --add LIST      more of them, such as events
  --output DIR    folder of the package (default: dist)
  --help          this text

The package needs the Python that it is built with: build it on the distribution that it is for.
Exit status: 0 done, 1 failed, 2 wrong arguments.
END
}

fail() {
    printf 'build.sh: %s\n' "$1" >&2
    exit "${2:-1}"
}

wheel=
while (($#)); do
    case $1 in
        --arch | --wheels | --extras | --add | --output)
            (($# > 1)) || fail "$1 needs a value; see --help" 2
            printf -v "${1#--}" %s "$2"
            shift
            ;;
        --help | -h)
            usage
            exit 0
            ;;
        -*) fail "unknown argument '$1'; see --help" 2 ;;
        *) wheel=$1 ;;
    esac
    shift
done
[[ -f $wheel && $wheel == */xiaod-*.whl ]] || fail "'$wheel' is no wheel of xiaod, such as dist/xiaod-VERSION-py3-none-any.whl; make dist builds it" 2
[[ -z $wheels || -d $wheels ]] || fail "--wheels: '$wheels' is no folder" 2
command -v dpkg-deb >/dev/null || fail "no dpkg-deb: a Debian package is built on Debian"
here=$(dpkg --print-architecture)
arch=${arch:-$here}
case $arch in
    amd64) machine=x86_64 ;;
    arm64) machine=aarch64 ;;
    *) fail "--arch: '$arch' must be amd64 or arm64: ONNX Runtime has packages for these" 2 ;;
esac
"$PYTHON" -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' ||
    fail "$PYTHON must be 3.11 or newer, with its package python3-venv"

wanted=$extras${add:+${extras:+,}$add}
has=$("$PYTHON" -c '
import email, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as wheel:
    [metadata] = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    print(*email.message_from_bytes(wheel.read(metadata)).get_all("Provides-Extra", []), sep="\n")' "$wheel")
IFS=, read -ra parts <<<"$wanted"
for part in "${parts[@]}"; do
    grep -qxF -e "$part" <<<"$has" || fail "xiaod has no optional part '$part'; it has: ${has//$'\n'/, }" 2
done

python=$("$PYTHON" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
version=$(basename "$wheel" | cut -d- -f2)
# A version before a release sorts before it: 0.2.0.dev0 is 0.2.0~dev0, 0.2.0rc1 is 0.2.0~rc1.
debian=$(sed -E 's/\.?(dev|a|b|rc)/~\1/' <<<"$version")

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
site=$root$PROGRAM/lib/$python/site-packages
mkdir -p "$site" "$root$PROGRAM/bin" "$root/DEBIAN" "$output"

# --- the program: a virtual environment, laid out as venv does, for the place where it will stand

"$PYTHON" -m venv "$work/tools"
options=(--quiet --disable-pip-version-check --no-compile --target "$site" -c "$SOURCE/deploy/constraints.txt")
[[ -z $wheels ]] || options+=(--find-links "$wheels")
if [[ $arch != "$here" ]]; then
    options+=(--only-binary=:all: --implementation cp --python-version "${python#python}")
    for tag in manylinux_2_28 manylinux_2_27 manylinux_2_24 manylinux_2_17 manylinux2014 linux; do
        options+=(--platform "${tag}_$machine")
    done
fi
"$work/tools/bin/python" -m pip install "${options[@]}" "$(realpath "$wheel")${wanted:+[$wanted]}"
# Scripts of this and other packages, with the name of the Python that has installed them.
rm -rf "${site:?}/bin"

ln -s "/usr/bin/$python" "$root$PROGRAM/bin/python"
ln -s python "$root$PROGRAM/bin/python3"
cat >"$root$PROGRAM/pyvenv.cfg" <<END
home = /usr/bin
include-system-site-packages = false
version = $("$PYTHON" -c 'import platform; print(platform.python_version())')
END
cat >"$root$PROGRAM/bin/xiaod" <<END
#!$PROGRAM/bin/python
import sys

from xiaod.cli.main import main

sys.exit(main())
END
chmod 755 "$root$PROGRAM/bin/xiaod"
# The user that it runs as cannot write byte code, and root should leave none behind. Without times, so that a package is built twice the same.
"$PYTHON" -m compileall -q -j 2 --invalidation-mode unchecked-hash -s "$root" -p / "$site" >"$work/not-compiled" 2>&1 || true

# --- what is around it

place() { install -D -m "$1" "$2" "$root$3"; }

for unit in xiaod.service xiaod@.service xiaod-events.service; do
    place 644 "$SOURCE/systemd/$unit" "/usr/lib/systemd/system/$unit"
done
place 644 "$SOURCE/systemd/sysusers.d/xiaod.conf" /usr/lib/sysusers.d/xiaod.conf
place 644 "$SOURCE/systemd/tmpfiles.d/xiaod.conf" /usr/lib/tmpfiles.d/xiaod.conf
place 644 "$SOURCE/config.yaml" /usr/share/xiaod/config.yaml
place 644 "$SOURCE/deploy/prometheus/alerts.yaml" /usr/share/xiaod/alerts.yaml
place 644 "$SOURCE/deploy/grafana/dashboards/xiaod.json" /usr/share/xiaod/grafana.json
mkdir -p "$root/usr/share/doc/xiaod"
{ cat "$HERE/copyright" && sed -n '5,$s/^$/./; 5,$s/^/ /p' "$SOURCE/LICENSE"; } >"$root/usr/share/doc/xiaod/copyright"
mkdir -p "$root/usr/bin" "$root/usr/share/man/man1"
ln -s "$PROGRAM/bin/xiaod" "$root/usr/bin/xiaod"
gzip -9n <"$SOURCE/CHANGELOG.md" >"$root/usr/share/doc/xiaod/changelog.gz"
# The parser of arguments loads no library, so this Python runs it for either architecture.
PYTHONPATH=$site "$PYTHON" -B -m xiaod.cli.manual | gzip -9n >"$root/usr/share/man/man1/xiaod.1.gz"

# --- the package

for script in preinst postinst prerm postrm; do
    install -m 755 "$HERE/$script" "$root/DEBIAN/$script"
done
cat >"$root/DEBIAN/control" <<END
Package: xiaod
Version: $debian
Architecture: $arch
Maintainer: ${DEBFULLNAME:-Hongyu Xiao} <${DEBEMAIL:-xiaod@localhost}>
Section: science
Priority: optional
Installed-Size: $(du -k -s --apparent-size "$root" | cut -f1)
Depends: $python, libc6 (>= $(getconf GNU_LIBC_VERSION | cut -d" " -f2)), libstdc++6, ca-certificates, passwd
Recommends: systemd
Description: real-time seismic phase picker
 Subscribes to SeedLink streams, runs a small neural network over them on the
 CPU, and writes P and S picks as JSON Lines, QuakeML and to brokers, with
 metrics for Prometheus.
 .
 The package brings all Python libraries that it uses below $PROGRAM.
END
(cd "$root" && find . -path ./DEBIAN -prune -o -type f -printf '%P\0' | sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
# Times in the package are those of the version, not of the hour.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$SOURCE" log -1 --format=%ct 2>/dev/null || stat -c %Y "$SOURCE/CHANGELOG.md")}
export SOURCE_DATE_EPOCH
dpkg-deb --root-owner-group -Zxz -z3 --build "$root" "$output/xiaod_${debian}_$arch.deb"
