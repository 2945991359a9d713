# activate.sh KIND ID: makes a version the one that runs. If it does not serve, the one before it does again.
set -eu
kind=$1 id=$2
old=$(readlink "$agent/current" || :)
[ "$old" = "$id" ] || link "$id" current
if restart_agent "$kind" && answers; then
    # Two versions are kept: this one, and the one to roll back to.
    [ -z "$old" ] || [ "$old" = "$id" ] || link "$old" previous
    previous=$(readlink "$agent/previous" || :)
    for folder in "$agent"/*-*; do
        case $(basename "$folder") in "$id" | "$previous") ;; *) rm -rf "$folder" ;; esac
    done
    exit 0
fi
tail -n 20 "$state/agent.log" >&2 || :
if [ -n "$old" ] && [ "$old" != "$id" ]; then
    link "$old" current
    restart_agent "$kind"
    answers && echo "$old serves again" >&2
fi
exit 1
