#!/bin/sh
# A board's root file system, Debian bookworm like Raspberry Pi OS. usage: rootfs.sh amd64 TARGET
#
# Only TARGET is written. The archive is the one that this machine's own apt is set up with.
set -eu
arch=$1 target=$2
suite=bookworm
packages=systemd-sysv,dbus,dbus-user-session,libpam-systemd,sudo,python3,libstdc++6,openssh-server,procps,iproute2

mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | sort -u | head -n 1)
[ -n "$mirror" ] || { echo "apt on this machine knows no Debian archive: run apt-get update" >&2; exit 1; }

mmdebstrap --quiet --mode=root --architectures="$arch" --variant=minbase --include="$packages" --format=directory \
  --aptopt='Acquire::Languages "none"' \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
  $suite "$target" "$mirror"

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
: > /etc/machine-id

# What would speak to hardware, to the network or to the kernel that the boxes share.
for unit in getty@tty1.service console-getty.service systemd-timesyncd.service apt-daily.timer apt-daily-upgrade.timer \
  dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer systemd-firstboot.service \
  systemd-modules-load.service sys-kernel-debug.mount sys-kernel-tracing.mount dev-hugepages.mount; do
  ln -sf /dev/null /etc/systemd/system/$unit
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
