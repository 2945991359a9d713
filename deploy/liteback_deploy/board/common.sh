root=$HOME/.local/share/liteback
agent=$root/agent
state=$root/state
user_unit=$HOME/.config/systemd/user/liteback-agent.service
system_unit=/etc/systemd/system/liteback-agent.service
XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-/run/user/$(id -u)} # without a session of systemd's it is not set
export XDG_RUNTIME_DIR

# link TARGET NAME: a link in the agent's folder that readers find whole, before or after.
link() {
    ln -s "$1" "$agent/.link.$$"
    mv -T "$agent/.link.$$" "$agent/$2"
    sync
}

# supervisor: the process id of the loop that keeps the agent running without systemd, where it does.
supervisor() {
    pid=$(cat "$state/supervisor.pid" 2>/dev/null) || return 1
    # After a power cut the number may be another process's.
    tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -q /supervise && echo "$pid"
}

# stop_agent KIND
stop_agent() {
    case $1 in
    user) systemctl --user stop liteback-agent.service ;;
    system) sudo -n systemctl stop liteback-agent.service ;;
    background)
        pid=$(supervisor) || return 0
        kill "$pid" 2>/dev/null || :
        while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
        ;;
    esac
}

# restart_agent KIND: the agent that `current` names, and no address of an older one.
restart_agent() {
    case $1 in
    background)
        stop_agent background
        rm -f "$state/address"
        # setsid: a signal to this session is none of its business.
        setsid sh -c '"$1/current/supervise" >/dev/null 2>&1 </dev/null &' sh "$agent"
        ;;
    user)
        rm -f "$state/address"
        systemctl --user restart liteback-agent.service
        ;;
    system)
        rm -f "$state/address"
        sudo -n systemctl restart liteback-agent.service
        ;;
    esac
}

# direct_port: where the agent takes direct connections, or 0.
direct_port() {
    if [ -s "$state/tls/board.key" ]; then cat "$state/tls/port"; else echo 0; fi
}

# answers: waits until the running agent serves; says why where it does not.
answers() {
    "$agent/current/python" -m liteback_agent.check "$state/token" "$state/address"
}
