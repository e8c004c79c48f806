#!/usr/bin/env bash
# Builds the images of `tidegate` and `tidegate-operator` from programs that are built already, without a Docker daemon
# and without starting a container: what is in an image is collected here, `Containerfile` says what it is called and
# how it starts, and buildah puts it together in a storage of its own, which is deleted afterwards.
# (What buildah leaves is a list of layers it has seen, in /var/lib/containers/cache.)
#
# The archives depend on nothing but what they are built from: the same programs and libraries give the same bytes.
set -euo pipefail

readonly PROGRAMS=(tidegate tidegate-operator)
# What comes with the C library and its loader. These must be of one version, so a base brings its own.
readonly C_LIBRARY='^(ld-linux.*|libc|libm|libdl|libpthread|librt|libresolv|libutil|libanl)\.so\.[0-9]+$'
readonly CERTIFICATES=/etc/ssl/certs/ca-certificates.crt

usage() {
    cat <<USAGE
usage: scripts/image.sh --binaries DIR --out DIR [--tag TAG] [--base IMAGE]

  --binaries DIR   where \`tidegate\` and \`tidegate-operator\` are, for example target/release
  --out DIR        gets tidegate.tar and tidegate-operator.tar, OCI archives of localhost/<program>:<tag>
  --tag TAG        the version in Cargo.toml if not set
  --base IMAGE     an image with glibc, CA certificates and /tmp to build upon; none if not set
USAGE
}

fail() {
    echo "image: $*" >&2
    exit 1
}

# Libraries are taken from where the loader of this machine finds them, into a folder of our own, where they don't
# mix with those of a base. The loader itself is named by an absolute path inside the program.
copy_libraries() {
    local program=$1 root=$2 library path
    if ldd "$program" | grep 'not found' >&2; then
        fail "$program needs libraries that are not on this machine"
    fi
    while read -r library path; do
        [[ -n $base && ${library##*/} =~ $C_LIBRARY ]] && continue
        if [[ $library == /* ]]; then
            install -D -m 0755 "$library" "$root$library"
        else
            install -D -m 0644 "$path" "$root/usr/lib/tidegate/$library"
        fi
    done < <(ldd "$program" | awk '$2 == "=>" { print $1, $3 } $1 ~ "^/" { print $1 }')
}

# What a base would bring: names of users, the order in which host names are looked up (hosts file first), CA
# certificates where rustls and Debian's OpenSSL look for them, and a folder for temporary files. The C library has
# looking up in files and by DNS built in from 2.34 on; with an older one, the build is refused.
write_system_files() {
    local root=$1 libc
    libc=$(getconf GNU_LIBC_VERSION)
    [[ $(printf '%s\n' 'glibc 2.34' "$libc" | sort -V | head -n 1) == 'glibc 2.34' ]] ||
        fail "$libc is too old for an image without a base, 2.34 or newer is needed; use --base"
    [[ -r $CERTIFICATES ]] || fail "$CERTIFICATES is missing; install ca-certificates, or use --base"

    install -d -m 0755 "$root/etc" "$root/usr/lib/ssl"
    install -d -m 1777 "$root/tmp"
    echo 'root:x:0:0:root:/:/sbin/nologin' >"$root/etc/passwd"
    echo 'tidegate:x:65532:65532:tidegate:/tmp:/sbin/nologin' >>"$root/etc/passwd"
    printf 'root:x:0:\ntidegate:x:65532:\n' >"$root/etc/group"
    echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
    install -D -m 0644 "$CERTIFICATES" "$root$CERTIFICATES"
    ln -s "$CERTIFICATES" "$root/usr/lib/ssl/cert.pem"
}

# Debug information is left out; names of functions stay, so that a backtrace in a pod's log can be read.
fill_context() {
    local program=$1 root=$2
    install -d -m 0755 "$root/usr/bin" "$root/usr/lib/tidegate"
    strip --strip-debug -o "$root/usr/bin/$program" "$binaries/$program"
    chmod 0755 "$root/usr/bin/$program"
    copy_libraries "$binaries/$program" "$root"
    [[ -n $base ]] || write_system_files "$root"
}

build_image() {
    local program=$1 name=localhost/$1:$tag layout=$work/$1.oci
    local storage=(buildah --root "$work/storage" --runroot "$work/run" --storage-driver vfs)
    "${storage[@]}" build --quiet --isolation chroot --timestamp 0 --file "$repository/Containerfile" \
        --target "$program" --tag "$name" --label "org.opencontainers.image.version=$tag" \
        ${base:+--build-arg "BASE=$base"} "$work/context" >/dev/null
    "${storage[@]}" push --quiet "$name" "oci:$layout:$name"
    # Packed here because buildah would note the time of packing. In the place of an older archive only when whole.
    tar --create --file "$out/$program.tar.new" --directory "$layout" \
        --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX .
    mv "$out/$program.tar.new" "$out/$program.tar"
    echo "image: $out/$program.tar is $name, $(du --apparent-size -h "$out/$program.tar" | cut -f1)"
}

repository=$(cd "$(dirname "$0")/.." && pwd)
tag=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$repository/Cargo.toml" | head -n 1)
binaries='' out='' base=''
while (($#)); do
    case $1 in
        --help) usage && exit ;;
        --binaries | --out | --tag | --base) (($# > 1)) || fail "$1 needs a value" ;;
        *) usage >&2 && fail "unknown argument \`$1\`" ;;
    esac
    printf -v "${1#--}" %s "$2" # the variables are called as the options are
    shift 2
done
[[ -n $binaries && -n $out ]] || { usage >&2 && fail "--binaries and --out are needed"; }
for tool in buildah strip ldd tar; do
    command -v $tool >/dev/null ||
        fail "$tool is missing; on Debian: apt-get install --no-install-recommends buildah binutils"
done
for program in "${PROGRAMS[@]}"; do
    [[ -x $binaries/$program ]] || fail "there is no $binaries/$program; build it first, or see \`make image\`"
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"
umask 022
for program in "${PROGRAMS[@]}"; do
    fill_context "$program" "$work/context/$program"
done
for program in "${PROGRAMS[@]}"; do
    build_image "$program"
done
