#!/usr/bin/env bash
# Installs the Debian packages that checks of .ci/run need beyond those for building and testing, where
# it may. Fails if they are not all there in the end.
set -u

packages=(
    # A real client for the example server, and a counter of instructions.
    redis-tools valgrind
    # For aarch64: a compiler with the std of both, a linker, an emulator.
    rustc-web libstd-rust-web-dev:arm64 gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user
    # For ThreadSanitizer: std's sources, to instrument it.
    rust-web-src
)

missing() {
    local package
    for package in "${packages[@]}"; do
        dpkg-query --show --showformat='${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q '^ii' || echo "$package"
    done
}

command -v dpkg-query >/dev/null || {
    echo "this is no Debian, so these packages are not looked for: ${packages[*]}"
    exit 1
}
[ -n "$(missing)" ] || exit 0
if [ "$(id -u)" = 0 ]; then
    dpkg --add-architecture arm64
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends -qq $(missing) >/dev/null
fi
if [ -n "$(missing)" ]; then
    echo "not installed:" $(missing)
    exit 1
fi
