# receive.sh ID OFFSET: takes a bundle from standard input, from a byte on; what was sent before it is kept.
set -eu
umask 077
mkdir -p "$agent" "$state"
part=$agent/.incoming-$1
for other in "$agent"/.incoming-*; do [ "$other" = "$part" ] || rm -f "$other"; done
[ "$2" -gt 0 ] || : >"$part"
[ "$(wc -c <"$part")" -eq "$2" ] || { rm -f "$part" && echo "the partial upload has changed; send it again" >&2 && exit 9; }
cat >>"$part"
