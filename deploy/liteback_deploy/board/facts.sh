# Says what the board is, one `key=value` a line. It changes nothing. Any POSIX shell runs it; nothing else is needed.
say() { printf '%s=%s\n' "$1" "$2"; }

printf 'liteback-facts\n' # what a login script may print comes before this line
say user "$(id -un)"
say uid "$(id -u)"
say home "$HOME"
say os "$(sed -n 's/^PRETTY_NAME=//p' /etc/os-release 2>/dev/null | tr -d '"')"
say kernel "$(uname -r)"
say machine "$(uname -m)"
say bits "$(getconf LONG_BIT 2>/dev/null)"
say glibc "$(getconf GNU_LIBC_VERSION 2>/dev/null)"
say clock "$(date +%s)"
say ram_kib "$(sed -n 's/^MemAvailable: *\([0-9]*\).*/\1/p' /proc/meminfo)"

# The nearest folder on the way to the agent's that is there already: whose disk, and may it be written?
near=$agent
while [ ! -d "$near" ]; do near=$(dirname "$near"); done
say disk_kib "$(df -Pk "$near" | awk 'NR == 2 { print $4 }')"
[ -w "$near" ] && say writable yes

python=$(command -v python3)
say python_path "$python"
if [ -n "$python" ]; then
    "$python" -s - <<'PYTHON' 2>&1 || say python_error "$("$python" -c 'pass' 2>&1 | tail -n 1)"
import ctypes, struct, sys
try:
    import fcntl, hashlib, json, resource, socket, subprocess, tempfile  # what a stripped Python may lack
    print("python=%d.%d.%d" % sys.version_info[:3])
except ImportError as error:
    print("python_error=%s" % error)
print("python_bits=%d" % (8 * struct.calcsize("P")))
try:
    ctypes.CDLL("libstdc++.so.6")
    print("libstdcxx=yes")
except OSError as error:
    print("libstdcxx_error=%s" % error)
try:
    import numpy
    print("numpy=%s" % numpy.__version__)
except ImportError:
    pass
PYTHON
fi

# Hardware: what doctor looks at. An Edge TPU has the first id until it is used for the first time, then the second.
for device in /sys/bus/usb/devices/*; do
    id=$(cat "$device/idVendor" "$device/idProduct" 2>/dev/null | tr '\n' :)
    case $id in 1a6e:089a: | 18d1:9302:) say coral "${id%:} $(cat "$device/speed")" ;; esac
done
[ -e /dev/apex_0 ] && say coral "pci 0"
say libedgetpu "$(dpkg-query -W -f '${Version}' 'libedgetpu1-*' 2>/dev/null)"
say throttled "$(vcgencmd get_throttled 2>/dev/null)"
say millicelsius "$(cat /sys/class/thermal/thermal_zone*/temp 2>/dev/null | sort -n | tail -n 1)"

[ -d /run/systemd/system ] && say systemd "$(systemctl --version | sed -n '1s/[^0-9]*\([0-9]*\).*/\1/p')"
systemctl --user show-environment >/dev/null 2>&1 && say user_manager yes
[ -e "/var/lib/systemd/linger/$(id -un)" ] && say linger yes
case " $(id -nG) " in *" sudo "* | *" wheel "* | *" root "*) say sudo yes ;; esac # asking sudo itself leaves traces

for folder in "$agent"/*-*; do [ -e "$folder/bundle.json" ] && say version "$(basename "$folder")"; done
say current "$(readlink "$agent/current")"
say previous "$(readlink "$agent/previous")"
partial=$(ls "$agent"/.incoming-* 2>/dev/null | head -n 1)
[ -n "$partial" ] && say partial "$(basename "$partial") $(wc -c <"$partial")"

if [ -e "$system_unit" ] && grep -q "$agent/" "$system_unit"; then
    say service system
    say unit_sum "$(sha256sum <"$system_unit" | cut -d ' ' -f 1)"
    say running "$(systemctl is-active liteback-agent.service)"
elif [ -e "$user_unit" ]; then
    say service user
    say unit_sum "$(sha256sum <"$user_unit" | cut -d ' ' -f 1)"
    say running "$(systemctl --user is-active liteback-agent.service 2>/dev/null)"
elif [ -e "$state/background" ]; then
    say service background
    supervisor >/dev/null && say running active
fi
[ -s "$state/token" ] && say token yes
say address "$(cat "$state/address" 2>/dev/null)"
port=$(direct_port)
[ "$port" = 0 ] || say direct "$port $(cat "$state/tls/board.pem" "$state/tls/client.pem" | sha256sum | cut -d ' ' -f 1)"
:
