# credentials.sh: the token and, once the agent listens, its address and its port for direct connections, or 0.
[ -e "$agent/current" ] || exit 3
# Without systemd nobody else starts it after a reboot.
[ ! -e "$state/background" ] || supervisor >/dev/null || restart_agent background
tries=0
while [ ! -s "$state/address" ] && [ "$tries" -lt 40 ]; do # it may just be starting
    tries=$((tries + 1))
    sleep 0.5
done
cat "$state/token" 2>/dev/null || exit 3
echo
[ -s "$state/address" ] || exit 4
cat "$state/address"
direct_port
