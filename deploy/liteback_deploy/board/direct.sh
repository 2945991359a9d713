# direct.sh KIND PORT: the agent takes direct connections at a port, with the keys on standard input (a tar archive);
# PORT 0: none any more. If it then does not serve, it is again as it was. What was before is kept until one of these:
# direct.sh KIND keep: it stays so; direct.sh KIND back: it is again as it was.
set -eu
umask 077
new=$state/.tls-new old=$state/.tls-old
back() {
    rm -rf "$state/tls"
    [ ! -e "$old" ] || mv -T "$old" "$state/tls"
    sync
    restart_agent "$1"
    answers
}
case $2 in
keep)
    rm -rf "$old"
    exit 0
    ;;
back)
    back "$1"
    exit 0
    ;;
esac
rm -rf "$new" "$old" # of a change that was cut off
if [ "$2" != 0 ]; then
    mkdir "$new"
    tar -xf - -C "$new"
    echo "$2" >"$new/port"
    sync
fi
[ ! -e "$state/tls" ] || mv -T "$state/tls" "$old"
[ ! -e "$new" ] || mv -T "$new" "$state/tls"
sync
if restart_agent "$1" && answers; then exit 0; fi
tail -n 20 "$state/agent.log" >&2 || :
back "$1" && echo "it serves as before" >&2
exit 1
