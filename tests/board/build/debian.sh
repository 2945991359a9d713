# Sourced by the recipes beside it, each of which makes one folder, its first argument, and writes nothing else.
set -eu
target=$1

# The archive that this machine's own apt is set up with.
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | sort -u | head -n 1)
[ -n "$mirror" ] || { echo "apt on this machine knows no Debian archive: run apt-get update" >&2; exit 1; }

# Debian bookworm, which Raspberry Pi OS is made of, in $target. usage: debian ARCHITECTURE VARIANT PACKAGES [OPTION...]
debian() {
  architecture=$1 variant=$2 packages=$3
  shift 3
  mmdebstrap --quiet --mode=root --architectures="$architecture" --variant="$variant" --include="$packages" "$@" \
    --format=directory --aptopt='Acquire::Languages "none"' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' bookworm "$target" "$mirror"
}

# Packages of $architecture unpacked and not installed: no program of theirs is run. usage: unpack ARCHITECTURE PACKAGES
unpack() {
  debian "$1" extract "$2" --skip=check/qemu --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr
}
