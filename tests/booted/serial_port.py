"""A serial port in the container, /dev/serial0 with the owner and mode of a real one; its other end is a TCP port."""

import os
import pty
import select
import shutil
import socket
import tty

master, slave = pty.openpty()
tty.setraw(slave)
name = os.ttyname(slave)
shutil.chown(name, "root", "dialout")
os.chmod(name, 0o660)
if os.path.islink("/dev/serial0"):
    os.unlink("/dev/serial0")
os.symlink(name, "/dev/serial0")
listener = socket.create_server(("127.0.0.1", 0))
with open("/shared/port", "w") as told:
    told.write(f"socket://127.0.0.1:{listener.getsockname()[1]}\n")
while True:
    peer, _ = listener.accept()
    while True:
        ready, _, _ = select.select([peer.fileno(), master], [], [])
        if peer.fileno() in ready:
            data = peer.recv(4096)
            if not data:
                break
            os.write(master, data)
        if master in ready:
            peer.sendall(os.read(master, 4096))
