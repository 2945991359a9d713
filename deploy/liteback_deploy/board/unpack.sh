# unpack.sh ID SHA256: an upload becomes a version folder, whole or not at all.
set -eu
umask 077
part=$agent/.incoming-$1
if ! echo "$2  $part" | sha256sum -c >/dev/null 2>&1; then
    rm -f "$part"
    echo "the upload is damaged; send it again" >&2
    exit 9
fi
rm -rf "$agent"/.new-* # of a deployment that was cut off
mkdir "$agent/.new-$1"
tar -xzf "$part" -C "$agent/.new-$1"
sync # a folder of that name means that its files are on the disk
mv -T "$agent/.new-$1" "$agent/$1"
rm -f "$part"
if [ ! -s "$state/token" ]; then
    od -An -tx1 -N32 /dev/urandom | tr -d ' \n' >"$state/token.part"
    mv "$state/token.part" "$state/token"
fi
sync
