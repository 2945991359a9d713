# logs.sh LINES: the last lines of the agent's log, of the file before it too.
cat "$state/agent.log.old" "$state/agent.log" 2>/dev/null | tail -n "$1"
