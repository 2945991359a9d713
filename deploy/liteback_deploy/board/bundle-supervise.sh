#!/bin/sh
# Keeps the current agent running where there is no systemd. SIGTERM ends both; the agent alone: it is started again,
# at once if it ran for a minute, else after a wait that doubles up to a minute.
root=$(dirname "$(dirname "$(dirname "$(readlink -f "$0")")")")
echo $$ >"$root/state/supervisor.pid"
child=
trap 'kill "$child" 2>/dev/null; wait "$child"; rm -f "$root/state/supervisor.pid"; exit 0' TERM INT HUP
wait=1
while :; do
    began=$(date +%s)
    "$root/agent/current/agent" &
    child=$!
    echo "$child" >"$root/state/agent.pid"
    wait "$child"
    [ $(($(date +%s) - began)) -ge 60 ] && wait=1
    sleep "$wait" &
    wait $!
    wait=$((wait * 2 > 60 ? 60 : wait * 2))
done
