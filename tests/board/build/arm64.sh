#!/bin/sh
# The same for a Raspberry Pi's processor. usage: arm64.sh TARGET AMD64
#
# The programs are those of Debian's arm64 packages, unpacked. What installing and configuring packages adds to that
# (accounts, links, databases) does not depend on the processor, and is taken over from AMD64, which amd64.sh made: on an
# emulated processor it would take up to a quarter of an hour.
. "$(dirname "$0")/debian.sh"
model=$2

installed=$(dpkg-query --admindir="$model/var/lib/dpkg" --show --showformat '${Package},')
unpack arm64 "${installed%,}"

# Settings and state are the model's, and so are files that no package holds, owners and modes.
rm -r "$target/var"
tar -C "$model" --exclude='*x86_64*' --exclude=./etc/ld.so.cache -c ./etc ./var | tar -C "$target" -xp
tar -C "$model" --exclude='*x86_64*' --exclude='*x86-64*' --exclude=./lib64 --exclude=./usr/lib64 \
  --exclude=./etc/ld.so.cache -c . | tar -C "$target" --skip-old-files -xp
(cd "$model" && find . ! -type l \( -perm /7000 -o ! -user 0 -o ! -group 0 \)) | while read -r path; do
  [ -e "$target/$path" ] || continue
  chown --reference="$model/$path" "$target/$path"
  chmod --reference="$model/$path" "$target/$path"
done

# The record of packages names this processor.
(
  cd "$target/var/lib/dpkg"
  echo arm64 > arch
  sed -i 's/^Architecture: amd64/Architecture: arm64/' status
  for record in info/*:amd64.*; do mv "$record" "${record%%:*}:arm64.${record##*.}"; done
  sed -i 's/x86_64-linux-gnu/aarch64-linux-gnu/; s/ld-linux-x86-64\.so\.2/ld-linux-aarch64.so.1/' info/*.list info/*.md5sums
)
chroot "$target" ldconfig

# qemu-user knows a peer's groups (SO_PEERGROUPS) only while they are one; more, and systemd --user asks for ever.
chroot "$target" usermod --groups '' pi
