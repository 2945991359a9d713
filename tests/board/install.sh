#!/bin/sh
# What the tests on a board in a box need of a Debian machine, and how to run arm64 programs on it. Needs root; run it again
# at will. usage: install.sh [vm], which adds what LITEBACK_TEST_ARM=vm needs
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get -q update
apt-get -q install -y --no-install-recommends -o DPkg::Lock::Timeout=300 \
  mmdebstrap debian-archive-keyring arch-test qemu-user-static openssh-client openssh-server iproute2 nftables e2fsprogs util-linux \
  ${1:+qemu-system-arm cpio}

# The kernel opens the emulator now (F), so that a program finds it in every root and namespace; a setuid program stays one (C).
binfmt=/proc/sys/fs/binfmt_misc
[ -e $binfmt/register ] || mount -t binfmt_misc binfmt_misc $binfmt
[ -e $binfmt/qemu-aarch64 ] || printf ':qemu-aarch64:M::%s:%s:/usr/bin/qemu-aarch64-static:FC' \
  '\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00' \
  '\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff' > $binfmt/register
