"""The boxes themselves: what the tests of a deployment rely on."""

from __future__ import annotations

import base64
import gc
import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import paramiko
import pytest

from board.box import VARIANTS, Box
from board.host import Place
from board.namespaces import NamespaceBox

NewBox = Callable[..., Box]

UNIT = """[Service]
ExecStart=/bin/sleep infinity
Restart=always
RestartSec=100ms
[Install]
WantedBy=default.target
"""
BOOT_ID = "/proc/sys/kernel/random/boot_id"


def ssh(box: Box, command: str, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run `command` in the box through OpenSSH's client, which checks the host key strictly."""
    arguments = ["ssh", "-F", str(box.ssh_config), "box", command]
    return subprocess.run(arguments, input=text, capture_output=True, text=True, timeout=100)


def said(box: Box, command: str) -> str:
    done = ssh(box, command)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def banner(box: Box, timeout: float = 30) -> bytes:
    with socket.create_connection((box.endpoint.host, box.endpoint.port), timeout) as connection:
        return connection.recv(7)


def install_unit(box: Box) -> None:
    """A service of the user's own that is to run whether or not the user is logged in."""
    folder = ".config/systemd/user"
    assert ssh(box, f"mkdir -p {folder} && cat > {folder}/it.service", UNIT).returncode == 0
    said(box, "sudo loginctl enable-linger && systemctl --user enable --now it && sync")


# Logging in


@pytest.mark.board
def test_openssh_logs_in(box: Box) -> None:
    assert said(box, "id -un; uname -m; python3 -c 'print(1 + 1)'; sudo id -un").split() == [
        "pi",
        "x86_64",
        "2",
        "root",
    ]


@pytest.mark.board
@pytest.mark.parametrize("way", ["key", "password"])
def test_paramiko_logs_in(box: Box, way: str) -> None:
    at, (kind, key) = box.endpoint, box.endpoint.host_key.split()
    login = {"key_filename": str(at.key)} if way == "key" else {"password": at.password}
    with paramiko.SSHClient() as client:
        client.get_host_keys().add(
            f"[{at.host}]:{at.port}", kind, paramiko.PKey.from_type_string(kind, base64.b64decode(key))
        )
        client.set_missing_host_key_policy(paramiko.RejectPolicy())
        client.connect(at.host, at.port, at.user, **login, allow_agent=False, look_for_keys=False)
        assert client.exec_command("id -un")[1].read() == b"pi\n"


@pytest.mark.board
def test_it_has_no_network_but_the_cable(box: Box) -> None:
    assert box.run("ip -brief link | cut -d ' ' -f 1").stdout.split() == ["lo", "eth0@if2"]
    assert box.run("ip route get 192.0.2.1", check=False).returncode == 2


# Off and on


@pytest.mark.board
def test_a_reboot_keeps_files_and_brings_services_back(new_box: NewBox) -> None:
    box = new_box()
    install_unit(box)
    before = said(box, f"echo kept > file; cat {BOOT_ID}")
    box.reboot()
    # Nobody has logged in since: lingering has started it.
    assert box.run("systemctl --user -M pi@ is-active it", check=False).stdout == "active\n"
    kept, after = said(box, f"cat file {BOOT_ID}").split()
    assert kept == "kept"
    assert after != before


@pytest.mark.board
def test_a_power_cut_keeps_what_was_synced_alone(new_box: NewBox) -> None:
    box = new_box()
    install_unit(box)
    before = said(box, f"echo kept > synced; sync synced .; echo lost > unsynced; cat {BOOT_ID}")
    box.power_cut()
    box.up()
    assert said(box, "cat synced") == "kept"
    assert said(box, "cat unsynced 2>/dev/null || true") == ""
    assert said(box, f"cat {BOOT_ID}") != before
    assert said(box, "systemctl --user is-active it") == "active"


@pytest.mark.board
def test_a_killed_service_is_restarted(box: Box) -> None:
    install_unit(box)
    first = said(box, "systemctl --user show --value --property MainPID it")
    said(box, f"kill -9 {first}")
    deadline = time.monotonic() + 30
    while (second := said(box, "systemctl --user show --value --property MainPID it")) in (first, "0"):
        assert time.monotonic() < deadline
    said(box, "systemctl --user disable --now it")
    assert int(second) > 1


@pytest.mark.board
def test_a_box_that_shut_itself_down_starts_again(new_box: NewBox) -> None:
    box = new_box()
    ssh(box, "sudo systemctl poweroff")
    assert box._process is not None
    box._process.wait(60)
    silent, deadline = False, time.monotonic() + 30
    while not silent:  # its network ends after its processes, and refuses till then
        assert time.monotonic() < deadline
        try:
            banner(box, timeout=1)
        except ConnectionResetError:
            continue
        except TimeoutError:
            silent = True
    box.up()
    assert said(box, "id -un") == "pi"


# The link


@pytest.mark.board
def test_delay(box: Box) -> None:
    with box.fault("link", delay_ms=300):
        start = time.monotonic()
        assert banner(box) == b"SSH-2.0"
        # The three exchanges at least of a login: versions, keys, request.
        seconds = [time.monotonic() - start, 0.0]
        said(box, "true")
        seconds[1] = time.monotonic() - start - seconds[0]
    assert seconds[0] >= 0.3
    assert seconds[1] >= 1.8


@pytest.mark.board
def test_rate(box: Box) -> None:
    with box.fault("link", rate="2mbit"):
        start = time.monotonic()
        assert ssh(box, "wc -c", "-" * 1_000_000).stdout.strip() == "1000000"
        assert time.monotonic() - start >= 8e6 / 2e6 * 0.9  # the bucket is full at first


@pytest.mark.board
def test_loss(box: Box) -> None:
    def retransmitted() -> int:
        names, values = (line.split() for line in box.run("grep ^Tcp: /proc/net/snmp").stdout.splitlines())
        return int(values[names.index("RetransSegs")])

    def rules() -> str:
        assert isinstance(box, NamespaceBox)
        inside = ["nsenter", f"--net=/proc/{box._init()}/ns/net", "nft", "list", "ruleset"]
        return subprocess.run(inside, capture_output=True, text=True, check=True).stdout

    text = "".join(map(str, range(200_000)))
    before = retransmitted()
    with box.fault("link", loss=0.1):
        assert "numgen random mod 1000 < 100 drop" in rules()
        assert ssh(box, "sha256sum", text).stdout.split()[0] == hashlib.sha256(text.encode()).hexdigest()
        assert len(said(box, "head -c 500000 /dev/zero | tr '\\0' -")) == 500_000
        assert retransmitted() > before
    assert rules() == ""


@pytest.mark.board
def test_a_link_to_a_dark_board_can_be_closed(new_box: NewBox) -> None:
    box = new_box()
    with socket.create_connection((box.endpoint.host, box.endpoint.port), 30) as connection:
        assert connection.recv(7) == b"SSH-2.0"
        box.power_cut()
        connection.settimeout(0.5)
        with pytest.raises(TimeoutError):  # the buffers on the way are full of what nobody will take
            connection.sendall(b"-" * 100_000_000)
    box.down()
    gc.collect()  # a socket that was left open would warn now


@pytest.mark.board
def test_a_cut_is_silence_and_what_was_under_way_arrives_after_it(box: Box) -> None:
    counting = subprocess.Popen(
        ["ssh", "-F", str(box.ssh_config), "box", "for n in 1 2 3 4; do echo $n; sleep 0.3; done"],
        stdout=subprocess.PIPE,
    )
    assert counting.stdout is not None
    assert counting.stdout.readline() == b"1\n"
    with box.fault("cut"):
        with pytest.raises(subprocess.TimeoutExpired):
            counting.wait(3)
        with pytest.raises(TimeoutError):
            banner(box, timeout=1)
    assert counting.communicate(timeout=60)[0] == b"2\n3\n4\n"
    assert counting.returncode == 0


@pytest.mark.board
def test_a_cut_of_some_seconds_ends_by_itself(box: Box) -> None:
    with box.fault("cut", seconds=1):
        start = time.monotonic()
        assert banner(box) == b"SSH-2.0"
        assert time.monotonic() - start >= 0.9


@pytest.mark.board
def test_reset(box: Box) -> None:
    with socket.create_connection((box.endpoint.host, box.endpoint.port), 30) as connection:
        assert connection.recv(7) == b"SSH-2.0"
        connection.recv(1000)
        with box.fault("reset"), pytest.raises(ConnectionResetError):
            connection.recv(1)
    assert banner(box) == b"SSH-2.0"


# The board


@pytest.mark.board
def test_a_hung_board_says_nothing(box: Box) -> None:
    with box.fault("hang"), pytest.raises(TimeoutError):
        banner(box, timeout=1)
    assert banner(box) == b"SSH-2.0"


@pytest.mark.board
@pytest.mark.parametrize("free_kb", [0, 2048])
def test_a_full_disk(box: Box, free_kb: int) -> None:
    with box.fault("disk-full", free_kb=free_kb):
        done = ssh(box, "head -c 10000000 /dev/zero > file; stat -c %s file")
        assert "No space left on device" in done.stderr
        assert int(done.stdout) <= free_kb * 1024
        assert int(done.stdout) >= free_kb * 1024 // 2
    assert said(box, "head -c 10000000 /dev/zero > file && stat -c %s file && rm file") == "10000000"


@pytest.mark.board
def test_another_host_key(box: Box) -> None:
    with box.fault("host-key"):
        done = ssh(box, "true")
        assert "REMOTE HOST IDENTIFICATION HAS CHANGED" in done.stderr
        assert done.returncode == 255
    assert said(box, "id -un") == "pi"


LACKS = {
    "no-python": ("python3 -V", "python3: command not found"),
    "no-libstdc++": ("python3 -c 'import ctypes; ctypes.CDLL(\"libstdc++.so.6\")'", "cannot open shared object file"),
    "no-systemd": ("systemctl --user status", "systemctl: command not found"),
    "no-sudo": ("sudo -n true", "a password is required"),
    "read-only-home": ("touch file", "Read-only file system"),
    "no-forwarding": ("true", ""),
}


@pytest.mark.board
@pytest.mark.parametrize("variant", LACKS)
def test_a_variant_lacks_what_its_name_says(new_box: NewBox, variant: str) -> None:
    box = new_box(variant=variant)
    command, complaint = LACKS[variant]
    for _ in range(2):
        assert complaint in ssh(box, command).stderr
        box.reboot()


@pytest.mark.board
def test_no_forwarding(new_box: NewBox) -> None:
    box = new_box(variant="no-forwarding")
    jump = ["ssh", "-F", str(box.ssh_config), "-W", "localhost:22", "box"]
    assert "administratively prohibited" in subprocess.run(jump, capture_output=True, text=True).stderr


def test_every_variant_is_tested() -> None:
    assert set(LACKS) == set(VARIANTS) - {""}


# Nothing is left


def traces(name: str) -> list[str]:
    """What a box of this folder name has on this machine: loop devices, processes, each of which sees its mounts."""
    files = [
        *Path("/proc").glob("[0-9]*/mountinfo"),
        *Path("/sys/block").glob("loop*/loop/backing_file"),
    ]
    found = []
    for file in files:
        try:
            if name in file.read_text():
                found.append(str(file))
        except OSError:  # the process has ended meanwhile
            continue
    return found


def network_namespaces() -> set[str]:
    found = set()
    for link in Path("/proc").glob("[0-9]*/task/[0-9]*/ns/net"):
        try:
            found.add(os.readlink(link))
        except OSError:
            continue
    return found


@pytest.mark.board
def test_nothing_is_left_of_a_box_that_is_down(new_box: NewBox) -> None:
    box = new_box()
    assert isinstance(box, NamespaceBox)
    mine = {os.readlink(f"/proc/{box._init()}/ns/net"), box._link.call(os.readlink, "/proc/thread-self/ns/net")}
    assert mine <= network_namespaces()
    assert traces(box._folder.name)
    box.down()
    box.down()
    assert not traces(box._folder.name)
    assert not mine & network_namespaces()
    assert not box._folder.exists()
    assert not box._place.cgroup.exists()


KILLED = """
from board.namespaces import NamespaceBox
with NamespaceBox() as box:
    print(box._folder, flush=True)
    input()
"""


@pytest.mark.board
def test_a_killed_run_leaves_nothing_that_the_next_does_not_remove(box: Box) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", KILLED]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as run:
        assert run.stdout is not None
        folder = Path(run.stdout.readline().strip())
        assert traces(folder.name)
        os.kill(run.pid, signal.SIGKILL)
    assert folder.exists()
    Place().remove()
    assert not folder.exists()
    assert not traces(folder.name)
    assert said(box, "id -un") == "pi", "the boxes of runs that live are left alone"


PLACES = """
from board.host import Place
for _ in range(150):
    place = Place()
    for name in "abcdefgh":
        (place.folder / name).write_text(name)
    place.remove()
"""


@pytest.mark.board
def test_runs_beside_each_other_leave_each_other_alone(box: Box) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    runs = [subprocess.Popen([sys.executable, "-c", PLACES], env=environment) for _ in range(3)]
    assert [run.wait(100) for run in runs] == [0, 0, 0]
    assert said(box, "id -un") == "pi"


# The same, emulated


@pytest.mark.arm
def test_arm_is_arm_all_through(arm_box: Box) -> None:
    python = "python3 -c 'import platform; print(platform.machine())'"
    packages = "dpkg --print-architecture; dpkg-query --show --showformat '${Architecture}' libstdc++6"
    expected = ["pi", "root", "aarch64", "aarch64", "arm64", "arm64"]
    assert said(arm_box, f"id -un; sudo id -un; uname -m; {python}; {packages}").split() == expected


@pytest.mark.arm
def test_arm_reboots_and_loses_power(new_box: NewBox) -> None:
    box = new_box("arm64")
    install_unit(box)
    ids = [said(box, f"cat {BOOT_ID}")]
    for off in (box.power_cut, box.reboot):
        off()
        if off == box.power_cut:
            box.up()
        assert said(box, "systemctl --user is-active it") == "active"
        ids.append(said(box, f"cat {BOOT_ID}"))
    assert len(set(ids)) == 3


@pytest.mark.arm
@pytest.mark.parametrize("name", ["cut", "hang"])
def test_arm_is_silent(arm_box: Box, name: str) -> None:
    with arm_box.fault(name), pytest.raises(TimeoutError):
        banner(arm_box, timeout=1)
    assert banner(arm_box) == b"SSH-2.0"


@pytest.mark.arm
def test_arm_is_slow(arm_box: Box) -> None:
    with arm_box.fault("link", delay_ms=500, loss=0.01, rate="4mbit"):
        start = time.monotonic()
        assert banner(arm_box) == b"SSH-2.0"
        assert time.monotonic() - start >= 0.5
        start = time.monotonic()
        assert len(said(arm_box, "head -c 1000000 /dev/zero | tr '\\0' -")) == 1_000_000
        assert time.monotonic() - start >= 8e6 / 4e6 * 0.9
