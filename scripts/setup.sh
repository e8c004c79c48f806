#!/bin/sh
# Says what this machine lacks beyond Rust and git, and installs it where it can: on Debian and its relatives, by apt-get,
# as root.
#
#     setup.sh demo    what `make demo` needs: a C compiler
#     setup.sh test    besides, what the whole program and its tests are built with, and what the servers of the tests
#                      need. The servers themselves are installed by `counterparts fetch`, into the user's cache.
set -eu

case ${1:-} in
demo | test) purpose=$1 ;;
*)
    echo "setup: found \`${1:-}\`; accepted is \`demo\` or \`test\`" >&2
    exit 2
    ;;
esac

missing=
cluster=

# need PACKAGE CHECK…: the package is needed unless the check succeeds.
need() {
    package=$1
    shift
    if "$@" >/dev/null 2>&1; then
        echo "setup: $package: there"
    else
        echo "setup: $package: missing"
        missing="$missing $package"
    fi
}

# want PACKAGE CHECK…: as need, but only for tests that are skipped where it isn't there.
want() {
    package=$1
    shift
    if "$@" >/dev/null 2>&1; then
        echo "setup: $package: there"
    else
        echo "setup: $package: missing"
        cluster="$cluster $package"
    fi
}

has() { command -v "$1"; }
library() { has pkg-config && pkg-config --exists "$1"; }
libclang() { find /usr/lib -name 'libclang*.so*' | grep -q .; }
# A virtual environment with pip; `venv` alone may be there without the part that brings pip.
venv() { python3 -c 'import venv, ensurepip'; }
java_runs() { has java && java -version; }
# From 1.21 on, go fetches the version that a module asks for.
go_works() { has go && go version | grep -Eq 'go1\.(2[1-9]|[3-9][0-9])'; }
network_plugins() { test -e /usr/lib/cni/ptp || test -e /opt/cni/bin/ptp; }

need build-essential has cc

if [ "$purpose" = test ]; then
    # RocksDB and librdkafka: bindgen reads C headers through libclang, librdkafka is built by cmake, and includes curl's
    # header even where it is built without curl (2.12.1, `#ifdef` of a macro that is 0).
    need cmake has cmake
    need clang has clang
    need libclang-dev libclang
    need pkg-config has pkg-config
    need libssl-dev library libssl
    need zlib1g-dev library zlib
    need libcurl4-openssl-dev library libcurl

    # The servers of the tests: Kafka's jars come by Maven, ClickHouse's engine by pip, two by Go.
    need default-jre-headless java_runs
    need maven has mvn
    need python3 has python3
    need python3-venv venv
    need golang go_works
    need shellcheck has shellcheck

    # The nodes of the tests' Kubernetes cluster, which only root can run.
    want containerd has containerd
    want runc has runc
    want containernetworking-plugins network_plugins
    want iptables has iptables
    want iproute2 has ip
    want openssl has openssl
    want util-linux has unshare
    want buildah has buildah
fi

if [ -n "$cluster" ]; then
    if [ "$(id -u)" -eq 0 ] && has apt-get >/dev/null; then
        missing="$missing$cluster"
    else
        echo "setup: tests that need a cluster will be skipped: they take root and$cluster"
    fi
fi
if [ -z "$missing" ]; then
    echo "setup: nothing to do"
    exit 0
fi
if ! command -v apt-get >/dev/null; then
    echo "setup: this machine has no apt-get; install what Debian calls:$missing" >&2
    exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "setup: not root, so this is for you to run:" >&2
    echo "    apt-get install --no-install-recommends$missing" >&2
    exit 1
fi

export DEBIAN_FRONTEND=noninteractive
echo "setup: apt-get update"
apt-get update -qq
echo "setup: apt-get install$missing"
# shellcheck disable=SC2086 # the names are separate words
apt-get install -y -qq --no-install-recommends $missing >/dev/null
if [ "$purpose" = test ] && ! go_works >/dev/null; then
    echo "setup: the go of this Debian is older than 1.21; install a newer one and put it on PATH" >&2
    exit 1
fi
echo "setup: done"
