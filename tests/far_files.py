"""A file system whose server does not answer at will, as one of the network's may: one program on it, by FUSE.

Its names and sizes are known at once; reading what is in the file waits while it is told to hang.
"""

import ctypes
import errno
import os
import stat
import struct
import subprocess
import threading

LOOKUP, FORGET, GETATTR, OPEN, READ, STATFS, RELEASE, FLUSH, INIT, OPENDIR, RELEASEDIR, ACCESS, BATCH_FORGET = (
    1, 2, 3, 14, 15, 17, 18, 25, 26, 27, 29, 34, 42,
)
ROOT, FILE = 1, 2
REQUEST_BYTES_MAX = 1 << 20
SECONDS_VALID = 3600


class FarFiles:
    """`folder/name` is a program with this text."""

    def __init__(self, folder, name, text):
        self.folder, self.name, self.text = folder, name.encode(), text.encode()
        self.hangs = True
        self.asked = threading.Event()
        self.lock = threading.Lock()
        self.waiting = []
        self.device = os.open("/dev/fuse", os.O_RDWR)
        options = "fd={},rootmode=40755,user_id=0,group_id=0,allow_other".format(self.device)
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mount(b"far", folder.encode(), b"fuse.far", 0, options.encode()) != 0:
            os.close(self.device)
            raise OSError(ctypes.get_errno(), "a FUSE file system cannot be mounted")
        threading.Thread(target=self.serve, daemon=True).start()

    @property
    def program(self):
        return os.path.join(self.folder, self.name.decode())

    def answer_all(self):
        """From here on it answers at once, also what was asked before."""
        with self.lock:
            self.hangs = False
            for unique, offset, size in self.waiting:
                self.answer(unique, self.text[offset : offset + size])
            self.waiting.clear()

    def close(self):
        self.answer_all()
        subprocess.run(["umount", "-l", self.folder], check=True)
        os.close(self.device)

    def serve(self):
        while True:
            try:
                request = os.read(self.device, REQUEST_BYTES_MAX)
            except OSError as error:
                if error.errno in (errno.EINTR, errno.ENOENT):
                    continue
                return
            _, opcode, unique, node = struct.unpack_from("<IIQQ", request)
            self.carry_out(opcode, unique, node, request[40:])

    def carry_out(self, opcode, unique, node, body):
        if opcode in (FORGET, BATCH_FORGET):
            return
        if opcode == INIT:
            return self.answer(unique, struct.pack("<IIIIHHIIHHI28x", 7, 31, 65536, 0, 8, 8, 65536, 1, 0, 0, 0))
        if opcode == LOOKUP:
            if body.rstrip(b"\0") != self.name:
                return self.refuse(unique, errno.ENOENT)
            return self.answer(unique, struct.pack("<QQQQII", FILE, 0, SECONDS_VALID, SECONDS_VALID, 0, 0) + self.attributes(FILE))
        if opcode == GETATTR:
            return self.answer(unique, struct.pack("<QII", SECONDS_VALID, 0, 0) + self.attributes(node))
        if opcode in (OPEN, OPENDIR):
            return self.answer(unique, struct.pack("<QII", 0, 0, 0))
        if opcode == READ:
            _, offset, size = struct.unpack_from("<QQI", body)
            with self.lock:
                self.asked.set()
                if self.hangs:
                    return self.waiting.append((unique, offset, size))
            return self.answer(unique, self.text[offset : offset + size])
        if opcode == STATFS:
            return self.answer(unique, struct.pack("<5Q4I24x", 1, 0, 0, 2, 0, 4096, 255, 4096, 0))
        if opcode in (RELEASE, RELEASEDIR, FLUSH, ACCESS):
            return self.answer(unique, b"")
        return self.refuse(unique, errno.ENOSYS)

    def attributes(self, node):
        mode, size = (stat.S_IFDIR | 0o755, 0) if node == ROOT else (stat.S_IFREG | 0o755, len(self.text))
        return struct.pack("<QQQQQQIIIIIIIIII", node, size, 1, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)

    def answer(self, unique, body):
        os.write(self.device, struct.pack("<IiQ", 16 + len(body), 0, unique) + body)

    def refuse(self, unique, error):
        os.write(self.device, struct.pack("<IiQ", 16, -error, unique))
