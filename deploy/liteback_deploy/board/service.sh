# service.sh KIND: makes the service known that standard input describes. It does not start it.
set -eu
mkdir -p "$state"
case $1 in
user)
    mkdir -p "$(dirname "$user_unit")"
    cat >"$user_unit.part"
    mv "$user_unit.part" "$user_unit"
    me=$(id -un)
    # Without lingering the agent would end with the last login, and not come back after a reboot.
    [ -e "/var/lib/systemd/linger/$me" ] || loginctl enable-linger "$me" 2>/dev/null ||
        sudo -n loginctl enable-linger "$me" || { echo "lingering cannot be switched on for $me" >&2 && exit 3; }
    tries=0
    until systemctl --user daemon-reload 2>/dev/null; do # the user's systemd may just be starting
        tries=$((tries + 1))
        [ "$tries" -lt 60 ] || { systemctl --user daemon-reload || exit 4; }
        sleep 0.5
    done
    systemctl --user enable liteback-agent.service 2>&1
    ;;
system)
    sudo -n tee "$system_unit.part" >/dev/null
    sudo -n mv "$system_unit.part" "$system_unit"
    sudo -n systemctl daemon-reload
    sudo -n systemctl enable liteback-agent.service 2>&1
    ;;
background) cat >"$state/background" ;;
esac
sync
