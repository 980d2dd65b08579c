#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
# Run by mmdebstrap on the new root file system ($1): makes it a host as Ansible meets one. Keys come when it starts.
set -eu
root=$1

chroot "$root" useradd --create-home --shell /bin/bash --uid 1000 ansible
install -d -m 0700 -o 1000 -g 1000 "$root/home/ansible/.ssh"
printf 'ansible ALL=(ALL:ALL) NOPASSWD: ALL\n' >"$root/etc/sudoers.d/ansible"
chmod 0440 "$root/etc/sudoers.d/ansible"

rm -f "$root"/etc/ssh/ssh_host_*
cat >"$root/etc/ssh/sshd_config.d/lab.conf" <<'CONF'
HostKey /etc/ssh/ssh_host_ed25519_key
PasswordAuthentication no
PermitRootLogin no
UseDNS no
MaxSessions 50
MaxStartups 50:30:100
CONF

# Logs outlive a power cut.
mkdir -p "$root/var/log/journal" "$root/etc/systemd/journald.conf.d"
printf '[Journal]\nStorage=persistent\nSystemMaxUse=128M\nReadKMsg=no\n' >"$root/etc/systemd/journald.conf.d/lab.conf"

# What a container's boot lacks of a host's: a boot id of its own (it has that of the machine's kernel, for ever), and a
# journal on disk (podman covers the folder with a tmpfs).
cat >"$root/etc/systemd/system/lab-boot.service" <<'UNIT'
[Unit]
Description=Make this container boot like a host
DefaultDependencies=no
Before=systemd-journald.service systemd-journal-flush.service sysinit.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'cat /proc/sys/kernel/random/uuid >/run/boot-id'
ExecStart=mount --bind /run/boot-id /proc/sys/kernel/random/boot_id
ExecStart=-umount /var/log/journal
UNIT
mkdir -p "$root/etc/systemd/system/sysinit.target.wants"
ln -s ../lab-boot.service "$root/etc/systemd/system/sysinit.target.wants/lab-boot.service"

# These would reach through to the machine's kernel, fail in a container, or disturb a measurement.
for unit in systemd-modules-load.service systemd-sysctl.service systemd-binfmt.service systemd-remount-fs.service \
    systemd-udevd.service systemd-udev-trigger.service kmod-static-nodes.service systemd-timesyncd.service \
    systemd-oomd.service systemd-pcrphase.service \
    dev-hugepages.mount dev-mqueue.mount sys-kernel-config.mount sys-kernel-debug.mount sys-kernel-tracing.mount \
    sys-fs-fuse-connections.mount proc-sys-fs-binfmt_misc.automount proc-sys-fs-binfmt_misc.mount \
    console-getty.service getty@.service serial-getty@.service getty.target \
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer e2scrub_all.timer e2scrub_reap.service; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
ln -sf /lib/systemd/system/multi-user.target "$root/etc/systemd/system/default.target"

: >"$root/etc/machine-id"
rm -f "$root/var/lib/dbus/machine-id" "$root/etc/hostname" "$root/etc/resolv.conf"
