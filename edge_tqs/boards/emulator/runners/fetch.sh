#!/bin/sh
# Fetch what an emulator needs and no package of this system holds: fetch.sh kernel|rp2040js DIRECTORY. What is there
# already is left alone.
set -eu
what=$1
mkdir -p "$2"
target=$(cd "$2" && pwd)

# Debian's kernel for 64-bit Arm, which QEMU boots. Its package is taken apart, not installed: it is another machine's.
kernel() {
    [ ! -f "$target/vmlinuz-arm64" ] || return 0
    work=$(mktemp -d)
    mkdir -p "$work/lists/partial" "$work/archives/partial"
    cd "$work"
    set -- -qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o APT::Sandbox::User=root \
        -o "Dir::State::Lists=$work/lists" -o "Dir::Cache=$work" -o Dir::State::status=/dev/null
    apt-get "$@" update >/dev/null
    name=$(apt-cache "$@" depends linux-image-cloud-arm64 |
        sed -n 's/.*Depends: \(linux-image-[^ ]*\).*/\1/p' | head -n 1)
    apt-get "$@" download "$name" >/dev/null
    dpkg-deb -x linux-image-*.deb tree
    cp tree/boot/vmlinuz-* "$target/vmlinuz-arm64.part"
    mv "$target/vmlinuz-arm64.part" "$target/vmlinuz-arm64"
    cd / && rm -rf "$work"
}

# The emulator of the RP2040, for Node.
rp2040js() {
    [ ! -f "$target/node_modules/rp2040js/package.json" ] || return 0
    npm install --silent --no-audit --no-fund --no-save --prefix "$target" rp2040js@1.4.1 >/dev/null
}

case $what in
kernel | rp2040js) "$what" ;;
*) echo "fetch.sh: no $what" >&2 && exit 2 ;;
esac
