#!/bin/sh
# A board's root file system: Debian bookworm, as Raspberry Pi OS is. usage: rootfs.sh amd64 TARGET | rootfs.sh arm64 TARGET AMD64
#
# Only TARGET is written. The archive is the one that this machine's own apt is set up with.
#
# An arm64 one is unpacked, not installed: Debian's arm64 packages are the programs, and what installing and configuring
# the same packages adds to them (accounts, links, databases) does not depend on the architecture, and is taken over from
# AMD64, an amd64 one. Emulated, installing takes a quarter of an hour.
set -eu
arch=$1 target=$2
packages=systemd-sysv,dbus,dbus-user-session,libpam-systemd,sudo,python3,libstdc++6,openssh-server,procps,iproute2

mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | sort -u | head -n 1)
[ -n "$mirror" ] || { echo "apt on this machine knows no Debian archive: run apt-get update" >&2; exit 1; }

# usage: bootstrap VARIANT PACKAGES [OPTION...]
bootstrap() {
  variant=$1 include=$2
  shift 2
  mmdebstrap --quiet --mode=root --architectures="$arch" --variant="$variant" --include="$include" --format=directory "$@" \
    --aptopt='Acquire::Languages "none"' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' bookworm "$target" "$mirror"
}

# usage: adopt MODEL: its settings, what else it has and the unpacked packages do not, owners and modes, the record of packages
adopt() {
  model=$1
  tar -C "$model" --exclude='*x86_64*' --exclude=./etc/ld.so.cache -c ./etc | tar -C "$target" -xp
  rm -r "$target/var"
  tar -C "$model" --exclude='*x86_64*' --exclude='*x86-64*' --exclude=./lib64 --exclude=./usr/lib64 \
    --exclude=./etc/ld.so.cache -c . | tar -C "$target" --skip-old-files -xp
  (cd "$model" && find . ! -type l \( -perm /7000 -o ! -user 0 -o ! -group 0 \)) | while read -r path; do
    [ -e "$target/$path" ] || continue
    chown --reference="$model/$path" "$target/$path"
    chmod --reference="$model/$path" "$target/$path"
  done
  cd "$target/var/lib/dpkg"
  echo "$arch" > arch
  sed -i "s/^Architecture: amd64/Architecture: $arch/" status
  for record in info/*:amd64.*; do mv "$record" "${record%%:*}:$arch.${record##*.}"; done
  sed -i 's/x86_64-linux-gnu/aarch64-linux-gnu/; s/ld-linux-x86-64\.so\.2/ld-linux-aarch64.so.1/' info/*.list info/*.md5sums
}

if [ "$arch" = arm64 ]; then
  installed=$(dpkg-query --admindir="$3/var/lib/dpkg" --show --showformat '${Package},')
  bootstrap extract "${installed%,}" --skip=check/qemu --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr
  adopt "$3"
  chroot "$target" ldconfig
  # qemu-user knows a peer's groups (SO_PEERGROUPS) only while they are one; more, and systemd --user asks for ever.
  chroot "$target" usermod --groups '' pi
  exit
fi

bootstrap minbase "$packages"
chroot "$target" sh -eu <<'CONFIGURE'
useradd --create-home --shell /bin/bash --groups adm,sudo,plugdev,video pi
echo pi:raspberry | chpasswd
echo 'pi ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/pi
chmod 440 /etc/sudoers.d/pi

# Keys are kept outside the home folders, which some tests take away.
cat > /etc/ssh/sshd_config.d/board.conf <<SSHD
HostKey /etc/ssh/ssh_host_ed25519_key
AuthorizedKeysFile .ssh/authorized_keys /etc/ssh/authorized_keys/%u
UseDNS no
SSHD
rm -f /etc/ssh/ssh_host_*
mkdir -p /etc/ssh/authorized_keys /var/log/journal

printf 'board\n' > /etc/hostname
printf '127.0.0.1 localhost board\n' > /etc/hosts
: > /etc/fstab
: > /etc/resolv.conf
: > /etc/machine-id

# What would speak to hardware, to the network or to the kernel that the boxes share.
for unit in getty@tty1.service console-getty.service systemd-timesyncd.service apt-daily.timer apt-daily-upgrade.timer \
  dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer systemd-firstboot.service \
  systemd-modules-load.service sys-kernel-debug.mount sys-kernel-tracing.mount dev-hugepages.mount; do
  ln -sf /dev/null /etc/systemd/system/$unit
done

# qemu-user does not know the clone() that a unit with credentials is started with; these would have none anyway.
for unit in systemd-sysusers systemd-tmpfiles-setup systemd-tmpfiles-setup-dev; do
  mkdir /etc/systemd/system/$unit.service.d
  printf '[Service]\nLoadCredential=\n' > /etc/systemd/system/$unit.service.d/no-credentials.conf
done

# The init of a box without systemd. A shell that waits takes in orphans, as an init must.
cat > /usr/local/sbin/plain-init <<'INIT'
#!/bin/sh
mkdir -p /run/sshd
/usr/sbin/sshd -D &
while :; do wait; sleep 1; done
INIT
chmod +x /usr/local/sbin/plain-init
CONFIGURE
