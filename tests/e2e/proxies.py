"""Proxies with the configurations of tools/docs/proxies, on ephemeral ports, and a client of what lies behind them.

A configuration runs as the page shows it, but for addresses and paths: `Proxy` replaces exactly those, and fails if one
of them is not in the file.
"""

import base64
import contextlib
import os
import pathlib
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time

from corelane import PATIENCE_S, ROOT

FOLDER = ROOT / 'tools/docs/proxies'
HOST = 'example.org'
IS_ROOT = os.geteuid() == 0


def make_certificate(folder):
    """A certificate for HOST, signed by itself; the paths of certificate, key, and both in one file."""
    certificate, key, both = (str(folder / name) for name in ('cert.pem', 'key.pem', 'both.pem'))
    subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes',
                    '-days', '2', '-subj', f'/CN={HOST}', '-addext', f'subjectAltName=DNS:{HOST}', '-keyout', key,
                    '-out', certificate], check=True, capture_output=True, timeout=PATIENCE_S)
    pathlib.Path(both).write_text(pathlib.Path(certificate).read_text() + pathlib.Path(key).read_text())
    return certificate, key, both


def free_port():
    """A port that nobody listens on now: a proxy cannot be asked which one 0 became."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


class Proxy:
    """A running proxy: `kind` in front of `upstream` (ADDR:PORT). `changes` are made to its configuration too."""

    is_tls = True

    def __init__(self, upstream, changes=()):
        self.upstream = upstream
        self.changes = list(changes)
        self.port = free_port()

    def __enter__(self):
        self.stack = contextlib.ExitStack()
        with self.stack:
            self.folder = pathlib.Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix='proxy-')))
            self.folder.chmod(0o755)
            self.certificate, self.key, self.both = make_certificate(self.folder)
            text = (FOLDER / self.file).read_text()
            for old, new in [*self.changes, *self.places()]:
                if old not in text:
                    raise AssertionError(f'{self.file} has no {old!r}')
                text = text.replace(old, new)
            config = self.folder / self.file
            config.write_text(text)
            self.log = open(self.folder / 'log', 'w+b')
            self.stack.callback(self.log.close)
            # A group of its own: workers end with their master.
            self.process = subprocess.Popen(self.command(config), stdin=subprocess.DEVNULL, stdout=self.log,
                                            stderr=self.log, start_new_session=True, cwd=self.folder,
                                            env={**os.environ, 'HOME': str(self.folder)})
            self.stack.callback(self.end)
            self.wait()
            self.stack = self.stack.pop_all()
        return self

    def __exit__(self, *_):
        self.stack.close()

    def end(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE_S)

    def wait(self):
        """Until it accepts connections."""
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until and self.process.poll() is None:
            with contextlib.suppress(ConnectionRefusedError), socket.create_connection(('127.0.0.1', self.port)):
                return
            time.sleep(0.02)
        self.log.seek(0)
        raise AssertionError(f'{self.program} does not serve: {self.log.read().decode(errors="replace")}')

    @classmethod
    def is_installed(cls):
        return shutil.which(cls.program) is not None

    def connect(self):
        return Client(self)


class Nginx(Proxy):
    file, program = 'nginx.conf', '/usr/sbin/nginx'

    def places(self):
        return [('server 127.0.0.1:8080', f'server {self.upstream}'), ('listen 443', f'listen 127.0.0.1:{self.port}'),
                ('/etc/ssl/certs/example.org.pem', self.certificate), ('/etc/ssl/private/example.org.key', self.key)]

    def command(self, config):
        around = self.folder / 'around.conf'
        temporary = ''.join(f'{name}_temp_path {self.folder}/{name};\n'
                            for name in ('client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'))
        around.write_text(f'''{'user root;' if IS_ROOT else ''}
            daemon off; worker_processes 1; pid {self.folder}/pid; error_log stderr;
            events {{ worker_connections 100; }}
            http {{ access_log off; {temporary} include {config}; }}''')
        return [self.program, '-p', str(self.folder), '-e', 'stderr', '-c', str(around)]


class HaProxy(Proxy):
    file, program = 'haproxy.cfg', '/usr/sbin/haproxy'

    def places(self):
        return [('server node1 127.0.0.1:8080', f'server node1 {self.upstream}'),
                ('bind :443', f'bind 127.0.0.1:{self.port}'), ('/etc/haproxy/example.org.pem', self.both)]

    def command(self, config):
        around = self.folder / 'around.cfg'
        around.write_text(f'global\n    stats socket {self.folder}/stats\n    maxconn 100\n')
        return [self.program, '-db', '-f', str(around), '-f', str(config)]

    def health(self):
        """The verdict of the health check ("L7OK"), once there is one."""
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            with socket.socket(socket.AF_UNIX) as stats:
                stats.settimeout(PATIENCE_S)
                stats.connect(str(self.folder / 'stats'))
                stats.sendall(b'show stat\n')
                rows = [line.split(',') for line in stats.makefile().read().splitlines() if ',' in line]
            verdict = next(row for row in rows if row[1] == 'node1')[rows[0].index('check_status')]
            if verdict not in ('', 'INI') and not verdict.startswith('*'):
                return verdict
            time.sleep(0.02)
        raise AssertionError('HAProxy has not checked')


class Apache(Proxy):
    file, program = 'apache.conf', '/usr/sbin/apache2'

    def places(self):
        return [('http://127.0.0.1:8080/', f'http://{self.upstream}/'), ('*:443', f'127.0.0.1:{self.port}'),
                ('/etc/ssl/certs/example.org.pem', self.certificate), ('/etc/ssl/private/example.org.key', self.key)]

    def command(self, config):
        around = self.folder / 'around.conf'
        modules = ''.join(f'LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n'
                          for name in ('mpm_event', 'authz_core', 'proxy', 'proxy_http', 'socache_shmcb', 'ssl'))
        around.write_text(f'''ServerRoot {self.folder}\nPidFile {self.folder}/pid\nErrorLog /dev/stderr
            DefaultRuntimeDir {self.folder}\nServerName localhost\nListen 127.0.0.1:{self.port}
            {'User www-data' if IS_ROOT else ''}\n{modules}\nInclude {config}\n''')
        return [self.program, '-DFOREGROUND', '-f', str(around)]


class Caddy(Proxy):
    file, program = 'Caddyfile', '/usr/bin/caddy'

    def places(self):
        return [('reverse_proxy 127.0.0.1:8080', f'bind 127.0.0.1\n\treverse_proxy {self.upstream}'),
                ('example.org {', '{\n\tadmin off\n\tauto_https disable_redirects\n\tskip_install_trust\n}\n'
                 f'example.org:{self.port} {{'),
                ('/etc/ssl/certs/example.org.pem', self.certificate), ('/etc/ssl/private/example.org.key', self.key)]

    def command(self, config):
        return [self.program, 'run', '--adapter', 'caddyfile', '--config', str(config)]


class Varnish(Proxy):
    file, program = 'varnish.vcl', '/usr/sbin/varnishd'
    is_tls = False

    def places(self):
        address, _, port = self.upstream.rpartition(':')
        return [('"127.0.0.1"', f'"{address}"'), ('"8080"', f'"{port}"')]

    def command(self, config):
        return [self.program, '-j', 'none', '-F', '-n', str(self.folder / 'state'), '-s', 'malloc,16m',
                '-a', f'127.0.0.1:{self.port}', '-f', str(config)]


class Client:
    """One connection to a proxy, as a browser has it with a page of https://HOST."""

    def __init__(self, proxy):
        self.socket = socket.create_connection(('127.0.0.1', proxy.port), timeout=PATIENCE_S)
        if proxy.is_tls:
            context = ssl.create_default_context(cafile=proxy.certificate)
            self.socket = context.wrap_socket(self.socket, server_hostname=HOST)
        self.file = self.socket.makefile('rb')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()

    def request(self, method, path, **fields):
        """Sends a request and returns status, fields (names in lower case) and body of its answer."""
        lines = [f'{method} {path} HTTP/1.1', f'Host: {HOST}']
        lines += [f'{name.replace("_", "-")}: {value}' for name, value in fields.items()]
        self.socket.sendall('\r\n'.join([*lines, '', '']).encode())
        status = int(self.file.readline().split()[1])
        answer = {}
        for line in iter(self.file.readline, b'\r\n'):
            name, _, value = line.decode().partition(':')
            answer[name.lower()] = value.strip()
        if answer.get('transfer-encoding') == 'chunked':
            body = b''
            while size := int(self.file.readline(), 16):
                body += self.file.read(size)
                self.file.readline()
            self.file.readline()
        else:
            body = self.file.read(int(answer.get('content-length', 0)))
        return status, answer, body

    def upgrade(self, origin):
        """The status of a WebSocket handshake from a page of `origin`."""
        key = base64.b64encode(os.urandom(16)).decode()
        return self.request('GET', '/', Origin=origin, Upgrade='websocket', Connection='keep-alive, Upgrade',
                            Sec_WebSocket_Key=key, Sec_WebSocket_Version=13)[0]

    def send(self, payload):
        """One binary message."""
        size = struct.pack('>BH', 0xfe, len(payload)) if len(payload) > 125 else struct.pack('>B', 0x80 | len(payload))
        self.socket.sendall(b'\x82' + size + b'\0\0\0\0' + payload)

    def receive(self):
        """One message of at most 64 KiB."""
        size = self.file.read(2)[1]
        if size == 126:
            size = struct.unpack('>H', self.file.read(2))[0]
        return self.file.read(size)


PROXIES = [Nginx, HaProxy, Apache, Caddy, Varnish]


def main():
    """proxies.py PROGRAM KIND UPSTREAM: runs a proxy until stdin ends, and prints its port. For tests in JavaScript."""
    kind = next(one for one in PROXIES if one.__name__ == sys.argv[1])
    if not kind.is_installed():
        print('missing', kind.program)
        return
    with kind(sys.argv[2]) as proxy:
        print('port', proxy.port, flush=True)
        sys.stdin.read()


if __name__ == '__main__':
    main()
