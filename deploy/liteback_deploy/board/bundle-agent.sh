#!/bin/sh
# Starts the agent of this folder with this board's token, models and log. Further arguments are the agent's own.
umask 077
here=$(dirname "$(readlink -f "$0")")
root=$(dirname "$(dirname "$here")")
state=$root/state
rm -f "$state/address" # of an agent that has ended
if [ -e "$state/agent.log" ] && [ "$(wc -c <"$state/agent.log")" -gt 1000000 ]; then
    mv "$state/agent.log" "$state/agent.log.old"
fi
if [ -s "$state/tls/board.key" ]; then
    set -- --tls-listen "[::]:$(cat "$state/tls/port")" --tls-cert "$state/tls/board.pem" \
        --tls-key "$state/tls/board.key" --tls-client-ca "$state/tls/client.pem" "$@"
fi
exec "$here/python" -m liteback_agent --token-file "$state/token" --address-file "$state/address" \
    --store "$root/models" "$@" >>"$state/agent.log" 2>&1
