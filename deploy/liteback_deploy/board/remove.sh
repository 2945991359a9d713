# remove.sh WHAT: `service`: no service of any kind is left; `agent`: nor the agent, nor the keys of direct connections;
# `all`: nor models, token and logs.
set -u
if [ -e "$user_unit" ]; then
    stop_agent user 2>/dev/null
    systemctl --user disable liteback-agent.service 2>/dev/null
    rm -f "$user_unit"
    systemctl --user daemon-reload 2>/dev/null
fi
if [ -e "$system_unit" ] && grep -q "$agent/" "$system_unit"; then
    sudo -n systemctl disable --now liteback-agent.service 2>/dev/null
    sudo -n rm -f "$system_unit" || exit 1
    sudo -n systemctl daemon-reload
fi
stop_agent background
rm -f "$state/background" "$state/address"
case $1 in
agent) rm -rf "$agent" "$state/tls" "$state"/.tls-* ;;
all) rm -rf "$root" ;;
esac
