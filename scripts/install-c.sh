#!/usr/bin/env bash
# Builds the C library and installs it: libraries, headers, pkg-config and CMake packages.
#
#   scripts/install-c.sh [PREFIX]      /usr/local by default; DESTDIR is put before it, for packages
#
# PROFILE=dev installs an unoptimised build.
set -euo pipefail

prefix=${1:-/usr/local}
profile=${PROFILE:-release}
root=$(cd "$(dirname "$0")/.." && pwd)
binding=$root/ffi-c
for tool in cargo:"a Rust toolchain (cargo)" cc:"a C compiler (cc)"; do
    if ! command -v "${tool%%:*}" >/dev/null 2>&1; then
        echo "installing the C library needs ${tool#*:}: please install it, then try again" >&2
        missing=yes
    fi
done
[ -z "${missing:-}" ] || exit 1
case $prefix in /*) ;; *) echo "the prefix must be an absolute path: $prefix" >&2; exit 1 ;; esac

cd "$root"
cargo build --quiet --locked --package respass-ffi --profile "$profile"
built=${CARGO_TARGET_DIR:-$root/target}/${profile/#dev/debug}

version=$(sed -n 's/^#define RESPASS_VERSION "\(.*\)"$/\1/p' "$binding/include/respass.h")
major=${version%%.*}
soname=librespass.so.$major
to=${DESTDIR:-}$prefix

fill() {
    sed -e "s|@PREFIX@|$prefix|g" -e "s|@VERSION@|$version|g" -e "s|@MAJOR@|$major|g" -e "s|@SONAME@|$soname|g" \
        "$binding/packaging/$1.in" > "$2/$1"
}

install -d "$to/lib/pkgconfig" "$to/lib/cmake/respass" "$to/include"
install -m 755 "$built/librespass.so" "$to/lib/librespass.so.$version"
ln -sf "librespass.so.$version" "$to/lib/$soname"
ln -sf "$soname" "$to/lib/librespass.so"
install -m 644 "$built/librespass.a" "$to/lib/"
install -m 644 "$binding"/include/*.h "$binding"/adapters/*.h "$to/include/"
fill respass.pc "$to/lib/pkgconfig"
fill respass-config.cmake "$to/lib/cmake/respass"
fill respass-config-version.cmake "$to/lib/cmake/respass"
echo "installed respass $version in $to"
case ${DESTDIR:-}${prefix%/} in
    /usr | /usr/local) echo "Run ldconfig as root, so that programs find $soname." ;;
esac
