"""The proxy configurations of tools/docs/proxies before `corelane serve` with its defaults.

Goal: a page of the proxy's host opens a WebSocket through it and exchanges frames, pages of others do not, and plain
requests keep their connections, whatever they are answered. Method: each proxy that is installed, with the file that
the page shows, and a client that speaks as a browser does.
"""

import os
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
import tap                                                       # noqa: E402
from corelane import Server, opcode_of, vectors                  # noqa: E402
from proxies import HOST, PROXIES, HaProxy, Nginx                # noqa: E402

FRAMES = vectors()
PONG = 3
OWN, FOREIGN = f'https://{HOST}', 'https://evil.example'


class Proxies(unittest.TestCase):
    def need(self, kind):
        if not kind.is_installed():
            self.skipTest(f'there is no {kind.program}')

    def exchange(self, client):
        for _ in range(2):
            client.send(FRAMES['ping'])
            self.assertEqual(opcode_of(client.receive()), PONG)

    def check(self, kind):
        self.need(kind)
        with Server() as server, kind(server.address) as proxy:
            with proxy.connect() as client:
                self.assertEqual(client.upgrade(OWN), 101)
                self.exchange(client)
            with proxy.connect() as client:
                self.assertEqual(client.upgrade(FOREIGN), 403)
            with proxy.connect() as client:
                for path, status in ('/healthz', 200), ('/nowhere', 404), ('/ws', 426), ('/healthz', 200):
                    self.assertEqual(client.request('GET', path)[0], status, path)
                self.assertEqual(client.request('OPTIONS', '/healthz')[1].get('allow'), 'GET, HEAD, OPTIONS')

    def test_nginx_default_host_needs_the_origin_listed(self):
        self.need(Nginx)
        default_host = [('proxy_set_header Host $http_host;', '')]
        for flags, status in ([], 403), (['--origin', OWN], 101):
            with Server(*flags) as server, Nginx(server.address, default_host) as proxy, proxy.connect() as client:
                self.assertEqual(client.upgrade(OWN), status)

    def test_nginx_over_a_unix_socket(self):
        self.need(Nginx)
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, 'corelane')
            with Server('--listen', f'unix:{path}'), Nginx(f'unix:{path}') as proxy, proxy.connect() as client:
                self.assertEqual(client.request('GET', '/healthz')[0], 200)
                self.assertEqual(client.upgrade(OWN), 101)
                self.exchange(client)

    def test_a_strict_server_wants_the_origin_of_a_tls_proxy_listed(self):
        self.need(Nginx)
        for flags, status in ([], 403), (['--origin', OWN], 101):
            with Server('--origin-strict', *flags) as server, Nginx(server.address) as proxy:
                with proxy.connect() as client:
                    self.assertEqual(client.upgrade(OWN), status)

    def test_haproxy_finds_the_server_well_by_options_too(self):
        self.need(HaProxy)
        for check in 'option httpchk GET /readyz', 'option httpchk':
            with Server() as server:
                with HaProxy(server.address, [('option httpchk GET /readyz', check)]) as proxy:
                    self.assertEqual(proxy.health(), 'L7OK', check)


for one in PROXIES:
    def test(self, kind=one):
        self.check(kind)
    setattr(Proxies, f'test_a_page_behind_{one.__name__.lower()}_is_served', test)


if __name__ == '__main__':
    tap.main()
