"""A network, and a view of files, of the calling process alone: what it and its children do there nobody else sees.

Needs root, or a kernel that lets users have namespaces; where neither is so, `isolate()` says why.
"""

import ctypes
import os
import pathlib
import subprocess

_NEW_MOUNTS, _NEW_USERS, _NEW_NETWORK = 0x00020000, 0x10000000, 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def _unshare(flags):
    return 0 if _libc.unshare(flags) == 0 else ctypes.get_errno()


def _command(*words):
    done = subprocess.run(words, capture_output=True, text=True)
    return '' if done.returncode == 0 else f'{" ".join(words)}: {done.stderr.strip()}'


def isolate():
    """Only before threads are started. Returns '' or why it cannot be done; then nothing has changed."""
    user, group = os.getuid(), os.getgid()
    if user == 0:
        error = _unshare(_NEW_MOUNTS | _NEW_NETWORK)
    else:
        error = _unshare(_NEW_USERS | _NEW_MOUNTS | _NEW_NETWORK)
        if not error:
            pathlib.Path('/proc/self/setgroups').write_text('deny')
            pathlib.Path('/proc/self/uid_map').write_text(f'0 {user} 1')
            pathlib.Path('/proc/self/gid_map').write_text(f'0 {group} 1')
    if error:
        return f'no namespaces: {os.strerror(error)}'
    return _command('mount', '--make-rprivate', '/') or _command('ip', 'link', 'set', 'lo', 'up')


def replace_file(path, text, folder):
    """Lets `path`, which exists, hold `text` for this process and its children."""
    copy = pathlib.Path(folder) / path.strip('/').replace('/', '_')
    copy.write_text(text)
    problem = _command('mount', '--bind', str(copy), str(pathlib.Path(path).resolve()))
    if problem:
        raise OSError(problem)


def add_address(interface, address):
    """A link-local address for an interface. Returns '' or why it cannot be had."""
    return _command('ip', '-6', 'address', 'add', f'{address}/64', 'dev', interface, 'nodad')
